package abm

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/enrollkit/enrollkit/storage"
)

// named returns the spans of a name.
func (r *recorder) named(name string) []*recordedSpan {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*recordedSpan
	for _, s := range r.spans {
		if s.name == name {
			out = append(out, s)
		}
	}
	return out
}

func TestSpansOfSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	rec := newRecorder()
	e := w.engine(t, rec.options()...)
	ctx := t.Context()
	one := func(name string) *recordedSpan {
		t.Helper()
		spans := rec.named(name)
		require.Len(t, spans, 1, name)
		return spans[0]
	}
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	sync := one("abm.sync")
	assert.Equal(t, map[string]string{
		"enrollkit.account.name": acme, "enrollkit.sync.full": "true", "enrollkit.sync.pages": "2", "enrollkit.sync.devices": "5",
		"enrollkit.sync.changed": "5", "enrollkit.sync.left": "0", "enrollkit.sync.unreadable": "0",
	}, sync.attrs)
	assert.Equal(t, "abm.sync", one("abm.FetchDevices").parent)
	assert.Equal(t, "abm.sync", one("abm.SyncDevices").parent)

	_, err = e.PlanOnce(ctx, acme)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"enrollkit.account.name": acme, "enrollkit.plan.changed": "0"}, one("abm.plan").attrs)

	assignAll(t, e)
	assert.Equal(t, map[string]string{ // and none for the batch that was empty
		"enrollkit.account.name": acme, "enrollkit.assign.due": "5", "enrollkit.assign.asked": "5", "enrollkit.assign.assigned": "5",
		"enrollkit.assign.looked": "0", "enrollkit.assign.satisfied": "0", "enrollkit.assign.failed": "0", "enrollkit.assign.gone": "0",
	}, one("abm.assign").attrs)
	assert.Equal(t, "abm.assign", one("abm.DefineProfile").parent)
	assert.Equal(t, "abm.assign", one("abm.AssignProfile").parent)

	require.NoError(t, w.apple.Release(w.apple.Devices(0, 1)[0].SerialNumber))
	_, err = e.SweepOnce(ctx, acme)
	require.NoError(t, err)
	sweep := one("abm.sweep")
	assert.Equal(t, "1", sweep.attrs["enrollkit.sync.left"])
	assert.Equal(t, "abm.sweep", one("abm.DeviceDetails").parent)
	for _, s := range rec.spans {
		assert.True(t, s.ended, s.name)
		assert.Empty(t, s.status, s.name)
		assert.Equal(t, strings.ToLower(s.name) == s.name, s.kind == trace.SpanKindInternal || s.kind == trace.SpanKindUnspecified, s.name)
	}
}

func TestStepErrorsAreTraced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	rec := newRecorder()
	e := w.engine(t, rec.options()...)
	var calls atomic.Int32
	w.apple.Intercept(answer("/server/devices", &calls, 403, "T_C_NOT_SIGNED"))
	_, err := e.SyncOnce(t.Context(), acme)
	require.ErrorIs(t, err, ErrTermsNotSigned)
	s := rec.named("abm.sync")[0]
	assert.Equal(t, "Error T_C_NOT_SIGNED", s.status)
	assert.Equal(t, "T_C_NOT_SIGNED", s.attrs["error.type"])

	// The end of a lease is told as what it is.
	err = e.with(t.Context(), acme, func(ctx context.Context, s *step) error {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(errLeaseOver)
		_, err := s.sweep(ctx)
		return err
	})
	require.Error(t, err)
	assert.Equal(t, "Error lease_lost", rec.named("abm.sweep")[0].status)
}

func TestErrorTypes(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"lease_lost":     errLeaseOver,
		"conflict":       errors.Join(storage.ErrConflict),
		"cursor_loop":    ErrCursorLoop,
		"held_back":      &HeldBackError{Op: "X", Err: newAPIError("SyncDevices", 400, []byte("INVALID_CURSOR"), 0)},
		"token_expired":  ErrTokenExpired,
		"no_token":       ErrNoToken,
		"canceled":       context.Canceled,
		"transport":      &TransportError{Op: "X", Err: errors.New("serial C02")},
		"timeout":        &TransportError{Op: "X", Err: context.DeadlineExceeded},
		"INVALID_CURSOR": newAPIError("SyncDevices", 400, []byte("INVALID_CURSOR"), 0),
		"418":            newAPIError("SyncDevices", 418, []byte("TEAPOT_1"), 0),
		"_OTHER":         errors.New("serial C02XK1JDJGH5"),
	} {
		assert.Equal(t, want, errorType(err))
	}
}

// results returns the counters of results by word.
func (r *recorder) results() map[string]float64 {
	out := make(map[string]float64)
	for k, v := range r.counters() {
		if word, ok := strings.CutPrefix(k, "enrollkit.abm.assign.results{enrollkit.account.name=acme,enrollkit.assign.result="); ok {
			out[strings.TrimSuffix(word, "}")] = v
		}
	}
	return out
}

func TestResultsAreCounted(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	w, e, _ := synced(t, 10, rec.options()...)
	serials := w.apple.Devices(0, 4)
	for i, result := range []string{"THROTTLED", "FAILED", "FAILED", "NOT_ACCESSIBLE"} {
		require.NoError(t, w.apple.ForceAssignResult(serials[i].SerialNumber, result, 30*time.Hour))
	}
	assignAll(t, e)
	assert.Equal(t, map[string]float64{"SUCCESS": 6, "THROTTLED": 1, "FAILED": 2, "NOT_ACCESSIBLE": 1}, rec.results())
	assert.InDelta(t, 10, rec.counters()["enrollkit.abm.sync.changes{enrollkit.account.name=acme,enrollkit.sync.kind=sync}"], 0)
}

func TestOddResultsAreCounted(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	w, e, serial := synced(t, 2, rec.options()...)
	var calls atomic.Int32
	w.apple.Intercept(answer("/profile/devices", &calls, 200, `{"profile_uuid":"x","devices":{"`+serial+`":"SERIAL_`+serial+`"}}`))
	assignAll(t, e)
	assert.Equal(t, map[string]float64{"MISSING": 1, "_OTHER": 1}, rec.results())
}

// Serials that a call is refused for are counted by the code.
func TestRefusedSerialsAreCounted(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	w, e, serial := synced(t, 8, rec.options()...)
	w.apple.Intercept(refusing([]string{serial}, "/profile/devices"))
	assignAll(t, e)
	assert.Equal(t, map[string]float64{"SUCCESS": 7, "_OTHER": 1}, rec.results(), "by a code that Apple does not document")

	s := &step{e: e, account: acme}
	s.countRefused(t.Context(), map[string]error{
		"A": newAPIError(opAssignProfile, 400, []byte("MALFORMED_REQUEST_BODY"), 0), "B": newAPIError(opAssignProfile, 400, nil, 0),
	})
	assert.Equal(t, map[string]float64{"SUCCESS": 7, "_OTHER": 1, "MALFORMED_REQUEST_BODY": 1, "FAILED": 1}, rec.results())
}

func TestSweepChangesAreCounted(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	w, e, serial := synced(t, 6, rec.options()...)
	require.NoError(t, w.apple.Release(serial))
	require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(3)...))
	_, err := e.SweepOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.InDelta(t, 4, rec.counters()["enrollkit.abm.sync.changes{enrollkit.account.name=acme,enrollkit.sync.kind=sweep}"], 0)
}

// Whatever happens, nothing that is measured or traced names a device or holds a secret.
func TestTelemetryHoldsNoSerialsAndSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 40)
	rec := newRecorder()
	r := &badResolver{StaticResolver: forAll(t, "Standard")}
	r.bad.Store(oneError)
	e, err := New(w.store, w.sealer, r, append(append([]Option{}, w.opts...), rec.options()...)...)
	require.NoError(t, err)
	ctx := t.Context()
	defer e.measure(ctx)()
	serials := make([]string, 0, 40)
	for _, d := range w.apple.Devices(0, 40) {
		serials = append(serials, d.SerialNumber)
	}
	echo := func(rw http.ResponseWriter, req *http.Request) bool { // what must not get through
		rw.WriteHeader(400)
		_, _ = rw.Write([]byte(serials[0] + "_" + serials[1] + " " + req.Header.Get("X-ADM-Auth-Session")))
		return true
	}
	works := 0
	for round := range 6 {
		_, syncErr := e.SyncOnce(ctx, acme)
		_, assignErr := e.AssignOnce(ctx, acme)
		_, sweepErr := e.SweepOnce(ctx, acme)
		if syncErr == nil && assignErr == nil && sweepErr == nil {
			works++
		}
		_, err := rec.collect(ctx)
		require.NoError(t, err)
		w.apple.Intercept(nil)
		switch round {
		case 0:
			require.NoError(t, w.apple.ForceAssignResult(serials[2], "FAILED", time.Hour))
			r.bad.Store(0)
		case 1:
			w.apple.Intercept(echo)
		case 2:
			w.apple.Intercept(refusing(serials[:3], "/devices", "/profile/devices"))
		case 3:
			w.apple.SetTermsSigned(false)
		}
		w.clock.Add(2 * time.Hour)
	}
	assert.Positive(t, works)
	acct := w.acct(t)
	secrets := append([]string{string(acct.SealedToken)}, serials...)
	token := tokenOf(w.server)
	secrets = append(secrets, token.ConsumerKey, string(token.ConsumerSecret), string(token.AccessToken), string(token.AccessSecret))
	require.Greater(t, len(rec.texts), 200)
	for _, text := range rec.texts {
		for _, secret := range secrets {
			require.NotContains(t, text, secret)
		}
		require.Less(t, len(text), 64, text)
	}
}
