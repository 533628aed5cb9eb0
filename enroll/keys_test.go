package enroll

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func newKeys(t testing.TB, primary byte, retired ...byte) *SessionKeys {
	t.Helper()
	var old [][]byte
	for _, r := range retired {
		old = append(old, key(r))
	}
	k, err := NewSessionKeys(key(primary), old...)
	require.NoError(t, err)
	return k
}

func TestSessionTokens(t *testing.T) {
	t.Parallel()
	k := newKeys(t, 1)
	token := k.CheckInToken("session-1")
	id, err := k.OpenCheckInToken(token)
	require.NoError(t, err)
	assert.Equal(t, "session-1", id)

	for name, bad := range map[string]string{
		"empty": "", "another version": "2" + token[1:], "another payload": "1." + encode([]byte("session-2")) + token[strings.LastIndex(token, "."):],
		"no mac": token[:strings.LastIndex(token, ".")+1], "more": token + ".x", "line break": token + "\n",
		"another purpose": k.sign(forState, "session-1"), "long": strings.Repeat("1", 600),
		"another key": newKeys(t, 2).CheckInToken("session-1"), "empty payload": k.sign(forCheckIn, ""),
	} {
		id, err := k.OpenCheckInToken(bad)
		require.ErrorIs(t, err, ErrToken, name)
		assert.Empty(t, id)
	}
	_, err = NewSessionKeys(key(1)[:31])
	require.Error(t, err)
	_, err = NewSessionKeys(key(1), []byte("short"))
	require.Error(t, err)
	assert.NotContains(t, fmt.Sprintf("%v %s %+v", k, k, k), "\x01")
}

// TestSessionKeysRotate checks that a device keeps its session, and so its ServerURL, while its key is retired.
func TestSessionKeysRotate(t *testing.T) {
	t.Parallel()
	before, after := newKeys(t, 1), newKeys(t, 2, 1)
	id, token := before.device("SERIAL", "UDID", "")
	again, sameToken := before.device("SERIAL", "UDID", id)
	assert.Equal(t, id, again)
	assert.Equal(t, token, sameToken)

	kept, keptToken := after.device("SERIAL", "UDID", id)
	assert.Equal(t, id, kept)
	assert.Equal(t, token, keptToken)
	opened, err := after.OpenCheckInToken(token)
	require.NoError(t, err)
	assert.Equal(t, id, opened)

	fresh, _ := after.device("SERIAL", "UDID", "")
	assert.NotEqual(t, id, fresh, "a device that is not enrolled gets the new key")
	foreign, _ := after.device("SERIAL", "OTHER UDID", id)
	assert.NotEqual(t, id, foreign)
	assert.NotEqual(t, deviceID(key(1), "AB", "C"), deviceID(key(1), "A", "BC"))
}

func FuzzCheckInToken(f *testing.F) {
	k := newKeys(f, 1)
	good := k.CheckInToken("0123456789abcdef")
	f.Add(good)
	f.Add("1..")
	f.Add(k.sign(forState, "x:y"))
	f.Fuzz(func(t *testing.T, token string) {
		id, err := k.OpenCheckInToken(token)
		if err != nil {
			require.ErrorIs(t, err, ErrToken)
			assert.Empty(t, id)
			return
		}
		assert.Equal(t, token, k.CheckInToken(id), "a token has one form")
	})
}
