package setupexp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// queryAnswered is an EventBody: a CommandResult that answers a query, once it has been read.
type queryAnswered struct {
	Key      string              // the item kind, or queryAwaiting
	Presence map[string]Presence // by item id
	Awaiting storage.Awaiting
	Failed   bool // the device did not say
}

// EventKind implements EventBody.
func (queryAnswered) EventKind() string { return "query_answered" }

// sent reports whether a command is one of this run, other than a query.
func (s *State) sent(uuid string) bool { return s.releaseNumber(uuid) > 0 || s.byExecution(uuid) >= 0 }

// names reports whether an event is the result of a command or an execution of this run.
func (s *State) names(b EventBody) bool {
	switch b := b.(type) {
	case CommandResult:
		return s.sent(b.CommandUUID)
	case AgentProgress:
		return s.byExecution(b.ExecutionID) >= 0
	case AgentResult:
		return s.byExecution(b.ExecutionID) >= 0
	}
	return false
}

// commandResult takes the answer of a command that is no query.
func (st *step) commandResult(r CommandResult) {
	if st.s.releaseNumber(r.CommandUUID) > 0 {
		st.releaseResult(r)
		return
	}
	i := st.s.byExecution(r.CommandUUID)
	w, it := &st.s.Items[i], &st.s.Plan.Items[i]
	if r.Status == StatusAcknowledged {
		st.accepted(i)
		return
	}
	if r.CommandUUID != w.execution() || !w.State.working() {
		return // of an attempt that is over
	}
	switch r.Status {
	case StatusNotNow:
		st.park(i)
	case StatusFormatError:
		st.attemptFailed(i, ReasonPermanent, true, describe(r))
	default:
		if it.AwaitOnly && notAwaiting(r) {
			st.unpark(i)
			st.fail(i, ReasonAwaitLost, describe(r))
			if st.s.Subject.Held {
				st.askAwaiting()
			}
			return
		}
		st.attemptFailed(i, ReasonDeviceError, false, describe(r))
	}
}

// notAwaiting reports whether the device said that it does not wait in Setup Assistant: MDMDeviceEnrollment error 101.
// Apple does not document the code; it was observed on macOS for both AccountConfiguration and DeviceConfigured
// (https://github.com/fleetdm/fleet/issues/46550). Where it decides over a release, a wrong guess is corrected by the
// next message of the device.
func notAwaiting(r CommandResult) bool {
	return r.Status == StatusError && slices.ContainsFunc(r.Errors, func(e CommandError) bool {
		return e.Code == 101 && (e.Domain == "" || strings.Contains(e.Domain, "MDMDeviceEnrollment"))
	})
}

// describe is the error chain in one line.
func describe(r CommandResult) string {
	parts := make([]string, 0, len(r.Errors)+1)
	parts = append(parts, string(r.Status))
	for _, e := range r.Errors {
		parts = append(parts, fmt.Sprintf("%s %d %s", e.Domain, e.Code, e.Description))
	}
	return strings.Join(parts, "; ")
}

// dispatchFailed takes an executor's word that an attempt could not be started.
func (st *step) dispatchFailed(b dispatchFailed) {
	i := st.s.byExecution(b.ExecutionID)
	if i < 0 || st.s.Items[i].State != ItemDispatched || st.s.Items[i].execution() != b.ExecutionID {
		return
	}
	st.attemptFailed(i, ReasonDispatchError, b.Permanent, b.Error)
}

// queryAnswered takes what a look at the device showed.
func (st *step) queryAnswered(b queryAnswered) {
	q := st.query(b.Key)
	q.Answered = true
	q.Every = min(max(2*q.Every, probeFirst), probeSlowest)
	q.NextAt = st.now.Add(q.Every)
	if b.Key == queryAwaiting {
		if b.Awaiting != storage.AwaitingUnknown {
			st.awaiting(AwaitingSeen{Awaiting: b.Awaiting, Source: "DeviceInformation"})
		}
		return
	}
	if b.Failed {
		return
	}
	for i := range st.s.Items {
		it := &st.s.Plan.Items[i]
		if p, ok := b.Presence[it.ID]; ok && string(it.Kind) == b.Key {
			st.present(i, p, false)
		}
	}
}

// evidence takes what somebody else saw, who vouches for it.
func (st *step) evidence(b Evidence) bool {
	i := st.s.index(b.Item)
	if i < 0 {
		st.ignored(b, "unknown item")
		return false
	}
	st.present(i, b.Presence, true)
	return true
}

// present takes whether an item is on the device. What was there before the item was begun is no proof of it: a list of
// what is there counts only for an attempt that was taken, unless somebody vouches for it.
func (st *step) present(i int, p Presence, vouched bool) {
	w, it := &st.s.Items[i], &st.s.Plan.Items[i]
	switch {
	case w.State == ItemGating && p == Installed:
		w.Gated = true
		st.move(i, ItemSkipped, ReasonPresent, "")
	case w.State == ItemGating:
		w.Gated = true
		st.move(i, ItemReady, "", "")
	case it.Proof == ProofAgent:
		// only the agent proves itself
	case p == Installed && (w.Taken || vouched) && (w.State.working() || w.State == ItemBackoff || late(w)):
		st.unpark(i)
		st.succeed(i)
	case p == Installing && w.State == ItemDispatched:
		w.Taken = true
		st.move(i, ItemAccepted, "", "")
	}
}

// agentHello takes the arrival of the agent.
func (st *step) agentHello(b AgentHello) {
	a := &st.s.Agent
	first := a.ArrivedAt.IsZero()
	if first {
		a.ArrivedAt = st.now
	}
	a.Version, a.Capabilities, a.Deadline = bounded(b.Version), slices.Clone(b.Capabilities), noTime()
	if first {
		st.notify(activity.SetupAgentArrived{On: st.on(), RunID: st.s.Subject.RunID, Version: a.Version})
	}
	for i := range st.s.Items {
		w, it := &st.s.Items[i], &st.s.Plan.Items[i]
		if it.Proof == ProofAgent && it.Agent && (w.State == ItemVerifying || w.State == ItemDispatched ||
			w.State == ItemAccepted || w.State == ItemBackoff || w.State == ItemParked || late(w)) {
			st.unpark(i)
			st.succeed(i)
		}
	}
}

// agentProgress takes how far an execution is.
func (st *step) agentProgress(b AgentProgress) bool {
	i := st.s.byExecution(b.ExecutionID)
	if i < 0 {
		st.ignored(b, "unknown execution")
		return false
	}
	w := &st.s.Items[i]
	if w.execution() != b.ExecutionID || w.State != ItemDispatched && w.State != ItemAccepted {
		return false
	}
	w.Percent, w.Taken = max(w.Percent, min(b.Percent, 99)), true
	if w.State == ItemDispatched {
		st.move(i, ItemAccepted, "", "")
	}
	return true
}

// agentResult takes the end of an execution.
func (st *step) agentResult(b AgentResult) bool {
	i := st.s.byExecution(b.ExecutionID)
	if i < 0 {
		st.ignored(b, "unknown execution")
		return false
	}
	w := &st.s.Items[i]
	current := w.execution() == b.ExecutionID && w.State.working()
	if !current && b.ExitCode != 0 {
		return true // of an attempt that is over
	}
	if current || late(w) {
		w.ExitCode, w.Output = b.ExitCode, bounded(b.Output)
	}
	if b.ExitCode == 0 {
		st.accepted(i)
		return true
	}
	st.attemptFailed(i, ReasonDeviceError, false, fmt.Sprintf("exit code %d", b.ExitCode)) // its output may hold secrets
	return true
}
