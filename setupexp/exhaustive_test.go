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

// canonical names the class of states a run is in: two runs of one class differ only in what attempts were called and in
// how long exactly it is to each timer, while the timers are due in the same order.
func canonical(t testing.TB, s State) string {
	t.Helper()
	now := s.Now
	s = s.clone()
	s.Seen, s.Counter, s.Plan, s.Limits, s.EndReason = nil, 0, nil, Limits{}, ""
	s.AppliedAt, s.PlannedAt = time.Time{}, time.Time{}
	if s.Release != nil {
		s.Release.Reason, s.Release.Evidence, s.Release.DecidedAt = "", "", time.Time{}
	}
	for i := range s.Items {
		w := &s.Items[i]
		w.StartedAt, w.EndedAt, w.Percent = time.Time{}, time.Time{}, 0
		if w.State.Ended() {
			w.Attempt, w.Gated, w.Deferred = 0, false, false
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
		for _, k := range []string{"executions", "dispatches", "sends", "number", "progress", "pushes", "push_every", "detail"} {
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
func choices(s *State) []EventBody {
	bodies := []EventBody{
		Tick{},
		AwaitingSeen{Awaiting: storage.AwaitingTrue},
		AwaitingSeen{Awaiting: storage.AwaitingFalse},
		Admin{Action: ActionRelease, Force: true},
		AgentHello{Version: "1", Capabilities: []string{CapabilityScripts}},
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
	if s.Release != nil {
		id := s.releaseID(s.Sends)
		bodies = append(bodies, CommandResult{CommandUUID: id, Status: StatusAcknowledged})
	}
	return bodies
}

func smallPlans() map[string]Plan {
	hold := simple("a")
	hold.Class, hold.OnFailure = Required, PolicyHold
	background := simple("b")
	background.Class, background.After = Background, []Dependency{{ID: "a"}}
	verified := profileItem("a")
	verified.SkipIfPresent = true
	now := simple("a")
	now.OnFailure = PolicyReleaseNow
	return map[string]Plan{
		"empty":               {},
		"one verified":        {Items: []Item{verified}},
		"hold and background": {Items: []Item{hold, background}},
		"hold for ever":       {Items: []Item{hold}, HoldForever: true},
		"manual":              {Items: []Item{simple("a")}, Manual: true},
		"account":             {Items: []Item{accountItem("a")}},
		"agent and script":    {Items: []Item{AgentPackage("a", "Agent", packageSpec()), scriptItem("b")}},
		"release on failure":  {Items: []Item{now, accountItem("b")}},
	}
}

// TestTicksAloneEndEveryReachableState explores all that can happen to small plans, as deep as there is time for, and
// shows for each state it meets that the run ends if nothing is ever heard again.
func TestTicksAloneEndEveryReachableState(t *testing.T) {
	t.Parallel()
	most := 3000
	if testing.Short() || raceEnabled {
		most = 300
	}
	for name, plan := range smallPlans() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newSim(t).awaiting(storage.AwaitingTrue)
			unplanned := m.s
			m.do(PlanResolved{Plan: plan})
			seen := map[string]bool{}
			type found struct {
				State
				ends bool // it is on the way of time from a state that was shown to end
			}
			queue := []found{{State: unplanned}, {State: m.s}}
			met, longest, complete := map[RunState]int{}, 0, true
			for len(queue) > 0 {
				s, ends := queue[0].State, queue[0].ends
				queue = queue[1:]
				key := canonical(t, s)
				if seen[key] {
					continue
				}
				if len(seen) == most {
					complete = false
					break
				}
				seen[key] = true
				met[s.State]++
				if !ends {
					longest = max(longest, checkEnds(t, s))
				}
				for _, body := range choices(&s) {
					// Each event happens at once and, if it is a tick, when the run wants to be woken.
					ev := Event{EnrollmentID: testDevice, Generation: 1, At: s.Now, Body: body}
					_, isTick := body.(Tick)
					if isTick {
						ev.At = s.nextWake()
					}
					next, out := Reduce(s, ev)
					checkStep(t, s, ev, next, out)
					if next.State != "" {
						queue = append(queue, found{State: next, ends: isTick})
					}
				}
			}
			t.Logf("%d states (all: %v), at most %d ticks to an end: %v", len(seen), complete, longest, met)
		})
	}
}
