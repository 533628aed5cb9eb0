package abm

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// callsSince returns how often each endpoint was called since before.
func callsSince(before, after map[string]int) map[string]int {
	out := make(map[string]int)
	for k, n := range after {
		if n -= before[k]; n > 0 {
			out[k] = n
		}
	}
	return out
}

// An idle account costs one call in each sync interval, and a sweep its list, the account and each profile in use.
func TestIdleAccountCostsOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 2500
		w := newWorldAt(t, nil, n, abmtest.WithSessionLifetime(1000*time.Hour))
		e := w.engine(t)
		stop := startEngine(t, e)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: n}, w.states(t))
		before := w.apple.Stats().Calls
		time.Sleep(20 * time.Hour) // no sweep yet
		synctest.Wait()
		calls := callsSince(before, w.apple.Stats().Calls)
		assert.InDelta(t, 19, calls["POST /devices/sync"], 1)
		delete(calls, "POST /devices/sync")
		assert.Empty(t, calls)

		before = w.apple.Stats().Calls
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		stop()
		calls = callsSince(before, w.apple.Stats().Calls)
		delete(calls, "POST /devices/sync")
		assert.Equal(t, map[string]int{"GET /account": 1, "POST /server/devices": 3, "GET /profile": 1}, calls)
	})
}

// A satisfied fleet causes no call that changes anything, also when the cursor is lost and everything is read again.
func TestSatisfiedFleetCausesNoAssignment(t *testing.T) {
	t.Parallel()
	const n = 1200
	w := newWorld(t, n)
	e := w.engine(t)
	ctx := t.Context()
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	w.settle(t, e)
	before := w.apple.Stats()
	w.clock.Add(8 * 24 * time.Hour) // longer than a cursor lives
	res, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assert.True(t, res.Full)
	_, err = e.PlanOnce(ctx, acme)
	require.NoError(t, err)
	assert.Zero(t, assignAll(t, e).Due)
	_, err = e.SweepOnce(ctx, acme)
	require.NoError(t, err)
	w.settle(t, e)
	after := w.apple.Stats()
	assert.True(t, maps.Equal(before.AssignCalls, after.AssignCalls))
	calls := callsSince(before.Calls, after.Calls)
	for _, write := range []string{"POST /profile/devices", "POST /profile", "DELETE /profile/devices", "POST /devices"} {
		assert.Zero(t, calls[write], write)
	}
	// Each of the two read the list once.
	assert.Equal(t, 4, calls["POST /server/devices"])
}
