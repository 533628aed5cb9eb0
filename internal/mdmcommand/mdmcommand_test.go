package mdmcommand_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/internal/mdmcommand"
	"github.com/enrollkit/enrollkit/internal/plist"
)

func command(t *testing.T, raw []byte, err error) (uuid string, body map[string]any) {
	t.Helper()
	require.NoError(t, err)
	var c struct {
		CommandUUID string
		Command     map[string]any
	}
	require.NoError(t, plist.Unmarshal(raw, &c))
	return c.CommandUUID, c.Command
}

func TestQueries(t *testing.T) {
	t.Parallel()
	raw, err := mdmcommand.DeviceInformation("u", "AwaitingConfiguration")
	uuid, body := command(t, raw, err)
	assert.Equal(t, "u", uuid)
	assert.Equal(t, map[string]any{"RequestType": "DeviceInformation", "Queries": []any{"AwaitingConfiguration"}}, body)

	raw, err = mdmcommand.InstalledApplicationList("u", []string{"com.example.app"})
	_, body = command(t, raw, err)
	assert.Equal(t, map[string]any{"RequestType": "InstalledApplicationList", "Identifiers": []any{"com.example.app"}}, body)

	raw, err = mdmcommand.DeviceConfigured("u")
	_, body = command(t, raw, err)
	assert.Equal(t, map[string]any{"RequestType": "DeviceConfigured"}, body)

	raw, err = mdmcommand.ProfileList("u")
	_, body = command(t, raw, err)
	assert.Equal(t, map[string]any{"RequestType": "ProfileList"}, body)
}

func TestReadAwaitingConfiguration(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answers map[string]any
		want    *bool
	}{
		{map[string]any{"AwaitingConfiguration": true}, new(true)},
		{map[string]any{"AwaitingConfiguration": false}, new(false)},
		{map[string]any{"OSVersion": "26.1"}, nil},
	} {
		raw, err := plist.Marshal(map[string]any{"QueryResponses": tt.answers})
		require.NoError(t, err)
		got, err := mdmcommand.ReadAwaitingConfiguration(raw)
		require.NoError(t, err)
		assert.Equal(t, tt.want, got)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, v := range []any{
		map[string]any{"ProfileList": []any{map[string]any{"PayloadIdentifier": "a", "PayloadUUID": "b"}}},
		map[string]any{"InstalledApplicationList": []any{map[string]any{"Identifier": "a", "Installing": true}}},
		map[string]any{"QueryResponses": map[string]any{"AwaitingConfiguration": true}},
	} {
		raw, err := plist.Marshal(v)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Add([]byte("bplist00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if p, err := mdmcommand.ReadProfileList(raw); err != nil && p != nil {
			t.Fatal("an error with a result")
		}
		if a, err := mdmcommand.ReadInstalledApplicationList(raw); err != nil && a != nil {
			t.Fatal("an error with a result")
		}
		if w, err := mdmcommand.ReadAwaitingConfiguration(raw); err != nil && w != nil {
			t.Fatal("an error with a result")
		}
	})
}
