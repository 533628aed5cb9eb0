package setupexp

import (
	"time"

	"github.com/enrollkit/enrollkit/activity"
)

// due reports whether a timer is set and over.
func (st *step) due(t time.Time) bool { return !t.IsZero() && !st.now.Before(t) }

// timers does what the passing of time asks for. It runs after every event, so that no answer of a device and no early
// return can keep a timer from firing.
func (st *step) timers() {
	s := st.s
	for i := range s.Items {
		st.itemTimers(i)
	}
	if st.due(s.Agent.Deadline) {
		st.agentMissing()
	}
	switch s.State {
	case StatePlanning:
		if st.due(s.PlanDeadline) {
			st.decide(ReleasePlanTimeout)
		}
	case StateRunning:
		if st.due(s.Deadline) {
			st.decide(ReleaseDeadline)
		}
	case StateHeld:
		if st.due(s.Hold.Until) {
			st.decide(ReleaseHoldDeadline)
		}
	case StateReleased:
		if st.due(s.SettleUntil) {
			st.end(StateClosed, st.closeReason())
		}
	case StateFinishing:
		if st.due(s.FinishUntil) {
			for i := range s.Items {
				if !s.Items[i].State.Ended() {
					st.fail(i, ReasonRunFinished, "")
				}
			}
		}
	}
	if s.State == StateReleasing {
		st.releaseTimers()
	}
	if (s.State == StateHeld || s.State == StateReadyManual) && st.due(s.RemindAt) {
		s.RemindAt = st.now.Add(s.Limits.Reminder)
		item := ""
		if s.Hold != nil {
			item = s.Hold.Item
		}
		st.notify(activity.SetupWaiting{On: st.on(), RunID: s.Subject.RunID, State: string(s.State), Item: item})
	}
}

// itemTimer is when something happens to an item by time alone; zero when nothing does.
func (s *State) itemTimer(i int) time.Time {
	w := &s.Items[i]
	switch w.State {
	case ItemGating, ItemDispatched, ItemAccepted, ItemVerifying:
		return w.Deadline
	case ItemParked:
		if w.Deferred {
			return time.Time{} // until the device is ready, or the run ends
		}
		return w.NotNowEnd
	case ItemBackoff:
		return w.RetryAt
	}
	return time.Time{}
}

func (st *step) itemTimers(i int) {
	if !st.due(st.s.itemTimer(i)) {
		return
	}
	w, it := &st.s.Items[i], &st.s.Plan.Items[i]
	switch w.State {
	case ItemGating: // it could not be found out: install it
		w.Gated = true
		st.move(i, ItemReady, "", "")
	case ItemDispatched, ItemAccepted:
		st.attemptFailed(i, ReasonTimedOut, false, "")
	case ItemVerifying:
		st.attemptFailed(i, ReasonVerifyTimeout, false, "")
	case ItemParked:
		if it.AwaitOnly {
			st.emit(Effect{Kind: EffectCancel, Item: it.ID, Attempt: w.Attempt, Command: w.execution()})
			st.fail(i, ReasonNotNow, "the device was busy for too long")
		} else {
			st.deferItem(i)
		}
	case ItemBackoff:
		st.move(i, ItemReady, "", "")
	}
}

// agentMissing fails the items that waited for an agent that did not come.
func (st *step) agentMissing() {
	st.s.Agent.Deadline = time.Time{}
	for i := range st.s.Items {
		if st.s.Plan.Items[i].Capability != "" && !st.s.Items[i].State.Ended() {
			st.fail(i, ReasonAgentMissing, "no agent has said hello")
		}
	}
}

// releaseTimers pushes and repeats a release that is not answered, and gives up a device that is silent for good.
func (st *step) releaseTimers() {
	s, r := st.s, st.s.Release
	if r.SentAt.IsZero() {
		if st.due(r.GraceUntil) {
			for i := range s.Items {
				if s.Plan.Items[i].AwaitOnly && !s.Items[i].State.Ended() {
					st.fail(i, ReasonTimedOut, "")
				}
			}
		}
		return
	}
	if st.due(s.abandonAt()) {
		for i := range s.Items {
			if !s.Items[i].State.Ended() {
				st.fail(i, ReasonRunFinished, "")
			}
		}
		st.end(StateAbandoned, reasonSilent)
		return
	}
	if st.due(s.resendAt()) {
		switch {
		case r.Alerted: // the device waits still
			st.sendRound()
			return
		case r.Round < s.Limits.ReleaseSends:
			st.askAwaiting()
			st.send()
			return
		}
		r.Alerted = true
		st.askAwaiting()
		st.notify(activity.SetupReleaseUnanswered{On: st.on(), RunID: s.Subject.RunID, Sends: s.Sends})
	}
	if st.due(r.PushAt) {
		r.PushEvery = min(2*r.PushEvery, slowestPush)
		r.PushAt = st.now.Add(r.PushEvery)
		st.emitNew(EffectPush)
		// It is there and says nothing of its wait: ask.
		if r.Alerted && s.Contact.LastAt.After(st.query(queryAwaiting).AskedAt) {
			st.askAwaiting()
		}
	}
}

// resendAt is when an unanswered release is sent again, or the last of a round is said to be unanswered; after that,
// when the next round begins if the device was seen to wait.
func (s *State) resendAt() time.Time {
	switch r := s.Release; {
	case !r.Alerted:
		return r.SentAt.Add(s.Limits.ReleaseResend)
	case r.Waits:
		return r.SentAt.Add(max(s.Limits.ReleaseResend, roundEvery))
	}
	return time.Time{}
}

func (s *State) abandonAt() time.Time {
	last := s.Release.SentAt
	if s.Contact.LastAt.After(last) {
		last = s.Contact.LastAt
	}
	return last.Add(s.Limits.Abandon)
}

// listening reports whether the device has work it should have fetched.
func (s *State) listening() bool {
	if s.State != StateRunning && s.State != StateHeld && s.State != StateFinishing {
		return false
	}
	for i := range s.Items {
		w := &s.Items[i]
		if s.Plan.Items[i].Capability == "" && (w.State == ItemDispatched || w.State == ItemParked && !w.Deferred || s.wantsLook(i)) {
			return true
		}
	}
	return false
}

// silence pushes a device that has work and is not heard of, in growing distance, and says so once.
func (st *step) silence() {
	s, c := st.s, &st.s.Contact
	if !s.listening() {
		c.QuietSince, c.PushAt, c.Pushes, c.Alerted = time.Time{}, time.Time{}, 0, false
		return
	}
	if c.PushAt.IsZero() { // it was just heard of, or just got work
		c.QuietSince = st.now
		c.PushAt = st.now.Add(s.Limits.Silence)
	}
	if !c.Alerted && st.due(c.QuietSince.Add(s.Limits.SilenceAlert)) {
		c.Alerted = true
		st.notify(activity.SetupDeviceSilent{
			On: st.on(), RunID: s.Subject.RunID, Seconds: st.now.Sub(c.QuietSince).Seconds(),
		})
	}
	if st.due(c.PushAt) {
		c.Pushes++
		wait := s.Limits.Silence
		for range c.Pushes {
			wait = min(2*wait, slowestPush)
		}
		c.PushAt = st.now.Add(wait)
		st.emitNew(EffectPush)
	}
}

// nextWake is when the run has to be looked at again; zero when never.
func (s *State) nextWake() time.Time {
	var next time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if !s.State.Live() {
		return next
	}
	for i := range s.Items {
		at(s.itemTimer(i))
		if s.wantsLook(i) {
			at(s.lookAt(s.Plan.Items[i].Kind))
		}
	}
	at(s.Agent.Deadline)
	switch s.State {
	case StatePlanning:
		at(s.PlanDeadline)
	case StateRunning:
		at(s.Deadline)
	case StateHeld:
		at(s.Hold.Until)
		at(s.RemindAt)
	case StateReadyManual:
		at(s.RemindAt)
	case StateReleasing:
		if s.Release.SentAt.IsZero() {
			at(s.Release.GraceUntil)
			break
		}
		at(s.resendAt())
		at(s.Release.PushAt)
		at(s.abandonAt())
	case StateReleased:
		at(s.SettleUntil)
	case StateFinishing:
		at(s.FinishUntil)
	}
	if s.listening() {
		at(s.Contact.PushAt)
		if !s.Contact.Alerted {
			at(s.Contact.QuietSince.Add(s.Limits.SilenceAlert))
		}
	}
	return next
}
