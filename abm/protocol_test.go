package abm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// With an older protocol Apple says less of a throttled device: it is not asked for it again too soon all the same, and it
// gets its profile in the end.
func TestOlderProtocols(t *testing.T) {
	t.Parallel()
	for version, word := range map[int]string{8: "FAILED", 9: "THROTTLED", 10: "THROTTLED"} {
		w := newWorld(t, 3, abmtest.WithSessionLifetime(1000*time.Hour))
		_, err := w.apple.SetFault(abmtest.Fault{Kind: abmtest.FaultResultThrottled, Count: 3, Duration: 20 * time.Hour})
		require.NoError(t, err)
		e := w.engine(t, WithProtocolVersion(version))
		_, err = e.SyncOnce(t.Context(), acme)
		require.NoError(t, err)
		assignAll(t, e)
		for _, a := range w.rows(t) {
			assert.Equal(t, word, a.LastAttempt.Result, version)
			assert.Equal(t, version >= 10, a.LastAttempt.RetryAfter > 0, version)
		}
		for range 60 {
			w.clock.Add(time.Hour)
			assignAll(t, e)
		}
		assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 3}, w.states(t), version)
		// Three early attempts are what a device that only FAILED is worth, as most failures are none of a throttle.
		for serial, n := range w.apple.Stats().AssignCalls {
			assert.LessOrEqual(t, n, map[int]int{8: 5, 9: 2, 10: 2}[version], "version %d, %s", version, serial)
		}
	}
}

func TestProtocolAndAgentOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Option{WithProtocolVersion(0), WithUserAgent(" "), WithUserAgent("a\r\nX-Evil: 1")} {
		_, err := newSettings([]Option{o})
		require.Error(t, err)
	}
}
