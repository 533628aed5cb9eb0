package abm

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// A replica with older rules never plans back what the newer ones have planned.
func TestOlderRulesPlanNothingBack(t *testing.T) {
	t.Parallel()
	const n = 10
	w := newWorld(t, n)
	ctx := t.Context()
	core, logs := observer.New(zap.WarnLevel)
	w.opts = append(w.opts, WithLogger(zap.New(core)))
	older, newer := w.ordered(t, 1, staged("old", nil)), w.ordered(t, 2, staged("new", nil))
	_, err := older.SyncOnce(ctx, acme)
	require.NoError(t, err)
	w.settle(t, older)
	assert.Zero(t, logs.Len())
	assert.Equal(t, n, w.planned(t, newer))
	assert.Equal(t, 1, w.kinds(t)["rules_applied"])

	due, err := older.due(ctx, acme)
	require.NoError(t, err)
	assert.False(t, due.plan)
	_, err = older.due(ctx, acme)
	require.NoError(t, err)
	assert.Equal(t, 1, logs.FilterMessageSnippet("newer rules").Len(), "told once")
	_, err = older.PlanOnce(ctx, acme)
	require.ErrorIs(t, err, ErrOlderRules)

	// Devices that change while the older one reads keep what they have; new ones get what it knows, at once.
	changed := w.apple.Devices(0, 1)[0].SerialNumber
	require.NoError(t, w.apple.Unassign(changed))
	require.NoError(t, w.apple.Assign(w.server, changed))
	require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(5)...))
	w.clock.Add(time.Hour)
	_, err = older.SyncOnce(ctx, acme)
	require.NoError(t, err)
	w.settle(t, older)
	assert.Equal(t, map[string]int{"new": n, "old": 5}, w.profiles(t))
	due, err = older.due(ctx, acme)
	require.NoError(t, err)
	assert.False(t, due.plan)

	// The newer one is told that there is something to decide, and does.
	due, err = newer.due(ctx, acme)
	require.NoError(t, err)
	assert.True(t, due.plan)
	assert.Equal(t, 5, w.planned(t, newer))
	assert.Equal(t, map[string]int{"new": n + 5}, w.profiles(t))
	due, err = newer.due(ctx, acme)
	require.NoError(t, err)
	assert.False(t, due.plan)
	cur, err := w.store.GetCursor(ctx, acme)
	require.NoError(t, err)
	assert.EqualValues(t, 2, cur.RulesOrder)
}

// A sweep of an account that was never read is interrupted, and the rules change: its devices are planned anew.
func TestRulesChangeAfterInterruptedFirstSweep(t *testing.T) {
	t.Parallel()
	const n = 5
	w := newWorld(t, n, abmtest.WithPageLimits(n-1, n-1))
	ctx := t.Context()
	pages := 0
	w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/server/devices" {
			return false
		}
		if pages++; pages == 2 {
			rw.WriteHeader(http.StatusBadRequest)
			return true
		}
		return false
	})
	_, err := w.ordered(t, 0, staged("a", nil)).SweepOnce(ctx, acme)
	require.Error(t, err)
	require.Len(t, w.rows(t), n-1)
	b := w.ordered(t, 0, staged("b", nil))
	_, err = b.SyncOnce(ctx, acme)
	require.NoError(t, err)
	due, err := b.due(ctx, acme)
	require.NoError(t, err)
	assert.True(t, due.plan)
	w.planned(t, b)
	assert.Equal(t, map[string]int{"b": n}, w.profiles(t))
}

// What newer rules leave alone is left alone by the older ones too, in a look and a sweep as well.
func TestOlderRulesLeaveAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	ctx := t.Context()
	older, newer := w.ordered(t, 1, staged("old", nil)), w.ordered(t, 2, Rule{Name: "nothing"})
	_, err := newer.SyncOnce(ctx, acme)
	require.NoError(t, err)
	serial := w.apple.Devices(0, 1)[0].SerialNumber
	require.NoError(t, w.apple.Unassign(serial))
	require.NoError(t, w.apple.Assign(w.server, serial))
	w.clock.Add(time.Hour)
	_, err = older.SweepOnce(ctx, acme)
	require.NoError(t, err)
	_, err = older.SyncOnce(ctx, acme)
	require.NoError(t, err)
	w.settle(t, older)
	assert.Zero(t, w.assignCalls())
	assert.Empty(t, w.rows(t))
}

// Replicas with different rules of one order do not plan the fleet in turns without end, and each device is assigned at most
// once for each of the plans.
func TestRulesOfOneOrderTakeTurnsSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 5
		w := newWorldAt(t, nil, n, abmtest.WithSessionLifetime(1000*time.Hour))
		a, b := w.ordered(t, 0, staged("a", nil)), w.ordered(t, 0, staged("b", nil))
		stopA, stopB := startEngine(t, a), startEngine(t, b)
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		plans := w.kinds(t)["rules_applied"]
		assert.LessOrEqual(t, plans, 22, "each at most once an hour")
		stopA()
		stopB()
		// One that starts plans at once: it has not planned yet.
		stop := startEngine(t, w.ordered(t, 0, staged("c", nil)))
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		stop()
		assert.Equal(t, map[string]int{"c": n}, w.profiles(t))
	})
}

// A resolver that cannot name its rules does nothing, and does no harm.
func TestRulesThatPanic(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t, 3), newRuleBook()
	bad, err := ForEach(func() Rules { panic("bug of the host") }, func(context.Context, storage.Device) Decision { return Decision{} })
	require.NoError(t, err)
	e, err := New(w.store, w.sealer, bad, w.opts...)
	require.NoError(t, err)
	_, err = e.SyncOnce(t.Context(), acme)
	require.ErrorContains(t, err, "bug of the host")
	good, err := New(w.store, w.sealer, r, w.opts...)
	require.NoError(t, err)
	_, err = good.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	_, err = e.due(t.Context(), acme)
	require.ErrorContains(t, err, "bug of the host")
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentPending: 3}, w.states(t))
}
