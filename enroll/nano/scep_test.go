package nano_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/scep"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/enroll"
)

// authority is a SCEP responder (RFC 8894) that takes each challenge it issued once.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *rsa.PrivateKey

	mu         sync.Mutex
	challenges map[string]bool
}

var _ enroll.ChallengeIssuer = (*authority)(nil)

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test SCEP CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{t: t, cert: cert, key: key, challenges: map[string]bool{}}
}

func (a *authority) fingerprint() []byte {
	sum := sha256.Sum256(a.cert.Raw)
	return sum[:]
}

// IssueChallenge implements enroll.ChallengeIssuer.
func (a *authority) IssueChallenge(context.Context, enroll.Candidate) (string, error) {
	c := rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.challenges[c] = true
	return c, nil
}

func (a *authority) redeem(challenge string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	ok := a.challenges[challenge]
	delete(a.challenges, challenge)
	return ok
}

// Verify has NanoMDM take only identities of this authority.
func (a *authority) Verify(_ context.Context, cert *x509.Certificate) error {
	if cert == nil {
		return errors.New("no certificate")
	}
	return cert.CheckSignatureFrom(a.cert)
}

// ServeHTTP implements http.Handler.
func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Query().Get("operation") {
	case "GetCACert":
		w.Header().Set("Content-Type", "application/x-x509-ca-cert")
		_, _ = w.Write(a.cert.Raw)
	case "GetCACaps":
		_, _ = io.WriteString(w, "SHA-256\nAES\nPOSTPKIOperation\n")
	case "PKIOperation":
		a.operate(w, r)
	default:
		http.Error(w, "unknown operation", http.StatusBadRequest)
	}
}

func (a *authority) operate(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	assert.NoError(a.t, err)
	msg, err := scep.ParsePKIMessage(body)
	if !assert.NoError(a.t, err) || !assert.NoError(a.t, msg.DecryptPKIEnvelope(a.cert, a.key)) {
		http.Error(w, "bad message", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-pki-message")
	if !a.redeem(msg.ChallengePassword) {
		rep, err := msg.Fail(a.cert, a.key, scep.BadRequest)
		assert.NoError(a.t, err)
		_, _ = w.Write(rep.Raw)
		return
	}
	number, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	assert.NoError(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: number, RawSubject: msg.CSR.RawSubject, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}, a.cert, msg.CSR.PublicKey, a.key)
	assert.NoError(a.t, err)
	cert, err := x509.ParseCertificate(der)
	assert.NoError(a.t, err)
	rep, err := msg.Success(a.cert, a.key, cert)
	assert.NoError(a.t, err)
	_, _ = w.Write(rep.Raw)
}
