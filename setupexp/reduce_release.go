package setupexp

import (
	"time"

	"github.com/enrollkit/enrollkit/activity"
)

// evaluate decides about the hold, the release and the end. It reports whether anything changed.
func (st *step) evaluate() bool {
	switch st.s.State {
	case StateRunning, StateHeld, StateReadyManual:
		return st.evaluateRunning()
	case StateReleasing:
		if st.s.Release.SentAt.IsZero() && st.awaitOnlyEnded() {
			st.send()
			return true
		}
	case StateFinishing:
		if st.allEnded() {
			st.end(StateClosed, st.closeReason())
			return true
		}
	}
	return false
}

func (st *step) evaluateRunning() bool {
	s := st.s
	ready, applied := true, true
	for i := range s.Items {
		w, it := &s.Items[i], &s.Plan.Items[i]
		if it.AwaitOnly && !w.State.Ended() || it.Class != Background && !w.settled() {
			ready = false
		}
		if it.Class != Background && w.State != ItemSucceeded && (w.State != ItemSkipped || w.Reason == ReasonDependencyFailed) {
			applied = false
		}
	}
	if ready && applied && s.AppliedAt.IsZero() {
		s.AppliedAt = st.now
		st.notify(activity.SetupProfilesApplied{On: st.on(), RunID: s.Subject.RunID})
	}
	if s.Subject.Held {
		holder := st.holder()
		switch {
		case holder >= 0 && s.State != StateHeld:
			st.hold(s.Plan.Items[holder].ID, s.Items[holder].Reason)
			return true
		case holder < 0 && s.State == StateHeld && s.Hold.Item != "":
			st.unhold()
			return true
		case s.State == StateHeld:
			if s.Hold.Item != "" {
				s.Hold.Item = s.Plan.Items[holder].ID
			}
			return false
		}
	}
	switch {
	case !ready:
		if s.State == StateReadyManual { // a retry has begun
			s.State, s.RemindAt = StateRunning, time.Time{}
			st.extendTo(st.now.Add(retryWindow))
			return true
		}
		return false
	case s.Plan.Manual && s.Subject.Held:
		if s.State == StateReadyManual {
			return false
		}
		s.State, s.RemindAt = StateReadyManual, st.now.Add(s.Limits.Reminder)
		st.notify(activity.SetupWaiting{On: st.on(), RunID: s.Subject.RunID, State: string(s.State)})
		return true
	case len(s.Items) == 0:
		st.decide(ReleaseNothingToDo)
	case applied:
		st.decide(ReleaseComplete)
	default:
		st.decide(ReleaseCompleteWithFailures)
	}
	return true
}

// holder returns the item whose failure holds the device, or -1.
func (st *step) holder() int {
	for i := range st.s.Items {
		w, it := &st.s.Items[i], &st.s.Plan.Items[i]
		if it.Class != Required || it.OnFailure != PolicyHold || w.Waived {
			continue
		}
		if w.State == ItemFailed || w.State == ItemCancelled || w.State == ItemSkipped && w.Reason == ReasonDependencyFailed {
			return i
		}
	}
	return -1
}

func (st *step) hold(item string, reason Reason) {
	s := st.s
	s.State = StateHeld
	s.Hold = &Hold{Item: item, Since: st.now}
	if !s.Plan.HoldForever {
		if s.HoldUntil.IsZero() {
			s.HoldUntil = st.now.Add(s.Plan.hold())
		}
		s.Hold.Until = s.HoldUntil // when that is over, the release follows at once
	}
	s.RemindAt = st.now.Add(s.Limits.Reminder)
	st.notify(activity.SetupHeld{
		On: st.on(), RunID: s.Subject.RunID, Item: item, Reason: string(reason), Until: s.Hold.Until,
	})
}

// unhold lets a held run go on, with the time it had left when it was held, and some to make use of it.
func (st *step) unhold() {
	s := st.s
	s.Deadline = s.Deadline.Add(st.now.Sub(s.Hold.Since))
	st.extendTo(st.now.Add(retryWindow))
	s.State, s.Hold, s.RemindAt = StateRunning, nil, time.Time{}
}

func (st *step) extendTo(t time.Time) {
	if st.s.Deadline.Before(t) {
		st.s.Deadline = t
	}
}

func (st *step) allEnded() bool {
	for i := range st.s.Items {
		if !st.s.Items[i].State.Ended() {
			return false
		}
	}
	return true
}

func (st *step) awaitOnlyEnded() bool {
	for i := range st.s.Items {
		if st.s.Plan.Items[i].AwaitOnly && !st.s.Items[i].State.Ended() {
			return false
		}
	}
	return true
}

// decide ends the wait: nothing is waited for any more but await-only items. The release is sent at once if there are
// none.
func (st *step) decide(reason Reason) {
	s := st.s
	for i := range s.Items {
		if !s.Plan.Items[i].AwaitOnly {
			st.deferItem(i)
		}
	}
	s.Hold, s.RemindAt, s.PlanDeadline, s.Deadline = nil, time.Time{}, time.Time{}, time.Time{}
	if !s.Subject.Held { // there is nobody to release
		st.finish(reason)
		return
	}
	s.State = StateReleasing
	s.Release = &Release{
		Reason: reason, DecidedAt: st.now, GraceUntil: st.now.Add(s.Limits.AwaitGrace), Before: s.Sends,
	}
	st.notify(activity.SetupReleaseDecided{On: st.on(), RunID: s.Subject.RunID, Reason: string(reason)})
}

// finish lets the work that is left go on, or ends the run.
func (st *step) finish(reason Reason) {
	s := st.s
	if s.Release == nil {
		s.EndReason = reason
	}
	if st.allEnded() && !s.Subject.Held {
		st.end(StateClosed, reason)
		return
	}
	s.State = StateReleased
	s.SettleUntil = st.now.Add(s.Limits.Settle)
	if !st.allEnded() {
		s.State, s.SettleUntil = StateFinishing, time.Time{}
		s.FinishUntil = st.now.Add(s.Limits.Finish)
	}
}

// closeReason is why the run may close: the reason of its release.
func (st *step) closeReason() Reason {
	if st.s.Release != nil {
		return st.s.Release.Reason
	}
	return st.s.EndReason
}

// send puts a release command into the outbox.
func (st *step) send() {
	r := st.s.Release
	st.s.Sends++
	r.Round++
	r.SentAt, r.GraceUntil, r.Waits = st.now, time.Time{}, false
	r.PushEvery = st.s.Limits.ReleasePush
	r.PushAt = st.now.Add(r.PushEvery)
	st.emit(Effect{Kind: EffectRelease, Command: st.s.releaseID(st.s.Sends)})
	if st.s.Sends > 1 {
		st.notify(activity.SetupReleaseResent{On: st.on(), RunID: st.s.Subject.RunID, Number: st.s.Sends})
	}
}

// sendRound begins to send a release again that the device did not take.
func (st *step) sendRound() {
	r := st.s.Release
	r.Round, r.Alerted = 0, false
	st.send()
}

// maxReleases is how many of the latest release commands an answer may be to.
const maxReleases = 64

// releaseNumber returns which release command has this UUID; 0 if none has.
func (s *State) releaseNumber(uuid string) int {
	for n := s.Sends; n > max(0, s.Sends-maxReleases); n-- {
		if s.releaseID(n) == uuid {
			return n
		}
	}
	return 0
}

// releaseResult takes the answer of a release command. That of any of them since the decision counts.
func (st *step) releaseResult(r CommandResult) {
	switch {
	case st.s.State != StateReleasing || st.s.releaseNumber(r.CommandUUID) <= st.s.Release.Before:
	case r.Status == StatusAcknowledged:
		st.released("acknowledged")
	case notAwaiting(r):
		st.released("error_101")
	case r.Status == StatusNotNow:
		// The command stays queued and the device asks again by itself.
		st.s.Release.SentAt = st.now
	default:
		st.askAwaiting()
	}
}

// released takes that the device has left Setup Assistant.
func (st *step) released(evidence string) {
	s := st.s
	s.ReleasedAt = st.now
	s.Release.Evidence, s.Release.GraceUntil = evidence, time.Time{}
	s.Release.PushAt, s.Release.PushEvery, s.Release.Round = time.Time{}, 0, 0
	s.Release.Alerted, s.Release.Waits = false, false
	for i := range s.Items {
		if s.Plan.Items[i].AwaitOnly && !s.Items[i].State.Ended() {
			st.fail(i, ReasonAwaitLost, "")
		}
	}
	st.notify(activity.SetupReleased{
		On: st.on(), RunID: s.Subject.RunID, Reason: string(s.Release.Reason), Evidence: evidence,
		Seconds: st.now.Sub(s.OpenedAt).Seconds(),
	})
	st.finish(s.Release.Reason)
}
