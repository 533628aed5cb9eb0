package abm

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// ordered returns an engine of the world with these rules.
func (w *world) ordered(t *testing.T, order int64, rules ...Rule) *Engine {
	t.Helper()
	r, err := NewStaticResolver(StaticRules{Order: order, Rules: rules})
	require.NoError(t, err)
	e, err := New(w.store, w.sealer, r, w.opts...)
	require.NoError(t, err)
	return e
}

// planned has all devices planned, and what is due done and verified. It returns how many assignments changed.
func (w *world) planned(t *testing.T, e *Engine) int {
	t.Helper()
	n, err := e.PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	w.settle(t, e)
	return n
}

func (w *world) settle(t *testing.T, e *Engine) {
	t.Helper()
	for range 2 { // the second looks at what the first has assigned
		assignAll(t, e)
		w.clock.Add(11 * time.Minute)
	}
	assignAll(t, e)
}

// profiles counts the devices at Apple by the name of their profile.
func (w *world) profiles(t *testing.T) map[string]int {
	t.Helper()
	rows, err := w.store.ListProfiles(t.Context(), acme)
	require.NoError(t, err)
	names := map[string]string{"": ""}
	for _, p := range rows {
		names[p.UUID] = profileName(p.Document)
	}
	m := make(map[string]int)
	for _, d := range w.apple.Devices(0, 0) {
		if d.ServerUUID == w.server.UUID() {
			m[names[d.ProfileUUID]]++
		}
	}
	return m
}

func (w *world) assignCalls() int {
	n := 0
	for _, calls := range w.apple.Stats().AssignCalls {
		n += calls
	}
	return n
}

func staged(name string, r *Rollout) Rule {
	return Rule{Name: name, Profile: testProfile(name), Rollout: r}
}

func TestRolloutByPercent(t *testing.T) {
	t.Parallel()
	const n = 400
	w := newWorld(t, n)
	e := w.ordered(t, 1, staged("v1", &Rollout{Percent: 0}))
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	w.settle(t, e)
	assert.Equal(t, map[string]int{"v1": n}, w.profiles(t), "new devices get it at once, whatever the percentage")

	e = w.ordered(t, 2, staged("v2", &Rollout{Percent: 10}))
	w.planned(t, e)
	first := w.profiles(t)
	assert.InDelta(t, n/10, first["v2"], 20)
	assert.Equal(t, n, first["v1"]+first["v2"])
	assert.Equal(t, first["v1"], w.kinds(t)["profile_deferred"])
	has := make(map[string]bool)
	v2 := printOf(t, testProfile("v2"))
	for _, a := range w.rows(t) {
		assert.Equal(t, storage.AssignmentSatisfied, a.State)
		assert.Zero(t, a.NextAttemptAt)
		if a.Profile == v2 {
			assert.Empty(t, a.Deferred)
			has[a.Serial] = true
		} else {
			assert.Equal(t, v2, a.Deferred)
			assert.Equal(t, printOf(t, testProfile("v1")), a.Profile)
		}
	}
	assert.Zero(t, w.planned(t, e), "nothing changes by itself")

	// New devices, and those that come back, get the newest at once.
	added := w.apple.RandomDevices(20)
	require.NoError(t, w.apple.AddDevices(w.server, added...))
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	w.settle(t, e)
	assert.Equal(t, first["v2"]+20, w.profiles(t)["v2"])

	// Raising it only adds devices.
	calls := w.assignCalls()
	e = w.ordered(t, 3, staged("v2", &Rollout{Percent: 50}))
	w.planned(t, e)
	second := w.profiles(t)
	assert.InDelta(t, n/2, second["v2"]-20, 50)
	assert.Equal(t, calls+second["v2"]-first["v2"]-20, w.assignCalls(), "one call for each of them, none for others")
	for _, a := range w.rows(t) {
		if has[a.Serial] {
			assert.Equal(t, v2, a.Profile)
		}
	}

	// Going back costs calls for the devices that have it only, and defines nothing.
	defined := w.apple.Stats().Calls["POST /profile"]
	calls = w.assignCalls()
	e = w.ordered(t, 4, staged("v1", nil))
	w.planned(t, e)
	assert.Equal(t, map[string]int{"v1": n + 20}, w.profiles(t))
	assert.Equal(t, calls+second["v2"], w.assignCalls())
	assert.Equal(t, defined, w.apple.Stats().Calls["POST /profile"])
	for _, a := range w.rows(t) {
		assert.Empty(t, a.Deferred)
	}
}

// A roll-out by the hour goes on with another engine where the first has left off, and does not begin again.
func TestRolloutByHour(t *testing.T) {
	t.Parallel()
	const n = 60
	w := newWorld(t, n)
	e := w.ordered(t, 1, staged("v1", nil))
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	w.settle(t, e)

	rule := staged("v2", &Rollout{Percent: 100, PerHour: 12})
	_, err = w.ordered(t, 2, rule).PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	began := w.clock.Now()
	slots := make(map[time.Time]int)
	for _, a := range w.rows(t) {
		assert.Equal(t, storage.AssignmentPending, a.State)
		slots[a.NextAttemptAt]++
	}
	for at, devices := range slots {
		assert.LessOrEqual(t, devices, 2, at)
		assert.Equal(t, at.Truncate(5*time.Minute), at, "so that devices share calls")
	}
	for hour := 1; hour <= 6; hour++ {
		for range 12 {
			w.clock.Add(5 * time.Minute)
			e := w.ordered(t, 2, rule) // a new process each time
			_, err := e.PlanOnce(t.Context(), acme)
			require.NoError(t, err)
			assignAll(t, e)
		}
		assert.InDelta(t, min(12*hour, n), w.profiles(t)["v2"], 1, "hour %d", hour)
	}
	cur, err := w.store.GetCursor(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, began.Add(5*time.Hour), cur.RolloutAt.UTC())
	for serial, calls := range w.apple.Stats().AssignCalls {
		assert.Equal(t, 2, calls, serial)
	}
}

// A replica with older rules, which has new devices planned anew, does not make the slots of the roll-out before stay.
func TestRolloutIsRespreadAfterOlderRules(t *testing.T) {
	t.Parallel()
	const n = 48
	w := newWorld(t, n)
	e := w.ordered(t, 1, staged("v1", nil))
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	w.settle(t, e)
	_, err = w.ordered(t, 2, staged("v2", &Rollout{Percent: 100, PerHour: 1})).PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(1)...))
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	_, err = w.ordered(t, 3, staged("v2", &Rollout{Percent: 100, PerHour: 48})).PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	for _, a := range w.rows(t) {
		assert.Less(t, a.NextAttemptAt.Sub(w.clock.Now()), 70*time.Minute, a.Serial)
	}
}

// Other rules take the slots anew: what waited for the old ones does not have to wait any more, nor the next roll-out.
func TestRolloutIsRespread(t *testing.T) {
	t.Parallel()
	const n = 48
	w := newWorld(t, n)
	e := w.ordered(t, 1, staged("v1", nil))
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	w.settle(t, e)
	last := func() time.Duration {
		var at time.Time
		for _, a := range w.rows(t) {
			if a.NextAttemptAt.After(at) {
				at = a.NextAttemptAt
			}
		}
		return at.Sub(w.clock.Now())
	}
	plan := func(order int64, rule Rule) {
		_, err := w.ordered(t, order, rule).PlanOnce(t.Context(), acme)
		require.NoError(t, err)
	}
	plan(2, staged("v2", &Rollout{Percent: 100, PerHour: 1}))
	assert.InDelta(t, 47*time.Hour, last(), float64(10*time.Minute))
	plan(3, staged("v2", &Rollout{Percent: 100, PerHour: 48}))
	assert.InDelta(t, time.Hour, last(), float64(10*time.Minute), "faster")
	plan(4, staged("v1", nil))
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: n}, w.states(t), "nobody had it yet: no call")
	assert.Equal(t, n, w.assignCalls())
	cur, err := w.store.GetCursor(t.Context(), acme)
	require.NoError(t, err)
	assert.False(t, cur.RolloutAt.After(w.clock.Now()))
	plan(5, staged("v3", &Rollout{Percent: 100, PerHour: 48}))
	assert.InDelta(t, time.Hour, last(), float64(10*time.Minute))
	plan(6, staged("v3", nil))
	w.settle(t, w.ordered(t, 6, staged("v3", nil)))
	assert.Equal(t, map[string]int{"v3": n}, w.profiles(t))
}

func TestRolloutCovers(t *testing.T) {
	t.Parallel()
	const n = 20_000
	before := 0
	for _, percent := range []float64{0, 0.1, 1, 25, 50, 99, 100} {
		r, covered := &Rollout{Percent: percent}, 0
		for i := range n {
			if serial := fmt.Sprint("S", i); r.covers(serial, "print") {
				covered++
				assert.True(t, (&Rollout{Percent: 100}).covers(serial, "print"))
			} else {
				assert.False(t, (&Rollout{Percent: percent / 2}).covers(serial, "print"), "a larger number only adds")
			}
		}
		assert.InDelta(t, percent/100*n, covered, 250)
		assert.GreaterOrEqual(t, covered, before)
		before = covered
	}
	other := 0
	for i := range n {
		if r := (&Rollout{Percent: 10}); r.covers(fmt.Sprint("S", i), "print") && r.covers(fmt.Sprint("S", i), "other") {
			other++
		}
	}
	assert.InDelta(t, n/100, other, 80, "another profile is tried on other devices")
}

func TestRolloutIsChecked(t *testing.T) {
	t.Parallel()
	nan := 0.0
	nan /= nan
	for _, r := range []Rollout{{Percent: -1}, {Percent: 100.1}, {Percent: nan}, {Percent: 5, PerHour: -1}, {Percent: 5, PerHour: 1_000_001}} {
		_, err := NewStaticResolver(StaticRules{Rules: []Rule{staged("bad", &r)}})
		require.ErrorContains(t, err, "roll-out", r)
	}
	// One of the host's own resolver concerns its devices only.
	w := newWorld(t, 4)
	p := testProfile("x")
	r, err := ForEach(func() Rules { return Rules{} }, decideBadRollout(p))
	require.NoError(t, err)
	e, err := New(w.store, w.sealer, r, w.opts...)
	require.NoError(t, err)
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	for _, a := range w.rows(t) {
		assert.Contains(t, a.Problem, "roll-out")
	}
}

// Rules of another roll-out are other rules.
func TestRolloutIsPartOfRules(t *testing.T) {
	t.Parallel()
	ids := make(map[string]bool)
	for _, r := range []*Rollout{nil, {Percent: 100}, {Percent: 50}, {Percent: 50, PerHour: 1}} {
		s, err := NewStaticResolver(StaticRules{Rules: []Rule{staged("v", r)}})
		require.NoError(t, err)
		ids[s.Rules().ID] = true
	}
	assert.Len(t, ids, 4)
}

func decideBadRollout(p *depprofile.Profile) func(context.Context, storage.Device) Decision {
	return func(context.Context, storage.Device) Decision {
		return Decision{Profile: p, Rollout: &Rollout{Percent: 101}}
	}
}
