package enroll

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/internal/cms"
)

// withKey returns a certificate for a public key nobody has the private part of.
func withKey(t *testing.T, key *rsa.PublicKey) *x509.Certificate {
	t.Helper()
	signer := selfSigned(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}, signer.cert, key, signer.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// document returns SignedData that claims to be signed by cert (RFC 5652, section 5.1).
func document(t *testing.T, cert *x509.Certificate, content, signature []byte) []byte {
	t.Helper()
	type issuerAndSerial struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	type signerInfo struct {
		Version   int
		Signer    issuerAndSerial
		Digest    pkix.AlgorithmIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Signature []byte
	}
	type contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
	}
	type signedData struct {
		Version      int
		Digests      []pkix.AlgorithmIdentifier `asn1:"set"`
		Content      contentInfo
		Certificates asn1.RawValue `asn1:"optional,tag:0"`
		Signers      []signerInfo  `asn1:"set"`
	}
	tagged := func(b []byte) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: b}
	}
	marshal := func(v any) []byte {
		b, err := asn1.Marshal(v)
		require.NoError(t, err)
		return b
	}
	sha := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}
	rsaEncryption := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}}
	return marshal(contentInfo{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, tagged(marshal(signedData{
		Version: 1, Digests: []pkix.AlgorithmIdentifier{sha}, Certificates: tagged(cert.Raw),
		Content: contentInfo{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, tagged(marshal(content))},
		Signers: []signerInfo{{1, issuerAndSerial{asn1.RawValue{FullBytes: cert.RawIssuer}, cert.SerialNumber}, sha, rsaEncryption, signature}},
	}))})
}

// TestVerifyRefusesExpensiveKeys hands in keys whose signatures would take minutes to check.
func TestVerifyRefusesExpensiveKeys(t *testing.T) {
	t.Parallel()
	s := newSigning(t)
	modulus := func(bits uint) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return n.SetBit(n, 0, 1)
	}
	for _, key := range []*rsa.PublicKey{
		{N: modulus(400_000), E: 1<<31 - 1}, {N: modulus(4097), E: 65537}, {N: modulus(2048), E: 65539},
	} {
		data := document(t, withKey(t, key), s.info, make([]byte, 64))
		_, err := s.verifier.Verify(data)
		require.ErrorIs(t, err, cms.ErrLimits)
		require.ErrorIs(t, err, ErrMalformed)
	}
	_, err := s.verifier.Verify(document(t, withKey(t, &rsa.PublicKey{N: modulus(4096), E: 65537}), s.info, make([]byte, 512)))
	require.ErrorIs(t, err, ErrIssuer, "whose key it is comes before whether it signed")
}

func TestVerifyRefusesManyCertificates(t *testing.T) {
	t.Parallel()
	s, root := newSigning(t), selfSigned(t)
	var chain []*x509.Certificate
	for range 7 {
		chain = append(chain, issue(t, "Authority", true, &root).cert)
	}
	data, err := cms.Sign(s.info, root.cert, root.key, chain...)
	require.NoError(t, err)
	_, err = s.verifier.Verify(data)
	require.ErrorIs(t, err, ErrIssuer)
	data, err = cms.Sign(s.info, root.cert, root.key, append(chain, chain[0])...)
	require.NoError(t, err)
	_, err = s.verifier.Verify(data)
	require.ErrorIs(t, err, cms.ErrLimits)
}

// TestVerifyRefusesDeepNesting hands in BER whose conversion to DER costs the square of its length and more.
func TestVerifyRefusesDeepNesting(t *testing.T) {
	t.Parallel()
	s := newSigning(t)
	nest := func(n int, open, end []byte) []byte {
		return append(append(bytes.Repeat(open, n), 0x05, 0x00), bytes.Repeat(end, n)...)
	}
	// Each element claims 2 bytes and holds one that reaches to the end: the reader of the library reads the rest of
	// the document again for each level.
	overrun := append(bytes.Repeat([]byte{0x30, 0x02}, 30), bytes.Repeat([]byte{0x05, 0x00}, 1000)...)
	for name, data := range map[string][]byte{
		"indefinite": nest(16_000, []byte{0x30, 0x80}, []byte{0, 0}),
		"many":       append([]byte{0x30, 0x83, 0, 0xa0, 0x00}, bytes.Repeat([]byte{0x05, 0x00}, 0x5000)...),
	} {
		_, err := s.verifier.Verify(data)
		require.ErrorIs(t, err, cms.ErrLimits, name)
	}
	start := time.Now()
	_, err := s.verifier.Verify(overrun)
	require.ErrorIs(t, err, ErrMalformed)
	assert.Less(t, time.Since(start), 5*time.Second)
	_, err = s.verifier.Verify(nest(31, []byte{0x30, 0x80}, []byte{0, 0}))
	require.ErrorIs(t, err, ErrMalformed)
	require.NotErrorIs(t, err, cms.ErrLimits)
}
