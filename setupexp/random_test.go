package setupexp

import (
	"math/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// randomEvent returns something that may happen to a run, sensible more often than not.
func randomEvent(r *rand.Rand, s *State) EventBody {
	awaiting := []storage.Awaiting{storage.AwaitingTrue, storage.AwaitingTrue, storage.AwaitingFalse, storage.AwaitingUnknown}
	pick := func() string {
		if len(s.Items) == 0 || r.Intn(20) == 0 {
			return "none"
		}
		i := r.Intn(len(s.Items))
		if n := len(s.Items[i].Executions); n > 0 {
			return s.Items[i].Executions[n-1-r.Intn(min(n, 2))]
		}
		return "none"
	}
	item := func() string {
		if len(s.Items) == 0 {
			return "none"
		}
		return s.Plan.Items[r.Intn(len(s.Items))].ID
	}
	presence := []Presence{Installed, Installing, Absent}
	status := []Status{StatusAcknowledged, StatusAcknowledged, StatusError, StatusNotNow, StatusFormatError}
	switch r.Intn(26) {
	case 0:
		return AwaitingSeen{Awaiting: awaiting[r.Intn(4)], Source: "TokenUpdate"}
	case 1:
		return []EventBody{Authenticated{}, CheckedOut{}, WipeIssued{}, DeviceContact{Kind: "Idle"}}[r.Intn(4)]
	case 2, 3, 4, 5, 6, 7:
		res := CommandResult{CommandUUID: pick(), Status: status[r.Intn(len(status))]}
		if res.Status == StatusError && r.Intn(3) == 0 {
			res.Errors = []CommandError{notAwaitingError()}
		}
		return res
	case 8, 9:
		if s.Release == nil {
			return Tick{}
		}
		return CommandResult{CommandUUID: s.releaseID(1 + r.Intn(s.Sends+1)), Status: status[r.Intn(len(status))]}
	case 10, 11, 12:
		a := queryAnswered{Key: []string{"profile", "package", queryAwaiting}[r.Intn(3)], Presence: map[string]Presence{}}
		for i := range s.Items {
			a.Presence[s.Plan.Items[i].ID] = presence[r.Intn(3)]
		}
		if a.Key == queryAwaiting {
			a.Awaiting = awaiting[r.Intn(4)]
		}
		return a
	case 13:
		return Evidence{Item: item(), Presence: presence[r.Intn(3)]}
	case 14:
		return AgentHello{Version: "1", Capabilities: []string{CapabilityScripts}[:r.Intn(2)]}
	case 15:
		return AgentProgress{ExecutionID: pick(), Percent: r.Intn(101)}
	case 16, 17:
		return AgentResult{ExecutionID: pick(), ExitCode: r.Intn(2)}
	case 18:
		return Admin{Action: ActionRetry, Items: []string{item()}[:r.Intn(2)], ByAgent: r.Intn(2) == 0}
	case 19:
		action := []AdminAction{ActionRelease, ActionSkip, ActionExtend, ActionHold, ActionCancel}[r.Intn(5)]
		return Admin{Action: action, Items: []string{item()}, Force: r.Intn(4) == 0, Extend: time.Minute}
	case 20:
		return dispatchFailed{ExecutionID: pick(), Error: "no", Permanent: r.Intn(2) == 0}
	case 21:
		return PlanChanged{Removed: []string{item()}}
	}
	return Tick{}
}

// TestInvariantsHoldInRandomRuns drives random plans through random events.
func TestInvariantsHoldInRandomRuns(t *testing.T) {
	t.Parallel()
	runs := 600
	if testing.Short() || raceEnabled {
		runs = 100
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	events, longest := 0, 0
	for i := range runs {
		r := rand.New(rand.NewSource(seed + int64(i)))
		s := newState(testSubject(), Limits{})
		at := start()
		plan := randomPlan(r, 5)
		require.NoError(t, plan.Validate())
		used := map[string]bool{}
		for step := range 60 {
			ev := Event{EnrollmentID: testDevice, Generation: 1, At: at, Body: randomEvent(r, &s)}
			if step == 0 {
				ev.Body = AwaitingSeen{Awaiting: []storage.Awaiting{storage.AwaitingTrue, storage.AwaitingTrue, storage.AwaitingUnknown}[r.Intn(3)]}
			}
			if at.Equal(s.nextWake()) && r.Intn(8) > 0 { // mostly the tracker is in time
				ev.Body = Tick{}
			}
			if s.State == StatePlanning && r.Intn(2) == 0 {
				ev.Body = PlanResolved{Plan: plan}
			}
			next, out := Reduce(s, ev)
			checkStep(t, s, ev, next, out)
			if step%7 == 0 {
				checkPure(t, s, ev, next)
			}
			for _, e := range out {
				// A second cancel of one attempt does no harm.
				named := e.Kind != EffectNotify && e.Kind != EffectCancel
				require.False(t, named && used[e.ID], "effect %s comes twice", e.ID)
				used[e.ID] = true
			}
			s = next
			events++
			switch r.Intn(4) {
			case 0:
				if wake := s.nextWake(); !wake.IsZero() {
					at = wake
				}
			case 1:
				at = at.Add(time.Duration(r.Intn(90)) * time.Second)
			case 2:
				at = at.Add(time.Duration(r.Intn(1000)) * time.Millisecond)
			}
			if t.Failed() {
				t.Fatalf("run %d", i)
			}
		}
		longest = max(longest, checkEnds(t, s))
	}
	t.Logf("%d events in %d runs; at most %d ticks to an end", events, runs, longest)
}
