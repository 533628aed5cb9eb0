package abmtest

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOldSessionsAndNoncesAreForgotten(t *testing.T) {
	t.Parallel()
	s, err := NewService(WithSeed(1))
	require.NoError(t, err)
	m, err := s.AddMDMServer("Fleet")
	require.NoError(t, err)
	start := time.Unix(1_700_000_000, 0)
	for i := range maxSessions {
		s.openSession(m, start)
		require.NoError(t, s.useNonce(nonce{value: strconv.Itoa(i)}, start))
	}
	later := start.Add(time.Hour)
	live := s.openSession(m, later)
	require.NoError(t, s.useNonce(nonce{value: "new"}, later))
	assert.Len(t, s.sessions, 1)
	assert.Len(t, s.nonces, 1)
	got, _, err := s.useSession(live, later)
	require.NoError(t, err)
	assert.Same(t, m, got)
	require.Error(t, s.useNonce(nonce{value: "new"}, later))
}
