package abm

import (
	"encoding/json"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// Explanation says why a device has the profile it has, or none, what happens next, and when. Everything in it is from the
// store and the resolver: it is as old as the newest sync.
type Explanation struct {
	Serial string `json:"serial"`
	// At is when the store was read. Times in sentences are relative to it.
	At time.Time `json:"at"`
	// Verdict and Summary are those of Account; VerdictUnknown if no account has ever known the serial.
	Verdict Verdict `json:"verdict"`
	Summary string  `json:"summary"`
	// Account has the device now, AccountReason says how that is known. Account is empty if none has it.
	Account       string `json:"account,omitempty"`
	AccountReason string `json:"account_reason"`
	// Do is what a person can do about a serial that is in no account; empty if it is in one, whose own Do counts then.
	Do []string `json:"do,omitempty"`
	// Accounts are all accounts that know the serial, the one that has it first.
	Accounts []AccountExplanation `json:"accounts,omitempty"`
	// Activities are the newest of the serial, the newest first; none if the store keeps no activities.
	Activities []ExplainedActivity `json:"activities,omitempty"`
}

// AccountExplanation is what one account knows of a device, and what follows.
type AccountExplanation struct {
	Account string  `json:"account"`
	Verdict Verdict `json:"verdict"`
	// Summary is the verdict in a sentence, Why how it came to that.
	Summary string   `json:"summary"`
	Why     []string `json:"why"`
	// Held says why Apple cannot be asked anything for this account; empty if it can.
	Held string `json:"held,omitempty"`
	// Next is what the engine does next, NextAt when; zero if it does nothing before something else has changed. A time
	// that is past means as soon as an engine comes to it.
	Next   string    `json:"next"`
	NextAt time.Time `json:"next_at,omitzero"`
	// Do is what a person can do; empty if nothing is to be done.
	Do []string `json:"do,omitempty"`

	Health    ExplainedHealth    `json:"health"`
	Inventory ExplainedInventory `json:"inventory"`
	// Device is what Apple shows; nil if it was never seen in this account.
	Device *ExplainedDevice `json:"device,omitempty"`
	// Wanted is the profile that is pursued; nil if none is.
	Wanted *ExplainedProfile `json:"wanted,omitempty"`
	// Deferred is the profile that a staged roll-out has not brought to the device yet: it keeps Wanted until then.
	Deferred *ExplainedProfile `json:"deferred,omitempty"`
	// Rule is what the resolver says now; nil for a device that is not in the account, for which it is not asked.
	Rule *ExplainedRule `json:"rule,omitempty"`
	// Assignment is what was tried; nil if nothing was ever wanted.
	Assignment *ExplainedAssignment `json:"assignment,omitempty"`
}

// Verdict is an [Explanation] in a word, for programs.
type Verdict string

// Verdicts.
const (
	VerdictUnknown       Verdict = "unknown"        // never seen in the account
	VerdictLeft          Verdict = "left"           // not in the account any more
	VerdictMoved         Verdict = "moved"          // another account has it now
	VerdictUnseen        Verdict = "unseen"         // a profile is wanted, but the inventory does not show the device yet
	VerdictNothingWanted Verdict = "nothing_wanted" // the rules leave it alone
	VerdictDeferred      Verdict = "deferred"       // a staged roll-out has not come to it, and until then it has no profile of ours
	VerdictSatisfied     Verdict = "satisfied"      // Apple shows the wanted profile
	VerdictStale         Verdict = "stale"          // what is stored of the assignment is not what Apple's record shows
	VerdictWaiting       Verdict = "waiting"        // Apple is asked for it in a while
	VerdictAsking        Verdict = "asking"         // a call is under way, or its outcome is unknown
	VerdictVerifying     Verdict = "verifying"      // Apple has accepted it and is looked at for it
	VerdictThrottled     Verdict = "throttled"      // Apple takes no assignment for it for a while
	VerdictFailing       Verdict = "failing"        // Apple did not assign it, and is asked again
	VerdictParked        Verdict = "parked"         // given up until a person asks for a retry
	VerdictBlocked       Verdict = "blocked"        // something keeps Apple from being asked: see ExplainedAssignment.Problem
	VerdictUnscheduled   Verdict = "unscheduled"    // to be done, but nothing says when: see Do
)

// ExplainedHealth is how the account stands with Apple.
type ExplainedHealth struct {
	Health   storage.Health `json:"health"`
	Reason   string         `json:"reason,omitempty"`
	Since    time.Time      `json:"since,omitzero"`
	LastOKAt time.Time      `json:"last_ok_at,omitzero"`
	// RetryAt is until when all calls to Apple are held back, as Apple asked to wait or does not answer; zero if they are not. The
	// engine's next try comes with or after that. Only the process whose engine works on the account knows: in another it is zero,
	// and Reason says what Apple asked for.
	RetryAt        time.Time `json:"retry_at,omitzero"`
	TokenExpiresAt time.Time `json:"token_expires_at,omitzero"`
}

// ExplainedInventory is how old the knowledge of the account's devices is.
type ExplainedInventory struct {
	LastSyncAt  time.Time `json:"last_sync_at,omitzero"`
	LastSweepAt time.Time `json:"last_sweep_at,omitzero"`
	// Late says that the last sync is longer ago than it should be.
	Late bool `json:"late"`
}

// ExplainedDevice is Apple's record of the device.
type ExplainedDevice struct {
	Present    bool      `json:"present"`
	LeftAt     time.Time `json:"left_at,omitzero"`
	LeftReason string    `json:"left_reason,omitempty"`
	Model      string    `json:"model,omitempty"`
	Family     string    `json:"family,omitempty"`
	OS         string    `json:"os,omitempty"`
	// Profile is the profile Apple shows; nil if it shows none. Its Fingerprint is empty if it is not one of ours.
	Profile           *ExplainedProfile `json:"profile,omitempty"`
	ProfileStatus     string            `json:"profile_status,omitempty"`
	ProfileAssignedAt time.Time         `json:"profile_assigned_at,omitzero"`
	ProfilePushedAt   time.Time         `json:"profile_pushed_at,omitzero"`
	AssignedAt        time.Time         `json:"assigned_at,omitzero"`
	MigrationDeadline time.Time         `json:"migration_deadline,omitzero"`
	FirstSeenAt       time.Time         `json:"first_seen_at,omitzero"`
	ChangedAt         time.Time         `json:"changed_at,omitzero"`
}

// ExplainedProfile is an enrollment profile. It leaves out the content, which may hold a secret.
type ExplainedProfile struct {
	Fingerprint string    `json:"fingerprint,omitempty"`
	Name        string    `json:"name,omitempty"`
	UUID        string    `json:"uuid,omitempty"` // Apple's; empty until the profile is defined there
	DefinedAt   time.Time `json:"defined_at,omitzero"`
}

// ExplainedRule is what the resolver decides now.
type ExplainedRule struct {
	// Reason is the resolver's, Profile what it wants; nil if the device is to be left alone.
	Reason  string            `json:"reason,omitempty"`
	Profile *ExplainedProfile `json:"profile,omitempty"`
	// Error is why it cannot be told.
	Error string `json:"error,omitempty"`
	// Note says how that differs from what is stored, and why; empty if it does not.
	Note string `json:"note,omitempty"`
}

// ExplainedAssignment is what was tried and what came of it.
type ExplainedAssignment struct {
	State storage.AssignmentState `json:"state"`
	// WantedSince is when the wanted profile, or that none is wanted, was decided, WantedReason what the rules said then; zero if
	// that is not known.
	WantedSince   time.Time `json:"wanted_since,omitzero"`
	WantedReason  string    `json:"wanted_reason,omitempty"`
	NextAttemptAt time.Time `json:"next_attempt_at,omitzero"`
	SatisfiedAt   time.Time `json:"satisfied_at,omitzero"`
	Failures      int       `json:"failures"`
	Throttles     int       `json:"throttles"`
	Problem       string    `json:"problem,omitempty"`
	ProblemSince  time.Time `json:"problem_since,omitzero"`
	// LastAttempt is the newest call to Apple; nil if there was none.
	LastAttempt *ExplainedAttempt `json:"last_attempt,omitempty"`
}

// ExplainedAttempt is one call to Apple for the device.
type ExplainedAttempt struct {
	At          time.Time `json:"at"`
	ProfileUUID string    `json:"profile_uuid,omitempty"`
	// Result is Apple's word, or one of ours, and Meaning what it means. An empty Result is an unknown outcome.
	Result            string `json:"result,omitempty"`
	Meaning           string `json:"meaning"`
	Error             string `json:"error,omitempty"`
	RetryAfterSeconds int64  `json:"retry_after_seconds,omitempty"`
}

// ExplainedActivity is an activity of the serial.
type ExplainedActivity struct {
	At      time.Time       `json:"at"`
	Kind    string          `json:"kind"`
	Actor   string          `json:"actor,omitempty"`
	Account string          `json:"account,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}
