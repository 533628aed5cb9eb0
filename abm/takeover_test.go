package abm

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// An engine whose clock is far ahead takes a lease and dies: the others wait for an hour, not for a year.
func TestLeaseFromTheFutureIsTakenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 5, abmtest.WithSessionLifetime(100*time.Hour))
		ahead := time.Now().AddDate(1, 0, 0)
		l, err := w.store.AcquireLease(t.Context(), leaseName(acme), "dead", ahead, time.Minute)
		require.NoError(t, err)
		stopA, stopB := startEngine(t, w.engine(t)), startEngine(t, w.engine(t))
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		assert.Zero(t, w.apple.Stats().Calls["POST /server/devices"], "it may be alive")
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 5}, w.states(t))
		for serial, calls := range w.apple.Stats().AssignCalls {
			assert.Equal(t, 1, calls, serial)
		}
		stopA()
		stopB()
		_, err = w.store.RenewLease(t.Context(), l, ahead, time.Minute)
		require.ErrorIs(t, err, storage.ErrLeaseLost)
		_, err = w.store.GetLease(t.Context(), leaseName(acme))
		require.ErrorIs(t, err, storage.ErrNotFound, "given back")
	})
}

// One that is renewed is respected, however wrong the clock of its holder is; so is one that is merely long.
func TestLeaseThatIsRenewedIsRespected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 5)
		e := w.engine(t)
		off := 365 * 24 * time.Hour
		l, err := w.store.AcquireLease(t.Context(), leaseName(acme), "alive", time.Now().Add(off), time.Minute)
		require.NoError(t, err)
		for range 100 {
			time.Sleep(20 * time.Second)
			l, err = w.store.RenewLease(t.Context(), l, time.Now().Add(off), time.Minute)
			require.NoError(t, err)
			_, err = e.SyncOnce(t.Context(), acme)
			require.ErrorIs(t, err, storage.ErrLeaseHeld)
		}
		time.Sleep(20 * time.Second)
		_, err = e.SyncOnce(t.Context(), acme)
		require.ErrorIs(t, err, storage.ErrLeaseHeld)
		require.NoError(t, w.store.ReleaseLease(t.Context(), l))
		_, err = e.SyncOnce(t.Context(), acme)
		require.NoError(t, err)
	})
}

// One that lasts longer than ours do is respected as well: replicas may have other settings.
func TestLongerLeaseIsRespected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 5)
		l, err := w.store.AcquireLease(t.Context(), leaseName(acme), "alive", time.Now(), time.Hour)
		require.NoError(t, err)
		e, behind := w.engine(t), w.engine(t, off(-5*time.Hour))
		for range 10 {
			for range 60 {
				time.Sleep(20 * time.Second)
				_, err = e.SyncOnce(t.Context(), acme)
				require.ErrorIs(t, err, storage.ErrLeaseHeld)
				_, err = behind.SyncOnce(t.Context(), acme)
				require.ErrorIs(t, err, storage.ErrLeaseHeld)
			}
			l, err = w.store.RenewLease(t.Context(), l, time.Now(), time.Hour)
			require.NoError(t, err, "it was taken over")
		}
		_, err = newSettings([]Option{WithLeaseTTL(time.Hour + 1)})
		require.ErrorContains(t, err, "WithLeaseTTL")
	})
}
