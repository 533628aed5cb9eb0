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
		assert.Equal(t, 5, w.kinds(t)["token_expiring"], "30, 14, 7, 1 days and the end")
		assert.Equal(t, before+2, w.kinds(t)["account_health_changed"], "expiring and expired")
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
			_, err = s.writeRows(ctx, nil, rows, retryRow(time.Now()))
			require.ErrorIs(t, err, storage.ErrLeaseLost)
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, storage.ErrLeaseLost)
		assert.Equal(t, storage.HealthOK, w.health(t))
	})
}

// A token that another process has imported ends the wait for the one that was refused.
func TestNewTokenEndsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 3, abmtest.WithSessionLifetime(100*time.Hour))
		stop := startEngine(t, w.engine(t))
		time.Sleep(30 * time.Minute)
		require.NoError(t, w.server.UploadCertificate(testCertificate(t)))
		_, err := w.server.MintToken() // which voids the one in use
		require.NoError(t, err)
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		require.Equal(t, storage.HealthRejected, w.health(t))

		accts, err := NewAccounts(w.store, w.sealer, w.opts...) // of the other process
		require.NoError(t, err)
		token := tokenOf(w.server)
		c, err := newClient(token, accts.s, accts.s.baseURL)
		require.NoError(t, err)
		detail, err := c.AccountDetail(t.Context())
		require.NoError(t, err)
		_, err = accts.storeToken(t.Context(), acme, importedToken{
			token: token, pair: storage.KeyPair{Account: acme, ID: "new"}, detail: detail, over: w.acct(t).SealedToken,
		}, ImportOptions{})
		require.NoError(t, err)
		before := w.apple.Stats().Calls["POST /devices/sync"]
		time.Sleep(61 * time.Second)
		synctest.Wait()
		assert.Equal(t, before+1, w.apple.Stats().Calls["POST /devices/sync"])
		stop()
	})
}

// What was written with a clock that was far ahead does not keep the engine from its work until then.
func TestTimesInTheFutureAreDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	e := w.engine(t)
	ctx := t.Context()
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	set := func(last time.Time) agenda {
		cur, err := w.store.GetCursor(ctx, acme)
		require.NoError(t, err)
		cur.LastSyncAt, cur.LastSweepAt, cur.Rules = last, last, e.resolver.Rules().ID
		require.NoError(t, w.store.CommitInventory(ctx, storage.InventoryChange{Account: acme, Cursor: &cur}))
		due, err := e.due(ctx, acme)
		require.NoError(t, err)
		return due
	}
	due := set(w.clock.Now().Add(30 * time.Second))
	assert.False(t, due.sync || due.sweep, "clocks differ by seconds")
	due = set(w.clock.Now().AddDate(1, 0, 0))
	assert.True(t, due.sync && due.sweep)

	acct, err := w.store.GetAccount(ctx, acme)
	require.NoError(t, err)
	acct.LastOKAt = w.clock.Now().AddDate(1, 0, 0)
	require.NoError(t, w.store.UpdateAccount(ctx, acct))
	_, err = e.work(ctx, acme, false)
	require.NoError(t, err)
	acct, err = w.store.GetAccount(ctx, acme)
	require.NoError(t, err)
	assert.Equal(t, w.clock.Now(), acct.LastOKAt)
	due, err = e.due(ctx, acme)
	require.NoError(t, err)
	assert.False(t, due.sync || due.sweep)
}
