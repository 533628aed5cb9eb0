// Package scepca is a small certificate authority that devices get their identity from by SCEP.
//
// It serves the examples: its key lives in memory and its certificates end with the process that made it. A production
// server keeps its authority elsewhere and plugs it into package enroll in the same way.
package scepca

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"sync"
	"time"

	kitlog "github.com/go-kit/kit/log"
	scepserver "github.com/micromdm/scep/v2/server"
	"github.com/smallstep/scep"
)

// validity is how long the authority and its certificates are valid.
const validity = 365 * 24 * time.Hour

// challengeLife is how long a challenge may be used.
const challengeLife = time.Hour

// CA signs a certificate for whoever brings a challenge it has issued and not yet seen used.
type CA struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
	now  func() time.Time

	mu         sync.Mutex
	challenges map[string]time.Time // challenge to its end
}

// New returns an authority with a new key.
func New(now func() time.Time) (*CA, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("scepca: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "enrollkit example CA", Organization: []string{"enrollkit"}},
		NotBefore:             now().Add(-time.Hour),
		NotAfter:              now().Add(validity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("scepca: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("scepca: %w", err)
	}
	return &CA{cert: cert, key: key, now: now, challenges: map[string]time.Time{}}, nil
}

// Certificate returns the authority's own certificate.
func (c *CA) Certificate() *x509.Certificate { return c.cert }

// PEM returns the authority's own certificate in PEM.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// Challenge returns a new password that buys one certificate within an hour.
func (c *CA) Challenge(context.Context) (string, error) {
	b := make([]byte, 24)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("scepca: %w", err)
	}
	challenge := base64.RawURLEncoding.EncodeToString(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for k, end := range c.challenges {
		if end.Before(now) {
			delete(c.challenges, k)
		}
	}
	c.challenges[challenge] = now.Add(challengeLife)
	return challenge, nil
}

// Handler serves SCEP at /scep.
func (c *CA) Handler() (http.Handler, error) {
	svc, err := scepserver.NewService(c.cert, c.key, scepserver.CSRSignerContextFunc(c.sign))
	if err != nil {
		return nil, fmt.Errorf("scepca: %w", err)
	}
	h := scepserver.MakeHTTPHandler(scepserver.MakeServerEndpoints(svc), svc, kitlog.NewNopLogger())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("operation") == "GetNextCACert" { // the library has no answer to it
			http.Error(w, "no next CA certificate", http.StatusNotFound)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		h.ServeHTTP(w, r)
	}), nil
}

func (c *CA) sign(_ context.Context, m *scep.CSRReqMessage) (*x509.Certificate, error) {
	if !c.spend(m.ChallengePassword) {
		return nil, errors.New("scepca: challenge unknown, expired or used")
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial(),
		Subject:      m.CSR.Subject,
		NotBefore:    c.now().Add(-time.Hour),
		NotAfter:     c.now().Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		SubjectKeyId: keyID(m.CSR.RawSubjectPublicKeyInfo),
	}, c.cert, m.CSR.PublicKey, c.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// spend takes the challenge out of those that are good.
func (c *CA) spend(challenge string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	end, ok := c.challenges[challenge]
	delete(c.challenges, challenge)
	return ok && c.now().Before(end)
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

func keyID(spki []byte) []byte {
	sum := sha256.Sum256(spki)
	return sum[:20]
}
