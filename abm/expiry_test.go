package abm

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

const day = 24 * time.Hour

// told returns the thresholds that the account's people were told of, in order.
func (w *world) told(t *testing.T) []int {
	t.Helper()
	acts, _, err := w.store.ListActivities(t.Context(), storage.ActivityFilter{Account: acme, Kind: "token_expiring"}, storage.Page{})
	require.NoError(t, err)
	var days []int
	for _, a := range acts {
		e, err := activity.Parse(a)
		require.NoError(t, err)
		days = append(days, e.(*activity.TokenExpiring).Days)
	}
	return days
}

// Each threshold is told once, whoever looks and however often: replicas at the same time, and engines that come new. The
// account is idle all the time, and Apple cannot be reached.
func TestExpiryIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	down := &TransportError{Op: "SyncDevices", Err: errors.New("no route to host")}
	require.NoError(t, w.engine(t).Accounts().noteHealth(t.Context(), acme, w.acct(t).SealedToken, down))
	for range 370 {
		var wg sync.WaitGroup
		for range 3 {
			accts, err := NewAccounts(w.store, w.sealer, w.opts...)
			require.NoError(t, err)
			wg.Go(func() { assert.NoError(t, accts.CheckExpiry(t.Context())) })
		}
		wg.Wait()
		if w.acct(t).TokenExpiresAt.After(w.clock.Now()) {
			require.Equal(t, storage.HealthUnreachable, w.health(t), "that it ends soon does not mean that Apple is back")
		}
		w.clock.Add(day)
	}
	assert.Equal(t, []int{30, 14, 7, 1, 0}, w.told(t))
	assert.Equal(t, storage.HealthExpired, w.health(t))

	// A renewal begins anew; the same token again does not.
	accts := w.engine(t).Accounts()
	w.renew(t, accts)
	assert.Equal(t, storage.HealthOK, w.health(t))
	w.clock.Add(360 * day)
	require.NoError(t, accts.CheckExpiry(t.Context()))
	assert.Equal(t, []int{30, 14, 7, 1, 0, 7}, w.told(t), "who comes late is told the nearest one")
	assert.Equal(t, storage.HealthExpiring, w.health(t))
	token, err := accts.Token(t.Context(), acme)
	require.NoError(t, err)
	before := w.acct(t)
	_, err = accts.PutToken(t.Context(), acme, token)
	require.NoError(t, err)
	assert.Equal(t, before, w.acct(t))
	require.NoError(t, accts.CheckExpiry(t.Context()))
	assert.Len(t, w.told(t), 6)
}

// A store that fails between the accounts, or once, makes the warning late and nothing else.
func TestExpiryAfterFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	other, err := w.apple.AddMDMServer("Other")
	require.NoError(t, err)
	broken := &failingAccounts{AccountsStore: w.store, failFor: "aaa", err: errors.New("disk full")}
	accts, err := NewAccounts(broken, w.sealer, w.opts...)
	require.NoError(t, err)
	w.account(t, accts, "aaa", other) // the first by name
	w.clock.Add(340 * day)
	broken.fails = true
	require.ErrorIs(t, accts.CheckExpiry(t.Context()), broken.err)
	assert.Equal(t, []int{30}, w.told(t), "the others are told")
	broken.fails = false
	require.NoError(t, accts.CheckExpiry(t.Context()))
	acts, _, err := w.store.ListActivities(t.Context(), storage.ActivityFilter{Account: "aaa", Kind: "token_expiring"}, storage.Page{})
	require.NoError(t, err)
	assert.Len(t, acts, 1)
}

type failingAccounts struct {
	AccountsStore
	failFor string
	fails   bool
	err     error
}

func (f *failingAccounts) UpdateAccount(ctx context.Context, a storage.Account, acts ...storage.Activity) error {
	if f.fails && a.Name == f.failFor {
		return f.err
	}
	return f.AccountsStore.UpdateAccount(ctx, a, acts...)
}

func TestDaysLeft(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for left, want := range map[time.Duration]int{
		31 * day: 0, 30*day + 1: 0, 30 * day: 30, 15 * day: 30, 14 * day: 14, 7 * day: 7, 2 * day: 7, day: 1, 1: 1, 0: endTold, -day: endTold,
	} {
		assert.Equal(t, want, daysLeft(now.Add(left), now), left)
	}
}
