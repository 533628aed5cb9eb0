package setupexp

import (
	"slices"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// maxSeen is how many event ids a run remembers.
const maxSeen = 256

// Reduce returns what a run becomes through an event, and what has to be done about it. It is pure: the same state and
// event give the same result, s is not changed, and the time is ev.At, but only a Tick fires timers. The event must be of
// the run's generation; [Tracker.Observe] sees to that.
func Reduce(s State, ev Event) (State, []Effect) {
	if ev.ID != "" && slices.Contains(s.Seen, ev.ID) {
		return s, nil
	}
	next := s.clone()
	st := &step{s: &next, actor: activity.System, now: s.clock(ev)}
	next.Now = st.now
	if !st.apply(ev) {
		if ev.ID == "" || len(st.out) == 0 {
			return s, st.out
		}
		same := s.clone() // but for the id, so that an event that is ignored is recorded once
		same.remember(ev.ID)
		return same, st.out
	}
	// What one timer brings about may set another that is due already.
	for range 8 {
		st.timers()
		st.settle()
		st.silence()
		if wake := next.nextWake(); wake.IsZero() || wake.After(st.now) {
			break
		}
	}
	next.remember(ev.ID)
	return next, st.out
}

// maxSkew is by how much the clocks of replicas may differ. A timer that is overdue by more was missed by all of them.
const maxSkew = 5 * time.Minute

// clock returns the time of an event as the run takes it. The clocks of replicas differ: time does not go back, and
// only a Tick takes it to the run's next timer. So an answer that a replica took whose clock is fast, by less than
// maxSkew, ends nothing; the replicas that look for due runs do, each by its own clock. After a longer outage the first
// event is as good as a Tick: what it begins must not be dated into the past.
func (s *State) clock(ev Event) time.Time {
	now := storage.Time(ev.At)
	if _, isTick := ev.Body.(Tick); !isTick {
		if wake := s.nextWake(); !wake.IsZero() && !now.Before(wake) && now.Sub(wake) < maxSkew {
			now = wake.Add(-time.Microsecond)
		}
	}
	if now.Before(s.Now) {
		return s.Now
	}
	return now
}

// remember keeps the id of an event, so that it counts once.
func (s *State) remember(id string) {
	if id == "" {
		return
	}
	s.Seen = append(s.Seen, id)
	s.Seen = s.Seen[max(0, len(s.Seen)-maxSeen):]
}

// step is one call of Reduce.
type step struct {
	s     *State
	now   time.Time
	actor string
	out   []Effect
}

// apply takes the event itself. It reports false if the event changes nothing.
func (st *step) apply(ev Event) bool {
	if !st.s.State.Live() {
		if a, ok := ev.Body.(AwaitingSeen); ok {
			st.contact()
			return st.awaitingWhenOver(a)
		}
		if st.s.names(ev.Body) {
			st.ignored(ev.Body, "the run is over")
		}
		return false
	}
	switch b := ev.Body.(type) {
	case Tick:
	case AwaitingSeen:
		st.contact()
		st.awaiting(b)
	case Authenticated:
		st.supersede(reasonAuthenticated)
	case CheckedOut:
		st.supersede(reasonCheckedOut)
	case WipeIssued:
		st.supersede(reasonWiped)
	case PlanResolved:
		return st.planned(b.Plan)
	case PlanChanged:
		st.planChanged(b)
	case CommandResult:
		if !st.s.sent(b.CommandUUID) {
			return st.heard()
		}
		st.contact()
		st.commandResult(b)
	case queryAnswered:
		st.contact()
		st.queryAnswered(b)
	case Evidence:
		st.contact()
		return st.evidence(b)
	case AgentHello:
		st.contact()
		st.agentHello(b)
	case AgentProgress:
		st.contact()
		return st.agentProgress(b)
	case AgentResult:
		st.contact()
		return st.agentResult(b)
	case DeviceContact:
		return st.heard()
	case dispatchFailed:
		st.dispatchFailed(b)
	case Admin:
		return st.admin(b)
	default:
		st.ignored(ev.Body, "unknown kind of event")
		return false
	}
	return true
}

// contactEvery is how fine the time of the last contact is kept.
const contactEvery = 10 * time.Second

func (st *step) contact() { st.s.Contact = Contact{LastAt: st.now} }

// heard notes that the device was heard of, unless it was just now and nothing hangs on it: not worth a write then.
func (st *step) heard() bool {
	if st.now.Sub(st.s.Contact.LastAt) < contactEvery && st.s.Contact.Pushes == 0 {
		return false
	}
	st.contact()
	return true
}

func (st *step) ignored(b EventBody, reason string) {
	kind := "none"
	if b != nil {
		kind = b.EventKind()
	}
	st.notify(activity.SetupEventIgnored{On: st.on(), RunID: st.s.Subject.RunID, Event: kind, Reason: reason})
}

// settle brings everything to rest after an event: items whose turn has come, the release, the end.
func (st *step) settle() {
	// Each round moves an item or the run forward, so that the number of rounds is bounded; the limit is a safeguard.
	for range 4*len(st.s.Items) + 8 {
		if !st.unblock() && !st.evaluate() && !st.schedule() {
			break
		}
	}
	st.queries()
	st.progress()
}

// end finishes the run for good.
func (st *step) end(state RunState, reason Reason) {
	st.s.State, st.s.EndReason, st.s.EndedAt = state, reason, st.now
	st.s.Hold = nil
	st.notify(activity.SetupClosed{On: st.on(), RunID: st.s.Subject.RunID, State: string(state), Reason: string(reason)})
}

// supersede ends a run whose device began anew or is gone, and cancels what is under way.
func (st *step) supersede(reason Reason) {
	st.cancelAll(ReasonSuperseded)
	st.end(StateSuperseded, reason)
}

// planned takes the plan.
func (st *step) planned(p Plan) bool {
	if st.s.Plan != nil {
		return false // an earlier answer counts
	}
	p, st.s.specs = takeSpecs(p)
	st.s.Plan = &p
	st.s.PlannedAt = st.now
	st.s.Items = make([]Work, len(p.Items))
	for i := range p.Items {
		st.s.Items[i] = Work{State: ItemBlocked}
	}
	if st.s.State == StatePlanning {
		st.startRunning()
	} else {
		st.plannedLate()
	}
	st.notify(activity.SetupPlanned{
		On: st.on(), RunID: st.s.Subject.RunID, Items: len(p.Items), Revision: p.Revision, Deadline: st.s.Deadline,
	})
	return true
}

func (st *step) startRunning() {
	st.s.State = StateRunning
	st.s.Deadline = st.now.Add(st.s.Plan.deadline(st.s.Subject))
	if !st.s.Subject.Held {
		for i := range st.s.Items {
			if st.s.Plan.Items[i].AwaitOnly {
				st.fail(i, ReasonAwaitLost, "the device does not wait in Setup Assistant")
			}
		}
	}
	st.expectAgent()
}

// plannedLate takes a plan that comes after the device was released for want of one: its work goes on in the background.
func (st *step) plannedLate() {
	for i := range st.s.Items {
		if st.s.Plan.Items[i].AwaitOnly {
			st.fail(i, ReasonAwaitLost, "the plan came too late")
		} else {
			st.deferItem(i)
		}
	}
	if st.s.State == StateReleased {
		st.finish(st.closeReason())
	}
	st.expectAgent()
}

// expectAgent starts the wait for the agent, unless the plan installs it first.
func (st *step) expectAgent() {
	if !slices.ContainsFunc(st.s.Plan.Items, func(it Item) bool { return it.Agent }) {
		st.waitForAgent(st.s.Limits.AgentArrival)
	}
}

func (st *step) planChanged(b PlanChanged) {
	for _, id := range b.Removed {
		if i := st.s.index(id); i >= 0 && !st.s.Items[i].State.Ended() {
			st.cancel(i, ReasonConfigRemoved)
		}
	}
}

// deadline is the plan's deadline for a device.
func (p *Plan) deadline(sub Subject) time.Duration {
	switch {
	case p.Deadline > 0:
		return p.Deadline
	case isMac(sub.Product):
		return 45 * time.Minute
	}
	return 20 * time.Minute
}

func (p *Plan) hold() time.Duration {
	if p.Hold > 0 {
		return p.Hold
	}
	return defaultHold
}
