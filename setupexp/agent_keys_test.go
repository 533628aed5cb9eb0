package setupexp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func agentSecret(c string) []byte { return []byte(strings.Repeat(c, minAgentKey)) }

func TestAgentKeysRotate(t *testing.T) {
	t.Parallel()
	old, err := NewAgentKeys(agentSecret("a"))
	require.NoError(t, err)
	both, err := NewAgentKeys(agentSecret("b"), agentSecret("a"))
	require.NoError(t, err)
	fresh, err := NewAgentKeys(agentSecret("b"))
	require.NoError(t, err)
	was, is := old.Token(testDevice, 3), both.Token(testDevice, 3)
	assert.NotEqual(t, was, is)
	assert.Equal(t, is, fresh.Token(testDevice, 3), "a key makes one token for a device's generation")
	for token, keys := range map[string][]*AgentKeys{was: {old, both}, is: {both, fresh}} {
		for _, k := range keys {
			id, generation, err := k.Verify(token)
			require.NoError(t, err)
			assert.Equal(t, testDevice, id)
			assert.Equal(t, int64(3), generation)
		}
	}
	_, _, err = fresh.Verify(was)
	require.ErrorIs(t, err, ErrAgentToken, "the key is gone")
	_, err = NewAgentKeys([]byte("short"))
	require.Error(t, err)
	_, err = NewAgentKeys(agentSecret("a"), nil)
	require.Error(t, err)
	assert.Equal(t, "REDACTED", fmt.Sprint(old))
}

func FuzzAgentToken(f *testing.F) {
	keys, err := NewAgentKeys(agentSecret("a"), agentSecret("b"))
	require.NoError(f, err)
	good := keys.Token(testDevice, 3)
	f.Add(good)
	f.Add(strings.Replace(good, ".3.", ".03.", 1))
	f.Add(good + "A")
	f.Add("....")
	f.Add(good[:20] + "\r\n" + good[20:])
	f.Fuzz(func(t *testing.T, token string) {
		id, generation, err := keys.Verify(token)
		if err != nil {
			require.ErrorIs(t, err, ErrAgentToken)
			require.Empty(t, id)
			require.Zero(t, generation)
			return
		}
		require.Equal(t, token, keys.Token(id, generation))
	})
}
