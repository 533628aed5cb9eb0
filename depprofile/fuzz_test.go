package depprofile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/depprofile"
)

// FuzzParse holds Parse to three promises: an error means no profile; what was read is written with the same meaning; and
// reading that again gives the same content.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"default_profile.json", "full_profile.json", "full_profile.canonical.json"} {
		f.Add(golden(f, name))
	}
	for _, s := range []string{`{}`, `null`, `{"url":null,"department":"","devices":[],"x":[1e400,-0,"\ud83d\ude00"]}`, `{"a":1,"a":2}`, `{"":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := depprofile.Parse(data)
		if err != nil {
			require.Nil(t, p)
			return
		}
		again, err := p.MarshalJSON()
		require.NoError(t, err)
		require.Equal(t, meaning(t, data), values(t, again))

		q, err := depprofile.Parse(again)
		require.NoError(t, err)
		a, err := p.Fingerprint()
		require.NoError(t, err)
		b, err := q.Fingerprint()
		require.NoError(t, err)
		require.Equal(t, a, b)
		require.Empty(t, depprofile.Diff(p, q))
		require.Equal(t, p.Validate(), q.Validate())
		require.Equal(t, p.Warnings(), q.Warnings())
	})
}

// meaning returns the values of a document without the known keys that count as absent.
func meaning(t *testing.T, data []byte) map[string]any {
	t.Helper()
	m := values(t, data)
	for _, key := range []string{
		"profile_name", "url", "configuration_web_url", "is_supervised", "is_mandatory", "is_mdm_removable", "allow_pairing",
		"await_device_configured", "auto_advance_setup", "is_multi_user", "is_return_to_service", "do_not_use_profile_from_backup", "language",
		"region", "skip_setup_items", "department", "support_phone_number", "support_email_address", "org_magic", "anchor_certs",
		"supervising_host_certs", "devices", "profile_uuid",
	} {
		if v, ok := m[key]; ok && (v == nil || v == "") {
			delete(m, key)
		}
	}
	return m
}
