package abmtest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/micromdm/nanodep/tokenpki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

func toPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func selfSigned(t *testing.T, key crypto.Signer, serial *big.Int) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "mdm", Organization: []string{"Ünïcode"}},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func TestTokenFileOpensWithNanodep(t *testing.T) {
	t.Parallel()
	_, m, c := world(t)
	key, cert, err := tokenpki.SelfSignedRSAKeypair("mdm", 1)
	require.NoError(t, err)

	_, err = m.MintToken()
	require.ErrorIs(t, err, abmtest.ErrNoCertificate)
	require.NoError(t, m.UploadCertificate(toPEM(cert.Raw)))
	require.Equal(t, http.StatusOK, c.call("GET", "/account", "").status, "a certificate voids nothing")
	old := m.Credentials()
	file, err := m.MintToken()
	require.NoError(t, err)

	plain, err := tokenpki.DecryptTokenJSON(file, cert, key)
	require.NoError(t, err)
	var got abmtest.Credentials
	require.NoError(t, json.Unmarshal(plain, &got))
	assert.Equal(t, m.Credentials(), got)
	assert.Equal(t, old.ConsumerKey, got.ConsumerKey)
	assert.NotEqual(t, old.AccessToken, got.AccessToken)
	assert.Equal(t, c.clock.Now().AddDate(1, 0, 0), got.AccessTokenExpiry)
	var members map[string]string // all of them are strings
	require.NoError(t, json.Unmarshal(plain, &members))
	assert.Len(t, members, 5)
	assert.Equal(t, "2027-09-01T12:00:00Z", members["access_token_expiry"])

	assert.Equal(t, http.StatusUnauthorized, c.call("GET", "/account", "").status, "the old session ends")
	assert.Equal(t, http.StatusUnauthorized, c.open().status, "the old token is void")
	c.creds = got
	assert.Equal(t, http.StatusOK, c.open().status)
}

func TestTokenThatEndsSoon(t *testing.T) {
	t.Parallel()
	_, m, c := world(t)
	key, cert, err := tokenpki.SelfSignedRSAKeypair("mdm", 1)
	require.NoError(t, err)
	require.NoError(t, m.UploadCertificate(toPEM(cert.Raw)))
	before := m.Credentials()
	for _, d := range []time.Duration{-time.Hour, 0, time.Millisecond} {
		_, err = m.MintTokenFor(d)
		require.ErrorIs(t, err, abmtest.ErrInvalid)
	}
	assert.Equal(t, before, m.Credentials(), "nothing was issued")

	file, err := m.MintTokenFor(6 * 24 * time.Hour)
	require.NoError(t, err)
	plain, err := tokenpki.DecryptTokenJSON(file, cert, key)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(plain, &c.creds))
	assert.Equal(t, c.clock.Now().AddDate(0, 0, 6), c.creds.AccessTokenExpiry)
	assert.Equal(t, http.StatusOK, c.open().status)
	c.clock.Advance(6 * 24 * time.Hour)
	assert.Equal(t, http.StatusUnauthorized, c.open().status, "it has ended")
}

func TestTokenFileLooksLikeApples(t *testing.T) {
	t.Parallel()
	_, m, _ := world(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	// A serial number with the top bit set needs a leading zero in ASN.1.
	cert := selfSigned(t, key, new(big.Int).SetBytes(bytes.Repeat([]byte{0xFE}, 16)))
	require.NoError(t, m.UploadCertificate(toPEM(cert.Raw)))
	file, err := m.MintToken()
	require.NoError(t, err)

	head, body, ok := bytes.Cut(file, []byte("\r\n\r\n"))
	require.True(t, ok)
	assert.Contains(t, string(head), "smime-type=enveloped-\r\n data\r\n", "the header is folded")
	assert.Contains(t, string(head), "Content-Transfer-Encoding: base64")
	ber, err := base64.StdEncoding.DecodeString(string(bytes.ReplaceAll(body, []byte("\r\n"), nil)))
	require.NoError(t, err)
	assert.Equal(t, []byte{0x30, 0x80}, ber[:2], "indefinite length")

	_, err = tokenpki.DecryptTokenJSON(file, cert, key)
	require.NoError(t, err)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, err = tokenpki.DecryptTokenJSON(file, cert, other)
	assert.Error(t, err)

	again, err := m.MintToken()
	require.NoError(t, err)
	assert.NotEqual(t, file, again)
}

func TestUploadRefusesWhatIsNoRSACertificate(t *testing.T) {
	t.Parallel()
	_, m, _ := world(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"empty":     nil,
		"text":      []byte("hello"),
		"garbage":   toPEM([]byte("garbage")),
		"wrong key": toPEM(selfSigned(t, key, big.NewInt(1)).Raw),
		"not a certificate": pem.EncodeToMemory(&pem.Block{
			Type: "PUBLIC KEY", Bytes: selfSigned(t, key, big.NewInt(1)).Raw,
		}),
	} {
		require.ErrorIs(t, m.UploadCertificate(data), abmtest.ErrNoCertificate, name)
		_, err := m.MintToken()
		require.ErrorIs(t, err, abmtest.ErrNoCertificate, name)
	}
}
