package setupexp

import (
	"context"
	"encoding/json"
	"time"
)

// Planner chooses what a device gets. The host implements it.
type Planner interface {
	// Plan returns the plan for one run. A nil or empty plan means that there is nothing to do, and the device is
	// released at once. It may be asked several times for one run and its first answer counts; after an error it is
	// asked again until its deadline has passed, and then the device is released without a plan. ctx ends after 14
	// seconds.
	Plan(ctx context.Context, s Subject) (*Plan, error)
}

// PlannerFunc is a Planner that is a function.
type PlannerFunc func(ctx context.Context, s Subject) (*Plan, error)

// Plan implements Planner.
func (f PlannerFunc) Plan(ctx context.Context, s Subject) (*Plan, error) { return f(ctx, s) }

// Subject is the device a plan is for.
type Subject struct {
	RunID        string `json:"run_id"`
	EnrollmentID string `json:"enrollment_id"`
	Generation   int64  `json:"generation"`
	Account      string `json:"account,omitempty"`
	Serial       string `json:"serial,omitempty"`
	UDID         string `json:"udid,omitempty"`
	Product      string `json:"product,omitempty"`    // such as "Mac15,3" or "iPhone16,1"
	OSVersion    string `json:"os_version,omitempty"` // such as "26.1"
	// User is who signed in during enrollment, JSON as in storage.Enrollment; nil when nobody did.
	User json.RawMessage `json:"user,omitempty"`
	// Held is whether the device waits in Setup Assistant for its release.
	Held bool `json:"held"`
}

// Plan is what one device gets, in what order, and how long it may take. A run keeps its own copy: changing the
// host's configuration does not change a run that has begun.
type Plan struct {
	// Revision names the host's configuration the plan was made from; it is shown and not interpreted.
	Revision string `json:"revision,omitempty"`
	Items    []Item `json:"items"`
	// Deadline is when the device is released whatever is unfinished, counted from when the plan is settled; 0 means
	// 45 minutes on a Mac and 20 on other devices. It is 1 minute to 24 hours.
	Deadline time.Duration `json:"deadline,omitempty"`
	// Hold is how long a device is kept after an item with OnFailure Hold failed; 0 means 4 hours. A retry at the device
	// does not begin it anew, one by a person elsewhere does.
	Hold time.Duration `json:"hold,omitempty"`
	// HoldForever keeps such a device until a person acts. Reminders repeat.
	HoldForever bool `json:"hold_forever,omitempty"`
	// Manual has a person release the device once everything is done. Reminders repeat. The deadline still counts
	// until everything is done.
	Manual bool `json:"manual,omitempty"`
	// Lanes changes how many items of a lane may be at work at once. Lanes not named have their default: 1 for
	// [LaneInstaller] and [LaneScript], no limit for [LaneMDM], 1 for any other.
	Lanes map[string]int `json:"lanes,omitempty"`
}

// Item is one thing a device gets.
type Item struct {
	// ID names the item in its plan: 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Title is shown to the user.
	Title string `json:"title"`
	// Icon is a URL, a path or an SF Symbol name ("SF=app.fill"), shown to the user.
	Icon  string `json:"icon,omitempty"`
	Class Class  `json:"class"`
	// OnFailure is what a final failure of the item does to the run.
	OnFailure Policy `json:"on_failure,omitempty"`
	// Phase, then Order, then the place in the plan decide which of several ready items goes first.
	Phase int `json:"phase"`
	Order int `json:"order,omitempty"`
	// After are the items that have to end before this one starts.
	After []Dependency `json:"after,omitempty"`
	// Lane is the queue the item waits in.
	Lane string `json:"lane"`
	// AwaitOnly says that it works only while the device waits in Setup Assistant, so that it has to end before the
	// device is released.
	AwaitOnly bool `json:"await_only,omitempty"`
	// Timeout is how long one attempt may take from its dispatch, verification included.
	Timeout time.Duration `json:"timeout"`
	// MaxAttempts is how often it is tried; a person's retry starts the count again.
	MaxAttempts int `json:"max_attempts"`
	// NotNow is how long answers NotNow are accepted, counted from the first; 0 means 3 minutes. Then the item is
	// finished in the background, or fails if it is AwaitOnly.
	NotNow time.Duration `json:"not_now,omitempty"`
	// Proof is what counts as success.
	Proof Proof `json:"proof"`
	// SkipIfPresent looks first whether the item is on the device and skips it if it is.
	SkipIfPresent bool `json:"skip_if_present,omitempty"`
	// Agent says that the item installs the agent.
	Agent bool `json:"agent,omitempty"`
	// Capability is what the agent has to be able to do for this item; empty when the item needs no agent.
	Capability string `json:"capability,omitempty"`
	// Weight is the item's share of the progress bar; 0 means 1.
	Weight int `json:"weight,omitempty"`
	// Spec is what to do, as its kind defines it: see [ProfileSpec], [PackageSpec], [ScriptSpec], [AccountSpec].
	Spec json.RawMessage `json:"spec,omitempty"`
}

// Kind is what an item is. It chooses the executor.
type Kind string

// Kinds with built-in executors.
const (
	KindProfile Kind = "profile" // a configuration profile, by InstallProfile
	KindPackage Kind = "package" // an enterprise package, by InstallEnterpriseApplication
	KindScript  Kind = "script"  // a script, run by the agent
	KindAccount Kind = "account" // the local accounts of a Mac, by AccountConfiguration
)

// Class is how much a device waits for an item.
type Class string

// Classes.
const (
	Required   Class = "required"   // it has to succeed
	Blocking   Class = "blocking"   // it has to end, either way
	Background Class = "background" // nobody waits for it
)

// Policy is what a final failure of an item does to the run.
type Policy string

// Policies. The empty one is PolicyContinue.
const (
	PolicyContinue   Policy = "continue"    // go on
	PolicyHold       Policy = "hold"        // keep the device until someone acts or the hold's deadline; required items only
	PolicyReleaseNow Policy = "release_now" // release at once; the rest is finished in the background
	PolicyCancelAll  Policy = "cancel_all"  // cancel what has not ended, then release
)

// Proof is what counts as an item's success.
type Proof string

// Proofs.
const (
	// ProofAcknowledged: the device or the agent said so. For a package Acknowledged is sent before the download
	// begins, so this proves only that the device took the order.
	ProofAcknowledged Proof = "acknowledged"
	// ProofPresent: a list asked of the device (profiles, applications), or the agent, shows it.
	ProofPresent Proof = "present"
	// ProofAgent: the agent says hello. For the package that installs it.
	ProofAgent Proof = "agent"
)

// Dependency is an edge to an item that comes first.
type Dependency struct {
	ID string `json:"id"`
	// Anyway starts this item even if the other one did not succeed; otherwise it is skipped.
	Anyway bool `json:"anyway,omitempty"`
}

// Lanes of the built-in kinds. A lane is only a name: any other may be used.
const (
	LaneMDM       = "mdm"       // commands; the device takes them one by one
	LaneInstaller = "installer" // packages; macOS installs one at a time
	LaneScript    = "script"
)

// CapabilityScripts is the agent's ability to run scripts.
const CapabilityScripts = "scripts"

// MaxOutput is how many bytes are kept of what a device or an agent says about an attempt.
const MaxOutput = 4096
