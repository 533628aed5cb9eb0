package storage

import (
	"context"
	"time"
)

// Account is one MDM server entry in Apple Business Manager or Apple School Manager.
// Name is the key; ServerUUID, once known, is Apple's identity of the entry and unique among accounts.
type Account struct {
	// Name is the local name, free to choose, and what nanodep calls the DEP name.
	Name string
	// ServerUUID is Apple's server_uuid; empty until the first token has been imported.
	ServerUUID string
	// BaseURL is where the service is; empty means Apple's production service.
	BaseURL string
	// KeyPairID names the key pair the current token was encrypted to; empty before the first token.
	KeyPairID string
	// SealedToken is the sealed OAuth 1.0a token; nil before the first token.
	SealedToken []byte
	// TokenExpiresAt is when Apple stops accepting the token.
	TokenExpiresAt time.Time
	// Detail is Apple's answer to GET /account as received, JSON; nil until it was read.
	Detail []byte
	// Health is how the account stands with Apple; HealthSince when that began and HealthReason why, in words.
	Health       Health
	HealthReason string
	HealthSince  time.Time
	// LastOKAt is when Apple last answered a call of this account with success.
	LastOKAt time.Time
	// ExpiryWarnedDays is the smallest threshold, in days before TokenExpiresAt, that was told for this token; 0: none,
	// -1: its end as well.
	ExpiryWarnedDays int

	CreatedAt time.Time
	UpdatedAt time.Time
	Version   int64
}

// Health is how an account stands with Apple.
type Health string

// Health values.
const (
	HealthNew            Health = "new"              // no token yet, or one that was not tried yet
	HealthOK             Health = "ok"               // the last call worked
	HealthExpiring       Health = "expiring"         // works; the token ends soon
	HealthExpired        Health = "expired"          // the token's time is over
	HealthRejected       Health = "rejected"         // Apple refuses the token
	HealthTermsNotSigned Health = "terms_not_signed" // an administrator must accept Apple's terms
	HealthUnreachable    Health = "unreachable"      // no usable answer from Apple
)

// KeyPair is an RSA key pair an account's token can be encrypted to. Account and ID are the key.
type KeyPair struct {
	Account string
	// ID is the hexadecimal SHA-256 of the certificate.
	ID string
	// Certificate is PEM; it is what is uploaded to Apple's portal.
	Certificate []byte
	// SealedKey is the sealed private key, PKCS #8 DER.
	SealedKey []byte
	CreatedAt time.Time
}

// AccountStore keeps accounts.
type AccountStore interface {
	// CreateAccount stores a new account at version 1, whatever a.Version says.
	// ErrExists: the name or the server UUID is taken.
	CreateAccount(ctx context.Context, a Account, acts ...Activity) error
	// GetAccount returns the account of this name.
	GetAccount(ctx context.Context, name string) (Account, error)
	// UpdateAccount replaces the account that has a.Version. ErrExists: another account has the server UUID.
	UpdateAccount(ctx context.Context, a Account, acts ...Activity) error
	// ListAccounts lists accounts by name.
	ListAccounts(ctx context.Context, p Page) (accounts []Account, next string, err error)
	// DeleteAccount removes the account with all that is kept for it: key pairs, session at Apple, nanodep's state,
	// cursor, devices, assignments and profiles. Enrollments, runs and activities stay.
	DeleteAccount(ctx context.Context, name string, acts ...Activity) error
}

// KeyPairStore keeps the key pairs of accounts. Which one is in use says Account.KeyPairID, so that a token and its
// key change in the single write of UpdateAccount.
type KeyPairStore interface {
	// CreateKeyPair stores a new key pair. ErrNotFound: there is no such account.
	CreateKeyPair(ctx context.Context, k KeyPair, acts ...Activity) error
	// ListKeyPairs returns all key pairs of an account, the oldest first.
	ListKeyPairs(ctx context.Context, account string) ([]KeyPair, error)
	// DeleteKeyPair removes one key pair. ErrConflict: the account uses it.
	DeleteKeyPair(ctx context.Context, account, id string, acts ...Activity) error
}
