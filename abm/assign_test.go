package abm

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// synced returns a world whose devices were read and wait for their assignment, with the serial of one of them.
func synced(t *testing.T, n int, opts ...Option) (*world, *Engine, string) {
	t.Helper()
	w := newWorld(t, n)
	e := w.engine(t, opts...)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	return w, e, w.apple.Devices(0, 1)[0].SerialNumber
}

func TestThrottledWaitsAsAppleSays(t *testing.T) {
	t.Parallel()
	w, e, serial := synced(t, 4)
	require.NoError(t, w.apple.ForceAssignResult(serial, "THROTTLED", 30*time.Hour))
	res := assignAll(t, e)
	assert.Equal(t, AssignResult{Due: 4, Asked: 4, Assigned: 3, Failed: 1, Throttled: 1}, res)
	a := w.row(t, serial)
	assert.Equal(t, storage.AssignmentPending, a.State)
	assert.Equal(t, "THROTTLED", a.LastAttempt.Result)
	assert.Positive(t, a.LastAttempt.RetryAfter)
	assert.False(t, a.NextAttemptAt.Before(w.clock.Now().Add(a.LastAttempt.RetryAfter)))

	// Another profile does not end the wait: it is the device that is throttled.
	e2, err := New(w.store, w.sealer, forAll(t, "Other"), w.opts...)
	require.NoError(t, err)
	_, err = e2.PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, a.NextAttemptAt, w.row(t, serial).NextAttemptAt)
	assignAll(t, e2)
	assert.Equal(t, 1, w.apple.AssignCalls(serial))

	w.clock.Add(a.NextAttemptAt.Sub(w.clock.Now()) + time.Second)
	assignAll(t, e2)
	state, err := w.apple.Device(serial)
	require.NoError(t, err)
	assert.Equal(t, "assigned", state.ProfileStatus)
	assert.Equal(t, 2, w.apple.AssignCalls(serial))
}

func TestThrottledWithoutHintWaitsADay(t *testing.T) {
	t.Parallel()
	s, err := newSettings(nil)
	require.NoError(t, err)
	now := time.Now()
	var a storage.Assignment
	for i, want := range []time.Duration{24, 48, 96, 168, 168} {
		outcome(&a, "THROTTLED", 0, "", &s, now)
		assert.Equal(t, want*time.Hour, a.NextAttemptAt.Sub(now), i)
	}
	for range 20 {
		outcome(&a, "THROTTLED", time.Minute, "", &s, now)
	}
	assert.Equal(t, storage.AssignmentPending, a.State, "never parked")
	assert.Zero(t, a.Failures, "and a failure after it is the first")
	outcome(&a, "THROTTLED", 400*time.Hour, "", &s, now)
	assert.Equal(t, 400*time.Hour, a.NextAttemptAt.Sub(now))
}

func TestFailedIsParkedAndRetried(t *testing.T) {
	t.Parallel()
	w, e, serial := synced(t, 3, WithMaxFailures(3))
	require.NoError(t, w.apple.ForceAssignResult(serial, "FAILED", 1000*time.Hour))
	var waits []time.Duration
	for range 3 {
		assignAll(t, e)
		a := w.row(t, serial)
		if !a.NextAttemptAt.IsZero() {
			waits = append(waits, a.NextAttemptAt.Sub(w.clock.Now()))
			w.clock.Add(a.NextAttemptAt.Sub(w.clock.Now()))
		}
	}
	assert.Equal(t, []time.Duration{5 * time.Minute, 10 * time.Minute}, waits)
	a := w.row(t, serial)
	assert.Equal(t, storage.AssignmentParked, a.State)
	assert.Equal(t, 3, a.Failures)
	assert.Equal(t, 1, w.kinds(t)["assignment_parked"])
	w.clock.Add(48 * time.Hour)
	assignAll(t, e)
	assert.Equal(t, 3, w.apple.AssignCalls(serial))
	assert.Equal(t, 2, w.states(t)[storage.AssignmentSatisfied], "the others are not held back")

	require.NoError(t, w.apple.ForceAssignResult(serial, "SUCCESS", time.Hour))
	n, err := e.Retry(t.Context(), acme, serial, "UNKNOWN")
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	assert.Equal(t, storage.AssignmentSatisfied, w.row(t, serial).State)
	assert.Zero(t, w.row(t, serial).Failures)
}

func TestNotAccessible(t *testing.T) {
	t.Parallel()
	w, e, serial := synced(t, 3)
	require.NoError(t, w.apple.Release(serial)) // Apple's feed may never tell
	other := w.apple.Devices(0, 2)[1].SerialNumber
	require.NoError(t, w.apple.ForceAssignResult(other, "NOT_ACCESSIBLE", time.Minute))
	res := assignAll(t, e)
	assert.Equal(t, AssignResult{Due: 3, Asked: 3, Assigned: 1, Looked: 2, Failed: 1, Gone: 1}, res)
	d := w.device(t, serial)
	assert.Equal(t, "not_accessible", d.LeftReason)
	assert.Equal(t, storage.AssignmentGone, w.row(t, serial).State)
	assert.Equal(t, "NOT_ACCESSIBLE", w.row(t, other).LastAttempt.Result)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	assert.Equal(t, storage.AssignmentAssigned, w.row(t, other).State)
}

func TestSerialMissingInAnswer(t *testing.T) {
	t.Parallel()
	w, e, serial := synced(t, 1)
	var calls atomic.Int32
	w.apple.Intercept(answer("/profile/devices", &calls, 200, `{"profile_uuid":"x","devices":null}`))
	assert.Equal(t, 1, assignAll(t, e).Failed)
	assert.Equal(t, "MISSING", w.row(t, serial).LastAttempt.Result)
}

// An answer that never arrives leaves it open whether Apple has done it.
func TestLostAnswerIsLookedAtFirst(t *testing.T) {
	t.Parallel()
	w, _, _ := synced(t, 3)
	lost := &losing{next: direct{w.apple}}
	w.opts = append(w.opts, WithTransport(lost))
	e := w.engine(t)
	lost.path.Store("/profile/devices")
	_, err := e.AssignOnce(t.Context(), acme)
	require.Error(t, err)
	var transport *TransportError
	require.ErrorAs(t, err, &transport)
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentAssigning: 3}, w.states(t))
	assert.Equal(t, storage.HealthUnreachable, w.health(t))
	for _, a := range w.rows(t) {
		assert.Zero(t, a.Failures, "not the device's fault")
	}
	lost.path.Store("")
	w.clock.Add(time.Minute)
	res := assignAll(t, e)
	assert.Equal(t, AssignResult{Due: 3, Looked: 3, Satisfied: 3}, res)
	for _, calls := range w.apple.Stats().AssignCalls {
		assert.Equal(t, 1, calls)
	}
	assert.Equal(t, storage.HealthOK, w.health(t))
}

// losing carries requests out and loses the answers for one path.
type losing struct {
	next http.RoundTripper
	path atomic.Value
}

func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if p, _ := l.path.Load().(string); p != "" && r.URL.Path == p {
		_ = resp.Body.Close()
		return nil, errors.New("connection reset")
	}
	return resp, err
}

func TestUnavailableAndDenied(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		body   string
		state  storage.AssignmentState
		health storage.Health
	}{
		{"503", 503, "<html>", storage.AssignmentAssigning, storage.HealthUnreachable},
		{"200 html", 200, "<html>", storage.AssignmentAssigning, storage.HealthUnreachable},
		{"terms", 403, "T_C_NOT_SIGNED", storage.AssignmentPending, storage.HealthTermsNotSigned},
		{"429", 429, "", storage.AssignmentPending, storage.HealthUnreachable},
		{"user agent", 400, "USER_AGENT_INVALID", storage.AssignmentPending, storage.HealthOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, e, serial := synced(t, 3)
			var calls atomic.Int32
			w.apple.Intercept(answer("/profile/devices", &calls, tt.status, tt.body))
			_, err := e.AssignOnce(t.Context(), acme)
			require.Error(t, err)
			a := w.row(t, serial)
			assert.Equal(t, tt.state, a.State)
			assert.Zero(t, a.Failures)
			assert.NotEmpty(t, a.LastAttempt.Error)
			assert.Equal(t, tt.health, w.health(t))
			w.apple.Intercept(nil)
			w.clock.Add(time.Minute)
			assert.Equal(t, 3, assignAll(t, e).Assigned)
		})
	}
}

func TestLostProfileIsDefinedAgain(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 3)
	var calls atomic.Int32
	lost := answer("/profile/devices", &calls, 404, "NOT_FOUND")
	w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool { return calls.Load() == 0 && lost(rw, r) })
	res := assignAll(t, e)
	assert.Equal(t, 3, res.Assigned)
	assert.Equal(t, 2, w.apple.Stats().Calls["POST /profile"])
	assert.Equal(t, 1, w.kinds(t)["profile_lost"])

	// A profile that is lost each time does not make a loop.
	added := w.apple.RandomDevices(1)
	require.NoError(t, w.apple.AddDevices(w.server, added...))
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	w.apple.Intercept(lost)
	calls.Store(0)
	assignAll(t, e)
	assert.EqualValues(t, 2, calls.Load())
	assert.Equal(t, "PROFILE_NOT_FOUND", w.row(t, added[0].SerialNumber).LastAttempt.Result)
}

func TestRefusedProfileHoldsBackNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20)
	families := map[string]int{}
	for _, d := range w.apple.Devices(0, 20) {
		families[d.Family]++
	}
	refuse := testProfile("Refused")
	r, err := NewStaticResolver(StaticRules{Rules: []Rule{{Families: []string{"Mac"}, Profile: refuse}, {Profile: testProfile("Fine")}}})
	require.NoError(t, err)
	e, err := New(w.store, w.sealer, r, w.opts...)
	require.NoError(t, err)
	w.apple.Intercept(func(rw http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path != "/profile" {
			return false
		}
		body := readBody(req)
		if !bytes.Contains(body, []byte("Refused")) {
			return false
		}
		rw.WriteHeader(400)
		_, _ = rw.Write([]byte("LOCALE_INVALID"))
		return true
	})
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	res := assignAll(t, e)
	assert.Equal(t, families["Mac"], res.Failed)
	assert.Equal(t, 20-families["Mac"], res.Assigned)
	for _, a := range w.rows(t) {
		if a.State == storage.AssignmentPending {
			assert.Contains(t, a.Problem, "LOCALE_INVALID")
			assert.Zero(t, a.LastAttempt, "Apple was not asked")
			assert.Zero(t, a.Failures, "not the device's fault")
		}
	}
	assert.Equal(t, families["Mac"], w.kinds(t)["assignment_blocked"])
}

// One serial that Apple cannot take in a call does not cost the others their profile.
func TestPoisonedSerialIsFound(t *testing.T) {
	t.Parallel()
	w, e, poison := synced(t, 200)
	w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/profile/devices" {
			return false
		}
		var in struct{ Devices []string }
		_ = json.Unmarshal(readBody(r), &in)
		if !slices.Contains(in.Devices, poison) {
			return false
		}
		rw.WriteHeader(400)
		_, _ = rw.Write([]byte("SOMETHING_ODD"))
		return true
	})
	res := assignAll(t, e)
	assert.Equal(t, 199, res.Assigned)
	assert.Equal(t, 1, res.Failed)
	assert.Equal(t, "SOMETHING_ODD", w.row(t, poison).LastAttempt.Result)
	for _, calls := range w.apple.Stats().AssignCalls {
		assert.Equal(t, 1, calls)
	}
}

// readBody returns the body of a request and puts it back.
func readBody(r *http.Request) []byte {
	b, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	return b
}
