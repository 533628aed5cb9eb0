package setupexp

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// checkStep checks the invariants that hold for every step of a run.
func checkStep(t testing.TB, before State, ev Event, after State, out []Effect) {
	t.Helper()
	admin, _ := ev.Body.(Admin)
	retry := admin.Action == ActionRetry
	restarted := before.State == StateSuperseded && after.State != StateSuperseded

	// 1: every live run has a timer, not later than the end of its state, and one that has fired does not fire again.
	if after.State.Live() {
		wake := after.nextWake()
		require.False(t, wake.IsZero(), "live run in state %s without a timer", after.State)
		if d := after.currentDeadline(); !d.IsZero() {
			require.False(t, wake.After(d), "state %s: wakes at %v, after its deadline %v", after.State, wake, d)
		}
		require.True(t, wake.After(after.Now), "state %s: a timer at %v is due still at %v", after.State, wake, after.Now)
	} else {
		require.True(t, after.nextWake().IsZero())
	}
	// 3: what has ended stays so.
	for i := range before.Items {
		b, a := before.Items[i], after.Items[i]
		if b.State.Ended() && a.State != b.State && !retry && !restarted {
			require.True(t, late(&b) && a.State == ItemSucceeded && a.Late,
				"item %d went from %s to %s by %s", i, b.State, a.State, ev.Body.EventKind())
		}
	}
	// 11: items never vanish.
	if before.Plan != nil {
		require.Len(t, after.Items, len(before.Plan.Items))
	}
	checkItems(t, after)
	checkRelease(t, before, after, out)
	checkLanes(t, after, out)
	// 15: the progress bar does not go back.
	if !retry && !restarted {
		require.GreaterOrEqual(t, after.Progress, before.Progress)
	}
	require.LessOrEqual(t, after.Progress, 100)
	// 17: after the release nobody waits.
	if !after.State.holds() {
		require.Empty(t, after.view().Blocker)
	}
}

func checkItems(t testing.TB, s State) {
	t.Helper()
	ready := s.Plan != nil
	for i := range s.Items {
		w, it := s.Items[i], s.Plan.Items[i]
		// 13: attempts are bounded.
		require.LessOrEqual(t, w.Attempt, it.MaxAttempts)
		require.LessOrEqual(t, len(w.Executions), maxExecutions)
		if it.AwaitOnly && !w.State.Ended() || it.Class != Background && !w.settled() {
			ready = false
		}
	}
	// 4: when nothing is waited for, the run is not running.
	if ready {
		require.NotEqual(t, StateRunning, s.State)
	}
}

func checkRelease(t testing.TB, before, s State, out []Effect) {
	t.Helper()
	require.GreaterOrEqual(t, s.Sends, before.Sends)
	sends := 0
	for _, e := range out {
		if e.Kind != EffectRelease {
			continue
		}
		sends++
		// 5: no release before the plan, but for these reasons.
		if s.Plan == nil {
			require.Contains(t, []Reason{
				ReleaseDeadline, ReleasePlanTimeout, ReleaseForcedAdmin, ReleaseForcedAgent, ReleaseObservedExternal,
				ReleaseComplete, // an unheld run that was over, and then the device waited
			}, s.Release.Reason)
		}
		// 6: one id for each send, and none is used twice: they are numbered through the whole run.
		require.Equal(t, before.Sends+1, s.Sends)
		require.Equal(t, s.releaseID(s.Sends), e.Command)
		// 8: await-only items have ended before.
		for i := range s.Items {
			require.False(t, s.Plan.Items[i].AwaitOnly && !s.Items[i].State.Ended(), "release while an await-only item goes on")
		}
		// 16: who does not wait is not released.
		require.True(t, s.Subject.Held)
	}
	require.LessOrEqual(t, sends, 1)
	// 7: force releases in one step.
	if s.Subject.Held && s.State.holds() {
		forced, _ := Reduce(s, Event{At: s.Now, Body: Admin{Action: ActionRelease, Force: true}})
		require.Equal(t, StateReleasing, forced.State)
		require.Equal(t, ReleaseForcedAdmin, forced.Release.Reason)
	} else if s.Subject.Held && s.State.Live() {
		_, out := Reduce(s, Event{At: s.Now, Body: Admin{Action: ActionRelease, Force: true}})
		require.Len(t, slices.DeleteFunc(out, func(e Effect) bool { return e.Kind != EffectRelease }), 1, "state %s", s.State)
	}
}

// checkLanes: 12.
func checkLanes(t testing.TB, s State, out []Effect) {
	t.Helper()
	for _, e := range out {
		if e.Kind != EffectDispatch {
			continue
		}
		i := s.index(e.Item)
		it := s.Plan.Items[i]
		for _, d := range it.After {
			require.True(t, s.Items[s.index(d.ID)].State.Ended(), "%s before %s", e.Item, d.ID)
		}
		busy := 0
		for j := range s.Items {
			w := s.Items[j]
			if s.Plan.Items[j].Lane == it.Lane && w.occupies() {
				busy++
			}
		}
		if n := s.Plan.capacity(it.Lane); n > 0 && s.Items[i].State.working() {
			require.LessOrEqual(t, busy, n, "lane %s", it.Lane)
		}
	}
}

// checkEnds: 18. Time alone ends every run, but for those that wait for a person by explicit option. A run is abandoned
// only after all releases of a round, in a long silence. It returns the number of steps it took.
func checkEnds(t testing.TB, s State) int {
	t.Helper()
	for n := range 5000 {
		if !s.State.Live() || waitsForAPerson(s) {
			return n
		}
		at := s.nextWake()
		require.False(t, at.IsZero(), "state %s waits for nothing", s.State)
		next, _ := Reduce(s, Event{At: at, Body: Tick{}})
		require.True(t, next.State != s.State || next.nextWake().After(s.Now), "time does not pass")
		if next.State == StateAbandoned {
			require.True(t, s.Release.Alerted && !s.Release.Waits && s.Release.Round >= s.Limits.ReleaseSends)
			require.False(t, at.Before(s.Contact.LastAt.Add(s.Limits.Abandon)))
		}
		s = next
	}
	t.Fatalf("state %s does not end by time alone", s.State)
	return 0
}

// checkReleases: a device that says that it waits is sent another release, though nothing is heard after that.
func checkReleases(t testing.TB, s State) {
	t.Helper()
	sends := s.Sends
	s, _ = Reduce(s, Event{At: s.Now, Body: AwaitingSeen{Awaiting: storage.AwaitingTrue}})
	for range 5000 {
		if s.Sends > sends || waitsForAPerson(s) {
			return
		}
		require.True(t, s.State.Live(), "it waits, and its run is over")
		s, _ = Reduce(s, Event{At: s.nextWake(), Body: Tick{}})
	}
	t.Fatalf("a waiting device of a run in state %s is sent nothing", s.State)
}

// waitsForAPerson reports whether a run goes on for ever, as its plan or a person has it.
func waitsForAPerson(s State) bool {
	waits := s.State == StateReadyManual && s.Plan.Manual || s.State == StateHeld && s.Plan.HoldForever
	return waits && settledButFor(s)
}

// settledButFor reports whether no item of a run that waits for a person changes by time any more.
func settledButFor(s State) bool {
	return !slices.ContainsFunc(s.Items, func(w Work) bool { return !w.settled() })
}

// checkPure: reducing changes nothing it was given, gives the same again, survives storage, and an event counts once (14).
func checkPure(t testing.TB, before State, ev Event, after State) {
	t.Helper()
	doc := jsonOf(t, before)
	ev.ID = "same"
	once, _ := Reduce(before, ev)
	require.Equal(t, doc, jsonOf(t, before), "Reduce changed its argument")
	stored, err := parseState([]byte(doc))
	if before.State != "" {
		require.NoError(t, err)
		again, _ := Reduce(stored, ev)
		require.Equal(t, jsonOf(t, once), jsonOf(t, again), "a stored run behaves differently")
	}
	if slices.Contains(once.Seen, "same") {
		later := ev
		later.At = later.At.Add(time.Hour)
		twice, out := Reduce(once, later)
		assert.Empty(t, out)
		require.Equal(t, jsonOf(t, once), jsonOf(t, twice))
	}
	// 9: looking changes nothing.
	doc = jsonOf(t, once)
	once.view()
	once.agentWork()
	require.Equal(t, doc, jsonOf(t, once))
	once.Seen, after.Seen = nil, nil
	require.Equal(t, jsonOf(t, once), jsonOf(t, after))
}
