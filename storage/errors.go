package storage

import "errors"

// Errors a backend answers with. They are wrapped with the operation and the key; test with errors.Is.
var (
	// ErrNotFound means that there is no such record.
	ErrNotFound = errors.New("storage: not found")
	// ErrExists means that a record with this key, or with this unique value, exists already.
	ErrExists = errors.New("storage: exists already")
	// ErrConflict means that the record was changed since it was read. Read it again, decide again.
	ErrConflict = errors.New("storage: changed since it was read")
	// ErrLeaseHeld means that another owner holds the lease and it has not expired.
	ErrLeaseHeld = errors.New("storage: lease held by another owner")
	// ErrLeaseLost means that the lease has passed to another owner: stop the work it covered.
	ErrLeaseLost = errors.New("storage: lease lost")
	// ErrBadCursor means that a page cursor was not made by this store for this listing.
	ErrBadCursor = errors.New("storage: bad page cursor")
	// ErrTooLarge means that a batch has more than MaxBatch entries.
	ErrTooLarge = errors.New("storage: batch too large")
	// ErrInvalid means that a record lacks a key field or carries a value the contract forbids.
	ErrInvalid = errors.New("storage: invalid record")
	// ErrSealed means that a sealed secret cannot be opened: wrong key, wrong record, or damaged bytes.
	ErrSealed = errors.New("storage: cannot open sealed secret")
)
