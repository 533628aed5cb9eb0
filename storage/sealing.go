package storage

import (
	"bytes"
	"context"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Sealer encrypts secrets before they reach a backend. The associated data names the record and the field, so that a
// sealed secret copied into another record does not open. A backend only ever sees sealed bytes in:
// Account.SealedToken, KeyPair.SealedKey, ServiceSession.SealedSession, EnrollmentSession.SealedFlow; and, inside Run.Document, in the specs of items.
type Sealer interface {
	// Seal returns the ciphertext of secret.
	Seal(ctx context.Context, secret, associatedData []byte) ([]byte, error)
	// Open returns the secret, or an error that is ErrSealed.
	Open(ctx context.Context, sealed, associatedData []byte) ([]byte, error)
}

// KeysetSealer is a Sealer over a Tink keyset: its primary key seals, any of its keys opens.
type KeysetSealer struct{ aead tink.AEAD }

var _ Sealer = (*KeysetSealer)(nil)

// NewKeyset returns a new keyset with one AES-256-GCM key, in Tink's JSON form and in the clear: keep it as you keep a
// private key.
func NewKeyset() ([]byte, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("storage: new keyset: %w", err)
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&buf)); err != nil {
		return nil, fmt.Errorf("storage: new keyset: %w", err)
	}
	return buf.Bytes(), nil
}

// NewKeysetSealer returns a Sealer over a keyset in Tink's JSON form, such as [NewKeyset] makes.
func NewKeysetSealer(keysetJSON []byte) (*KeysetSealer, error) {
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(keysetJSON)))
	if err != nil {
		return nil, fmt.Errorf("storage: read keyset: %w", err)
	}
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("storage: read keyset: %w", err)
	}
	return &KeysetSealer{aead: a}, nil
}

// Seal implements Sealer.
func (s *KeysetSealer) Seal(_ context.Context, secret, associatedData []byte) ([]byte, error) {
	b, err := s.aead.Encrypt(secret, associatedData)
	if err != nil {
		return nil, fmt.Errorf("storage: seal: %w", err)
	}
	return b, nil
}

// Open implements Sealer.
func (s *KeysetSealer) Open(_ context.Context, sealed, associatedData []byte) ([]byte, error) {
	b, err := s.aead.Decrypt(sealed, associatedData)
	if err != nil {
		return nil, ErrSealed
	}
	return b, nil
}
