package abm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
)

func TestFold(t *testing.T) {
	t.Parallel()
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	dev := func(serial, model string, n int) Device {
		return Device{SerialNumber: serial, Model: model, OpDate: at(n)}
	}
	got := fold([]Device{dev("A", "new", 9), dev("B", "b", 1), dev("A", "old", 2), dev("C", "first", 3), dev("C", "last", 3)})
	assert.Equal(t, []Device{dev("A", "new", 9), dev("B", "b", 1), dev("C", "last", 3)}, got)
	plain := []Device{{SerialNumber: "A", Model: "1"}, {SerialNumber: "A", Model: "2"}}
	assert.Equal(t, plain[1:], fold(plain), "of a full list the last counts")
	assert.Empty(t, fold(nil))
}

// A device that has left and comes back with the very same record is back.
func TestLeftDeviceComesBackUnchanged(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d, err := ParseDevice([]byte(`{"serial_number":"A","model":"iMac"}`))
	require.NoError(t, err)
	in, ok := merge(d.record(acme, now), true, &d, acme, now)
	assert.False(t, ok, "unchanged")
	assert.Zero(t, in)

	left := leave(d.record(acme, now), leftNotAccessible, zeroTime, now)
	assert.NotEqual(t, d.Digest(), left.row.Digest, "the digest alone tells that there is something to do")
	back, ok := merge(left.row, true, &d, acme, now)
	require.True(t, ok)
	assert.True(t, back.returned)
	assert.True(t, back.row.Present())
	assert.Equal(t, d.Digest(), back.row.Digest)
	assert.True(t, back.events[0].(activity.DeviceAdded).Returned)
}
