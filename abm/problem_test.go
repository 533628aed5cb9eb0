package abm

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// ruleBook is a resolver that can be told to fail and whose rules can be changed.
type ruleBook struct {
	fail  atomic.Bool
	rules atomic.Int32
	want  func(storage.Device) *depprofile.Profile
}

func newRuleBook() *ruleBook {
	p := testProfile("Standard")
	return &ruleBook{want: func(storage.Device) *depprofile.Profile { return p }}
}

func (r *ruleBook) Rules() Rules { return Rules{ID: string('a' + r.rules.Load())} }

func (r *ruleBook) Resolve(_ context.Context, devices []storage.Device) ([]Decision, error) {
	if r.fail.Load() {
		return nil, errors.New("directory is down")
	}
	out := make([]Decision, len(devices))
	for i := range devices {
		out[i].Profile = r.want(devices[i])
	}
	return out, nil
}

// replan changes the rules, while the resolver works or fails, and has all devices planned.
func (r *ruleBook) replan(t *testing.T, e *Engine, fail bool) {
	t.Helper()
	r.fail.Store(fail)
	r.rules.Add(1)
	_, err := e.PlanOnce(t.Context(), acme)
	require.NoError(t, err)
}

// ruled returns a world whose devices were read, with an engine on rules.
func ruled(t *testing.T, n int, opts ...Option) (*world, *Engine, *ruleBook, string) {
	t.Helper()
	w, r := newWorld(t, n), newRuleBook()
	e, err := New(w.store, w.sealer, r, append(w.opts, opts...)...)
	require.NoError(t, err)
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	return w, e, r, w.apple.Devices(0, 1)[0].SerialNumber
}

func TestResolverTroubleOfSatisfiedDevice(t *testing.T) {
	t.Parallel()
	w, e, r, serial := ruled(t, 3)
	ctx := t.Context()
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	before := w.row(t, serial)

	r.replan(t, e, true)
	a := w.row(t, serial)
	assert.Equal(t, storage.AssignmentSatisfied, a.State)
	assert.Equal(t, before.LastAttempt, a.LastAttempt)
	assert.Equal(t, before.SatisfiedAt, a.SatisfiedAt)
	assert.Contains(t, a.Problem, "directory is down")
	assert.Equal(t, w.clock.Now(), a.ProblemSince.UTC())
	assert.Equal(t, 3, w.kinds(t)["assignment_blocked"])

	var waits []time.Duration
	for range 9 {
		wait := w.row(t, serial).NextAttemptAt.Sub(w.clock.Now())
		waits = append(waits, wait)
		w.clock.Add(wait)
		assignAll(t, e)
	}
	const m = time.Minute
	assert.Equal(t, []time.Duration{m, m, 2 * m, 4 * m, 8 * m, 16 * m, 32 * m, 60 * m, 60 * m}, waits)
	assert.Equal(t, 3, w.kinds(t)["assignment_blocked"], "once for each device")

	r.fail.Store(false)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	a = w.row(t, serial)
	a.Version, a.UpdatedAt = before.Version, before.UpdatedAt
	assert.Equal(t, before, a)

	// The portal takes the profile away after that.
	require.NoError(t, w.apple.Unassign(serial))
	require.NoError(t, w.apple.Assign(w.server, serial))
	w.clock.Add(time.Hour)
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assignAll(t, e) // which comes to an end
	state, err := w.apple.Device(serial)
	require.NoError(t, err)
	assert.Equal(t, "assigned", state.ProfileStatus)
}

func TestResolverTroubleEndsNoThrottle(t *testing.T) {
	t.Parallel()
	w, e, r, serial := ruled(t, 1)
	require.NoError(t, w.apple.ForceAssignResult(serial, "THROTTLED", 30*time.Hour))
	assignAll(t, e)
	before := w.row(t, serial)
	other := testProfile("Other")
	for _, fail := range []bool{true, false, true, false} {
		r.replan(t, e, fail)
		w.clock.Add(2 * time.Minute)
		assignAll(t, e)
		a := w.row(t, serial)
		assert.Equal(t, before.LastAttempt, a.LastAttempt)
		assert.Equal(t, before.NextAttemptAt, a.NextAttemptAt)
		assert.Equal(t, fail, a.Problem != "")
		r.want = func(storage.Device) *depprofile.Profile { return other }
	}
	assert.Equal(t, 1, w.apple.AssignCalls(serial))
}

func TestResolverTroubleRevivesNoParked(t *testing.T) {
	t.Parallel()
	w, e, r, serial := ruled(t, 1, WithMaxFailures(1))
	require.NoError(t, w.apple.ForceAssignResult(serial, "FAILED", 1000*time.Hour))
	assignAll(t, e)
	before := w.row(t, serial)
	require.Equal(t, storage.AssignmentParked, before.State)
	r.replan(t, e, true)
	assert.Equal(t, storage.AssignmentParked, w.row(t, serial).State)
	r.fail.Store(false)
	w.clock.Add(2 * time.Hour)
	assignAll(t, e)
	a := w.row(t, serial)
	a.Version, a.UpdatedAt = before.Version, before.UpdatedAt
	assert.Equal(t, before, a)
	assert.Equal(t, 1, w.apple.AssignCalls(serial))
}

// A device that comes back while the resolver fails gets the profile that was wanted for it last.
func TestResolverTroubleOfReturnedDevice(t *testing.T) {
	t.Parallel()
	w, e, r, serial := ruled(t, 2)
	assignAll(t, e)
	r.fail.Store(true)
	for _, change := range []func() error{
		func() error { return w.apple.Unassign(serial) },
		func() error { return w.apple.Assign(w.server, serial) },
	} {
		w.clock.Add(time.Hour)
		require.NoError(t, change())
		_, err := e.SyncOnce(t.Context(), acme)
		require.NoError(t, err)
	}
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	a := w.row(t, serial)
	assert.Equal(t, storage.AssignmentSatisfied, a.State)
	assert.NotEmpty(t, a.Problem)
	assert.False(t, a.NextAttemptAt.IsZero(), "the resolver is asked again")
	r.fail.Store(false)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	a = w.row(t, serial)
	assert.Empty(t, a.Problem)
	assert.Zero(t, a.ProblemSince)
	assert.Zero(t, a.NextAttemptAt)
}

func TestUndecidedDevicesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.WarnLevel)
	w, r := newWorld(t, 50), newRuleBook()
	r.fail.Store(true)
	e, err := New(w.store, w.sealer, r, append(w.opts, WithLogger(zap.New(core)))...)
	require.NoError(t, err)
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	require.Equal(t, 1, logs.Len())
	assert.EqualValues(t, 50, logs.All()[0].ContextMap()["devices"])
}

// A resolver that returns a new profile each time does not fill the memory.
func TestManyProfilesOfOneContent(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t, 2500), newRuleBook()
	r.want = func(storage.Device) *depprofile.Profile { return testProfile("Standard") }
	e, err := New(w.store, w.sealer, r, w.opts...)
	require.NoError(t, err)
	require.NoError(t, e.with(t.Context(), acme, func(ctx context.Context, s *step) error {
		_, err := s.sync(ctx)
		assert.LessOrEqual(t, len(s.prints), maxPrints)
		assert.Len(t, s.profiles, 1)
		return err
	}))
}

// A profile that cannot be defined holds back no other, whatever Apple answers, and is not asked for all the time.
func TestUndefinableProfileHoldsBackNoOther(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		body   string
	}{
		{"malformed", 400, "MALFORMED_REQUEST_BODY"}, {"unavailable", 500, ""}, {"too large", 413, ""},
		{"unprocessable", 422, ""}, {"not found", 404, ""}, {"no UUID", 200, "{}"}, {"user agent", 400, "USER_AGENT_INVALID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { undefinable(t, tt.status, tt.body) })
		})
	}
}

func undefinable(t *testing.T, status int, body string) {
	w := newWorldAt(t, nil, 40, abmtest.WithSessionLifetime(100*time.Hour))
	bad, good := testProfile("Bad"), testProfile("Good")
	for printOf(t, bad) > printOf(t, good) {
		bad.ProfileName += "d" // it comes first
	}
	r, err := NewStaticResolver(StaticRules{Rules: []Rule{{Families: []string{"Mac"}, Profile: bad}, {Profile: good}}})
	require.NoError(t, err)
	e, err := New(w.store, w.sealer, r, w.opts...)
	require.NoError(t, err)
	var refuse atomic.Bool
	var tries atomic.Int32
	refuse.Store(true)
	w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if !refuse.Load() || r.URL.Path != "/profile" || !bytes.Contains(readBody(r), []byte(`"Bad`)) {
			return false
		}
		tries.Add(1)
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte(body))
		return true
	})
	stop := startEngine(t, e)
	time.Sleep(48 * time.Hour)
	synctest.Wait()
	macs := 0
	for _, d := range w.apple.Devices(0, 40) {
		if d.Family == "Mac" {
			macs++
		}
	}
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentPending: macs, storage.AssignmentSatisfied: 40 - macs}, w.states(t))
	assert.Equal(t, storage.HealthOK, w.health(t))
	assert.Less(t, tries.Load(), int32(60), "at most hourly")
	refuse.Store(false)
	time.Sleep(2 * time.Hour)
	synctest.Wait()
	stop()
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 40}, w.states(t))
	for _, a := range w.rows(t) {
		assert.Empty(t, a.Problem)
		assert.Zero(t, a.ProblemSince)
		assert.Zero(t, a.Failures)
	}
}

// However many devices want it, a profile that cannot be defined is tried once in a step.
func TestUndefinableProfileIsTriedOnce(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 1500)
	var calls atomic.Int32
	w.apple.Intercept(answer("/profile", &calls, 400, "LOCALE_INVALID"))
	require.NoError(t, e.with(t.Context(), acme, func(ctx context.Context, s *step) error { return s.all(ctx) }))
	assert.EqualValues(t, 1, calls.Load())
	assert.Equal(t, 1500, w.kinds(t)["assignment_blocked"])
}

func printOf(t *testing.T, p *depprofile.Profile) string {
	t.Helper()
	f, err := p.Fingerprint()
	require.NoError(t, err)
	return f.String()
}

// What was wanted last is pursued while the resolver fails: a device that loses its profile gets it back.
func TestLostProfileComesBackWhileResolverFails(t *testing.T) {
	t.Parallel()
	w, e, r, serial := ruled(t, 3)
	assignAll(t, e)
	w.clock.Add(11 * time.Minute)
	assignAll(t, e)
	require.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 3}, w.states(t))

	r.fail.Store(true)
	require.NoError(t, w.apple.Unassign(serial))
	require.NoError(t, w.apple.Assign(w.server, serial))
	w.clock.Add(time.Hour)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	for range 3 {
		assignAll(t, e)
		w.clock.Add(11 * time.Minute)
	}
	d, err := w.apple.Device(serial)
	require.NoError(t, err)
	assert.Equal(t, "assigned", d.ProfileStatus)
	assert.Equal(t, storage.AssignmentSatisfied, w.row(t, serial).State)
	assert.NotEmpty(t, w.row(t, serial).Problem, "it is still not known what is wanted")
}
