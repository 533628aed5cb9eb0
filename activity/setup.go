package activity

import "time"

// SetupStarted says that a setup run was opened for a device.
type SetupStarted struct {
	On
	RunID      string `json:"run_id"`
	Generation int64  `json:"generation"`
	Held       bool   `json:"held"` // the device waits for it
}

// Kind implements Event.
func (SetupStarted) Kind() string { return "setup_started" }

// SetupPlanned says that the plan of a run is settled.
type SetupPlanned struct {
	On
	RunID    string    `json:"run_id"`
	Items    int       `json:"items"`
	Revision string    `json:"revision,omitempty"`
	Deadline time.Time `json:"deadline,omitzero"`
}

// Kind implements Event.
func (SetupPlanned) Kind() string { return "setup_planned" }

// SetupItemChanged says that an item of a run has moved.
type SetupItemChanged struct {
	On
	RunID    string `json:"run_id"`
	Item     string `json:"item"`
	Title    string `json:"title,omitempty"`
	ItemKind string `json:"item_kind,omitempty"`
	From     string `json:"from"`
	To       string `json:"to"`
	Reason   string `json:"reason,omitempty"`
	Attempt  int    `json:"attempt,omitempty"`
	Detail   string `json:"detail,omitempty"` // what the device said, bounded
}

// Kind implements Event.
func (SetupItemChanged) Kind() string { return "setup_item_changed" }

// SetupProfilesApplied says that everything a device has to wait for is there.
type SetupProfilesApplied struct {
	On
	RunID string `json:"run_id"`
}

// Kind implements Event.
func (SetupProfilesApplied) Kind() string { return "setup_profiles_applied" }

// SetupHeld says that a device is kept because a required item failed.
type SetupHeld struct {
	On
	RunID  string    `json:"run_id"`
	Item   string    `json:"item"`
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// Kind implements Event.
func (SetupHeld) Kind() string { return "setup_held" }

// SetupReleaseDecided says that a device is to be released, and why.
type SetupReleaseDecided struct {
	On
	RunID  string `json:"run_id"`
	Reason string `json:"reason"`
}

// Kind implements Event.
func (SetupReleaseDecided) Kind() string { return "setup_release_decided" }

// SetupReleaseResent says that the release was sent again because the device did not answer it.
type SetupReleaseResent struct {
	On
	RunID  string `json:"run_id"`
	Number int    `json:"number"`
}

// Kind implements Event.
func (SetupReleaseResent) Kind() string { return "setup_release_resent" }

// SetupReleased says that a device has left Setup Assistant.
type SetupReleased struct {
	On
	RunID    string  `json:"run_id"`
	Reason   string  `json:"reason"`
	Evidence string  `json:"evidence"` // how that is known
	Seconds  float64 `json:"seconds"`  // from the start of the run
}

// Kind implements Event.
func (SetupReleased) Kind() string { return "setup_released" }

// SetupClosed says that a run is over.
type SetupClosed struct {
	On
	RunID  string `json:"run_id"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// Kind implements Event.
func (SetupClosed) Kind() string { return "setup_closed" }

// SetupEventIgnored says that an event belonged to another generation or was not known, and changed nothing.
type SetupEventIgnored struct {
	On
	RunID  string `json:"run_id,omitempty"`
	Event  string `json:"event"`
	Reason string `json:"reason"`
}

// Kind implements Event.
func (SetupEventIgnored) Kind() string { return "setup_event_ignored" }

// SetupAgentArrived says that the agent of a device has said hello.
type SetupAgentArrived struct {
	On
	RunID   string `json:"run_id"`
	Version string `json:"version,omitempty"`
}

// Kind implements Event.
func (SetupAgentArrived) Kind() string { return "setup_agent_arrived" }

// SetupAdminAction says that a person has intervened in a run.
type SetupAdminAction struct {
	On
	RunID  string   `json:"run_id"`
	Action string   `json:"action"`
	Item   string   `json:"item,omitempty"`
	Items  []string `json:"items,omitempty"`
	Reason string   `json:"reason,omitempty"`
}

// Kind implements Event.
func (SetupAdminAction) Kind() string { return "setup_admin_action" }

// SetupWaiting says that a device waits for a person. It is repeated while it does.
type SetupWaiting struct {
	On
	RunID string `json:"run_id"`
	State string `json:"state"`          // held or ready_manual
	Item  string `json:"item,omitempty"` // the item that holds it
}

// Kind implements Event.
func (SetupWaiting) Kind() string { return "setup_waiting" }

// SetupDeviceSilent says that a device with work to fetch has not been heard of for long.
type SetupDeviceSilent struct {
	On
	RunID   string  `json:"run_id"`
	Seconds float64 `json:"seconds"`
}

// Kind implements Event.
func (SetupDeviceSilent) Kind() string { return "setup_device_silent" }

// SetupReleaseUnanswered says that a device answered none of the releases it was sent.
type SetupReleaseUnanswered struct {
	On
	RunID string `json:"run_id"`
	Sends int    `json:"sends"`
}

// Kind implements Event.
func (SetupReleaseUnanswered) Kind() string { return "setup_release_unanswered" }

// SetupRunUnreadable says that a run that was under way could not be read, as newer code wrote it or it is damaged. Its
// work is lost. It was replaced by one that only releases the device.
type SetupRunUnreadable struct {
	On
	RunID string `json:"run_id"`
	State string `json:"state"` // that it was in
	Error string `json:"error"`
}

// Kind implements Event.
func (SetupRunUnreadable) Kind() string { return "setup_run_unreadable" }

// SetupPlanFailed says that a device's plan could not be had. It is asked for again.
type SetupPlanFailed struct {
	On
	RunID string `json:"run_id"`
	Error string `json:"error"`
}

// Kind implements Event.
func (SetupPlanFailed) Kind() string { return "setup_plan_failed" }
