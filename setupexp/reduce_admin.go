package setupexp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/enrollkit/enrollkit/activity"
)

// Errors of admin actions.
var (
	// ErrRunOver means that the run is over, or that the device has none.
	ErrRunOver = errors.New("setupexp: no live run")
	// ErrNotAllowed means that the action is not possible in the run's state.
	ErrNotAllowed = errors.New("setupexp: action is not possible now")
	// ErrUnknownItem means that the run has no item of that id.
	ErrUnknownItem = errors.New("setupexp: unknown item")
)

// maxExtend is the most time one extension adds.
const maxExtend = 24 * time.Hour

// admissible says why an action is not possible, or nil.
func (s *State) admissible(a Admin) error {
	if !s.State.Live() {
		return ErrRunOver
	}
	for _, id := range a.Items {
		if s.index(id) < 0 {
			return fmt.Errorf("%w %q", ErrUnknownItem, id)
		}
	}
	refuse := func(why string) error { return fmt.Errorf("%w: %s", ErrNotAllowed, why) }
	switch a.Action {
	case ActionRelease:
		switch {
		case !s.Subject.Held:
			return refuse("the device does not wait")
		case !a.Force && s.State != StateReadyManual && s.State != StateHeld:
			return refuse("work is unfinished, or the release decided; force it")
		}
	case ActionRetry:
		switch {
		case s.Plan == nil || s.State == StateReleased:
			return refuse("there is nothing to retry")
		case a.ByAgent && s.AgentRetries >= s.Limits.AgentRetries:
			return refuse("it was retried often enough at the device")
		case a.ByAgent && s.State == StateHeld && s.Hold.Item == "":
			return refuse("a person holds the device")
		}
	case ActionSkip, ActionCancel:
		if len(a.Items) == 0 {
			return refuse("no items are named")
		}
	case ActionExtend:
		if a.Extend <= 0 || a.Extend > maxExtend {
			return refuse(fmt.Sprintf("%v is not positive and at most %v", a.Extend, maxExtend))
		}
		if s.State != StateRunning && (s.State != StateHeld || s.Hold.Until.IsZero()) {
			return refuse("no deadline is running")
		}
	case ActionHold:
		if !s.Subject.Held || s.State != StateRunning && s.State != StateReadyManual {
			return refuse("the device cannot be held now")
		}
	default:
		return refuse("unknown action")
	}
	return nil
}

// admin does what a person asked for.
func (st *step) admin(a Admin) bool {
	s := st.s
	if a.Actor != "" {
		st.actor = a.Actor
	}
	if err := s.admissible(a); err != nil {
		st.ignored(a, err.Error())
		return false
	}
	st.notify(activity.SetupAdminAction{
		On: st.on(), RunID: s.Subject.RunID, Action: string(a.Action), Items: a.Items, Reason: bounded(a.Reason),
	})
	switch a.Action {
	case ActionRelease:
		if !s.State.holds() {
			st.forceAgain()
			break
		}
		reason := ReleaseManual
		if a.Force && a.ByAgent {
			reason = ReleaseForcedAgent
		} else if a.Force {
			reason = ReleaseForcedAdmin
		}
		st.decide(reason)
	case ActionRetry:
		st.retry(a)
	case ActionSkip:
		for _, id := range a.Items {
			st.skip(s.index(id))
		}
	case ActionCancel:
		for _, id := range a.Items {
			if i := s.index(id); !s.Items[i].State.Ended() {
				st.cancel(i, ReasonAdmin)
			}
		}
	case ActionExtend:
		if s.State == StateHeld {
			s.HoldUntil = s.HoldUntil.Add(a.Extend)
			s.Hold.Until = s.HoldUntil
		} else {
			s.Deadline = s.Deadline.Add(a.Extend)
		}
	case ActionHold:
		s.HoldUntil = time.Time{}
		st.hold("", ReasonAdmin)
	}
	return true
}

// forceAgain sends the release at once that was decided already: without the grace of await-only items, or once more.
func (st *step) forceAgain() {
	s := st.s
	for i := range s.Items {
		if s.Plan.Items[i].AwaitOnly && !s.Items[i].State.Ended() {
			st.cancel(i, ReasonAdmin)
		}
	}
	st.releaseAgain()
}

// skip goes on without an item. One that has failed stays so, but holds nobody and nothing depends on it any more.
func (st *step) skip(i int) {
	w := &st.s.Items[i]
	if w.State.Ended() {
		w.Waived = true
		return
	}
	if w.State.working() && w.State != ItemGating {
		st.emit(Effect{Kind: EffectCancel, Item: st.s.Plan.Items[i].ID, Attempt: w.Attempt, Command: w.execution()})
	}
	st.move(i, ItemSkipped, ReasonAdmin, "")
}

// retry begins failed items again, all of them if none are named, and what was skipped because of them. Whoever is at
// the device can do so a few times, does not get the device held for longer, and leaves alone what a person decided.
func (st *step) retry(a Admin) {
	s := st.s
	if a.ByAgent {
		s.AgentRetries++
	} else {
		s.HoldUntil = time.Time{}
	}
	again := false
	for i := range s.Items {
		w, it := &s.Items[i], &s.Plan.Items[i]
		if len(a.Items) > 0 && !slices.Contains(a.Items, it.ID) || !st.mayRetry(i) {
			continue
		}
		cancelled := w.State == ItemCancelled && w.Reason == ReasonAdmin
		if a.ByAgent && (w.Waived || cancelled) {
			continue
		}
		if w.State == ItemFailed || cancelled {
			st.rearm(i)
			again = again || it.Capability != "" || it.Agent
		}
	}
	for changed := true; changed; {
		changed = false
		for i := range s.Items {
			w := &s.Items[i]
			if _, failed, _ := st.dependencies(i); w.State == ItemSkipped && w.Reason == ReasonDependencyFailed && !failed &&
				st.mayRetry(i) {
				st.rearm(i)
				again = again || s.Plan.Items[i].Capability != ""
				changed = true
			}
		}
	}
	if again && s.Agent.ArrivedAt.IsZero() {
		s.Agent.Deadline = time.Time{}
		st.rearmAgent()
	}
	if s.State == StateHeld {
		st.unhold()
	}
	s.Progress = 0 // counted anew
}

// mayRetry reports whether an item can still work: await-only ones cannot once the release is decided.
func (st *step) mayRetry(i int) bool {
	return !st.s.Plan.Items[i].AwaitOnly || st.s.Subject.Held && st.s.State.holds()
}

// rearm makes an item as if it had not been tried, but for the ids of its attempts.
func (st *step) rearm(i int) {
	w := &st.s.Items[i]
	deferred := !st.s.State.holds() || st.s.Plan.Items[i].Class == Background && w.Deferred
	gated, n, ids := w.Gated, w.Dispatches, w.Executions
	st.move(i, ItemBlocked, "", "")
	*w = Work{State: ItemBlocked, Gated: gated, Dispatches: n, Executions: ids, Deferred: deferred}
}

// rearmAgent bounds the wait for the agent again: by the item that installs it, if that is tried again.
func (st *step) rearmAgent() {
	for i := range st.s.Items {
		if st.s.Plan.Items[i].Agent && !st.s.Items[i].State.Ended() {
			return
		}
	}
	st.waitForAgent(st.s.Limits.AgentArrival)
}
