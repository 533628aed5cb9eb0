package setupexp

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// canonical names the class of states a run is in. Two runs of one class stand the same, and the timers that decide
// anything are due in the same order. They may differ in what attempts were called, in how long exactly it is to each
// timer, and in what only watches: pushes, reminders, and when the device was asked something last.
func canonical(t testing.TB, s State) string {
	t.Helper()
	now := s.Now
	s = s.clone()
	s.Seen, s.Counter, s.Plan, s.Limits, s.EndReason = nil, 0, nil, Limits{}, ""
	s.AppliedAt, s.PlannedAt, s.ReleasedAt, s.EndedAt, s.RemindAt = now, now, now, now, now
	if r := s.Release; r != nil {
		sent := !r.SentAt.IsZero()
		if s.State == StateReleasing && sent {
			// The timers are counted from these.
			r.PushAt, r.SentAt = s.resendAt(), s.abandonAt()
		} else {
			r.PushAt, r.SentAt = time.Time{}, time.Time{}
		}
		*r = Release{
			GraceUntil: r.GraceUntil, SentAt: r.SentAt, PushAt: r.PushAt, Round: r.Round, Alerted: r.Alerted, Waits: r.Waits,
			Before: min(1, s.Sends-r.Before),
		}
	}
	s.Contact, s.Queries = Contact{}, nil
	for i := range s.Items {
		w := &s.Items[i]
		w.StartedAt, w.EndedAt, w.Percent = time.Time{}, time.Time{}, 0
		if w.State.Ended() {
			w.Attempt, w.Gated, w.Deferred, w.Taken = 0, false, false, false
		}
	}
	var doc any
	require.NoError(t, json.Unmarshal([]byte(jsonOf(t, s)), &doc))
	var future []time.Time
	visit(doc, func(at time.Time) string {
		if at.After(now) {
			future = append(future, at)
		}
		return at.Format(time.RFC3339Nano)
	})
	slices.SortFunc(future, time.Time.Compare)
	future = slices.CompactFunc(future, time.Time.Equal)
	doc = visit(doc, func(at time.Time) string {
		n, _ := slices.BinarySearchFunc(future, at, time.Time.Compare)
		if !at.After(now) {
			n = -1
		}
		return strconv.Itoa(n)
	})
	return jsonOf(t, doc)
}

// visit replaces the times in a JSON document and removes what only counts.
func visit(v any, at func(time.Time) string) any {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range []string{"executions", "dispatches", "sends", "progress", "detail"} {
			delete(v, k)
		}
		for k := range v {
			v[k] = visit(v[k], at)
		}
	case []any:
		for i := range v {
			v[i] = visit(v[i], at)
		}
	case string:
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return at(t)
		}
	}
	return v
}

// choices are the events that may happen to a run next.
func choices(s *State, all bool) []EventBody {
	bodies := []EventBody{
		AwaitingSeen{Awaiting: storage.AwaitingTrue},
		AwaitingSeen{Awaiting: storage.AwaitingFalse},
		Admin{Action: ActionRelease, Force: true},
	}
	if slices.ContainsFunc(s.items(), func(it Item) bool { return it.Agent || it.Capability != "" }) {
		bodies = append(bodies, AgentHello{Version: "1", Capabilities: []string{CapabilityScripts}})
	}
	for i := range s.Items {
		id := s.Items[i].execution()
		if id == "" {
			continue
		}
		for _, st := range []Status{StatusAcknowledged, StatusError, StatusNotNow} {
			bodies = append(bodies, CommandResult{CommandUUID: id, Status: st})
		}
	}
	if len(s.Items) > 0 {
		seen := map[string]Presence{}
		for _, it := range s.Plan.Items {
			seen[it.ID] = Installed
		}
		bodies = append(bodies, queryAnswered{Key: string(s.Plan.Items[0].Kind), Presence: seen})
	}
	release := s.releaseID(s.Sends)
	if s.Release != nil {
		bodies = append(bodies, CommandResult{CommandUUID: release, Status: StatusAcknowledged})
	}
	if !all {
		return bodies
	}
	return append(bodies,
		AwaitingSeen{Awaiting: storage.AwaitingUnknown},
		WipeIssued{},
		Authenticated{},
		Admin{Action: ActionRetry},
		Admin{Action: ActionRetry, ByAgent: true},
		Admin{Action: ActionHold},
		CommandResult{CommandUUID: release, Status: StatusNotNow},
		CommandResult{CommandUUID: release, Status: StatusError},
		CommandResult{CommandUUID: release, Status: StatusError, Errors: []CommandError{notAwaitingError()}},
		queryAnswered{Key: queryAwaiting, Awaiting: storage.AwaitingTrue},
	)
}

func (s *State) items() []Item {
	if s.Plan == nil {
		return nil
	}
	return s.Plan.Items
}

func smallPlans() map[string]Plan {
	hold := simple("a")
	hold.Class, hold.OnFailure = Required, PolicyHold
	background := simple("b")
	background.Class, background.After = Background, []Dependency{{ID: "a"}}
	verified := profileItem("a")
	verified.SkipIfPresent = true
	one := simple("a")
	one.MaxAttempts = 1
	now := simple("a")
	now.OnFailure = PolicyReleaseNow
	return map[string]Plan{
		"empty":               {},
		"one":                 {Items: []Item{one}},
		"one verified":        {Items: []Item{verified}},
		"hold and background": {Items: []Item{hold, background}},
		"hold for ever":       {Items: []Item{hold}, HoldForever: true},
		"manual":              {Items: []Item{simple("a")}, Manual: true},
		"account":             {Items: []Item{accountItem("a")}},
		"agent and script":    {Items: []Item{AgentPackage("a", "Agent", packageSpec()), scriptItem("b")}},
		"release on failure":  {Items: []Item{now, accountItem("b")}},
	}
}

// TestSmallPlansEnd explores all that can happen to small plans, to the last state: each event of [choices] at once
// after another one or at the moment a timer fires. It shows for each state
//   - that all invariants of a step hold;
//   - that the run ends if nothing is ever heard again: it is closed, or abandoned, which is allowed only after a full
//     round of releases and Limits.Abandon of silence (see [checkEnds]);
//   - that a device which says once that it waits is sent another release if nothing is heard after that (see
//     [checkReleases]). So a device that waits and says so is never given up.
//
// Runs that wait for a person by the plan's word, or because a person holds them for ever, are excepted.
func TestSmallPlansEnd(t *testing.T) {
	t.Parallel()
	for name, plan := range smallPlans() {
		if (testing.Short() || raceEnabled) && name != "empty" && name != "manual" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := &explorer{t: t, all: name == "empty" || name == "one", seen: map[string]bool{}, met: map[RunState]int{}}
			m := newSim(t)
			m.s = newState(testSubject(), Limits{ReleaseSends: 2, AgentRetries: 1})
			m.awaiting(storage.AwaitingTrue)
			x.add(m.s, false)
			x.add(m.do(PlanResolved{Plan: plan}).s, false)
			for len(x.queue) > 0 {
				next := x.queue[0]
				x.queue = x.queue[1:]
				x.explore(next.State, next.ends)
			}
			t.Logf("%d states, at most %d ticks to an end: %v", len(x.seen), x.longest, x.met)
		})
	}
}

// mostStates is a safeguard: more states are a mistake in canonical or a plan that is not small.
const mostStates = 20000

type explorer struct {
	t       *testing.T
	all     bool // all events, not only the usual ones
	seen    map[string]bool
	queue   []found
	met     map[RunState]int
	longest int
}

type found struct {
	State
	ends bool // time alone led to it from a state that was shown to end
}

// add notes a state that can be reached.
func (x *explorer) add(s State, ends bool) {
	x.t.Helper()
	key := canonical(x.t, s)
	if s.State == "" || x.seen[key] {
		return
	}
	require.Less(x.t, len(x.seen), mostStates, "not all states were seen")
	x.seen[key] = true
	x.met[s.State]++
	x.queue = append(x.queue, found{s, ends})
}

// explore checks a state and adds those that follow it.
func (x *explorer) explore(s State, ends bool) {
	x.t.Helper()
	if !ends {
		x.longest = max(x.longest, checkEnds(x.t, s))
	}
	checkReleases(x.t, s)
	for _, body := range choices(&s, x.all) {
		ev := Event{EnrollmentID: testDevice, Generation: 1, At: s.Now, Body: body}
		next, out := Reduce(s, ev)
		checkStep(x.t, s, ev, next, out)
		x.add(next, false)
	}
	// Time passes until it makes a difference.
	for key, before := canonical(x.t, s), s; before.State.Live() && !waitsForAPerson(before); {
		ev := Event{EnrollmentID: testDevice, Generation: 1, At: before.nextWake(), Body: Tick{}}
		next, out := Reduce(before, ev)
		checkStep(x.t, before, ev, next, out)
		if before = next; canonical(x.t, next) != key {
			x.add(next, true)
			break
		}
	}
}
