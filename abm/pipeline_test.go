package abm

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// slowStore holds the first write of a page until it is let go.
type slowStore struct {
	Store
	once sync.Once
	hold chan struct{}
}

func (s *slowStore) CommitInventory(ctx context.Context, c storage.InventoryChange) error {
	s.once.Do(func() { <-s.hold })
	return s.Store.CommitInventory(ctx, c)
}

// The next page is read while one is stored, and not the one after it.
func TestAtMostTwoPagesInMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 60, abmtest.WithPageLimits(10, 10))
		slow := &slowStore{Store: w.store, hold: make(chan struct{})}
		e := w.engineOn(t, slow)
		done := make(chan error)
		go func() {
			_, err := e.SyncOnce(t.Context(), acme)
			done <- err
		}()
		synctest.Wait()
		assert.Equal(t, 2, w.apple.Stats().Calls["POST /server/devices"])
		close(slow.hold)
		require.NoError(t, <-done)
		assert.Len(t, w.rows(t), 60)
	})
}

// A finished cursor that goes to the full list, as after a change of software, is exhausted and continues with sync.
func TestExhaustedCursorContinuesWithSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	e := w.engine(t)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	cur, err := w.store.GetCursor(t.Context(), acme)
	require.NoError(t, err)
	cur.Phase = storage.PhaseFetch
	require.NoError(t, w.store.CommitInventory(t.Context(), storage.InventoryChange{Account: acme, Cursor: &cur}))
	require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(2)...))
	res, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, SyncResult{Pages: 1, Devices: 2, Changed: 2}, res)
	cur, err = w.store.GetCursor(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, storage.PhaseSync, cur.Phase)
}
