package enrolltest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"sync/atomic"
	"time"

	"github.com/enrollkit/enrollkit/internal/cms"
)

// Chain says which certificates a device puts into the CMS documents it signs with its built-in identity.
type Chain int

// What devices send: observed, Apple documents the whole chain for all of them.
const (
	// ChainLeaf sends the device certificate alone.
	ChainLeaf Chain = iota
	// ChainDeviceCA sends the device certificate and its issuer, as Macs do.
	ChainDeviceCA
	// ChainFull sends everything up to the root, as iPhones and iPads do.
	ChainFull
)

// DeviceCA stands in for the "Apple iPhone Device CA", which issues the identity every Apple device has from the
// factory. Give [DeviceCA.Certificate] to the server under test as the certificate it pins.
//
// Like Apple's it is an RSA-1024 authority with SHA-1 signatures that expired in 2014 and still issues certificates,
// below an intermediate and a root. It is safe for concurrent use.
type DeviceCA struct {
	cert   *x509.Certificate
	above  []*x509.Certificate // issuer of cert, then the root
	key    *rsa.PrivateKey
	keys   *keyPool
	serial atomic.Int64
}

type caSettings struct{ sharedKeys int }

// CAOption changes how [NewDeviceCA] works.
type CAOption func(*caSettings) error

// WithSharedKeys lets all devices of one authority share n key pairs per key size, for device identities and for
// those they ask of a SCEP server, so that thousands of devices are cheap; their certificates still differ. 0 makes
// a new key pair each time. The default is 8.
//
// SCEP derives its transaction id from the public key: use 0 against a server that keeps state by transaction id.
func WithSharedKeys(n int) CAOption {
	return func(s *caSettings) error {
		if n < 0 {
			return errors.New("WithSharedKeys: negative number")
		}
		s.sharedKeys = n
		return nil
	}
}

// NewDeviceCA makes an authority with a new key.
func NewDeviceCA(opts ...CAOption) (*DeviceCA, error) {
	s := caSettings{sharedKeys: 8}
	for _, o := range opts {
		if err := o(&s); err != nil {
			return nil, fmt.Errorf("enrolltest: new device CA: %w", err)
		}
	}
	ca := &DeviceCA{keys: newKeyPool(s.sharedKeys)}
	if err := ca.build(); err != nil {
		return nil, fmt.Errorf("enrolltest: new device CA: %w", err)
	}
	return ca, nil
}

func (ca *DeviceCA) build() error {
	var issuer *x509.Certificate
	var issuerKey *rsa.PrivateKey
	var certs []*x509.Certificate
	for _, a := range []struct {
		unit, name string
		from, to   time.Time
	}{
		{"Apple Certification Authority", "Apple Root CA", date(2006, 4, 25), date(2035, 2, 9)},
		{"Apple Certification Authority", "Apple iPhone Certification Authority", date(2007, 4, 12), date(2022, 4, 12)},
		{"Apple iPhone", "Apple iPhone Device CA", date(2007, 4, 16), date(2014, 4, 16)},
	} {
		key, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			return err
		}
		tmpl := &x509.Certificate{
			SerialNumber:          big.NewInt(ca.serial.Add(1)),
			Subject:               appleName(a.unit, a.name),
			NotBefore:             a.from,
			NotAfter:              a.to,
			KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
			BasicConstraintsValid: true,
			IsCA:                  true,
		}
		if issuer == nil {
			issuer, issuerKey = tmpl, key
		}
		cert, err := issueSHA1(tmpl, issuer, key, issuerKey)
		if err != nil {
			return err
		}
		certs = append([]*x509.Certificate{cert}, certs...)
		issuer, issuerKey = cert, key
	}
	ca.cert, ca.above, ca.key = certs[0], certs[1:], issuerKey
	return nil
}

// Certificate returns the certificate of the authority, for the server's pinned root.
func (ca *DeviceCA) Certificate() *x509.Certificate { return ca.cert }

// Issue returns a new device identity. commonName is what Apple fills with an opaque id of the device.
// The certificate is valid for a year that ends at notAfter, which may be past: Apple's leaves can be expired.
func (ca *DeviceCA) Issue(commonName string, notAfter time.Time) (*Identity, error) {
	key, err := ca.keys.key(1024)
	if err != nil {
		return nil, fmt.Errorf("enrolltest: issue device identity: %w", err)
	}
	name := appleName("iPhone", commonName)
	name.Locality, name.Province = []string{"Cupertino"}, []string{"CA"}
	cert, err := issueSHA1(&x509.Certificate{
		SerialNumber: big.NewInt(ca.serial.Add(1)),
		Subject:      name,
		NotBefore:    notAfter.AddDate(-1, 0, 0),
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}, ca.cert, key, ca.key)
	if err != nil {
		return nil, fmt.Errorf("enrolltest: issue device identity: %w", err)
	}
	return &Identity{
		Certificate: cert,
		Issuers:     append([]*x509.Certificate{ca.cert}, ca.above...),
		key:         key,
	}, nil
}

// Identity is a certificate with its private key: the one a device has from the factory, or the one it got by SCEP.
type Identity struct {
	// Certificate is the leaf.
	Certificate *x509.Certificate
	// Issuers are the certificates above it, its issuer first; empty for an identity obtained by SCEP.
	Issuers []*x509.Certificate

	key *rsa.PrivateKey
}

// Sign returns DER CMS SignedData over content, with the certificates chain says.
func (id *Identity) Sign(content []byte, chain Chain) ([]byte, error) {
	var more []*x509.Certificate
	switch chain {
	case ChainDeviceCA:
		more = id.Issuers[:min(1, len(id.Issuers))]
	case ChainFull:
		more = id.Issuers
	}
	return cms.Sign(content, id.Certificate, id.key, more...)
}

// issueSHA1 signs with SHA-1 as Apple does; Go still makes such certificates and no longer verifies them in chains.
func issueSHA1(tmpl, issuer *x509.Certificate, key, issuerKey *rsa.PrivateKey) (*x509.Certificate, error) {
	tmpl.SignatureAlgorithm = x509.SHA1WithRSA
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, key.Public(), issuerKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func appleName(unit, common string) pkix.Name {
	return pkix.Name{
		Country: []string{"US"}, Organization: []string{"Apple Inc."},
		OrganizationalUnit: []string{unit}, CommonName: common,
	}
}

func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 22, 54, 46, 0, time.UTC) }
