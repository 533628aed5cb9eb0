package abm

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// conflictStore answers one write with ErrConflict, as if someone had changed a record in between.
type conflictStore struct {
	Store
	writes atomic.Int32
	at     int32
}

func (c *conflictStore) CommitInventory(ctx context.Context, ch storage.InventoryChange) error {
	if c.writes.Add(1) == c.at {
		return storage.ErrConflict
	}
	return c.Store.CommitInventory(ctx, ch)
}

func (c *conflictStore) UpdateAccount(ctx context.Context, a storage.Account, acts ...storage.Activity) error {
	if c.writes.Add(1) == c.at {
		return storage.ErrConflict
	}
	return c.Store.UpdateAccount(ctx, a, acts...)
}

// A write that meets someone else's is decided anew: no step fails, and nothing is done twice.
func TestConflictAtEachWrite(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, at int32) int32 {
		w := newWorld(t, 35, abmtest.WithPageLimits(10, 10))
		released := w.apple.Devices(0, 1)[0].SerialNumber
		cs := &conflictStore{Store: w.store, at: at}
		require.NoError(t, lifecycle(t, w, w.engineOn(t, cs), func() { require.NoError(t, w.apple.Release(released)) }))
		assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 34, storage.AssignmentGone: 1}, w.states(t))
		for serial, calls := range w.apple.Stats().AssignCalls {
			assert.Equal(t, 1, calls, serial)
		}
		kinds := w.kinds(t)
		assert.Equal(t, 35, kinds["device_added"])
		assert.Equal(t, 35, kinds["profile_assigned"])
		return cs.writes.Load()
	}
	total := run(t, 0)
	require.Greater(t, total, int32(15))
	for at := int32(1); at <= total; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			run(t, at)
		})
	}
}

// Someone asks for a retry while the call is under way: the result of the call is not lost.
func TestRetryDuringCall(t *testing.T) {
	t.Parallel()
	w, e, serial := synced(t, 3)
	hook := &hookTransport{next: direct{w.apple}, path: "/profile/devices", do: func() {
		n, err := e.Retry(t.Context(), acme, serial)
		assert.NoError(t, err)
		assert.Zero(t, n, "a call under way is left alone")
		row := w.row(t, serial) // and someone writes the row all the same
		assert.NoError(t, w.store.CommitInventory(t.Context(), storage.InventoryChange{Account: acme, Assignments: []storage.Assignment{row}}))
	}}
	w.opts = append(w.opts, WithTransport(hook))
	assert.Equal(t, 3, assignAll(t, w.engine(t)).Assigned)
	assert.Equal(t, storage.AssignmentAssigned, w.row(t, serial).State)
}
