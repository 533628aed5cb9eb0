package nano

import (
	"testing"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/storage/inmem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSerializeForgetsDevicesThatLeave keeps its memory from growing with every device there ever was.
func TestSerializeForgetsDevicesThatLeave(t *testing.T) {
	t.Parallel()
	s := Serialize(inmem.New()).(*serialized)
	r := (&mdm.Request{EnrollID: &mdm.EnrollID{Type: mdm.Device, ID: "D"}}).WithContext(t.Context())
	raw := []byte(`<plist><dict><key>CommandUUID</key><string>c</string><key>Command</key><dict><key>RequestType</key><string>DeviceConfigured</string></dict></dict></plist>`)
	cmd, err := mdm.DecodeCommand(raw)
	require.NoError(t, err)
	_, err = s.EnqueueCommand(t.Context(), []string{"D"}, cmd)
	require.NoError(t, err)
	require.NoError(t, s.StoreCommandReport(r, &mdm.CommandResults{CommandUUID: "c", Status: "Acknowledged"}))
	assert.Len(t, s.answered, 1)
	require.NoError(t, s.Disable(r))
	assert.Empty(t, s.answered)
	assert.Empty(t, s.locks.locks)
}
