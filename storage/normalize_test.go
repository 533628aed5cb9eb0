package storage_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// A list in which one record has to change is copied; the caller's stays as it is.
func TestNormalizeLeavesArgumentsAlone(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 999, time.FixedZone("", 3600))
	row := func(serial, model string, at time.Time) storage.Device {
		return storage.Device{Account: "acme", Serial: serial, Model: model, AssignedAt: at}
	}
	in := []storage.Device{row("A", "iMac", storage.Time(at)), row("B", "a\x00\xff", at), row("C", "iMac", storage.Time(at))}
	in[2].Document = []byte{}
	before := append([]storage.Device(nil), in...)
	out, err := storage.InventoryChange{Account: "acme", Devices: in}.Normalize()
	require.NoError(t, err)
	assert.Equal(t, before, in)
	want := []storage.Device{before[0], row("B", "a\uFFFD\uFFFD", storage.Time(at)), row("C", "iMac", storage.Time(at))}
	assert.Equal(t, want, out.Devices)

	again, err := storage.InventoryChange{Account: "acme", Devices: out.Devices}.Normalize()
	require.NoError(t, err)
	assert.Equal(t, want, again.Devices)
}
