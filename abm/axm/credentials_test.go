package axm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func pemOf(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

// keyFiles are key files with the error each gives.
func keyFiles(t testing.TB, key *ecdsa.PrivateKey) map[string]struct {
	file []byte
	err  error
} {
	t.Helper()
	sec1, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	larger, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	p384, err := x509.MarshalECPrivateKey(larger)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	rsa8, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	require.NoError(t, err)
	type file = struct {
		file []byte
		err  error
	}
	locked := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: sec1})
	return map[string]file{
		"SEC 1":                {pemOf("EC PRIVATE KEY", sec1), nil},
		"PKCS#8":               {pemOf("PRIVATE KEY", pkcs8), nil},
		"parameters first":     {append(pemOf("EC PARAMETERS", []byte{6, 0}), pemOf("EC PRIVATE KEY", sec1)...), nil},
		"text around":          {append([]byte("Bag Attributes\r\n"), pemOf("PRIVATE KEY", pkcs8)...), nil},
		"P-384":                {pemOf("EC PRIVATE KEY", p384), ErrKeyType},
		"RSA":                  {pemOf("PRIVATE KEY", rsa8), ErrKeyType},
		"RSA, PKCS#1":          {pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), ErrKeyType},
		"encrypted":            {pemOf("ENCRYPTED PRIVATE KEY", pkcs8), ErrKeyEncrypted},
		"encrypted, old form":  {locked, ErrKeyEncrypted},
		"a certificate":        {pemOf("CERTIFICATE", sec1), ErrNoKey},
		"DER":                  {sec1, ErrNoKey},
		"empty":                {nil, ErrNoKey},
		"cut off":              {pemOf("EC PRIVATE KEY", sec1[:20]), ErrNoKey},
		"PKCS#8 under SEC 1":   {pemOf("EC PRIVATE KEY", pkcs8), ErrNoKey},
		"too large":            {append(bytes.Repeat([]byte(" "), maxKeyFile), pemOf("EC PRIVATE KEY", sec1)...), ErrNoKey},
		"scalar out of range":  {pemOf("EC PRIVATE KEY", bytes.Replace(sec1, key.D.FillBytes(make([]byte, 32)), bytes.Repeat([]byte{255}, 32), 1)), ErrNoKey}, //nolint:staticcheck // the test needs the number
		"without any key bits": {pemOf("PRIVATE KEY", nil), ErrNoKey},
	}
}

func TestParsePrivateKey(t *testing.T) {
	t.Parallel()
	key := testKey(t)
	for name, f := range keyFiles(t, key) {
		got, err := ParsePrivateKey(f.file)
		if f.err != nil {
			require.ErrorIs(t, err, f.err, name)
			assert.Nil(t, got, name)
			continue
		}
		require.NoError(t, err, name)
		assert.True(t, key.Equal(got), name)
	}
}

func FuzzParsePrivateKey(f *testing.F) {
	for _, file := range keyFiles(f, testKey(f)) {
		f.Add(file.file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		key, err := ParsePrivateKey(file)
		if err != nil {
			require.Nil(t, key)
			return
		}
		der, err := x509.MarshalECPrivateKey(key)
		require.NoError(t, err)
		again, err := ParsePrivateKey(pemOf("EC PRIVATE KEY", der))
		require.NoError(t, err)
		require.True(t, key.Equal(again))
		require.NoError(t, Credentials{"BUSINESSAPI.x", "k", key}.check())
	})
}

// No way of printing credentials shows the key.
func TestCredentialsHideTheKey(t *testing.T) {
	t.Parallel()
	c := testCredentials(t)
	d := c.PrivateKey.D.String() //nolint:staticcheck // what must not show
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "creds", c, "pointer", &c)
	asJSON, err := json.Marshal(map[string]any{"creds": c})
	require.NoError(t, err)
	printed := []string{log.String(), string(asJSON)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		printed = append(printed, fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c), fmt.Sprintf(verb, struct{ C Credentials }{c}))
	}
	for _, p := range printed {
		assert.Contains(t, p, "REDACTED")
		assert.NotContains(t, p, d)
		assert.NotContains(t, p, fmt.Sprintf("%x", c.PrivateKey.D)) //nolint:staticcheck // as above
	}
	client, err := New(c)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		assert.NotContains(t, fmt.Sprintf(verb, client), d)
	}
}

func TestNewChecksCredentials(t *testing.T) {
	t.Parallel()
	good := testCredentials(t)
	larger, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	for name, edit := range map[string]func(*Credentials){
		"no client id":    func(c *Credentials) { c.ClientID = "" },
		"line break":      func(c *Credentials) { c.ClientID += "\n" },
		"no key id":       func(c *Credentials) { c.KeyID = "" },
		"no key":          func(c *Credentials) { c.PrivateKey = nil },
		"wrong curve":     func(c *Credentials) { c.PrivateKey = larger },
		"unknown service": func(c *Credentials) { c.ClientID = "TRADEAPI.x" },
	} {
		c := good
		edit(&c)
		_, err := New(c)
		require.Error(t, err, name)
	}
	unknown := good
	unknown.ClientID = "TRADEAPI.x"
	_, err = New(unknown, WithScope("trade.api"))
	require.ErrorIs(t, err, ErrUnknownClientID)
	assert.Contains(t, err.Error(), "WithBaseURL", "it says what to do")
	_, err = New(unknown, WithScope("trade.api"), WithBaseURL("https://api.example.com/v1"))
	require.NoError(t, err)
	school := good
	school.ClientID = "SCHOOLAPI.x"
	c, err := New(school)
	require.NoError(t, err)
	assert.Equal(t, "https://api-school.apple.com/v1/", c.base.String())
	assert.Equal(t, "school.api", c.s.scope)
}

func TestOptionsRefuse(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Option{
		"nil": nil, "clock": WithClock(nil), "random": WithRandom(nil), "logger": WithLogger(nil), "transport": WithTransport(nil),
		"base": WithBaseURL("/v1"), "base with query": WithBaseURL("https://x/v1?a=b"), "scheme": WithBaseURL("ftp://x/"),
		"user": WithTokenURL("https://u@x/"), "no URL": WithTokenURL("%"), "scope": WithScope(" "), "agent": WithUserAgent(""),
		"timeout": WithTimeout(0), "tries": WithTries(0, 1, 1), "waits": WithTries(1, 2, 1), "poll": WithPoll(0, 1),
		"settle": WithSettle(-1), "batch": WithBatch(0),
	} {
		_, err := New(testCredentials(t), o)
		assert.Error(t, err, name)
	}
}
