package storage

import (
	"context"
	"time"
)

// Lease is the right to work on something named, held by one owner until it expires or is released.
type Lease struct {
	Name  string
	Owner string
	// Token is 1 or more and grows with every change of owner. A write that carries it as a [Fence] is refused once the
	// lease has passed on or was released, so that a holder that slept past its expiry cannot harm.
	Token     int64
	ExpiresAt time.Time
}

// Fence returns the proof of ownership a write can carry.
func (l Lease) Fence() Fence { return Fence{Name: l.Name, Token: l.Token} }

// Fence names a lease and the token it had. The zero Fence is not checked.
type Fence struct {
	Name  string
	Token int64
}

// Leaser hands out leases.
type Leaser interface {
	// AcquireLease takes the lease if nobody holds it or it has expired at now (ExpiresAt is not after now), until
	// now+ttl. The owner that has it, expired or not, gets it extended with the same token. ErrLeaseHeld: another owner
	// has it.
	//
	// owner must be unique per process: two that share a name share the lease and its token, and no fence keeps them
	// apart. The name of a host or a pod is not, as a process can outlive the start of its successor: add something
	// random.
	AcquireLease(ctx context.Context, name, owner string, now time.Time, ttl time.Duration) (Lease, error)
	// GetLease returns the lease that someone has, expired or not. ErrNotFound: nobody has it.
	GetLease(ctx context.Context, name string) (Lease, error)
	// RenewLease extends a lease that is still the holder's, even if it has expired, until now+ttl. ErrLeaseLost: it
	// has passed on or was released.
	RenewLease(ctx context.Context, l Lease, now time.Time, ttl time.Duration) (Lease, error)
	// ReleaseLease gives the lease back. One that has passed on is left alone, without error. The token of the next
	// holder is larger all the same.
	ReleaseLease(ctx context.Context, l Lease) error
}
