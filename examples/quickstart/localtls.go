package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"time"
)

// localTLS is a certificate authority of this process and a server certificate for the loopback address. Devices learn
// to trust it through anchor_certs, as they learn to trust a company's own authority.
type localTLS struct {
	ca     *x509.Certificate
	server tls.Certificate
	// signer signs enrollment profiles.
	signerCert *x509.Certificate
	signerKey  *ecdsa.PrivateKey
}

func newLocalTLS(now time.Time) (*localTLS, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "enrollkit quickstart"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if ca, err = issue(ca, ca, caKey.Public(), caKey); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, err := issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"localhost"},
	}, ca, key.Public(), caKey)
	if err != nil {
		return nil, err
	}
	return &localTLS{
		ca: ca, server: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
		signerCert: leaf, signerKey: key,
	}, nil
}

func issue(tmpl, parent *x509.Certificate, pub any, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("create certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// config returns the TLS configuration of a server with this certificate.
func (l *localTLS) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{l.server}, MinVersion: tls.VersionTLS12}
}

// client returns an HTTP client that trusts this authority and no other.
func (l *localTLS) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(l.ca)
	return &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64},
	}
}
