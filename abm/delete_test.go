package abm

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// leavings returns what the store still has of the account, by kind.
func (w *world) leavings(t *testing.T) map[string]int {
	t.Helper()
	ctx := t.Context()
	found := make(map[string]int)
	note := func(kind string, err error) {
		if err == nil {
			found[kind]++
			return
		}
		require.ErrorIs(t, err, storage.ErrNotFound, kind)
	}
	_, err := w.store.GetAccount(ctx, acme)
	note("account", err)
	_, err = w.store.GetCursor(ctx, acme)
	note("cursor", err)
	_, err = w.store.GetNanoDEP(ctx, acme)
	note("nanodep", err)
	_, err = w.store.GetServiceSession(ctx, acme)
	note("service session", err)
	present, left, err := w.store.CountDevices(ctx, acme)
	require.NoError(t, err)
	found["devices"] += present + left
	found["assignments"] += len(w.rows(t))
	pairs, err := w.store.ListKeyPairs(ctx, acme)
	require.NoError(t, err)
	found["key pairs"] += len(pairs)
	print, err := testProfile("Standard").Fingerprint()
	require.NoError(t, err)
	_, err = w.store.GetProfile(ctx, acme, print.String())
	note("profile", err)
	for kind, n := range found {
		if n == 0 {
			delete(found, kind)
		}
	}
	return found
}

// An account is deleted while the engine waits for Apple's answer to each kind of call: nothing is written after, and what
// is not the account's stays. Apple is not asked.
func TestDeleteWhileWorking(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/server/devices", "/devices/sync", "/account", "/profile", "/profile/devices", "/devices"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { deleteDuring(t, path) })
		})
	}
}

// deleteDuring deletes the account when the first request for path is sent, and lets the engine run on for days.
func deleteDuring(t *testing.T, path string) {
	w := newWorldAt(t, nil, 30)
	ctx := t.Context()
	_, err := w.engine(t).Accounts().CreateKeyPair(ctx, acme)
	require.NoError(t, err)
	require.NoError(t, w.store.PutNanoDEP(ctx, storage.NanoDEP{Account: acme, Cursor: "c"}))
	require.NoError(t, w.store.PutEnrollment(ctx, storage.Enrollment{ID: "E", Account: acme}))
	require.NoError(t, w.store.CommitRun(ctx, storage.RunChange{Run: storage.Run{ID: "R", EnrollmentID: "E"}}))

	var deleted atomic.Bool
	var devices int
	var told map[string]int
	core, logs := observer.New(zap.WarnLevel)
	accts, err := NewAccounts(w.store, w.sealer, append(w.opts, WithTransport(noTransport{t}))...)
	require.NoError(t, err)
	w.opts = append(w.opts, WithLogger(zap.New(core)), WithTransport(&hookTransport{next: direct{w.apple}, path: path, do: func() {
		if deleted.Swap(true) {
			return
		}
		devices, _, _ = w.store.CountDevices(ctx, acme)
		require.NoError(t, accts.Delete(ctx, acme))
		told = w.kinds(t)
	}}))
	e := w.engine(t)
	stop := startEngine(t, e)
	time.Sleep(3 * 24 * time.Hour)
	synctest.Wait()
	stop()
	require.True(t, deleted.Load(), "the call was never made")
	require.NoError(t, accts.Delete(ctx, acme), "once more is no error")

	assert.Empty(t, w.leavings(t))
	assert.Equal(t, told, w.kinds(t))
	w.checkStays(t, devices)
	_, err = e.Accounts().Client(ctx, acme)
	require.ErrorIs(t, err, storage.ErrNotFound)
	assert.Empty(t, e.Accounts().clients, "its secrets are not kept in memory")
	assert.Empty(t, logs.FilterMessage("account failed; trying again").All())
}

// checkStays checks what outlives the account: that it was deleted and how much it had, and the devices that enrolled.
func (w *world) checkStays(t *testing.T, devices int) {
	t.Helper()
	ctx := t.Context()
	acts, _, err := w.store.ListActivities(ctx, storage.ActivityFilter{Account: acme, Kind: "account_deleted"}, storage.Page{})
	require.NoError(t, err)
	require.Len(t, acts, 1)
	ev, err := activity.Parse(acts[0])
	require.NoError(t, err)
	assert.Equal(t, devices, ev.(*activity.AccountDeleted).Devices)
	_, err = w.store.GetEnrollment(ctx, "E")
	require.NoError(t, err)
	_, err = w.store.GetRun(ctx, "R")
	require.NoError(t, err)
}

// An account is deleted and created again while the engine reads its list: what it has read is of the old one, and is not
// written to the new one.
func TestRecreateWhileWorking(t *testing.T) {
	t.Parallel()
	w, _, _ := synced(t, 30)
	ctx := t.Context()
	accts, err := NewAccounts(w.store, w.sealer, w.opts...)
	require.NoError(t, err)
	var done atomic.Bool
	w.opts = append(w.opts, WithTransport(&hookTransport{next: direct{w.apple}, path: "/server/devices", do: func() {
		if !done.Swap(true) {
			require.NoError(t, accts.Delete(ctx, acme))
			w.account(t, accts, acme, w.server)
		}
	}}))
	e := w.engine(t)
	_, err = e.SweepOnce(ctx, acme)
	require.ErrorIs(t, err, storage.ErrLeaseLost)
	present, left, err := w.store.CountDevices(ctx, acme)
	require.NoError(t, err)
	assert.Zero(t, present+left)
	_, err = e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assert.Len(t, w.rows(t), 30)
}
