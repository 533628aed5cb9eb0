package abm

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// A token that was refused while another one took its place says nothing about that one.
func TestHealthOfReplacedTokenIsNoNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	accts := w.engine(t).Accounts()
	before := w.acct(t)
	w.renew(t, accts)
	after := w.acct(t)
	require.NotEqual(t, before.SealedToken, after.SealedToken)
	for _, news := range []error{ErrUnauthorized, ErrTermsNotSigned, nil} {
		w.clock.Add(time.Hour)
		require.NoError(t, accts.noteHealth(t.Context(), acme, before.SealedToken, news))
		assert.Equal(t, after, w.acct(t))
	}
	require.NoError(t, accts.noteHealth(t.Context(), acme, after.SealedToken, ErrUnauthorized))
	assert.Equal(t, storage.HealthRejected, w.health(t))
}

// Two steps that began with the old token go on while a renewal is imported.
func TestStepGoesOnWithRenewedToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	e := w.engine(t)
	var once atomic.Bool
	w.opts = append(w.opts, WithTransport(&hookTransport{next: direct{w.apple}, path: "/server/devices", do: func() {
		if !once.Swap(true) {
			w.renew(t, e.Accounts())
		}
	}}))
	res, err := w.engine(t).SyncOnce(t.Context(), acme)
	require.NoError(t, err, "what was refused with the old token is asked again with the new one")
	assert.Equal(t, 3, res.Devices)
	assert.Equal(t, storage.HealthOK, w.health(t))
	assert.Zero(t, w.kinds(t)["account_health_changed"]-1, "only that of the first token")
}

// A store or a sealer that fails, however it says so, is no news about Apple.
func TestHealthIsAboutAppleOnly(t *testing.T) {
	t.Parallel()
	w, _, _ := synced(t, 3)
	for _, failure := range []error{
		fmt.Errorf("postgres: %w", context.DeadlineExceeded), &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
	} {
		e := w.engineOn(t, &hookStore{Store: w.store, devices: func() error { return failure }})
		_, err := e.AssignOnce(t.Context(), acme)
		require.ErrorIs(t, err, failure)
		assert.Equal(t, storage.HealthOK, w.health(t))
	}
	var calls atomic.Int32
	w.apple.Intercept(answer("/devices/sync", &calls, 503, ""))
	_, err := w.engine(t).SyncOnce(t.Context(), acme)
	require.ErrorIs(t, err, ErrUnavailable)
	assert.Equal(t, storage.HealthUnreachable, w.health(t))
}

func TestCursorTroubleHoldsBackNoAssignment(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 5)
	w.clock.Add(2 * time.Hour)
	var calls atomic.Int32
	w.apple.Intercept(answer("/devices/sync", &calls, 400, "INVALID_CURSOR"))
	_, err := e.work(t.Context(), acme, false)
	require.ErrorIs(t, err, ErrCursorLoop)
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentAssigned: 5}, w.states(t))
}

// The engine is told to stop while Apple is working: what Apple answers is recorded.
func TestResultsAreRecordedWhenStopping(t *testing.T) {
	t.Parallel()
	w, _, serial := synced(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.opts = append(w.opts, WithTransport(stopAfter{next: direct{w.apple}, path: "/profile/devices", stop: cancel}))
	_, err := w.engine(t).AssignOnce(ctx, acme)
	_ = err // nothing is promised about the step that was told to stop
	assert.Equal(t, storage.AssignmentAssigned, w.row(t, serial).State)
}

// stopAfter calls stop when a request for one path was carried out.
type stopAfter struct {
	next http.RoundTripper
	path string
	stop func()
}

func (s stopAfter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if r.URL.Path == s.path {
		s.stop()
	}
	return resp, err
}

func TestHas(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]bool{"assigned": true, "pushed": true, "removed": false, "empty": false, "": false, "new": false} {
		assert.Equal(t, want, has(&storage.Device{ProfileUUID: "P", ProfileStatus: status}, "P"), status)
	}
	assert.False(t, has(&storage.Device{ProfileUUID: "Q", ProfileStatus: "assigned"}, "P"))
	assert.False(t, has(&storage.Device{ProfileStatus: "assigned"}, ""))
}

func TestTokenHealthThresholds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	seen := map[string]bool{}
	for _, days := range []int{40, 29, 13, 6, 0, -1} {
		h, reason := tokenHealth(now.Add(time.Duration(days)*24*time.Hour+time.Hour), now)
		seen[string(h)+reason] = true
	}
	assert.Len(t, seen, 6)
}
