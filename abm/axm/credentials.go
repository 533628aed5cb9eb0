package axm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Errors of key files and credentials.
var (
	// ErrNoKey means that a file holds no private key in PEM form, or one that cannot be read.
	ErrNoKey = errors.New("axm: no readable private key in the file")
	// ErrKeyEncrypted means that a key file is protected by a passphrase: remove it first.
	ErrKeyEncrypted = errors.New("axm: the private key is encrypted; store it without a passphrase")
	// ErrKeyType means that a key is not an elliptic-curve key on P-256, the only kind that Apple gives out.
	ErrKeyType = errors.New("axm: the private key is not an EC P-256 key")
	// ErrUnknownClientID means that a client id does not say which service it belongs to.
	ErrUnknownClientID = errors.New("axm: the client id begins with neither BUSINESSAPI. nor SCHOOLAPI.: " +
		"check it, or set the service with WithScope and WithBaseURL")
)

// maxKeyFile limits a key file, in bytes. Apple's are about 230 bytes long.
const maxKeyFile = 64 << 10

// Credentials are what the portal gives out for an API account. However they are printed, logged or encoded, the private
// key does not show.
//
// Apple: https://support.apple.com/guide/business/axm33189f66a
type Credentials struct {
	// ClientID is BUSINESSAPI.<uuid> or SCHOOLAPI.<uuid>. The part before the dot says which service it is for.
	ClientID string
	// KeyID names the key to Apple.
	KeyID string
	// PrivateKey is read from the file of the portal with [ParsePrivateKey]. Its curve is P-256.
	PrivateKey *ecdsa.PrivateKey
}

// ParsePrivateKey reads the key file of an API account: PEM, holding SEC 1 ("EC PRIVATE KEY") or PKCS#8 ("PRIVATE KEY"),
// at most 64 KiB. Other blocks before the key, as openssl writes them, are passed over.
// It returns [ErrNoKey], [ErrKeyEncrypted] or [ErrKeyType]; no error quotes the file.
func ParsePrivateKey(file []byte) (*ecdsa.PrivateKey, error) {
	if len(file) > maxKeyFile {
		return nil, ErrNoKey
	}
	for {
		var block *pem.Block
		if block, file = pem.Decode(file); block == nil {
			return nil, ErrNoKey
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, ErrKeyEncrypted
		case block.Type == "EC PRIVATE KEY":
			key, err := x509.ParseECPrivateKey(block.Bytes)
			if err != nil {
				return nil, ErrNoKey
			}
			return onP256(key)
		case block.Type == "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, ErrNoKey
			}
			return onP256(key)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, ErrKeyType
		}
	}
}

func onP256(key any) (*ecdsa.PrivateKey, error) {
	if k, ok := key.(*ecdsa.PrivateKey); ok && k != nil && k.Curve == elliptic.P256() {
		return k, nil
	}
	return nil, ErrKeyType
}

// check reports what is wrong with c as a whole.
func (c Credentials) check() error {
	for _, f := range []struct{ name, value string }{{"client id", c.ClientID}, {"key id", c.KeyID}} {
		// They travel in a form and in a JOSE header; a copied line break is the usual mistake.
		if f.value == "" || strings.ContainsFunc(f.value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("axm: credentials: the %s is empty or has other characters than printable ASCII", f.name)
		}
	}
	if c.PrivateKey == nil {
		return fmt.Errorf("axm: credentials: %w", ErrNoKey)
	}
	_, err := onP256(c.PrivateKey)
	return err
}

// String implements fmt.Stringer. It names the account and hides the key.
func (c Credentials) String() string {
	return "{ClientID:" + c.ClientID + " KeyID:" + c.KeyID + " PrivateKey:REDACTED}"
}

// GoString implements fmt.GoStringer, as String does.
func (c Credentials) GoString() string { return "axm.Credentials" + c.String() }

// Format implements fmt.Formatter: a verb that does not fit would print the fields otherwise.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// LogValue implements slog.LogValuer.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText implements encoding.TextMarshaler, for JSON and all else that encodes.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// service is what the prefix of a client id decides.
type service struct{ scope, baseURL string }

// serviceOf returns the service a client id is for. The spelling SCHOOLAPI is not documented by Apple.
func serviceOf(clientID string) (service, bool) {
	switch prefix, _, _ := strings.Cut(clientID, "."); prefix {
	case "BUSINESSAPI":
		return service{"business.api", "https://api-business.apple.com/v1/"}, true
	case "SCHOOLAPI":
		return service{"school.api", "https://api-school.apple.com/v1/"}, true
	}
	return service{}, false
}
