package abm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// start runs an engine until the returned function is called.
func startEngine(t *testing.T, e *Engine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	}
}

func TestRunTwoEnginesAssignOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 2500
		w := newWorldAt(t, nil, n, abmtest.WithSessionLifetime(100*time.Hour))
		stopA, stopB := startEngine(t, w.engine(t)), startEngine(t, w.engine(t))
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: n}, w.states(t))

		require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(500)...))
		time.Sleep(45 * time.Minute) // the next hourly sync
		stopA()                      // one replica leaves
		time.Sleep(26 * time.Hour)   // the daily sweep
		synctest.Wait()
		assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: n + 500}, w.states(t))
		stopB()

		stats := w.apple.Stats()
		require.Len(t, stats.AssignCalls, n+500)
		for serial, calls := range stats.AssignCalls {
			require.Equal(t, 1, calls, serial)
		}
		assert.InDelta(t, 26, stats.Calls["POST /devices/sync"], 3, "hourly")
		assert.Equal(t, storage.HealthOK, w.health(t))
		assert.Equal(t, n+500, w.kinds(t)["device_added"])
	})
}

func TestRunBrokenAccountDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 20)
		e := w.engine(t)
		other, err := w.apple.AddMDMServer("Other")
		require.NoError(t, err)
		w.account(t, e.Accounts(), "broken", other)
		require.NoError(t, other.UploadCertificate(testCertificate(t)))
		_, err = other.MintToken() // which voids the one just imported
		require.NoError(t, err)

		stop := startEngine(t, e)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		stop()
		assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 20}, w.states(t))
		acct, err := w.store.GetAccount(t.Context(), "broken")
		require.NoError(t, err)
		assert.Equal(t, storage.HealthRejected, acct.Health)
		acts, _, err := w.store.ListActivities(t.Context(), storage.ActivityFilter{Account: "broken", Kind: "account_health_changed"}, storage.Page{})
		require.NoError(t, err)
		assert.Len(t, acts, 2, "new to ok, ok to rejected: transitions only")
	})
}

func TestRunTermsAndExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 3)
		stop := startEngine(t, w.engine(t, WithPollInterval(time.Hour), WithSyncInterval(2*time.Hour), WithLeaseTTL(time.Hour)))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		assert.Equal(t, storage.HealthOK, w.health(t))

		w.apple.SetTermsSigned(false)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		assert.Equal(t, storage.HealthTermsNotSigned, w.health(t))

		w.apple.SetTermsSigned(true)
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		assert.Equal(t, storage.HealthOK, w.health(t))

		before := w.kinds(t)["account_health_changed"]
		time.Sleep(340 * 24 * time.Hour)
		synctest.Wait()
		assert.Equal(t, storage.HealthExpiring, w.health(t))
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		assert.Equal(t, storage.HealthExpired, w.health(t))
		assert.Equal(t, before+5, w.kinds(t)["account_health_changed"], "30, 14, 7, 1 days and the end")
		calls := w.apple.Stats().Calls["GET /session"]
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		assert.Equal(t, calls, w.apple.Stats().Calls["GET /session"], "an expired token is not tried")
		stop()
	})
}

func TestSyncNowWaitsForOtherEngine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 5)
		ctx := t.Context()
		l, err := w.store.AcquireLease(ctx, "abm/account/"+acme, "someone else", time.Now(), 10*time.Second)
		require.NoError(t, err)
		e := w.engine(t)
		_, err = e.SyncOnce(ctx, acme)
		require.ErrorIs(t, err, storage.ErrLeaseHeld)

		began := time.Now()
		res, err := e.SyncNow(ctx, acme)
		require.NoError(t, err)
		assert.Equal(t, 5, res.Changed)
		assert.GreaterOrEqual(t, time.Since(began), 10*time.Second)

		// The lease has passed on: nothing of its old holder is written.
		err = w.store.CommitInventory(ctx, storage.InventoryChange{Account: acme, Fence: l.Fence()})
		require.ErrorIs(t, err, storage.ErrLeaseLost)

		_, err = e.SyncNow(ctx, "unknown")
		require.ErrorIs(t, err, storage.ErrNotFound)
	})
}

// An account that is deleted is not worked on any more, and one that is created is noticed.
func TestRunNoticesAccounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 5)
		e := w.engine(t)
		stop := startEngine(t, e)
		time.Sleep(5 * time.Minute)
		other, err := w.apple.AddMDMServer("Other")
		require.NoError(t, err)
		require.NoError(t, w.apple.AddDevices(other, w.apple.RandomDevices(4)...))
		w.account(t, e.Accounts(), "late", other)
		require.NoError(t, e.Accounts().Delete(t.Context(), acme))
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		_, err = e.Accounts().Client(t.Context(), acme)
		require.ErrorIs(t, err, storage.ErrNotFound)
		rows, _, err := w.store.ListAssignments(t.Context(), storage.AssignmentFilter{Account: "late", State: storage.AssignmentSatisfied}, storage.Page{})
		require.NoError(t, err)
		assert.Len(t, rows, 4)
		stop()
	})
}

// A lease that is lost in the middle of a step ends the step.
func TestLostLeaseEndsStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 5)
		e := w.engine(t)
		err := e.with(t.Context(), acme, func(ctx context.Context, s *step) error {
			require.NoError(t, w.store.ReleaseLease(ctx, storage.Lease{Name: s.fence.Name, Owner: e.s.owner, Token: s.fence.Token}))
			_, err := w.store.AcquireLease(ctx, s.fence.Name, "someone else", time.Now(), time.Hour)
			require.NoError(t, err)
			// Before the loss is noticed, the store refuses what is written.
			require.ErrorIs(t, s.commit(ctx, storage.InventoryChange{}), storage.ErrLeaseLost)
			_, err = s.observe(ctx, []Device{{SerialNumber: "X"}}, nil, nil)
			require.ErrorIs(t, err, storage.ErrLeaseLost)
			rows := []storage.Assignment{{Account: acme, Serial: "X", State: storage.AssignmentPending}}
			_, err = e.writeRows(ctx, s.fence, nil, rows, retryRow(time.Now()))
			require.ErrorIs(t, err, storage.ErrLeaseLost)
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, storage.ErrLeaseLost)
		assert.Equal(t, storage.HealthOK, w.health(t))
	})
}
