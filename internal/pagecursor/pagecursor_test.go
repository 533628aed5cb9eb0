package pagecursor_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/internal/pagecursor"
)

func TestDecodeReturnsTheKey(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "a", "😀", "a\x00b"} {
		got, ok := pagecursor.Decode(pagecursor.Encode("devices", []string{"acme", ""}, key), "devices", []string{"acme", ""})
		require.True(t, ok, "%q", key)
		assert.Equal(t, key, got)
	}
}

func TestDecodeRefusesOtherListsAndFilters(t *testing.T) {
	t.Parallel()
	cursor := pagecursor.Encode("devices", []string{"ac", "me"}, "a")
	for name, try := range map[string]func() (string, bool){
		"other list":    func() (string, bool) { return pagecursor.Decode(cursor, "accounts", []string{"ac", "me"}) },
		"other filter":  func() (string, bool) { return pagecursor.Decode(cursor, "devices", []string{"acm", "e"}) },
		"fewer filters": func() (string, bool) { return pagecursor.Decode(cursor, "devices", []string{"ac"}) },
		"damaged":       func() (string, bool) { return pagecursor.Decode(cursor+"AA", "devices", []string{"ac", "me"}) },
		"line break":    func() (string, bool) { return pagecursor.Decode(cursor+"\n", "devices", []string{"ac", "me"}) },
		"empty":         func() (string, bool) { return pagecursor.Decode("", "devices", []string{"ac", "me"}) },
	} {
		_, ok := try()
		assert.False(t, ok, name)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(pagecursor.Encode("l", []string{"f"}, "key"))
	f.Add("AcQun6jSJtt5\r\na2V5") // the first seed with a line break inside
	f.Add("")
	f.Add("AQAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, cursor string) {
		if key, ok := pagecursor.Decode(cursor, "l", []string{"f"}); ok {
			assert.Equal(t, cursor, pagecursor.Encode("l", []string{"f"}, key))
		}
	})
}
