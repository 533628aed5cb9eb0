package abm

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// What each answer for one serial leads to: when Apple is asked again, and when no more.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	const m, h, d = time.Minute, time.Hour, 24 * time.Hour
	for _, tt := range []struct {
		result string
		hint   time.Duration
		waits  []time.Duration
		parked bool
	}{
		{"FAILED", 0, []time.Duration{5 * m, 10 * m, 20 * m, d, d}, true},
		{"MISSING", 0, []time.Duration{5 * m, 10 * m, 20 * m, d, d}, true},
		{"NOT_ACCESSIBLE", 0, []time.Duration{5 * m, 10 * m, 20 * m, d, d}, true},
		{"NOT_VERIFIED", 0, []time.Duration{5 * m, 10 * m, 20 * m, d, d}, true},
		{"A_NEW_WORD", 0, []time.Duration{5 * m, 10 * m, 20 * m, d, d}, true},
		{"THROTTLED", 0, []time.Duration{d, 2 * d, 4 * d, 7 * d, 7 * d, 7 * d, 7 * d}, false},
		{"THROTTLED", h, []time.Duration{h, h, h, h, 80 * m, 160 * m, 320 * m}, false},
		{"THROTTLED", 20 * d, []time.Duration{20 * d, 20 * d, 20 * d}, false},
	} {
		s, err := newSettings([]Option{WithMaxFailures(len(tt.waits) + 1)})
		require.NoError(t, err)
		now := time.Now()
		a := storage.Assignment{State: storage.AssignmentAssigning, LastAttempt: storage.Attempt{ProfileUUID: "P"}}
		for i, want := range tt.waits {
			evs := outcome(&a, tt.result, tt.hint, "cause", &s, now)
			require.Equal(t, want, a.NextAttemptAt.Sub(now), "%s %d", tt.result, i)
			assert.Equal(t, storage.AssignmentPending, a.State)
			require.Len(t, evs, 1)
			ev := evs[0].(activity.ProfileAssignFailed)
			assert.Equal(t, a.NextAttemptAt, ev.RetryAt)
			assert.Equal(t, "cause", ev.Error)
		}
		outcome(&a, tt.result, tt.hint, "", &s, now)
		assert.Equal(t, tt.parked, a.State == storage.AssignmentParked, tt.result)
		assert.Equal(t, tt.parked, a.NextAttemptAt.IsZero(), tt.result)
	}
}

// A look that fails says nothing of what was tried: that stays. Its reason can be read while the device waits, and when it
// is parked, and goes when someone asks for a retry that works.
func TestFailedLookKeepsAttempt(t *testing.T) {
	t.Parallel()
	w, e, bad := synced(t, 4, WithMaxFailures(3))
	require.NoError(t, w.apple.ForceAssignResult(bad, "FAILED", time.Hour))
	assignAll(t, e)
	before := w.row(t, bad).LastAttempt
	require.Equal(t, "FAILED", before.Result)
	w.apple.Intercept(refusing([]string{bad}, "/devices"))
	w.clock.Add(11 * time.Minute)
	assignAll(t, e)
	a := w.row(t, bad)
	assert.Equal(t, before, a.LastAttempt)
	assert.Contains(t, a.Problem, "SOMETHING_ODD")
	assert.Equal(t, 2, a.Failures)
	w.clock.Add(24 * time.Hour)
	assignAll(t, e)
	a = w.row(t, bad)
	assert.Equal(t, storage.AssignmentParked, a.State)
	assert.Contains(t, a.Problem, "SOMETHING_ODD", "it can be seen why")
	assert.Equal(t, before, a.LastAttempt)
	assert.Zero(t, a.NextAttemptAt)
	assert.Equal(t, 1, w.apple.AssignCalls(bad))
	assert.Equal(t, 3, w.states(t)[storage.AssignmentSatisfied], "the others are not held back")

	w.apple.Intercept(nil)
	_, err := e.Retry(t.Context(), acme, bad)
	require.NoError(t, err)
	w.settle(t, e)
	a = w.row(t, bad)
	assert.Equal(t, storage.AssignmentSatisfied, a.State)
	assert.Empty(t, a.Problem)
	assert.Zero(t, a.ProblemSince)
}

// While calls are held back nothing is blamed on a device, and its call is not open.
func TestHeldBackCallsAreNoAttempts(t *testing.T) {
	t.Parallel()
	w, _, serial := synced(t, 3)
	e := w.engine(t, WithCircuitBreaker(1, time.Minute))
	w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/profile/devices" {
			return false
		}
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	_, err := e.AssignOnce(t.Context(), acme)
	require.ErrorIs(t, err, ErrUnavailable)
	a := w.row(t, serial)
	assert.Equal(t, storage.AssignmentAssigning, a.State, "Apple may have done it")
	added := w.apple.RandomDevices(2)
	require.NoError(t, w.apple.AddDevices(w.server, added...))
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	_, err = e.AssignOnce(t.Context(), acme)
	require.ErrorIs(t, err, ErrHeldBack)
	a = w.row(t, added[0].SerialNumber)
	assert.Equal(t, storage.AssignmentPending, a.State, "it was not sent")
	assert.Zero(t, a.Failures)
	assert.Equal(t, time.Minute, a.NextAttemptAt.Sub(w.clock.Now()), "when calls are let through again")

	w.apple.Intercept(nil)
	w.clock.Add(2 * time.Minute)
	w.settle(t, e)
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 5}, w.states(t))
}
