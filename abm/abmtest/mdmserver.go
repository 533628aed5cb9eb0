package abmtest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"
)

// tokenLifetime is how long server tokens are valid: Apple issues them for one year.
const tokenLifetime = 365 * 24 * time.Hour

// MDMServer is one entry under "MDM servers" in the portal: an account as an MDM server sees it. Its devices, log,
// profiles and tokens are its own.
type MDMServer struct {
	service *Service
	uuid    string

	// Below is guarded by the lock of the service.
	name      string
	cert      *x509.Certificate
	creds     Credentials
	log       []operation
	profiles  map[string]profile
	lost      map[string]bool // profiles that a fault took away; devices may have them still
	discovery *discovery
}

// Credentials are the secrets inside a token file, with the names Apple gives them. They open nothing but this
// simulator.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/examining-server-tokens
type Credentials struct {
	ConsumerKey       string    `json:"consumer_key"`
	ConsumerSecret    string    `json:"consumer_secret"`
	AccessToken       string    `json:"access_token"`
	AccessSecret      string    `json:"access_secret"`
	AccessTokenExpiry time.Time `json:"access_token_expiry"`
}

// Name returns the name of the entry.
func (m *MDMServer) Name() string {
	m.service.mu.Lock()
	defer m.service.mu.Unlock()
	return m.name
}

// UUID returns the identifier that GET /account reports as server_uuid.
func (m *MDMServer) UUID() string { return m.uuid }

// UploadCertificate sets the certificate that token files are encrypted to: PEM, with an RSA key. It returns
// ErrNoCertificate for anything else and then keeps what it had. Tokens issued before stay valid.
func (m *MDMServer) UploadCertificate(certPEM []byte) error {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return fmt.Errorf("abmtest: upload certificate: not a PEM certificate: %w", ErrNoCertificate)
	}
	cert, err := rsaCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("abmtest: upload certificate: %w", err)
	}
	m.service.mu.Lock()
	defer m.service.mu.Unlock()
	m.cert = cert
	return nil
}

// rsaCertificate reads a certificate that token files can be encrypted to, or returns ErrNoCertificate.
func rsaCertificate(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrNoCertificate)
	}
	if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok {
		return nil, fmt.Errorf("the key is not RSA: %w", ErrNoCertificate)
	}
	return cert, nil
}

// MintToken issues new credentials, valid for a year, and returns them as the ".p7m" file that the portal offers for
// download. The credentials and sessions used so far are void; the consumer key stays. It returns ErrNoCertificate
// if none was uploaded.
func (m *MDMServer) MintToken() ([]byte, error) { return m.MintTokenFor(tokenLifetime) }

// MintTokenFor is [MDMServer.MintToken] with credentials that are valid for d, to see what a client does when its token ends
// soon, or, after that, has ended. Apple does not issue such. It returns ErrInvalid for less than a second: the file has no
// fractions.
func (m *MDMServer) MintTokenFor(d time.Duration) ([]byte, error) {
	if d < time.Second {
		return nil, fmt.Errorf("abmtest: mint token: want one that is valid for a second at least, not %v: %w", d, ErrInvalid)
	}
	s := m.service
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.cert == nil {
		return nil, fmt.Errorf("abmtest: mint token for %q: %w", m.name, ErrNoCertificate)
	}
	creds := m.newCredentials(d)
	data, err := json.Marshal(creds)
	if err != nil {
		return nil, fmt.Errorf("abmtest: mint token: %w", err)
	}
	file, err := tokenFile(data, m.cert, s.random)
	if err != nil {
		return nil, fmt.Errorf("abmtest: mint token: %w", err)
	}
	s.endSessions(m)
	m.creds = creds
	return file, nil
}

// Credentials returns the credentials in use, for tests that do not care about token files. It issues the first ones
// if there are none.
func (m *MDMServer) Credentials() Credentials {
	m.service.mu.Lock()
	defer m.service.mu.Unlock()
	if m.creds.AccessToken == "" {
		m.creds = m.newCredentials(tokenLifetime)
	}
	return m.creds
}

// newCredentials makes all credentials new but the consumer key, which was observed to stay the same. The caller
// holds the lock.
func (m *MDMServer) newCredentials(lifetime time.Duration) Credentials {
	s := m.service
	return Credentials{
		ConsumerKey:       m.creds.ConsumerKey,
		ConsumerSecret:    "CS_" + s.hexID(20),
		AccessToken:       "AT_" + s.hexID(30),
		AccessSecret:      "AS_" + s.hexID(20),
		AccessTokenExpiry: s.cfg.now().UTC().Truncate(time.Second).Add(lifetime),
	}
}
