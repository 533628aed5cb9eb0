package enroll

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the published fingerprint is one
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/internal/cms"
	"github.com/enrollkit/enrollkit/internal/plist"
)

// TestAppleDeviceCA compares the embedded certificate with what is published about Apple's.
func TestAppleDeviceCA(t *testing.T) {
	t.Parallel()
	ca, err := AppleDeviceCA()
	require.NoError(t, err)
	s256, s1, spki := sha256.Sum256(ca.Raw), sha1.Sum(ca.Raw), sha256.Sum256(ca.RawSubjectPublicKeyInfo) //nolint:gosec // see above
	assert.Equal(t, "76f27d00e1333bc88de0e2916c38c9a7f2b75774c25a794c092a80e3c4c66cce", hex.EncodeToString(s256[:]))
	assert.Equal(t, "7c29151512c9cff6152b5b25703da79a98143606", hex.EncodeToString(s1[:]))
	assert.Equal(t, "13686ec675f9fd26a123adb17b5533f593cf451edd6105ae39b748277a3922e5", hex.EncodeToString(spki[:]))
	assert.Equal(t, "CN=Apple iPhone Device CA,OU=Apple iPhone,O=Apple Inc.,C=US", ca.Subject.String())
	assert.Equal(t, time.Date(2014, 4, 16, 22, 54, 46, 0, time.UTC), ca.NotAfter)
	assert.Equal(t, "b2fe21234486956a79d581268e7310d8a74c8e74", hex.EncodeToString(ca.SubjectKeyId))
}

type signing struct {
	ca       *enrolltest.DeviceCA
	identity *enrolltest.Identity
	verifier *Verifier
	info     []byte
}

func newSigning(t testing.TB) signing {
	t.Helper()
	ca, err := enrolltest.NewDeviceCA()
	require.NoError(t, err)
	id, err := ca.Issue("device", time.Now().AddDate(0, 0, -1)) // expired, as Apple's may be
	require.NoError(t, err)
	v, err := NewVerifier(ca.Certificate())
	require.NoError(t, err)
	info, err := plist.Marshal(fullInfo())
	require.NoError(t, err)
	return signing{ca, id, v, info}
}

func (s signing) sign(t testing.TB, chain enrolltest.Chain) []byte {
	t.Helper()
	signed, err := s.identity.Sign(s.info, chain)
	require.NoError(t, err)
	return signed
}

func TestVerifyAccepts(t *testing.T) {
	t.Parallel()
	s := newSigning(t)
	for name, chain := range map[string]enrolltest.Chain{
		"leaf": enrolltest.ChainLeaf, "leaf and issuer": enrolltest.ChainDeviceCA, "full chain": enrolltest.ChainFull,
	} {
		m, err := s.verifier.Verify(s.sign(t, chain))
		require.NoError(t, err, name)
		assert.Equal(t, "C02XK1JDJGH5", m.Serial, name)
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	s, other := newSigning(t), newSigning(t)
	signed := s.sign(t, enrolltest.ChainFull)
	tampered := bytes.Replace(signed, []byte("C02XK1JDJGH5"), []byte("C02XK1JDJGH6"), 1)
	require.NotEqual(t, signed, tampered)
	apple, err := NewVerifier(mustApple(t))
	require.NoError(t, err)
	root := selfSigned(t)
	bySelf, err := cms.Sign(s.info, root.cert, root.key)
	require.NoError(t, err)
	rootVerifier, err := NewVerifier(root.cert)
	require.NoError(t, err)
	for _, tc := range []struct {
		name     string
		verifier *Verifier
		data     []byte
		want     error
	}{
		{"bare property list", s.verifier, s.info, ErrUnsigned},
		{"binary property list", s.verifier, []byte("bplist00"), ErrUnsigned},
		{"changed content", s.verifier, tampered, ErrSignature},
		{"another authority", s.verifier, other.sign(t, enrolltest.ChainFull), ErrIssuer},
		{"test authority against Apple's", apple, signed, ErrIssuer},
		{"signed by the authority itself", rootVerifier, bySelf, ErrIssuer},
		{"truncated", s.verifier, signed[:len(signed)/2], ErrMalformed},
		{"empty", s.verifier, nil, ErrMalformed},
		{"not CMS", s.verifier, []byte{0x30, 0x03, 0x02, 0x01, 0x00}, ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m, err := tc.verifier.Verify(tc.data)
			require.ErrorIs(t, err, tc.want)
			assert.Zero(t, m)
		})
	}
	t.Run("signed content that is no MachineInfo", func(t *testing.T) {
		t.Parallel()
		data, err := s.identity.Sign([]byte("hello"), enrolltest.ChainLeaf)
		require.NoError(t, err)
		_, err = s.verifier.Verify(data)
		require.ErrorIs(t, err, ErrMalformed)
	})
	_, err = NewVerifier()
	require.Error(t, err)
	_, err = NewVerifier(nil)
	require.Error(t, err)
}

func mustApple(t *testing.T) *x509.Certificate {
	t.Helper()
	ca, err := AppleDeviceCA()
	require.NoError(t, err)
	return ca
}

type keyed struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func selfSigned(t testing.TB) keyed { return issue(t, "Root", true, nil) }

// issue makes a certificate below parent, or one that signs itself.
func issue(t testing.TB, name string, isCA bool, parent *keyed) keyed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IsCA: isCA, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	signer, signerKey := tmpl, key
	if parent != nil {
		signer, signerKey = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, signer, key.Public(), signerKey)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return keyed{cert, key}
}

// TestVerifyWalks goes through authorities between the pinned one and the device, and only through authorities.
func TestVerifyWalks(t *testing.T) {
	t.Parallel()
	info, err := plist.Marshal(fullInfo())
	require.NoError(t, err)
	root := selfSigned(t)
	v, err := NewVerifier(root.cert)
	require.NoError(t, err)
	middle := issue(t, "Middle", true, &root)
	device := issue(t, "Device", false, &middle)
	posing := issue(t, "Posing", false, &device) // issued by a device's key, which may not issue

	data, err := cms.Sign(info, device.cert, device.key, middle.cert)
	require.NoError(t, err)
	_, err = v.Verify(data)
	require.NoError(t, err)

	data, err = cms.Sign(info, device.cert, device.key)
	require.NoError(t, err)
	_, err = v.Verify(data)
	require.ErrorIs(t, err, ErrIssuer, "the authority between is missing")

	data, err = cms.Sign(info, posing.cert, posing.key, device.cert, middle.cert, root.cert)
	require.NoError(t, err)
	_, err = v.Verify(data)
	require.ErrorIs(t, err, ErrIssuer)

	namesake := selfSigned(t) // the same subject, another key
	impostor := issue(t, "Device", false, &namesake)
	data, err = cms.Sign(info, impostor.cert, impostor.key, namesake.cert)
	require.NoError(t, err)
	_, err = v.Verify(data)
	require.ErrorIs(t, err, ErrIssuer)
}

func FuzzVerify(f *testing.F) {
	s := newSigning(f)
	f.Add(s.sign(f, enrolltest.ChainLeaf))
	f.Add(s.sign(f, enrolltest.ChainFull))
	f.Add(s.info)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := s.verifier.Verify(data)
		if err != nil {
			assert.Zero(t, m)
			return
		}
		assert.Equal(t, s.info, m.Raw, "only what the device signed verifies")
	})
}

func FuzzParseMachineInfo(f *testing.F) {
	full, err := plist.Marshal(fullInfo())
	require.NoError(f, err)
	f.Add(full)
	f.Add([]byte("bplist00\xd0\x08\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMachineInfo(data)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			assert.Zero(t, m)
			return
		}
		assert.NotEmpty(t, m.Serial)
		assert.NotEmpty(t, m.UDID)
	})
}
