package abm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

const opAssign = "POST /profile/devices"

func (w *world) dryRun(t *testing.T, r Resolver, opts DryRunOptions) DryRunResult {
	t.Helper()
	before := w.apple.Stats()
	res, err := w.reader(t, forAll(t, "Standard")).DryRun(t.Context(), r, opts)
	require.NoError(t, err)
	assert.Equal(t, before, w.apple.Stats(), "Apple was asked")
	sum := res.Ungrouped
	for _, g := range res.Groups {
		sum += g.Devices
	}
	assert.Equal(t, res.Devices, sum, "every device is in one group, or in none")
	return res
}

// groupsOf counts devices by outcome and reason.
func groupsOf(res DryRunResult) map[string]int {
	m := make(map[string]int)
	for _, g := range res.Groups {
		m[string(g.Outcome)+": "+g.Reason] += g.Devices
	}
	return m
}

func static(t testing.TB, rules ...Rule) *StaticResolver {
	t.Helper()
	r, err := NewStaticResolver(StaticRules{Rules: rules})
	require.NoError(t, err)
	return r
}

// What a dry run foresees is what the engine does afterwards.
func TestDryRunForesees(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60, abmtest.WithLimits("/profile/devices", 7, 7))
	e := w.engine(t)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	families := make(map[string]int)
	for _, d := range w.apple.Devices(0, 60) {
		families[d.Family]++
	}
	require.Positive(t, families["Mac"])
	require.Positive(t, families["iPad"])

	res := w.dryRun(t, forAll(t, "Standard"), DryRunOptions{})
	assert.Equal(t, map[DryRunOutcome]int{OutcomeUnderway: 60}, res.Outcomes, "they are wanted already")
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	res = w.dryRun(t, forAll(t, "Standard"), DryRunOptions{})
	assert.Equal(t, map[DryRunOutcome]int{OutcomeSatisfied: 60}, res.Outcomes)
	assert.Zero(t, res.Accounts[0].AssignCalls)
	assert.Zero(t, res.Accounts[0].DefineCalls)

	rules := static(t, Rule{Name: "macs", Families: []string{"Mac"}, Profile: testProfile("Macs")},
		Rule{Name: "pads", Families: []string{"iPad"}}, Rule{Name: "rest", Profile: testProfile("Standard")})
	res = w.dryRun(t, rules, DryRunOptions{Samples: 3})
	assert.Equal(t, map[string]int{
		"assign: macs": families["Mac"], "left_alone: pads": families["iPad"],
		"satisfied: rest": 60 - families["Mac"] - families["iPad"],
	}, groupsOf(res))
	for _, g := range res.Groups {
		assert.Len(t, g.Serials, min(3, g.Devices))
		assert.Equal(t, "Standard", g.From.Name, "what Apple shows")
	}
	require.Len(t, res.Profiles, 2)
	for _, p := range res.Profiles {
		assert.Equal(t, p.Name == "Macs", p.Define)
		if p.Name != "Macs" {
			continue
		}
		require.Len(t, p.Replaces, 1)
		assert.Equal(t, []depprofile.Change{{Key: "profile_name", From: []byte(`"Standard"`), To: []byte(`"Macs"`)}}, p.Replaces[0].Changes)
		assert.Equal(t, families["Mac"], p.Replaces[0].Devices)
	}
	acct := res.Accounts[0]
	assert.Equal(t, 1, acct.DefineCalls)
	assert.Zero(t, acct.RolloutEndsAt)

	before := w.apple.Stats().Calls[opAssign]
	e, err = New(w.store, w.sealer, rules, w.opts...)
	require.NoError(t, err)
	_, err = e.PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, families["Mac"], assignAll(t, e).Asked)
	assert.Equal(t, acct.AssignCalls, w.apple.Stats().Calls[opAssign]-before)
}

// A staged roll-out comes to the devices, and at the time, that were foreseen.
func TestDryRunOfRollout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60)
	e := w.engine(t)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)

	rules := static(t, Rule{Name: "canary", Profile: testProfile("New"), Rollout: &Rollout{Percent: 40, PerHour: 12}})
	res := w.dryRun(t, rules, DryRunOptions{Samples: 100})
	deferred, assign := res.Outcomes[OutcomeDeferred], res.Outcomes[OutcomeAssign]
	assert.Equal(t, 60, deferred+assign)
	assert.Positive(t, deferred)
	assert.Positive(t, assign)
	for _, g := range res.Groups {
		assert.Equal(t, "New", g.To.Name)
		assert.Equal(t, "Standard", g.From.Name)
		if g.Outcome == OutcomeDeferred {
			assert.InDelta(t, 40, g.Percent, 0)
			assert.Zero(t, g.Paced, "they have no turn")
			continue
		}
		assert.Zero(t, g.Percent)
		assert.Equal(t, res.Accounts[0].Paced, g.Paced)
	}
	assert.Equal(t, assign, res.Profiles[0].Assign)
	assert.Equal(t, 60, res.Profiles[0].Devices)

	e, err = New(w.store, w.sealer, rules, w.opts...)
	require.NoError(t, err)
	_, err = e.PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	var last time.Time
	later := 0
	for _, row := range w.rows(t) {
		if row.NextAttemptAt.After(last) {
			last = row.NextAttemptAt
		}
		if row.State == storage.AssignmentPending && row.NextAttemptAt.After(w.clock.Now()) {
			later++
		}
	}
	assert.Equal(t, last, res.Accounts[0].RolloutEndsAt.UTC())
	assert.Positive(t, later)
	assert.Equal(t, later, res.Accounts[0].Paced)
	for _, g := range res.Groups {
		for _, serial := range g.Serials {
			x := w.explain(t, rules, serial)
			if g.Outcome == OutcomeDeferred {
				assert.NotEmpty(t, w.row(t, serial).Deferred)
				assert.Equal(t, VerdictSatisfied, x.Verdict)
				assert.Contains(t, x.Accounts[0].Why, `The roll-out of profile "New" (to 40 percent of the devices) has not come to it yet: until then it keeps its profile.`)
				assert.Empty(t, x.Accounts[0].Rule.Note)
				continue
			}
			assert.Equal(t, VerdictWaiting, x.Verdict)
			assert.Equal(t, "canary", x.Accounts[0].Assignment.WantedReason)
			if w.row(t, serial).NextAttemptAt.After(w.clock.Now()) {
				assert.Contains(t, x.Accounts[0].Why, "It waits for its turn in a roll-out to 12 devices an hour.")
			}
		}
	}

	// Other rules while that is under way: the hours that were taken so far do not count.
	rules = static(t, Rule{Profile: testProfile("Newer"), Rollout: &Rollout{Percent: 100, PerHour: 30}})
	ends := w.dryRun(t, rules, DryRunOptions{}).Accounts[0].RolloutEndsAt
	e, err = New(w.store, w.sealer, rules, w.opts...)
	require.NoError(t, err)
	_, err = e.PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	last = time.Time{}
	for _, row := range w.rows(t) {
		if row.NextAttemptAt.After(last) {
			last = row.NextAttemptAt
		}
	}
	assert.Equal(t, last, ends.UTC())
}

func TestDryRunOfWhatGoesWrong(t *testing.T) {
	t.Parallel()
	for how, want := range map[int32]DryRunOutcome{oneError: OutcomeUndecided, oneInvalid: OutcomeInvalid, batchPanic: OutcomeUndecided} {
		w := newWorld(t, 30)
		_, err := w.engine(t).SyncOnce(t.Context(), acme)
		require.NoError(t, err)
		bad := &badResolver{StaticResolver: forAll(t, "Standard")}
		bad.bad.Store(how)
		res := w.dryRun(t, bad, DryRunOptions{Samples: 1})
		assert.Positive(t, res.Outcomes[want])
		switch how {
		case batchPanic:
			assert.Equal(t, 30, res.Outcomes[want])
			assert.Equal(t, "resolver panicked: bug of the host", res.Groups[0].Reason)
		case oneInvalid:
			require.Len(t, res.Invalid, 1)
			assert.Len(t, res.Invalid[0].Errors, 2, "all complaints: no name, no URL")
			assert.Equal(t, res.Outcomes[want], res.Invalid[0].Devices)
			assert.Len(t, res.Invalid[0].Serials, 1)
		}
	}
}

func TestDryRunOfThrottledAndParked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	e := w.engine(t, WithMaxFailures(1))
	devs := w.apple.Devices(0, 3)
	require.NoError(t, w.apple.ForceAssignResult(devs[0].SerialNumber, "THROTTLED", 48*time.Hour))
	require.NoError(t, w.apple.ForceAssignResult(devs[1].SerialNumber, "FAILED", 48*time.Hour))
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	res := w.dryRun(t, forAll(t, "Standard"), DryRunOptions{})
	assert.Equal(t, map[DryRunOutcome]int{OutcomeUnderway: 1, OutcomeParked: 1, OutcomeSatisfied: 1}, res.Outcomes)
	assert.Equal(t, 1, res.Accounts[0].Throttled)
	res = w.dryRun(t, forAll(t, "Other"), DryRunOptions{})
	assert.Equal(t, map[DryRunOutcome]int{OutcomeAssign: 3}, res.Outcomes, "another profile is tried for the parked one too")
	assert.Equal(t, 1, res.Accounts[0].Throttled, "Apple throttles the device, not the profile")
}

func TestDryRunAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	e := w.engine(t)
	_, err := e.Accounts().Create(t.Context(), "new", "")
	require.NoError(t, err)
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	cur, err := w.store.GetCursor(t.Context(), acme)
	require.NoError(t, err)
	cur.RulesOrder = 9
	require.NoError(t, w.store.CommitInventory(t.Context(), storage.InventoryChange{Account: acme, Cursor: &cur}))

	res := w.dryRun(t, forAll(t, "Other"), DryRunOptions{})
	require.Len(t, res.Accounts, 2)
	assert.True(t, res.Accounts[0].Outranked)
	assert.Empty(t, res.Accounts[0].Held)
	assert.Equal(t, "The account has no server token yet.", res.Accounts[1].Held)
	assert.False(t, res.Accounts[1].Outranked)
	assert.Len(t, w.dryRun(t, forAll(t, "Other"), DryRunOptions{Accounts: []string{"new", "new"}}).Accounts, 1)

	_, err = e.DryRun(t.Context(), forAll(t, "Other"), DryRunOptions{Accounts: []string{"none"}})
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, err = e.DryRun(t.Context(), nil, DryRunOptions{})
	require.Error(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = e.DryRun(ctx, forAll(t, "Other"), DryRunOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = w.engineOn(t, failingLists{w.store}).DryRun(t.Context(), forAll(t, "Other"), DryRunOptions{})
	require.ErrorContains(t, err, "disk is gone")
}

type failingLists struct{ *memory.Store }

func (failingLists) ListDevices(context.Context, storage.DeviceFilter, storage.Page) ([]storage.Device, string, error) {
	return nil, "", errors.New("disk is gone")
}

// A resolver with a reason and a profile of its own for each device does not make the result grow.
func TestDryRunIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 50)
	_, err := w.engine(t).SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	each := func(of func(storage.Device) Decision) *EachResolver {
		r, err := ForEach(func() Rules { return Rules{ID: "each"} }, func(_ context.Context, d storage.Device) Decision { return of(d) })
		require.NoError(t, err)
		return r
	}
	res := w.dryRun(t, each(func(d storage.Device) Decision {
		return Decision{Profile: testProfile(d.Serial), Reason: "because of " + d.Serial}
	}), DryRunOptions{Groups: 4, Samples: -1})
	assert.Len(t, res.Groups, 4)
	assert.Len(t, res.Profiles, 4)
	assert.Equal(t, 46, res.Ungrouped)
	assert.Equal(t, 50, res.Accounts[0].AssignCalls)
	assert.Equal(t, 50, res.Accounts[0].DefineCalls)
	assert.Empty(t, res.Groups[0].Serials)

	long := fmt.Sprintf("%0*d", 10_000, 1)
	res = w.dryRun(t, each(func(d storage.Device) Decision {
		return Decision{Profile: &depprofile.Profile{ProfileName: d.Serial + long}, Reason: long}
	}), DryRunOptions{})
	assert.Len(t, res.Groups, 1)
	assert.Less(t, len(res.Groups[0].Reason), 400)
	assert.Len(t, res.Invalid, 50)
	assert.Less(t, len(res.Invalid[0].Name), 400)
}

// fleet is a store with any number of devices that takes no memory for them.
type fleet struct {
	*memory.Store
	devices int
	peak    uint64 // heap, at any page
}

func (f *fleet) ListDevices(_ context.Context, flt storage.DeviceFilter, p storage.Page) ([]storage.Device, string, error) {
	var from int
	if p.After != "" {
		if _, err := fmt.Sscan(p.After, &from); err != nil {
			return nil, "", storage.ErrBadCursor
		}
	}
	var m runtime.MemStats
	if from%100_000 == 0 {
		runtime.ReadMemStats(&m)
		f.peak = max(f.peak, m.HeapAlloc)
	}
	page := make([]storage.Device, 0, p.Size())
	for i := from; i < f.devices && len(page) < p.Size(); i++ {
		page = append(page, storage.Device{
			Account: flt.Account, Serial: fmt.Sprintf("S%09d", i), Family: []string{"Mac", "iPad", "iPhone"}[i%3], Document: make([]byte, 600),
		})
	}
	next := ""
	if to := from + len(page); to < f.devices {
		next = fmt.Sprint(to)
	}
	return page, next, nil
}

func BenchmarkDryRun(b *testing.B) {
	rules := func(b *testing.B) Resolver {
		return static(b, Rule{Name: "macs", Families: []string{"Mac"}, Profile: testProfile("Macs")}, Rule{Name: "rest", Profile: testProfile("Rest")})
	}
	b.Run("100k in memory", func(b *testing.B) {
		w := newWorld(b, 0)
		for from := 0; from < 100_000; from += storage.MaxBatch {
			var devs []storage.Device
			for i := from; i < from+storage.MaxBatch; i++ {
				devs = append(devs, storage.Device{Account: acme, Serial: fmt.Sprintf("S%09d", i), Family: []string{"Mac", "iPad"}[i%2], Document: make([]byte, 600)})
			}
			require.NoError(b, w.store.CommitInventory(b.Context(), storage.InventoryChange{Account: acme, Devices: devs}))
		}
		e := w.engine(b)
		for b.Loop() {
			res, err := e.DryRun(b.Context(), rules(b), DryRunOptions{})
			require.NoError(b, err)
			require.Equal(b, 100_000, res.Outcomes[OutcomeAssign])
		}
	})
	b.Run("1M generated", func(b *testing.B) {
		w := newWorld(b, 0)
		f := &fleet{Store: w.store, devices: 1_000_000}
		e := w.engineOn(b, f)
		for b.Loop() {
			res, err := e.DryRun(b.Context(), rules(b), DryRunOptions{})
			require.NoError(b, err)
			require.Equal(b, 1_000_000, res.Devices)
		}
		b.ReportMetric(float64(f.peak)/(1<<20), "MB-heap-peak")
	})
}

// Memory does not grow with the number of devices. It measures the heap, so it is not parallel to others.
func TestDryRunStreams(t *testing.T) {
	w := newWorld(t, 0)
	f := &fleet{Store: w.store, devices: 200_001}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	res, err := w.engineOn(t, f).DryRun(t.Context(), forAll(t, "Standard"), DryRunOptions{})
	require.NoError(t, err)
	assert.Equal(t, 200_001, res.Devices)
	assert.Equal(t, 201, res.Accounts[0].AssignCalls)
	assert.Len(t, res.Groups, 1)
	grown := math.Max(0, float64(f.peak)-float64(before.HeapAlloc))
	assert.Less(t, grown, 64e6, "200,001 records of 600 bytes and more are 150 MB")
}
