package abm

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// lifecycle drives an account through everything the engine does: first read, assignment, changes at Apple, devices that
// leave, verification, sweep. It stops at the first error.
func lifecycle(t *testing.T, w *world, e *Engine, change func()) error {
	t.Helper()
	ctx := t.Context()
	assign := func() error {
		for {
			if res, err := e.AssignOnce(ctx, acme); err != nil || res.Due == 0 {
				return err
			}
		}
	}
	sweep := func() error { _, err := e.SweepOnce(ctx, acme); return err }
	sync := func() error { _, err := e.SyncOnce(ctx, acme); return err }
	wait := func() error { w.clock.Add(11 * time.Minute); return nil }
	// An engine that takes over assigns first, before Apple's feed tells it what its predecessor has done.
	for _, step := range []func() error{assign, sync, assign, func() error { change(); return nil }, sync, assign, wait, assign, sweep, assign, wait, assign} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// A process that dies at any call to its store, before or after the call was carried out, loses nothing, and no
// device is assigned twice by the one that follows.
func TestCrashAtEachStoreCall(t *testing.T) {
	t.Parallel()
	const n = 45
	run := func(t *testing.T, at int, after bool) (calls int, died bool) {
		w := newWorld(t, n, abmtest.WithPageLimits(10, 10))
		devs := w.apple.Devices(0, n)
		released, more := devs[0].SerialNumber, w.apple.RandomDevices(7)
		changed := false
		change := func() {
			if !changed {
				changed = true
				require.NoError(t, w.apple.Release(released))
				require.NoError(t, w.apple.AddDevices(w.server, more...))
			}
		}
		dying := &crashStore{Store: w.store, at: at, after: after}
		err := lifecycle(t, w, w.engineOn(t, dying), change)
		if at > 0 && !dying.dead() {
			return dying.calls, false
		}
		if at == 0 {
			require.NoError(t, err)
		}
		w.clock.Add(4 * time.Minute) // the dead engine's lease and its open calls run out
		require.NoError(t, lifecycle(t, w, w.engine(t), change))

		stats := w.apple.Stats()
		assert.Len(t, stats.AssignCalls, n+len(more))
		for serial, c := range stats.AssignCalls {
			assert.Equal(t, 1, c, "assign calls of %s", serial)
		}
		assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: n + len(more) - 1, storage.AssignmentGone: 1}, w.states(t))
		assert.False(t, func() bool { d := w.device(t, released); return d.Present() }())
		kinds := w.kinds(t)
		assert.Equal(t, n+len(more), kinds["device_added"])
		assert.Equal(t, 1, kinds["device_left"])
		return dying.calls, true
	}
	total, _ := run(t, 0, false)
	require.Greater(t, total, 50)
	for _, after := range []bool{false, true} {
		for at := 1; at <= total; at++ {
			t.Run(fmt.Sprintf("call %d after=%t", at, after), func(t *testing.T) {
				t.Parallel()
				_, died := run(t, at, after)
				if at < total-5 {
					require.True(t, died)
				}
			})
		}
	}
}
