package setupexp

import (
	"slices"
	"time"
)

// schemaVersion is the version of the JSON a run is stored as. A change that old code would misread raises it.
const schemaVersion = 1

// RunState is where a run stands. The package documentation has the table.
type RunState string

// States of a run.
const (
	StatePlanning    RunState = "planning"
	StateRunning     RunState = "running"
	StateHeld        RunState = "held"
	StateReadyManual RunState = "ready_manual"
	StateReleasing   RunState = "releasing"
	StateReleased    RunState = "released"
	StateFinishing   RunState = "finishing"
	StateClosed      RunState = "closed"
	StateSuperseded  RunState = "superseded"
	StateAbandoned   RunState = "abandoned"
)

// Live reports whether the run is not over.
func (s RunState) Live() bool {
	return s != "" && s != StateClosed && s != StateSuperseded && s != StateAbandoned
}

// holds reports whether the device is kept back in this state.
func (s RunState) holds() bool {
	return s == StatePlanning || s == StateRunning || s == StateHeld || s == StateReadyManual
}

// ItemState is where an item stands. The package documentation has the table.
type ItemState string

// States of an item.
const (
	ItemBlocked    ItemState = "blocked"
	ItemReady      ItemState = "ready"
	ItemGating     ItemState = "gating"
	ItemDispatched ItemState = "dispatched"
	ItemAccepted   ItemState = "accepted"
	ItemVerifying  ItemState = "verifying"
	ItemParked     ItemState = "parked"
	ItemBackoff    ItemState = "backoff"
	ItemSucceeded  ItemState = "succeeded"
	ItemSkipped    ItemState = "skipped"
	ItemFailed     ItemState = "failed"
	ItemCancelled  ItemState = "cancelled"
	// ItemDeferred is shown for an item that nobody waits for any more and that goes on in the background.
	ItemDeferred ItemState = "deferred"
)

// Ended reports whether the item is over.
func (s ItemState) Ended() bool {
	return s == ItemSucceeded || s == ItemSkipped || s == ItemFailed || s == ItemCancelled
}

// working reports whether an attempt, or the look before it, is under way at the device.
func (s ItemState) working() bool {
	return s == ItemGating || s == ItemDispatched || s == ItemAccepted || s == ItemVerifying || s == ItemParked
}

// Reason says why an item ended, or why a run was released or closed.
type Reason string

// Reasons of items.
const (
	ReasonDeviceError      Reason = "device_error"
	ReasonTimedOut         Reason = "timed_out"
	ReasonVerifyTimeout    Reason = "verify_timeout"
	ReasonDispatchError    Reason = "dispatch_error"
	ReasonPermanent        Reason = "permanent"
	ReasonAgentMissing     Reason = "agent_missing"
	ReasonDependencyFailed Reason = "dependency_failed"
	ReasonConfigRemoved    Reason = "config_removed"
	ReasonUnsupported      Reason = "unsupported"
	ReasonAwaitLost        Reason = "await_lost"
	ReasonPresent          Reason = "present"       // skipped: it was there already
	ReasonAdmin            Reason = "admin"         // a person said so
	ReasonPolicy           Reason = "policy"        // another item's failure policy said so
	ReasonSuperseded       Reason = "superseded"    // the run was superseded
	ReasonNotNow           Reason = "not_now"       // the device was busy for too long
	ReasonRunFinished      Reason = "run_finished"  // the background time was over
	reasonAuthenticated    Reason = "authenticated" // of a superseded run
	reasonCheckedOut       Reason = "checked_out"
	reasonWiped            Reason = "wiped"
	reasonSilent           Reason = "silent"
)

// Reasons of releases.
const (
	ReleaseComplete             Reason = "complete"
	ReleaseCompleteWithFailures Reason = "complete_with_failures"
	ReleaseNothingToDo          Reason = "nothing_to_do"
	ReleaseDeadline             Reason = "deadline"
	ReleaseHoldDeadline         Reason = "hold_deadline"
	ReleasePlanTimeout          Reason = "plan_timeout"
	ReleaseForcedAdmin          Reason = "forced_admin"
	ReleaseForcedAgent          Reason = "forced_agent"
	ReleasePolicy               Reason = "policy_release_on_failure"
	ReleaseObservedExternal     Reason = "observed_external"
	ReleaseManual               Reason = "manual"
)

// State is the whole of a run: what is stored, what [Reduce] works on. It is plain data. Its JSON carries a schema
// version; other code should look at a [View] instead.
type State struct {
	Schema  int     `json:"schema"`
	Subject Subject `json:"subject"`
	// Nonce is part of the UUIDs of all commands of the run. The tracker draws it when it opens the run, so that a run
	// that is opened again after the store lost it does not use UUIDs the MDM server has seen. It never changes.
	Nonce  string   `json:"nonce,omitempty"`
	Limits Limits   `json:"limits"`
	State  RunState `json:"state"`
	// Plan is nil until it is settled. It is shared between copies of a State and never changed. Its items have no Spec:
	// specs are kept apart.
	Plan  *Plan  `json:"plan,omitempty"`
	Items []Work `json:"items,omitempty"` // one for each item of the plan, in its order

	Now          time.Time `json:"now"` // the latest time seen
	OpenedAt     time.Time `json:"opened_at,omitzero"`
	PlanDeadline time.Time `json:"plan_deadline,omitzero"`
	PlannedAt    time.Time `json:"planned_at,omitzero"`
	Deadline     time.Time `json:"deadline,omitzero"`
	AppliedAt    time.Time `json:"applied_at,omitzero"` // when everything the device waits for was there
	ReleasedAt   time.Time `json:"released_at,omitzero"`
	EndedAt      time.Time `json:"ended_at,omitzero"`
	EndReason    Reason    `json:"end_reason,omitempty"`
	RemindAt     time.Time `json:"remind_at,omitzero"`
	SettleUntil  time.Time `json:"settle_until,omitzero"`
	FinishUntil  time.Time `json:"finish_until,omitzero"`

	// HoldUntil is when items that failed hold the device no longer, counted from the first hold; a person begins it anew,
	// but not the one at the device. AgentRetries counts the retries of that one.
	HoldUntil    time.Time `json:"hold_until,omitzero"`
	AgentRetries int       `json:"agent_retries,omitempty"`

	Hold    *Hold             `json:"hold,omitempty"`
	Release *Release          `json:"release,omitempty"`
	Agent   Agent             `json:"agent"`
	Contact Contact           `json:"contact"`
	Queries map[string]*Query `json:"queries,omitempty"` // by item kind, or queryAwaiting

	// Sends counts the release commands of the whole run, so that no UUID is used twice.
	Sends int `json:"sends,omitempty"`
	// Progress is the progress bar, 0 to 100.
	Progress int `json:"progress"`
	// Seen are the ids of the latest events, oldest first.
	Seen []string `json:"seen,omitempty"`
	// Counter makes ids of effects unique.
	Counter int `json:"counter"`

	specs *specs // of the plan's items, stored beside the state
}

// Work is how an item fares.
type Work struct {
	State  ItemState `json:"state"`
	Reason Reason    `json:"reason,omitempty"`
	Detail string    `json:"detail,omitempty"`
	// Deferred says that no release waits for it. Waived says that its failure holds nobody.
	Deferred bool `json:"deferred,omitempty"`
	Waived   bool `json:"waived,omitempty"`
	Late     bool `json:"late,omitempty"`  // it succeeded after it had timed out
	Gated    bool `json:"gated,omitempty"` // the look before the first attempt is over
	// Taken says that the device or the agent took an attempt: what is there now may be its work.
	Taken   bool `json:"taken,omitempty"`
	Attempt int  `json:"attempt"` // counted from the last retry by a person
	// Dispatches counts all attempts; Executions are the ids of the latest ones, oldest first.
	Dispatches int       `json:"dispatches"`
	Executions []string  `json:"executions,omitempty"`
	Deadline   time.Time `json:"deadline,omitzero"` // of the attempt
	ParkedAt   time.Time `json:"parked_at,omitzero"`
	NotNowEnd  time.Time `json:"not_now_end,omitzero"`
	RetryAt    time.Time `json:"retry_at,omitzero"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
	Percent    int       `json:"percent,omitempty"`
	ExitCode   int       `json:"exit_code,omitempty"`
	Output     string    `json:"output,omitempty"`
}

// execution returns the id of the current attempt.
func (w *Work) execution() string {
	if len(w.Executions) == 0 {
		return ""
	}
	return w.Executions[len(w.Executions)-1]
}

// occupies reports whether the item takes a place in its lane. A parked item that nobody waits for gives its place up:
// the device may be busy for hours.
func (w *Work) occupies() bool {
	return w.State.working() && (w.State != ItemParked || !w.Deferred)
}

// settled reports whether no release waits for the item.
func (w *Work) settled() bool { return w.State.Ended() || w.Deferred }

// Hold is why a device is kept.
type Hold struct {
	Item  string    `json:"item,omitempty"` // empty when a person holds it
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // zero: for ever
}

// Release is the decision to release a device and what came of it.
type Release struct {
	Reason    Reason    `json:"reason"`
	DecidedAt time.Time `json:"decided_at"`
	// GraceUntil is how long await-only items keep the release back.
	GraceUntil time.Time `json:"grace_until,omitzero"`
	// Before is how many release commands were sent before this decision; Round counts those of the round.
	Before    int           `json:"before,omitempty"`
	Round     int           `json:"round"`
	SentAt    time.Time     `json:"sent_at,omitzero"`
	PushAt    time.Time     `json:"push_at,omitzero"`
	PushEvery time.Duration `json:"push_every,omitempty"`
	// Alerted says that the last command of the round was not answered either, and Waits that the device was seen to wait
	// since the latest command: if it was the last of its round, another round follows.
	Alerted  bool   `json:"alerted,omitempty"`
	Waits    bool   `json:"waits,omitempty"`
	Evidence string `json:"evidence,omitempty"` // how the release became known
}

// Agent is what is known of the agent in this run.
type Agent struct {
	ArrivedAt    time.Time `json:"arrived_at,omitzero"`
	Version      string    `json:"version,omitempty"`
	Capabilities []string  `json:"capabilities,omitempty"`
	// Deadline is when items stop waiting for it; zero while nothing or something else bounds the wait.
	Deadline time.Time `json:"deadline,omitzero"`
}

// Contact is when the device was heard of and what is done about its silence.
type Contact struct {
	LastAt     time.Time `json:"last_at,omitzero"`
	QuietSince time.Time `json:"quiet_since,omitzero"` // while it has work: when it was last heard of, or got it
	PushAt     time.Time `json:"push_at,omitzero"`
	Pushes     int       `json:"pushes,omitempty"`
	Alerted    bool      `json:"alerted,omitempty"`
}

// Query is a look at the device.
type Query struct {
	Number   int           `json:"number"`
	AskedAt  time.Time     `json:"asked_at,omitzero"`
	Answered bool          `json:"answered"`
	NextAt   time.Time     `json:"next_at,omitzero"`
	Every    time.Duration `json:"every,omitempty"`
}

// queryAwaiting is the key of the question whether the device waits in Setup Assistant. No item kind is named so.
const queryAwaiting = "_awaiting"

// newState returns the state of a run that nothing has happened to.
func newState(sub Subject, l Limits) State {
	return State{Schema: schemaVersion, Subject: sub, Limits: l.withDefaults()}
}

// clone copies all that Reduce may change.
func (s *State) clone() State {
	c := *s
	c.Items = slices.Clone(s.Items)
	for i := range c.Items {
		c.Items[i].Executions = slices.Clone(s.Items[i].Executions)
	}
	c.Seen = slices.Clone(s.Seen)
	c.Agent.Capabilities = slices.Clone(s.Agent.Capabilities)
	if s.Hold != nil {
		h := *s.Hold
		c.Hold = &h
	}
	if s.Release != nil {
		r := *s.Release
		c.Release = &r
	}
	if s.Queries != nil {
		c.Queries = make(map[string]*Query, len(s.Queries))
		for k, q := range s.Queries {
			v := *q
			c.Queries[k] = &v
		}
	}
	return c
}

// index returns the place of an item, or -1.
func (s *State) index(id string) int {
	if s.Plan == nil {
		return -1
	}
	return slices.IndexFunc(s.Plan.Items, func(it Item) bool { return it.ID == id })
}

// byExecution returns the place of the item an execution belongs to, or -1.
func (s *State) byExecution(id string) int {
	if id == "" {
		return -1
	}
	return slices.IndexFunc(s.Items, func(w Work) bool { return slices.Contains(w.Executions, id) })
}
