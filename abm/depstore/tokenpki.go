package depstore

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"

	"github.com/enrollkit/enrollkit/storage"
)

// StoreTokenPKI makes a key pair of the account's and stages it. Of pemCert it keeps the first certificate. Key pairs staged before stay with the account.
func (s *Storage) StoreTokenPKI(ctx context.Context, name string, pemCert, pemKey []byte) error {
	key, err := parseKey(pemKey)
	if err != nil {
		return err
	}
	if err := s.ensure(ctx, name); err != nil {
		return err
	}
	k, err := s.accounts.ImportKeyPair(ctx, name, pemCert, key)
	if errors.Is(err, storage.ErrExists) { // the same one staged again
		k, err = s.find(ctx, name, func(k storage.KeyPair) bool { return sameCertificate(k.Certificate, pemCert) })
	}
	if err != nil {
		return wrap("store token PKI", name, err)
	}
	// If this fails, the key pair stays without being staged: it can still open a token file.
	return s.update(ctx, name, func(n *storage.NanoDEP) { n.StagedKeyPairID = k.ID })
}

// RetrieveStagingTokenPKI returns certificate and private key, PEM, of the key pair that was staged last. It returns
// nanodep's storage.ErrNotFound when there is none.
func (s *Storage) RetrieveStagingTokenPKI(ctx context.Context, name string) (pemCert, pemKey []byte, err error) {
	n, err := s.store.GetNanoDEP(ctx, name)
	if err != nil {
		return nil, nil, notFound("staged token PKI", name, err)
	}
	return s.keyPair(ctx, name, n.StagedKeyPairID)
}

// RetrieveCurrentTokenPKI returns certificate and private key, PEM, of the key pair in use. It returns nanodep's
// storage.ErrNotFound when there is none.
func (s *Storage) RetrieveCurrentTokenPKI(ctx context.Context, name string) (pemCert, pemKey []byte, err error) {
	acct, err := s.store.GetAccount(ctx, name)
	if err != nil {
		return nil, nil, notFound("token PKI", name, err)
	}
	return s.keyPair(ctx, name, acct.KeyPairID)
}

// UpstageTokenPKI makes the staged key pair the one in use; it stays staged as well. nanodep does so before it stores
// the token, so that the account has the new key with the old token for a moment, and for good if nanodep then refuses
// the token. It returns nanodep's storage.ErrNotFound when none is staged.
func (s *Storage) UpstageTokenPKI(ctx context.Context, name string) error {
	n, err := s.store.GetNanoDEP(ctx, name)
	if err != nil {
		return notFound("staged token PKI", name, err)
	}
	if n.StagedKeyPairID == "" {
		return missing("staged token PKI", name)
	}
	if err := s.accounts.UseKeyPair(ctx, name, n.StagedKeyPairID); err != nil {
		return notFound("upstage token PKI", name, err)
	}
	return nil
}

// keyPair returns a key pair as nanodep has it.
func (s *Storage) keyPair(ctx context.Context, name, id string) (pemCert, pemKey []byte, err error) {
	k, err := s.find(ctx, name, func(k storage.KeyPair) bool { return k.ID == id })
	if err != nil {
		return nil, nil, notFound("token PKI", name, err)
	}
	key, err := s.accounts.PrivateKey(ctx, k)
	if err != nil {
		return nil, nil, wrap("token PKI", name, err)
	}
	pemKey = pem.EncodeToMemory(&pem.Block{Type: pemPKCS1, Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return k.Certificate, pemKey, nil
}

// find returns the key pair of the account that is the one.
func (s *Storage) find(ctx context.Context, name string, is func(storage.KeyPair) bool) (storage.KeyPair, error) {
	pairs, err := s.store.ListKeyPairs(ctx, name)
	if err != nil {
		return storage.KeyPair{}, err
	}
	if i := slices.IndexFunc(pairs, is); i >= 0 {
		return pairs[i], nil
	}
	return storage.KeyPair{}, storage.ErrNotFound
}

// sameCertificate compares what two PEM files have in them, and not how they are written.
func sameCertificate(a, b []byte) bool {
	x, _ := pem.Decode(a)
	y, _ := pem.Decode(b)
	return x != nil && y != nil && bytes.Equal(x.Bytes, y.Bytes)
}

// pemPKCS1 is the type of the private keys that nanodep reads and writes.
const pemPKCS1 = "RSA PRIVATE KEY"

// parseKey reads a private key, PEM. The error quotes nothing of it.
func parseKey(pemKey []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(pemKey)
	if block == nil {
		return nil, errors.New("depstore: private key is not PEM")
	}
	if block.Type == pemPKCS1 {
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("depstore: private key cannot be read")
		}
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("depstore: private key is not an RSA key")
	}
	return key, nil
}
