package activity

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzDetail holds what is written by hand against encoding/json.
func FuzzDetail(f *testing.F) {
	for _, s := range []string{"", "Mac mini", "a\"b\\c", "<&>", "\x00\n\x7f", "é\u2028", "\xff", "\U0001F4BB"} {
		f.Add(s, "x", s, "", true)
		f.Add("x", s, "", s, false)
	}
	f.Fuzz(func(t *testing.T, a, b, c, d string, flag bool) {
		on := On{Account: a, Serial: b, EnrollmentID: c}
		for _, e := range []Event{
			DeviceAdded{On: on, Model: a, Family: b, ProfileUUID: c, ProfileStatus: d, Returned: flag},
			ProfileWanted{On: on, Fingerprint: a, From: b, Reason: c},
			ProfileAssigned{On: on, ProfileUUID: a},
			ProfileVerified{On: on, ProfileUUID: a, ProfileStatus: b},
		} {
			want, err := json.Marshal(e)
			require.NoError(t, err)
			got, err := detail(e)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(got), e.Kind())
		}
	})
}
