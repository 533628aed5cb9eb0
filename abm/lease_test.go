package abm

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
