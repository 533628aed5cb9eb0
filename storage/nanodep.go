package storage

import (
	"context"
	"time"
)

// NanoDEP is what nanodep keeps of an account beside its token, key pairs and base URL, which are the account's own.
// Account is the key.
type NanoDEP struct {
	Account string
	// Cursor is where nanodep's syncer goes on. The engine has its own (Cursor.Value): each reads all that Apple tells.
	Cursor string
	// AssignerProfileUUID is the profile nanodep's assigner gives to new devices, AssignerModifiedAt since when.
	AssignerProfileUUID string
	AssignerModifiedAt  time.Time
	// StagedKeyPairID names the key pair that waits for its token; Account.KeyPairID names the one in use.
	StagedKeyPairID string
	UpdatedAt       time.Time
	Version         int64
}

// NanoDEPStore keeps nanodep's state.
type NanoDEPStore interface {
	// GetNanoDEP returns nanodep's state of an account.
	GetNanoDEP(ctx context.Context, account string) (NanoDEP, error)
	// PutNanoDEP stores the state if it matches the stored Version (0: new); otherwise ErrConflict.
	// ErrNotFound: there is no such account.
	PutNanoDEP(ctx context.Context, n NanoDEP) error
}
