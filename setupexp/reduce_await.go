package setupexp

import (
	"strings"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// open starts a run that nothing has happened to.
func (st *step) open(held bool) {
	s := st.s
	s.Subject.Held = held
	s.OpenedAt = st.now
	st.notify(activity.SetupStarted{On: st.on(), RunID: s.Subject.RunID, Generation: s.Subject.Generation, Held: held})
	st.startPlanning()
}

func (st *step) startPlanning() {
	st.s.State = StatePlanning
	st.s.PlanDeadline = st.now.Add(st.s.Limits.Plan)
	st.emitNew(EffectPlan)
}

// awaiting takes what a message said of a device whose run is live.
func (st *step) awaiting(a AwaitingSeen) {
	s := st.s
	switch a.Awaiting {
	case storage.AwaitingTrue:
		st.answered(queryAwaiting)
		s.Subject.Held = true // an unheld run becomes a held one
		switch s.State {
		case StateReleased, StateFinishing:
			st.releaseAgain()
		case StateReleasing:
			s.Release.Waits = true // another release follows
		}
	case storage.AwaitingFalse:
		st.answered(queryAwaiting)
		if !s.Subject.Held {
			return
		}
		if s.State.holds() {
			st.decide(ReleaseObservedExternal)
			st.released("awaiting_false:" + a.Source)
		} else if s.State == StateReleasing {
			st.released("awaiting_false:" + a.Source)
		}
	default:
		// Apple defines the absent key as false, but a message without it also comes from a device that waits. Ask.
		if s.Subject.Held && (s.State.holds() || s.State == StateReleasing) {
			st.askAwaiting()
		}
	}
}

// awaitingWhenOver takes what a message said of a device whose run is over. A device that waits is never left alone,
// whatever the server believes.
func (st *step) awaitingWhenOver(a AwaitingSeen) bool {
	s := st.s
	if s.State == "" {
		if a.Awaiting == storage.AwaitingTrue {
			st.open(true)
		} else {
			st.open(false)
		}
		return true
	}
	if a.Awaiting != storage.AwaitingTrue {
		return false
	}
	s.Subject.Held = true
	s.EndedAt, s.EndReason = time.Time{}, ""
	if s.State == StateSuperseded {
		st.startOver()
		return true
	}
	st.releaseAgain()
	return true
}

// startOver begins a superseded run again: the device was told to wipe itself, or had checked out, and waits.
func (st *step) startOver() {
	s := st.s
	s.Release, s.Hold, s.Agent = nil, nil, Agent{}
	s.AppliedAt, s.ReleasedAt, s.HoldUntil, s.AgentRetries = time.Time{}, time.Time{}, time.Time{}, 0
	st.notify(activity.SetupStarted{On: st.on(), RunID: s.Subject.RunID, Generation: s.Subject.Generation, Held: true})
	if s.Plan == nil {
		st.startPlanning()
		return
	}
	for i := range s.Items {
		w := &s.Items[i]
		*w = Work{State: ItemBlocked, Dispatches: w.Dispatches, Executions: w.Executions}
	}
	s.Progress = 0
	st.startRunning()
}

// releaseAgain sends another release to a device that waits though it was released.
func (st *step) releaseAgain() {
	s := st.s
	if s.Release == nil { // an unheld run that ended
		st.decide(ReleaseComplete)
		return
	}
	s.State = StateReleasing
	s.ReleasedAt, s.SettleUntil, s.FinishUntil = time.Time{}, time.Time{}, time.Time{}
	s.Release.Evidence = ""
	st.sendRound()
}

// askAwaiting asks the device whether it waits, unless that was just asked.
func (st *step) askAwaiting() {
	q := st.query(queryAwaiting)
	if q.Number > 0 && !q.Answered && st.now.Before(q.AskedAt.Add(probeSlowest)) {
		return
	}
	q.Number++
	q.AskedAt, q.Answered = st.now, false
	st.emit(Effect{Kind: EffectAskAwaiting, Command: st.s.queryID(queryAwaiting, q.Number)})
}

// isMac reports whether a product name is a Mac's: "Mac15,3", "MacBookPro18,3", "iMac21,1", "VirtualMac2,1".
func isMac(product string) bool { return strings.Contains(product, "Mac") }
