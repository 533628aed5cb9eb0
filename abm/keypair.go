package abm

import (
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
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// keyPairYears is how long certificates are valid. Apple encrypts to them as long as they are on record.
const keyPairYears = 10

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
	id := sha256.Sum256(der)
	return storage.KeyPair{
		Account: account, ID: hex.EncodeToString(id[:]),
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		CreatedAt:   now,
	}, key, nil
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
