package setupexp

import (
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// Event is something that happened to a device and may move its run. Give it to [Tracker.Observe].
type Event struct {
	// ID makes the event recognizable: a second event with the same ID changes nothing. Derive it from what was
	// received, so that a message delivered twice has one ID. An empty ID is not compared.
	ID string
	// EnrollmentID is the storage.Enrollment it belongs to.
	EnrollmentID string
	// Generation is the enrollment's generation it belongs to; 0 means the current one. An event of an older
	// generation changes nothing and is recorded.
	Generation int64
	// At is when the server received it; the zero time means now.
	At time.Time
	// Body is what happened: one of the types of this package that say they are an EventBody.
	Body EventBody
}

// EventBody is what happened.
type EventBody interface {
	// EventKind is the name of the kind, such as "awaiting_seen".
	EventKind() string
}

// AwaitingSeen is an EventBody: a message of the device channel said whether the device waits in Setup Assistant.
// AwaitingUnknown is for a message that could have said so and did not, such as a TokenUpdate without the key; it
// makes the tracker ask the device. Do not send it for user channels.
type AwaitingSeen struct {
	Awaiting storage.Awaiting
	// Source is the message: "TokenUpdate", "SetBootstrapToken", "GetBootstrapToken" or "DeviceInformation".
	Source string
}

// Authenticated is an EventBody: the device began to enroll. The enrollment's new generation is already stored, and
// a run of an older generation is superseded.
type Authenticated struct{}

// CheckedOut is an EventBody: the device said that it left management, or its enrollment was deleted.
type CheckedOut struct{}

// WipeIssued is an EventBody: the device was told to erase itself.
type WipeIssued struct{}

// PlanResolved is an EventBody: the plan of the run is known. The tracker makes it from what the [Planner] says.
type PlanResolved struct {
	Plan Plan
}

// PlanChanged is an EventBody: the host's configuration changed during a run. Items named in Removed that have not
// ended are cancelled; everything else goes on as planned.
type PlanChanged struct {
	Revision string
	Removed  []string
}

// Status is what a device answered to a command, in Apple's words.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/implementing-device-management
type Status string

// Statuses of a command.
const (
	StatusAcknowledged Status = "Acknowledged"
	StatusError        Status = "Error"
	StatusFormatError  Status = "CommandFormatError"
	StatusNotNow       Status = "NotNow"
)

// CommandError is one entry of the ErrorChain of an answer.
type CommandError struct {
	Code        int    `json:"code"`
	Domain      string `json:"domain"`
	Description string `json:"description,omitempty"` // the English one if there is one
}

// CommandResult is an EventBody: the device answered a command. A result of a command that is not the tracker's
// changes nothing, so a host may pass on every result it sees.
type CommandResult struct {
	CommandUUID string
	Status      Status
	Errors      []CommandError
	// Raw is the whole answer, a property list. It is needed for the answers of queries.
	Raw []byte
}

// Presence is what is known about an item on the device.
type Presence string

// Presences.
const (
	Installed  Presence = "installed"
	Installing Presence = "installing"
	Absent     Presence = "absent"
)

// Evidence is an EventBody: somebody looked whether an item is on the device, such as the agent. Who says that it is
// installed vouches that this is the run's work, done since the item was begun: it counts even if the device has not
// answered the command yet.
type Evidence struct {
	Item     string // the item's id
	Presence Presence
	Detail   string
}

// AgentHello is an EventBody: the agent on the device said that it is there.
type AgentHello struct {
	Version string
	// Capabilities are what the agent can do, such as [CapabilityScripts].
	Capabilities []string
}

// AgentProgress is an EventBody: the agent works on an execution. Percent is 0 to 100.
type AgentProgress struct {
	ExecutionID string
	Percent     int
}

// AgentResult is an EventBody: the agent is done with an execution. Exit code 0 is success.
type AgentResult struct {
	ExecutionID string
	ExitCode    int
	// Output is what it printed; the first [MaxOutput] bytes are kept.
	Output string
}

// DeviceContact is an EventBody: the device was heard of in a way no other event says, such as an Idle connection.
type DeviceContact struct {
	Kind string
}

// AdminAction is what a person wants of a run.
type AdminAction string

// Admin actions.
const (
	ActionRelease AdminAction = "release" // release the device now; Force even though work is unfinished
	ActionRetry   AdminAction = "retry"   // try the items again that failed, or all that failed when none are named
	ActionSkip    AdminAction = "skip"    // go on without the items
	ActionExtend  AdminAction = "extend"  // give the run or the hold more time
	ActionHold    AdminAction = "hold"    // keep the device until someone acts or the hold's deadline
	ActionCancel  AdminAction = "cancel"  // cancel the items
)

// Admin is an EventBody: a person intervened.
type Admin struct {
	Action AdminAction
	// Actor is who, as in an activity: "user:" and a name.
	Actor  string
	Reason string
	Items  []string
	// Force makes a release legal in every live state. One that was decided already is sent at once, or once more.
	Force bool
	// ByAgent says that the person asked on the device itself.
	ByAgent bool
	// Extend is the time to add.
	Extend time.Duration
}

// Tick is an EventBody: time has passed.
type Tick struct{}

// dispatchFailed is an EventBody: an executor could not start an attempt.
type dispatchFailed struct {
	ExecutionID string
	Error       string
	Permanent   bool
}

// EventKind implements EventBody.
func (AwaitingSeen) EventKind() string { return "awaiting_seen" }

// EventKind implements EventBody.
func (Authenticated) EventKind() string { return "authenticated" }

// EventKind implements EventBody.
func (CheckedOut) EventKind() string { return "checked_out" }

// EventKind implements EventBody.
func (WipeIssued) EventKind() string { return "wipe_issued" }

// EventKind implements EventBody.
func (PlanResolved) EventKind() string { return "plan_resolved" }

// EventKind implements EventBody.
func (PlanChanged) EventKind() string { return "plan_changed" }

// EventKind implements EventBody.
func (CommandResult) EventKind() string { return "command_result" }

// EventKind implements EventBody.
func (Evidence) EventKind() string { return "evidence" }

// EventKind implements EventBody.
func (AgentHello) EventKind() string { return "agent_hello" }

// EventKind implements EventBody.
func (AgentProgress) EventKind() string { return "agent_progress" }

// EventKind implements EventBody.
func (AgentResult) EventKind() string { return "agent_result" }

// EventKind implements EventBody.
func (DeviceContact) EventKind() string { return "device_contact" }

// EventKind implements EventBody.
func (Admin) EventKind() string { return "admin" }

// EventKind implements EventBody.
func (Tick) EventKind() string { return "tick" }

// EventKind implements EventBody.
func (dispatchFailed) EventKind() string { return "dispatch_failed" }
