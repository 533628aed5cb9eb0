package abm

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// keyPairYears is how long certificates are valid. Apple encrypts to them as long as they are on record.
const keyPairYears = 10

// CreateKeyPair makes a key pair that a token may be encrypted to. Its Certificate, PEM, is what is uploaded to Apple's
// portal. Earlier key pairs stay, as the portal encrypts to the certificate that is on record there: see
// [Accounts.PruneKeyPairs].
func (a *Accounts) CreateKeyPair(ctx context.Context, account string) (storage.KeyPair, error) {
	if _, err := a.store.GetAccount(ctx, account); err != nil { // before making a key for nothing
		return storage.KeyPair{}, fmt.Errorf("abm: create key pair: %w", err)
	}
	k, key, err := newKeyPair(account, a.s.now())
	if err == nil {
		k, err = a.storeKeyPair(ctx, k, key)
	}
	if err != nil {
		return storage.KeyPair{}, fmt.Errorf("abm: create key pair: %w", err)
	}
	return k, nil
}

// ImportKeyPair stores a key pair that another program made, such as the MDM server whose account is taken over: a
// certificate, PEM, that Apple's portal may have on record, and its key. Anything else in certPEM is left out: files often
// have the private key beside the certificate. It returns storage.ErrExists for one that is there.
func (a *Accounts) ImportKeyPair(ctx context.Context, account string, certPEM []byte, key *rsa.PrivateKey) (storage.KeyPair, error) {
	k := storage.KeyPair{Account: account, Certificate: certPEM, CreatedAt: a.s.now()}
	cert, err := parseCertificate(k)
	if err != nil {
		return storage.KeyPair{}, fmt.Errorf("abm: import key pair: %w", err)
	}
	if key == nil || key.N == nil || key.Validate() != nil || !key.PublicKey.Equal(cert.PublicKey) {
		return storage.KeyPair{}, errors.New("abm: import key pair: the key is not the certificate's")
	}
	k.ID, k.Certificate = keyPairID(cert.Raw), encodeCertificate(cert.Raw)
	if k, err = a.storeKeyPair(ctx, k, key); err != nil {
		return storage.KeyPair{}, fmt.Errorf("abm: import key pair: %w", err)
	}
	return k, nil
}

func (a *Accounts) storeKeyPair(ctx context.Context, k storage.KeyPair, key *rsa.PrivateKey) (storage.KeyPair, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return storage.KeyPair{}, errors.New("the private key cannot be encoded")
	}
	if k.SealedKey, err = a.sealer.Seal(ctx, der, keyAD(k.Account, k.ID)); err != nil {
		return storage.KeyPair{}, err
	}
	act := activity.New(k.CreatedAt, activity.System, activity.KeyPairCreated{On: activity.On{Account: k.Account}, KeyPairID: k.ID})
	return k, a.store.CreateKeyPair(ctx, k, act)
}

// PrivateKey opens the private key of a stored key pair.
func (a *Accounts) PrivateKey(ctx context.Context, k storage.KeyPair) (*rsa.PrivateKey, error) {
	der, err := a.sealer.Open(ctx, k.SealedKey, keyAD(k.Account, k.ID))
	if err != nil {
		return nil, fmt.Errorf("abm: key pair %s: %w", k.ID, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("abm: key pair %s: not a private key", k.ID)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("abm: key pair %s: not an RSA key", k.ID)
	}
	return key, nil
}

// UseKeyPair says that a key pair is the one in use: the one that [Accounts.MAIDToken] signs with. [Accounts.ImportToken]
// does so by itself; this is for those who use [Accounts.PutToken]. It returns storage.ErrNotFound if it is not the account's.
func (a *Accounts) UseKeyPair(ctx context.Context, account, id string) error {
	pairs, err := a.store.ListKeyPairs(ctx, account)
	if err != nil {
		return fmt.Errorf("abm: use key pair: %w", err)
	}
	used := slices.IndexFunc(pairs, func(k storage.KeyPair) bool { return k.ID == id })
	if used < 0 {
		return fmt.Errorf("abm: use key pair: %w", storage.ErrNotFound)
	}
	_, err = a.update(ctx, account, func(acct *storage.Account) ([]storage.Activity, error) {
		if acct.KeyPairID == id {
			return nil, errNoChange
		}
		acct.KeyPairID = id
		return nil, nil
	})
	if err == nil {
		err = a.restoreKeyPair(ctx, pairs[used])
	}
	if err != nil {
		return fmt.Errorf("abm: use key pair: %w", err)
	}
	return nil
}

// restoreKeyPair puts the key pair in use back, should it have been pruned just before it was taken into use. From then on
// no store lets it go.
func (a *Accounts) restoreKeyPair(ctx context.Context, k storage.KeyPair) error {
	if err := a.store.CreateKeyPair(ctx, k); err != nil && !errors.Is(err, storage.ErrExists) {
		return err
	}
	return nil
}

// PruneKeyPairs removes the key pairs of an account that no token will be encrypted to any more: those made before the
// one in use. When Apple issued the current token, the certificate in use was the one on record; an older one could only
// be so again if someone uploaded it again. Key pairs made after it stay, as any of them may have been uploaded since. It
// removes nothing before the first import, and returns how many were removed.
func (a *Accounts) PruneKeyPairs(ctx context.Context, account string) (int, error) {
	acct, err := a.store.GetAccount(ctx, account)
	if err != nil {
		return 0, fmt.Errorf("abm: prune key pairs: %w", err)
	}
	pairs, err := a.store.ListKeyPairs(ctx, account)
	if err != nil {
		return 0, fmt.Errorf("abm: prune key pairs: %w", err)
	}
	used := slices.IndexFunc(pairs, func(k storage.KeyPair) bool { return k.ID == acct.KeyPairID })
	if used < 0 || len(acct.SealedToken) == 0 {
		return 0, nil
	}
	n := 0
	for _, k := range pairs[:used] {
		if !k.CreatedAt.Before(pairs[used].CreatedAt) {
			break
		}
		act := activity.New(a.s.now(), activity.System, activity.KeyPairDeleted{On: activity.On{Account: account}, KeyPairID: k.ID})
		if err := a.store.DeleteKeyPair(ctx, account, k.ID, act); err != nil {
			return n, fmt.Errorf("abm: prune key pairs: %w", err)
		}
		n++
	}
	return n, nil
}

// newKeyPair makes a key pair with a self-signed certificate. A token file names its recipient by issuer and serial number:
// random serials tell the key pairs of an account apart. (nanodep's tokenpki gives all of them serial 1.)
func newKeyPair(account string, now time.Time) (storage.KeyPair, *rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return storage.KeyPair{}, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return storage.KeyPair{}, nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: "enrollkit " + account},
		NotBefore:    now.Add(-time.Hour), // for clocks that are behind
		NotAfter:     now.AddDate(keyPairYears, 0, 0),
		KeyUsage:     x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return storage.KeyPair{}, nil, err
	}
	return storage.KeyPair{
		Account: account, ID: keyPairID(der),
		Certificate: encodeCertificate(der),
		CreatedAt:   now,
	}, key, nil
}

// encodeCertificate returns the PEM form of a certificate, DER.
func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// keyPairID returns the ID of the key pair with this certificate, DER.
func keyPairID(cert []byte) string {
	id := sha256.Sum256(cert)
	return hex.EncodeToString(id[:])
}

// parseCertificate reads the PEM certificate of a key pair.
func parseCertificate(k storage.KeyPair) (*x509.Certificate, error) {
	block, _ := pem.Decode(k.Certificate)
	if block == nil {
		return nil, errors.New("certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return cert, nil
}

// Associated data of sealed secrets: what they are and whose.
func tokenAD(account string) []byte { return fmt.Appendf(nil, "enrollkit/abm/token/%q", account) }

func keyAD(account, id string) []byte {
	return fmt.Appendf(nil, "enrollkit/abm/key/%q/%q", account, id)
}
