package abm

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// hookStore calls a function of the test before a call to the store. A nil one is not called.
type hookStore struct {
	Store
	put     func()
	renew   func(context.Context) error
	devices func() error
}

func (h *hookStore) PutProfile(ctx context.Context, f storage.Fence, p storage.Profile, acts ...storage.Activity) error {
	if h.put != nil {
		h.put()
	}
	return h.Store.PutProfile(ctx, f, p, acts...)
}

func (h *hookStore) RenewLease(ctx context.Context, l storage.Lease, now time.Time, ttl time.Duration) (storage.Lease, error) {
	if h.renew != nil {
		if err := h.renew(ctx); err != nil {
			return storage.Lease{}, err
		}
	}
	return h.Store.RenewLease(ctx, l, now, ttl)
}

func (h *hookStore) GetDevices(ctx context.Context, account string, serials []string) ([]storage.Device, error) {
	if h.devices != nil {
		if err := h.devices(); err != nil {
			return nil, err
		}
	}
	return h.Store.GetDevices(ctx, account, serials)
}

// An engine that slept past its lease while it defined a profile does not put its UUID over the one that its successor
// has defined and may have assigned already.
func TestSleeperKeepsItsProfileUUIDToItself(t *testing.T) {
	t.Parallel()
	w, _, _ := synced(t, 3)
	var uuids atomic.Int32
	w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/profile" {
			return false
		}
		_, _ = fmt.Fprintf(rw, `{"profile_uuid":"UUID%d","devices":{}}`, uuids.Add(1))
		return true
	})
	rows, err := w.store.ListProfiles(t.Context(), acme)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	var slept atomic.Bool
	sleeper := w.engineOn(t, &hookStore{Store: w.store, put: func() {
		if slept.Swap(true) {
			return
		}
		w.clock.Add(2 * time.Minute)
		err := w.engine(t).with(t.Context(), acme, func(ctx context.Context, s *step) error {
			p, err := s.define(ctx, rows[0].Fingerprint)
			assert.Equal(t, "UUID2", p.UUID)
			return err
		})
		assert.NoError(t, err)
	}})
	_, err = sleeper.AssignOnce(t.Context(), acme)
	require.ErrorIs(t, err, storage.ErrLeaseLost)
	rows, err = w.store.ListProfiles(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, "UUID2", rows[0].UUID)
}

// A store that hangs does not keep a step alive past its lease: what another engine may do by then is not done twice.
func TestHungRenewalEndsStepWithItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 3, abmtest.WithSessionLifetime(100*time.Hour))
		hung := &hookStore{Store: w.store, renew: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		a := w.engineOn(t, hung)
		began := time.Now()
		err := a.with(t.Context(), acme, func(ctx context.Context, s *step) error {
			<-ctx.Done()
			_, err := s.apple().AssignProfile(ctx, "UUID", "SERIAL")
			return err
		})
		require.ErrorIs(t, err, storage.ErrLeaseLost)
		assert.Equal(t, time.Minute, time.Since(began))
		assert.Zero(t, w.apple.Stats().Calls["POST /profile/devices"])
		assert.Equal(t, storage.HealthOK, w.health(t))
	})
}

// One renewal that hangs is given up in time for the next one.
func TestHungRenewalIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 0)
		var renewals atomic.Int32
		a := w.engineOn(t, &hookStore{Store: w.store, renew: func(ctx context.Context) error {
			if renewals.Add(1) == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}})
		require.NoError(t, a.with(t.Context(), acme, func(ctx context.Context, _ *step) error { return sleep(ctx, 10*time.Minute) }))
		assert.Greater(t, renewals.Load(), int32(20))
	})
}

// A machine that was suspended wakes up with its timers behind: the clock tells that the lease is over before anything is
// sent to Apple again.
func TestSuspendedEngineSendsNothing(t *testing.T) {
	t.Parallel()
	w, _, serial := synced(t, 3)
	w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/profile/devices" {
			return false
		}
		w.clock.Add(2 * time.Minute)
		rw.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	_, err := w.engine(t, WithTimeout(time.Hour)).AssignOnce(t.Context(), acme)
	require.ErrorIs(t, err, storage.ErrLeaseLost)
	assert.Equal(t, 1, w.apple.Stats().Calls["POST /profile/devices"])
	assert.Equal(t, storage.AssignmentAssigning, w.row(t, serial).State, "whoever is next looks first")
}

// Engines of one name, such as a pod's process and its successor, keep each other off all the same.
func TestOwnersOfOneNameAreTwo(t *testing.T) {
	t.Parallel()
	w, _, _ := synced(t, 3)
	a, b := w.engine(t, WithOwner("pod-0")), w.engine(t, WithOwner("pod-0"))
	err := a.with(t.Context(), acme, func(ctx context.Context, s *step) error {
		assert.True(t, strings.HasPrefix(a.s.owner, "pod-0/"), a.s.owner)
		_, err := b.AssignOnce(t.Context(), acme) // not ctx, which ends with the lease
		assert.ErrorIs(t, err, storage.ErrLeaseHeld)
		w.clock.Add(61 * time.Second)
		_, err = b.AssignOnce(t.Context(), acme)
		assert.NoError(t, err)
		return s.commit(ctx, storage.InventoryChange{})
	})
	require.ErrorIs(t, err, storage.ErrLeaseLost)

	for _, name := range []string{"", "\xff", strings.Repeat("n", maxOwner+1)} {
		_, err := New(w.store, w.sealer, forAll(t, "Standard"), WithOwner(name))
		require.ErrorContains(t, err, "WithOwner")
	}
	_, err = w.engine(t, WithOwner(strings.Repeat("n", maxOwner))).SyncOnce(t.Context(), acme)
	require.NoError(t, err)
}

// Whatever name the store takes for an account can be worked on.
func TestLongAccountNameIsLeased(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	e := w.engine(t)
	for i, n := range []int{243, 244, storage.MaxKey} {
		name := strings.Repeat("n", n)
		other, err := w.apple.AddMDMServer(fmt.Sprint("Other", i))
		require.NoError(t, err)
		w.account(t, e.Accounts(), name, other)
		_, err = e.SyncOnce(t.Context(), name)
		require.NoError(t, err)
	}
	_, err := e.Accounts().Create(t.Context(), strings.Repeat("n", storage.MaxKey+1), "")
	require.ErrorIs(t, err, storage.ErrInvalid)
}
