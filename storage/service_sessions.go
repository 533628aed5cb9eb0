package storage

import (
	"context"
	"time"
)

// ServiceSession is the session an account has at Apple, shared by all replicas. Account is the key.
type ServiceSession struct {
	Account string
	// SealedSession is the sealed session token.
	SealedSession []byte
	// TokenDigest identifies the server token the session belongs to: it is of no use with another one.
	TokenDigest Digest
	UpdatedAt   time.Time
	Version     int64
}

// ServiceSessionStore keeps the sessions accounts have at Apple.
type ServiceSessionStore interface {
	// GetServiceSession returns the session of an account.
	GetServiceSession(ctx context.Context, account string) (ServiceSession, error)
	// PutServiceSession stores the session if it matches the stored Version (0: new); otherwise ErrConflict.
	// ErrNotFound: there is no such account.
	PutServiceSession(ctx context.Context, s ServiceSession) error
}
