package storage

import (
	"context"
	"time"
)

// Assignment is the profile one device shall have, and what came of asking Apple for it: the desired side and the
// attempt. Account and Serial are the key. It may exist while the device does not, and the other way round.
type Assignment struct {
	Account string
	Serial  string
	// Profile is the fingerprint of the wanted profile (Profile.Fingerprint); empty when none is wanted.
	Profile string
	// Deferred is the fingerprint of the profile that a staged roll-out has not brought to this device yet: Profile is what it
	// keeps until then. Empty if none is.
	Deferred string
	// State is where the assignment stands.
	State AssignmentState
	// NextAttemptAt is when there is something to do; zero when there is nothing.
	NextAttemptAt time.Time
	// Failures counts the failed attempts since the last success or change of Profile, Throttles the answers in a row that
	// put it off for having asked too often.
	Failures, Throttles int
	// LastAttempt is the newest call to Apple for this device; zero before the first.
	LastAttempt Attempt
	// SatisfiedAt is when Apple was seen to have what is wanted; zero while it is not.
	SatisfiedAt time.Time
	// Problem is what keeps Apple from being asked at all, in words: the wanted profile cannot be told (Profile is then
	// the last one that could be), or Apple does not take it. ProblemSince is since when. Empty and zero if nothing does.
	Problem      string
	ProblemSince time.Time
	UpdatedAt    time.Time
	Version      int64
}

// Attempt is one call to Apple for one device.
type Attempt struct {
	// At is when the call began. While Result is empty its outcome is unknown: the process may have died during it.
	At time.Time
	// ProfileUUID is what was asked for.
	ProfileUUID string
	// Result is Apple's word for this serial (SUCCESS, FAILED, ...) or a word of ours for what kept Apple from
	// answering.
	Result string
	// Error is the cause in words when the call failed as a whole.
	Error string
	// RetryAfter is how long Apple asked to wait; 0 when it did not say.
	RetryAfter time.Duration
}

// AssignmentState is where an assignment stands.
type AssignmentState string

// Assignment states.
const (
	AssignmentPending   AssignmentState = "pending"   // Apple shall be asked at NextAttemptAt
	AssignmentAssigning AssignmentState = "assigning" // a call is under way, or died: look before asking again
	AssignmentAssigned  AssignmentState = "assigned"  // Apple said SUCCESS; to be verified at NextAttemptAt
	AssignmentSatisfied AssignmentState = "satisfied" // Apple shows what is wanted
	AssignmentParked    AssignmentState = "parked"    // given up until someone asks for a retry
	AssignmentGone      AssignmentState = "gone"      // the device is not in this account any more
)

// Profile is an enrollment profile as it is kept for one account. Account and Fingerprint are the key.
type Profile struct {
	Account string
	// Fingerprint identifies the content, hexadecimal.
	Fingerprint string
	// Document is the profile as it is sent to Apple, JSON.
	Document []byte
	// UUID is Apple's profile_uuid; empty until the profile was defined, and again when Apple has lost it.
	UUID      string
	DefinedAt time.Time
	CreatedAt time.Time
}

// Cursor is how far the inventory of an account has been read. Account is the key.
type Cursor struct {
	Account string
	// Value is Apple's cursor, opaque; empty before the first page.
	Value string
	// Phase says which call continues from Value.
	Phase CursorPhase
	// LastSyncAt is when Apple last had no more to tell; LastSweepAt when the full list was last read to its end.
	LastSyncAt  time.Time
	LastSweepAt time.Time
	// Loops counts the readings in a row that Apple did not let come to an end, as it repeated or refused cursors.
	Loops int
	// Rules identifies the rules all assignments were last planned with, RulesOrder says which of two rules are newer.
	Rules      string
	RulesOrder int64
	// RolloutAt is the next free slot of a roll-out that is spread over time; zero before the first.
	RolloutAt time.Time
	UpdatedAt time.Time
	Version   int64
}

// CursorPhase says which of Apple's two device lists continues from a cursor.
type CursorPhase string

// Cursor phases.
const (
	PhaseFetch CursorPhase = "fetch" // POST /server/devices: the full list is being read for the first time
	PhaseSync  CursorPhase = "sync"  // POST /devices/sync: changes only
)

// InventoryChange is what one step of the engine writes about one account, all of it or nothing.
type InventoryChange struct {
	Account string
	// Fence, if set, is checked: ErrLeaseLost when the lease has passed on or was released.
	Fence Fence
	// Devices are stored as they are, over what was there.
	Devices []Device
	// Assignments are stored if each matches the stored Version (0: new); otherwise ErrConflict and nothing is written.
	Assignments []Assignment
	// Cursor, if not nil, is stored if it matches the stored Version (0: new).
	Cursor     *Cursor
	Activities []Activity
}

// InventoryStore writes what was learnt and decided about an account.
type InventoryStore interface {
	// GetCursor returns the cursor of an account.
	GetCursor(ctx context.Context, account string) (Cursor, error)
	// CommitInventory applies the change in one transaction. ErrNotFound: there is no such account, whatever the fence.
	// ErrInvalid: a record names another account, or the same key twice.
	CommitInventory(ctx context.Context, c InventoryChange) error
}

// AssignmentFilter narrows ListAssignments. Zero fields do not narrow.
type AssignmentFilter struct {
	// Account is required: ErrInvalid without.
	Account string
	State   AssignmentState
}

// AssignmentStats counts the assignments of an account.
type AssignmentStats struct {
	// States counts them by state; states without assignments are left out.
	States map[AssignmentState]int
	// Blocked counts those with a Problem.
	Blocked int
	// Throttled counts those with Throttles and a NextAttemptAt. ThrottledUntil is the latest of these times.
	Throttled      int
	ThrottledUntil time.Time
	// FirstDueAt is the earliest NextAttemptAt of all; zero if none has one.
	FirstDueAt time.Time
}

// AssignmentStore reads assignments. They are written by InventoryStore.
type AssignmentStore interface {
	// GetAssignment returns one assignment.
	GetAssignment(ctx context.Context, account, serial string) (Assignment, error)
	// GetAssignments returns those of the assignments that exist, by serial. A serial asked for twice comes once.
	GetAssignments(ctx context.Context, account string, serials []string) ([]Assignment, error)
	// DueAssignments returns at most limit assignments with NextAttemptAt set and not after now, the longest due
	// first, then by serial.
	DueAssignments(ctx context.Context, account string, now time.Time, limit int) ([]Assignment, error)
	// ListAssignments lists assignments by serial.
	ListAssignments(ctx context.Context, f AssignmentFilter, p Page) (assignments []Assignment, next string, err error)
	// AssignmentStats counts the assignments of an account. It reads all of them: a call for once a minute.
	AssignmentStats(ctx context.Context, account string) (AssignmentStats, error)
}

// ProfileStore keeps enrollment profiles per account.
type ProfileStore interface {
	// GetProfile returns one profile.
	GetProfile(ctx context.Context, account, fingerprint string) (Profile, error)
	// PutProfile stores a profile over what was there. f, if set, is checked in the same transaction: ErrLeaseLost when
	// the lease has passed on or was released, so that an engine that slept past its lease cannot put an old UUID over the
	// one in use. ErrNotFound: there is no such account, whatever the fence.
	PutProfile(ctx context.Context, f Fence, p Profile, acts ...Activity) error
	// ListProfiles returns all profiles of an account, by fingerprint.
	ListProfiles(ctx context.Context, account string) ([]Profile, error)
}
