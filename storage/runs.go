package storage

import (
	"context"
	"time"
)

// Run is one pass of a device through its setup experience. ID is the key; at most one run of an enrollment is live.
type Run struct {
	ID           string
	EnrollmentID string
	// Generation is the enrollment's generation the run belongs to; with EnrollmentID it is unique.
	Generation int64
	Account    string
	Serial     string
	// State is the run's state in the words of its state machine.
	State string
	// Live is false once the run is over for good.
	Live bool
	// Document is the state machine's whole state, JSON.
	Document []byte
	// NextWakeAt is when the run wants to be looked at again; zero when never.
	NextWakeAt time.Time
	CreatedAt  time.Time
	UpdatedAt  time.Time
	Version    int64
}

// Effect is work a run decided on and has not seen done. ID is the key and the idempotency key of the work.
type Effect struct {
	ID    string
	RunID string
	Kind  string
	// Document says what to do, JSON.
	Document []byte
	// DueAt is when to do it; it is required.
	DueAt time.Time
	// Attempts counts the claims so far; LastError is what the last attempt said.
	Attempts  int
	LastError string
	CreatedAt time.Time
}

// RunChange is what one step of a run writes, all of it or nothing.
type RunChange struct {
	// Run is stored if it matches the stored Version (0: new).
	Run Run
	// Effects join the outbox; RunID is the run's ID, otherwise the change is ErrInvalid. One whose ID is there already,
	// or was there and is done, changes nothing.
	Effects []Effect
	// Enrollment, if not nil, is stored if it matches the stored Version.
	Enrollment *Enrollment
	Activities []Activity
}

// RunFilter narrows ListRuns. Zero fields do not narrow.
type RunFilter struct {
	EnrollmentID string
	Serial       string
	State        string
	// LiveOnly leaves out runs that are over.
	LiveOnly bool
}

// RunStore keeps runs.
type RunStore interface {
	// CommitRun applies the change in one transaction. ErrExists: a new run's ID is taken, another run has its
	// enrollment and generation, or the run is live and the enrollment has another live run. ErrConflict: a version does
	// not match.
	CommitRun(ctx context.Context, c RunChange) error
	// GetRun returns one run.
	GetRun(ctx context.Context, id string) (Run, error)
	// LiveRun returns the live run of an enrollment.
	LiveRun(ctx context.Context, enrollmentID string) (Run, error)
	// ClaimRuns returns at most limit live runs with NextWakeAt set and not after now, the longest due first, then by
	// id, and hides them from other claims until now+hold. Saving a run ends its claim. A claim changes neither the
	// version nor NextWakeAt.
	ClaimRuns(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]Run, error)
	// ListRuns lists runs by id.
	ListRuns(ctx context.Context, f RunFilter, p Page) (runs []Run, next string, err error)
}

// EffectStore is the outbox: effects are written by RunStore and done, at least once, by whoever claims them.
type EffectStore interface {
	// ClaimEffects returns at most limit effects with DueAt not after now, the longest due first, then by id, hides them
	// from other claims until now+hold and counts the attempt, in what it returns too. A claim does not change DueAt. A
	// claimed effect that is neither finished nor retried comes again.
	ClaimEffects(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]Effect, error)
	// FinishEffect marks the effect as done. A missing or finished one is no error. Finished effects keep their ID
	// taken until the run is deleted.
	FinishEffect(ctx context.Context, id string) error
	// RetryEffect makes the effect due again at the given time, ends its claim and keeps what went wrong. ErrNotFound:
	// it is missing or finished. ErrInvalid: at is zero.
	RetryEffect(ctx context.Context, id string, at time.Time, lastError string) error
	// ListEffects returns the unfinished effects of one run, by DueAt, then ID.
	ListEffects(ctx context.Context, runID string) ([]Effect, error)
}
