package activity

import (
	"encoding/json"
	"reflect"
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
		texts := []string{a, b, c, d}
		for _, typ := range []any{DeviceAdded{}, ProfileWanted{}, ProfileAssigned{}, ProfileVerified{}} {
			v := reflect.New(reflect.TypeOf(typ)).Elem()
			for i := range v.NumField() { // all of them, so that one that is added later is not forgotten
				switch f := v.Field(i); f.Kind() {
				case reflect.String:
					f.SetString(texts[i%len(texts)])
				case reflect.Bool:
					f.SetBool(flag)
				}
			}
			e := v.Interface().(Event)
			want, err := json.Marshal(e)
			require.NoError(t, err)
			got, err := detail(e)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(got), e.Kind())
		}
	})
}
