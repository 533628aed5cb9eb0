package activity

import "time"

// AccountCreated says that an account was created.
type AccountCreated struct {
	On
}

// Kind implements Event.
func (AccountCreated) Kind() string { return "account_created" }

// KeyPairCreated says that a key pair for server tokens was created.
type KeyPairCreated struct {
	On
	KeyPairID string `json:"key_pair_id"`
}

// Kind implements Event.
func (KeyPairCreated) Kind() string { return "key_pair_created" }

// KeyPairDeleted says that a key pair for server tokens was removed, as no token can be encrypted to it any more.
type KeyPairDeleted struct {
	On
	KeyPairID string `json:"key_pair_id"`
}

// Kind implements Event.
func (KeyPairDeleted) Kind() string { return "key_pair_deleted" }

// TokenImported says that a server token was imported, the first one or a renewal.
type TokenImported struct {
	On
	ServerUUID string    `json:"server_uuid"`
	ServerName string    `json:"server_name"`
	OrgName    string    `json:"org_name"`
	KeyPairID  string    `json:"key_pair_id"`
	ExpiresAt  time.Time `json:"expires_at"`
	Renewal    bool      `json:"renewal"`
	Forced     bool      `json:"forced,omitempty"`
}

// Kind implements Event.
func (TokenImported) Kind() string { return "token_imported" }

// TokenExpiring says that a server token ends within so many days (30, 14, 7, 1), or that it has ended (0). Each is
// told once per token.
type TokenExpiring struct {
	On
	Days      int       `json:"days"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Kind implements Event.
func (TokenExpiring) Kind() string { return "token_expiring" }

// AccountHealthChanged says that an account stands differently with Apple.
type AccountHealthChanged struct {
	On
	From   string `json:"from"`
	To     string `json:"to"`
	Reason string `json:"reason,omitempty"`
}

// Kind implements Event.
func (AccountHealthChanged) Kind() string { return "account_health_changed" }

// AccountDeleted says that an account and all that was kept for it was removed.
type AccountDeleted struct {
	On
	Devices int `json:"devices"` // how many it had
}

// Kind implements Event.
func (AccountDeleted) Kind() string { return "account_deleted" }

// DeviceAdded says that a serial has appeared in an account, or has come back to it.
type DeviceAdded struct {
	On
	Model         string `json:"model"`
	Family        string `json:"family"`
	ProfileUUID   string `json:"profile_uuid,omitempty"`
	ProfileStatus string `json:"profile_status,omitempty"`
	Returned      bool   `json:"returned,omitempty"`
}

// Kind implements Event.
func (DeviceAdded) Kind() string { return "device_added" }

// DeviceChanged says that Apple's record of a device has changed.
type DeviceChanged struct {
	On
	OpType            string    `json:"op_type,omitempty"` // Apple's op_type; empty when a full fetch showed it
	ProfileUUID       string    `json:"profile_uuid,omitempty"`
	ProfileStatus     string    `json:"profile_status,omitempty"`
	FromProfileUUID   string    `json:"from_profile_uuid,omitempty"`
	FromProfileStatus string    `json:"from_profile_status,omitempty"`
	MigrationDeadline time.Time `json:"migration_deadline,omitzero"`
}

// Kind implements Event.
func (DeviceChanged) Kind() string { return "device_changed" }

// DeviceLeft says that a serial is not in the account any more.
type DeviceLeft struct {
	On
	Reason string `json:"reason"` // deleted, not_accessible
}

// Kind implements Event.
func (DeviceLeft) Kind() string { return "device_left" }

// DeviceMoved says that a device has come into an account while another one of ours has it, or had it lately.
type DeviceMoved struct {
	On
	From string `json:"from"` // account
	To   string `json:"to"`
}

// Kind implements Event.
func (DeviceMoved) Kind() string { return "device_moved" }

// MigrationDeadlineSet says that a device is to be enrolled here until a deadline, instead of where it is now.
type MigrationDeadlineSet struct {
	On
	Deadline time.Time `json:"deadline"`
}

// Kind implements Event.
func (MigrationDeadlineSet) Kind() string { return "migration_deadline_set" }

// MigrationDeadlineChanged says that the deadline is another one.
type MigrationDeadlineChanged struct {
	On
	From     time.Time `json:"from"`
	Deadline time.Time `json:"deadline"`
}

// Kind implements Event.
func (MigrationDeadlineChanged) Kind() string { return "migration_deadline_changed" }

// MigrationDeadlineCleared says that no migration is pending any more: it has happened, or was cancelled.
type MigrationDeadlineCleared struct {
	On
	From time.Time `json:"from"`
}

// Kind implements Event.
func (MigrationDeadlineCleared) Kind() string { return "migration_deadline_cleared" }

// SyncFinished says that Apple had no more to tell and something had changed.
type SyncFinished struct {
	On
	Full    bool `json:"full"`    // the whole list was read
	Devices int  `json:"devices"` // device records received
	Changed int  `json:"changed"` // device records written
}

// Kind implements Event.
func (SyncFinished) Kind() string { return "sync_finished" }

// CursorReset says that the cursor is of no use and the whole list is read again.
type CursorReset struct {
	On
	Code string `json:"code"` // Apple's code; CURSOR_LOOP when Apple keeps repeating the cursor
}

// Kind implements Event.
func (CursorReset) Kind() string { return "cursor_reset" }

// ProfileDefined says that an enrollment profile was defined at Apple.
type ProfileDefined struct {
	On
	Fingerprint string `json:"fingerprint"`
	ProfileUUID string `json:"profile_uuid"`
	Name        string `json:"name"`
}

// Kind implements Event.
func (ProfileDefined) Kind() string { return "profile_defined" }

// ProfileLost says that Apple does not know a defined profile any more; it is defined again when needed.
type ProfileLost struct {
	On
	Fingerprint string `json:"fingerprint"`
	ProfileUUID string `json:"profile_uuid"`
}

// Kind implements Event.
func (ProfileLost) Kind() string { return "profile_lost" }

// ProfileWanted says that another profile is wanted for a device.
type ProfileWanted struct {
	On
	Fingerprint string `json:"fingerprint"` // empty: none
	From        string `json:"from,omitempty"`
	Reason      string `json:"reason,omitempty"` // the resolver's, such as the name of a rule
}

// Kind implements Event.
func (ProfileWanted) Kind() string { return "profile_wanted" }

// ProfileDeferred says that a staged roll-out has not come to a device: it keeps the profile it has for now.
type ProfileDeferred struct {
	On
	Fingerprint string `json:"fingerprint"`
	Keeps       string `json:"keeps"`
}

// Kind implements Event.
func (ProfileDeferred) Kind() string { return "profile_deferred" }

// ProfileDrifted says that Apple shows a profile with other content than it was defined with.
type ProfileDrifted struct {
	On
	Fingerprint string   `json:"fingerprint"`
	ProfileUUID string   `json:"profile_uuid"`
	Name        string   `json:"name"`
	Keys        []string `json:"keys"` // that differ, sorted; their values may hold secrets
}

// Kind implements Event.
func (ProfileDrifted) Kind() string { return "profile_drifted" }

// RulesApplied says that all devices of an account were planned with other rules than before, or anew.
type RulesApplied struct {
	On
	Rules   string `json:"rules"`
	Order   int64  `json:"order"`
	Changed int    `json:"changed"` // assignments
}

// Kind implements Event.
func (RulesApplied) Kind() string { return "rules_applied" }

// ProfileAssigned says that Apple accepted the assignment of a profile.
type ProfileAssigned struct {
	On
	ProfileUUID string `json:"profile_uuid"`
}

// Kind implements Event.
func (ProfileAssigned) Kind() string { return "profile_assigned" }

// ProfileAssignFailed says that an attempt to assign a profile did not succeed.
type ProfileAssignFailed struct {
	On
	ProfileUUID string    `json:"profile_uuid,omitempty"`
	Result      string    `json:"result"` // Apple's word for the serial, or ours for a call that failed as a whole
	Failures    int       `json:"failures"`
	RetryAt     time.Time `json:"retry_at,omitzero"`
	Error       string    `json:"error,omitempty"`
}

// Kind implements Event.
func (ProfileAssignFailed) Kind() string { return "profile_assign_failed" }

// ProfileVerified says that Apple was seen to have the wanted profile for a device.
type ProfileVerified struct {
	On
	ProfileUUID   string `json:"profile_uuid"`
	ProfileStatus string `json:"profile_status"`
}

// Kind implements Event.
func (ProfileVerified) Kind() string { return "profile_verified" }

// AssignmentBlocked says that Apple cannot be asked for a device: the wanted profile cannot be told, or Apple does not take
// it. It is tried again without anyone doing anything.
type AssignmentBlocked struct {
	On
	Problem string `json:"problem"`
}

// Kind implements Event.
func (AssignmentBlocked) Kind() string { return "assignment_blocked" }

// AssignmentParked says that no more attempts are made until someone asks for them.
type AssignmentParked struct {
	On
	Result   string `json:"result"`
	Failures int    `json:"failures"`
}

// Kind implements Event.
func (AssignmentParked) Kind() string { return "assignment_parked" }

// AssignmentRetried says that someone asked for another attempt now.
type AssignmentRetried struct {
	On
}

// Kind implements Event.
func (AssignmentRetried) Kind() string { return "assignment_retried" }
