package abm

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// hanging answers requests to one host only; those to others never come back. It counts how many wait at once.
type hanging struct {
	next    http.RoundTripper
	healthy string

	mu        sync.Mutex
	now, most int
}

func (h *hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == h.healthy {
		return h.next.RoundTrip(r)
	}
	h.count(1)
	defer h.count(-1)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func (h *hanging) count(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now += n
	h.most = max(h.most, h.now)
}

// crowd is a healthy account among many that hang.
func crowd(t *testing.T, n int) (*world, *hanging) {
	t.Helper()
	w := newWorldAt(t, nil, 20, abmtest.WithSessionLifetime(1000*time.Hour))
	accts, err := NewAccounts(w.store, w.sealer, w.opts...)
	require.NoError(t, err)
	for i := range n {
		other, err := w.apple.AddMDMServer(fmt.Sprint("Other", i))
		require.NoError(t, err)
		name := fmt.Sprintf("aa%02d", i) // before the healthy one
		w.account(t, accts, name, other)
		acct, err := w.store.GetAccount(t.Context(), name)
		require.NoError(t, err)
		acct.BaseURL = "https://hangs.test"
		require.NoError(t, w.store.UpdateAccount(t.Context(), acct))
	}
	h := &hanging{next: direct{w.apple}, healthy: "apple.test"}
	w.opts = append(w.opts, WithTransport(h))
	return w, h
}

func TestHangingAccountsDelayNoHealthyOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, h := crowd(t, 20)
		stop := startEngine(t, w.engine(t))
		time.Sleep(30 * time.Minute) // in which it is found out who hangs
		synctest.Wait()
		assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 20}, w.states(t))
		assert.LessOrEqual(t, h.most, 16)

		h.mu.Lock()
		h.most = 0
		h.mu.Unlock()
		for range 48 { // each sync is on time: at most a tenth of the hour late, and a poll
			time.Sleep(time.Hour)
			synctest.Wait()
			cur, err := w.store.GetCursor(t.Context(), acme)
			require.NoError(t, err)
			assert.Less(t, time.Since(cur.LastSyncAt), 67*time.Minute)
		}
		stop()
		assert.Equal(t, 2, h.most, "the lane of those that do not work is used, and no other")
		for i := range 20 {
			acct, err := w.store.GetAccount(t.Context(), fmt.Sprintf("aa%02d", i))
			require.NoError(t, err)
			assert.Equal(t, storage.HealthUnreachable, acct.Health)
		}

		// An engine that starts knows them from the store.
		time.Sleep(2 * time.Hour) // a sync is due
		began := time.Now()
		stop = startEngine(t, w.engine(t))
		time.Sleep(time.Second)
		synctest.Wait()
		cur, err := w.store.GetCursor(t.Context(), acme)
		require.NoError(t, err)
		assert.False(t, cur.LastSyncAt.Before(began))
		stop()
	})
}

func TestConcurrencyIsLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, h := crowd(t, 20)
		stop := startEngine(t, w.engine(t, WithConcurrency(3)))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		h.mu.Lock()
		assert.Equal(t, 3, h.most)
		h.mu.Unlock()
		stop()
	})
	_, err := newSettings([]Option{WithConcurrency(0)})
	require.ErrorContains(t, err, "WithConcurrency")
}

func TestLanesServeInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1)
		leave, err := l.enter(t.Context(), false)
		require.NoError(t, err)
		var got []int
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				leave, err := l.enter(t.Context(), false)
				assert.NoError(t, err)
				got = append(got, i) // one at a time is inside
				leave()
			})
			synctest.Wait()
		}
		out, err := l.enter(t.Context(), true)
		require.NoError(t, err, "the other lane is free")
		out()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = l.enter(ctx, false)
		require.ErrorIs(t, err, context.Canceled)
		leave()
		wg.Wait()
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, got)
	})
}
