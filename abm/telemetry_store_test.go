package abm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/enrollkit/enrollkit/storage"
)

// gauge is the key of a gauge of acme, with one more attribute if there is one.
func gauge(name string, more ...string) string {
	attrs := "enrollkit.account.name=" + acme
	if len(more) == 2 {
		attr := more[0] + "=" + more[1]
		if more[0] == "enrollkit.account.health" { // attributes are sorted
			attrs = attr + "," + attrs
		} else {
			attrs += "," + attr
		}
	}
	return fmt.Sprintf("enrollkit.abm.%s{%s}", name, attrs)
}

// noGauges are those of an account with a token for 45 days, when nothing else is known.
func noGauges() map[string]float64 {
	m := map[string]float64{
		gauge("sync.lag"): 0, gauge("sweep.lag"): 0, gauge("token.remaining"): 45,
		gauge("device.count", "enrollkit.device.state", "present"): 0, gauge("device.count", "enrollkit.device.state", "left"): 0,
		gauge("assignment.blocked"): 0, gauge("assignment.throttled"): 0, gauge("assignment.wait"): 0,
		gauge("throttle.remaining"): 0,
	}
	for _, s := range []string{"pending", "assigning", "assigned", "satisfied", "parked", "gone"} {
		m[gauge("assignment.count", "enrollkit.assignment.state", s)] = 0
	}
	for _, h := range []string{"new", "ok", "expiring", "expired", "rejected", "terms_not_signed", "unreachable"} {
		m[gauge("account.health", "enrollkit.account.health", h)] = 0
	}
	for _, c := range []string{"closed", "partial", "open", "paused"} {
		m[gauge("circuit.state", "enrollkit.circuit.state", c)] = 0
	}
	m[gauge("account.health", "enrollkit.account.health", "ok")] = 1
	m[gauge("circuit.state", "enrollkit.circuit.state", "closed")] = 1
	return m
}

// expires sets when the token of the account ends.
func (w *world) expires(t *testing.T, in time.Duration) {
	t.Helper()
	acct, err := w.store.GetAccount(t.Context(), acme)
	require.NoError(t, err)
	acct.TokenExpiresAt = w.clock.Now().Add(in)
	require.NoError(t, w.store.UpdateAccount(t.Context(), acct))
}

// collected returns the gauges as a reader gets them.
func (r *recorder) collected(t *testing.T) map[string]float64 {
	t.Helper()
	got, err := r.collect(t.Context())
	require.NoError(t, err)
	return got
}

func TestGauges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	rec := newRecorder()
	e := w.engine(t, rec.options()...)
	ctx := t.Context()
	stop := e.measure(ctx)
	check := func(change map[string]float64) {
		t.Helper()
		w.expires(t, 45*24*time.Hour)
		want := noGauges()
		maps.Copy(want, change)
		assert.Equal(t, want, rec.collected(t))
	}
	check(nil)
	w.clock.Add(100 * time.Second)
	check(map[string]float64{gauge("sync.lag"): 100, gauge("sweep.lag"): 100})

	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	w.clock.Add(30 * time.Second)
	check(map[string]float64{
		gauge("sync.lag"): 30, gauge("sweep.lag"): 30, gauge("assignment.wait"): 30,
		gauge("device.count", "enrollkit.device.state", "present"):         5,
		gauge("assignment.count", "enrollkit.assignment.state", "pending"): 5,
	})

	serials := w.apple.Devices(0, 2)
	require.NoError(t, w.apple.Release(serials[0].SerialNumber))
	require.NoError(t, w.apple.ForceAssignResult(serials[1].SerialNumber, "THROTTLED", 30*time.Hour))
	assignAll(t, e)
	_, err = e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	until := w.row(t, serials[1].SerialNumber).NextAttemptAt
	w.clock.Add(10 * time.Second)
	check(map[string]float64{
		gauge("sync.lag"): 10, gauge("sweep.lag"): 40,
		gauge("device.count", "enrollkit.device.state", "present"):           4,
		gauge("device.count", "enrollkit.device.state", "left"):              1,
		gauge("assignment.count", "enrollkit.assignment.state", "pending"):   1,
		gauge("assignment.count", "enrollkit.assignment.state", "satisfied"): 3,
		gauge("assignment.count", "enrollkit.assignment.state", "gone"):      1,
		gauge("assignment.throttled"):                                        1,
		gauge("throttle.remaining"):                                          until.Sub(w.clock.Now()).Seconds(),
	})

	_, err = e.SweepOnce(ctx, acme)
	require.NoError(t, err)
	got := rec.collected(t)
	assert.Zero(t, got[gauge("sweep.lag")])
	assert.InDelta(t, 10, got[gauge("sync.lag")], 0)
	stop()
	assert.Empty(t, rec.collected(t))
}

// A profile that Apple refuses, a token that is over, and an account without a token.
func TestGaugesOfTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	rec := newRecorder()
	e := w.engine(t, rec.options()...)
	ctx := t.Context()
	defer e.measure(ctx)()
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	var calls atomic.Int32
	w.apple.Intercept(answer("/profile", &calls, 400, "FLAGS_INVALID"))
	_, err = e.AssignOnce(ctx, acme)
	require.NoError(t, err)
	assert.InDelta(t, 3, rec.collected(t)[gauge("assignment.blocked")], 0)

	w.expires(t, -12*time.Hour)
	require.NoError(t, e.accounts.noteHealth(ctx, acme, w.acct(t).SealedToken, ErrTokenExpired))
	got := rec.collected(t)
	assert.InDelta(t, -0.5, got[gauge("token.remaining")], 0)
	assert.InDelta(t, 1, got[gauge("account.health", "enrollkit.account.health", "expired")], 0)
	assert.InDelta(t, 0, got[gauge("account.health", "enrollkit.account.health", "ok")], 0)

	require.NoError(t, e.Accounts().Delete(ctx, acme))
	assert.Empty(t, rec.collected(t), "a deleted account is not reported")
	_, err = e.Accounts().Create(ctx, acme, "")
	require.NoError(t, err)
	got = rec.collected(t)
	for _, name := range []string{"sync.lag", "sweep.lag", "token.remaining"} {
		assert.NotContains(t, got, gauge(name))
	}
	assert.InDelta(t, 1, got[gauge("account.health", "enrollkit.account.health", "new")], 0)
}

// The states of the circuit breaker, and how long each lasts.
func TestGaugeOfCircuit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	rec := newRecorder()
	e := w.engine(t, append(rec.options(), WithTries(1, time.Second, time.Second), WithCircuitBreaker(2, time.Minute))...)
	defer e.measure(t.Context())()
	c, err := e.Accounts().Client(t.Context(), acme)
	require.NoError(t, err)
	state := func() string {
		is := ""
		for _, s := range []string{"closed", "partial", "open", "paused"} {
			if rec.collected(t)[gauge("circuit.state", "enrollkit.circuit.state", s)] == 1 {
				is += s
			}
		}
		return is
	}
	call := func() error { _, err := c.SyncDevices(t.Context(), "", 0); return err }
	var calls atomic.Int32
	w.apple.Intercept(answer("/devices/sync", &calls, 500, ""))
	require.ErrorIs(t, call(), ErrUnavailable)
	assert.Equal(t, "closed", state())
	require.ErrorIs(t, call(), ErrUnavailable)
	assert.Equal(t, "partial", state())
	require.ErrorIs(t, call(), ErrHeldBack)
	assert.EqualValues(t, 2, calls.Load())
	assert.Len(t, rec.named("abm.SyncDevices"), 2, "what is held back is no exchange")
	w.apple.Intercept(func(rw http.ResponseWriter, _ *http.Request) bool { rw.WriteHeader(500); return true })
	for range 2 {
		_, err := c.AccountDetail(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
	}
	assert.Equal(t, "open", state())

	w.apple.Intercept(nil)
	w.clock.Add(2 * time.Minute)
	assert.Equal(t, "open", state(), "until a call has shown that it works")
	_, err = c.AccountDetail(t.Context())
	require.NoError(t, err)
	_, err = c.FetchDevices(t.Context(), "", 0)
	require.NoError(t, err)
	assert.Equal(t, "partial", state())
	require.Error(t, call()) // an answer, though not a page
	assert.Equal(t, "closed", state())

	w.apple.Intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.Header().Set("Retry-After", "600")
		rw.WriteHeader(429)
		return true
	})
	require.ErrorIs(t, call(), ErrRateLimited)
	assert.Equal(t, "paused", state())
	w.clock.Add(601 * time.Second)
	assert.Equal(t, "closed", state())
}

// badStore fails at what gauges are read from.
type badStore struct {
	Store
	cursor, devices, stats, list atomic.Bool
	calls                        atomic.Int32
	hang                         atomic.Bool
}

var errBadStore = errors.New("store is down")

func (s *badStore) ListAccounts(ctx context.Context, p storage.Page) ([]storage.Account, string, error) {
	if s.list.Load() {
		return nil, "", errBadStore
	}
	return s.Store.ListAccounts(ctx, p)
}

func (s *badStore) GetCursor(ctx context.Context, account string) (storage.Cursor, error) {
	if s.cursor.Load() && account == acme {
		return storage.Cursor{}, errBadStore
	}
	return s.Store.GetCursor(ctx, account)
}

func (s *badStore) CountDevices(ctx context.Context, account string) (present, left int, err error) {
	if s.devices.Load() && account == acme {
		return 0, 0, errBadStore
	}
	return s.Store.CountDevices(ctx, account)
}

func (s *badStore) AssignmentStats(ctx context.Context, account string) (storage.AssignmentStats, error) {
	s.calls.Add(1)
	if s.hang.Load() {
		<-ctx.Done()
		return storage.AssignmentStats{}, ctx.Err()
	}
	if s.stats.Load() && account == acme {
		return storage.AssignmentStats{}, errBadStore
	}
	return s.Store.AssignmentStats(ctx, account)
}

func TestStoreThatFailsLeavesAccountOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	rec := newRecorder()
	store := &badStore{Store: w.store}
	core, logs := observer.New(zapcore.WarnLevel)
	e := w.engineOn(t, store, append(rec.options(), WithLogger(zap.New(core)))...)
	_, err := e.Accounts().Create(t.Context(), "other", "")
	require.NoError(t, err)
	defer e.measure(t.Context())()

	whole := len(rec.collected(t))
	for name, fails := range map[string]*atomic.Bool{"cursor": &store.cursor, "devices": &store.devices, "assignments": &store.stats} {
		fails.Store(true)
		first, second := rec.collected(t), rec.collected(t)
		assert.NotContains(t, first, gauge("device.count", "enrollkit.device.state", "left"), name)
		assert.Equal(t, first, second)
		assert.Contains(t, first, "enrollkit.abm.assignment.blocked{enrollkit.account.name=other}", name)
		require.Len(t, logs.TakeAll(), 1, "said once: %s", name)
		fails.Store(false)
		assert.Len(t, rec.collected(t), whole, name)
	}
	store.list.Store(true)
	assert.Empty(t, rec.collected(t))
	assert.Empty(t, rec.collected(t))
	require.Len(t, logs.TakeAll(), 1)
	store.list.Store(false)
	store.calls.Store(0)
	assert.Len(t, rec.collected(t), whole)
	assert.EqualValues(t, 2, store.calls.Load(), "once per account")
	assert.Empty(t, logs.TakeAll())
}

// Collecting ends with its context, with the engine, and after half a minute at last.
func TestCollectingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 1)
		rec := newRecorder()
		store := &badStore{Store: w.store}
		core, logs := observer.New(zapcore.WarnLevel)
		e := w.engineOn(t, store, append(rec.options(), WithLogger(zap.New(core)))...)
		run, end := context.WithCancel(t.Context())
		defer e.measure(run)()
		store.hang.Store(true)
		took := func(ctx context.Context) time.Duration {
			began := time.Now()
			got, err := rec.collect(ctx)
			require.NoError(t, err)
			assert.Empty(t, got)
			return time.Since(began)
		}
		assert.Equal(t, 30*time.Second, took(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		assert.Equal(t, 5*time.Second, took(ctx))
		assert.Len(t, logs.TakeAll(), 1)
		time.AfterFunc(2*time.Second, end)
		assert.Equal(t, 2*time.Second, took(t.Context()))
		assert.Empty(t, logs.TakeAll(), "the end of the engine is no failure")
	})
}

// Gauges are there while the engine runs, and only then.
func TestRunReportsGauges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 7
		w := newWorldAt(t, nil, n)
		rec := newRecorder()
		e := w.engine(t, rec.options()...)
		assert.Empty(t, rec.collected(t))
		stop := startEngine(t, e)
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		got := rec.collected(t)
		assert.InDelta(t, n, got[gauge("assignment.count", "enrollkit.assignment.state", "satisfied")], 0)
		assert.InDelta(t, 1800, got[gauge("sync.lag")], 1)
		stop()
		assert.Empty(t, rec.collected(t))
	})
}
