package abm

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/micromdm/nanodep/tokenpki"

	"github.com/enrollkit/enrollkit/internal/cms"
)

// maxTokenFile limits token files, which have about 3 KiB. It also bounds how deep the BER reader can be made to nest.
const maxTokenFile = 64 << 10

// Errors of token files.
var (
	// ErrNoKey means that the token was encrypted to a certificate whose key is not here: upload the certificate of one
	// of the account's key pairs to the portal and download the token again.
	ErrNoKey = errors.New("abm: no key pair of the account opens the token file")
	// ErrTokenExpired means that the token's time is over: download a new one from the portal.
	ErrTokenExpired = errors.New("abm: server token has expired")
)

// TokenFileError means that a token file is damaged or is none. Its text quotes nothing of the file.
type TokenFileError struct{ Reason string }

// Error implements error.
func (e *TokenFileError) Error() string { return "abm: token file: " + e.Reason }

// tokenKey is a key pair a token may be encrypted to. open gets the private key, which may be sealed.
type tokenKey struct {
	cert *x509.Certificate
	open func() (crypto.PrivateKey, error)
}

// decryptToken opens a token file with whichever of keys it was encrypted to, and returns which. The error is a
// [*TokenFileError], [ErrNoKey], or why the key that it was encrypted to cannot be read.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/examining-server-tokens
func decryptToken(file []byte, keys []tokenKey) (Token, int, error) {
	envelope, err := unwrapTokenFile(file)
	if err != nil {
		return Token{}, 0, err
	}
	// nanodep's reader wants the headers again.
	message := append([]byte("Content-Type: application/pkcs7-mime\r\n\r\n"), base64.StdEncoding.EncodeToString(envelope)...)
	failed := ErrNoKey
	for i, k := range keys {
		// Our certificates have random serial numbers, so one fits at most. Those of other programs may be alike.
		fits, err := cms.AddressedTo(envelope, k.cert)
		if err != nil {
			return Token{}, 0, &TokenFileError{Reason: "it is not a whole CMS document with enveloped data"}
		}
		if !fits {
			continue
		}
		key, err := k.open()
		if err != nil {
			failed = err
			continue
		}
		plain, err := openEnvelope(message, k.cert, key)
		if err != nil {
			failed = &TokenFileError{Reason: "it is damaged: it names the right key, which does not open it"}
			continue
		}
		t, err := ParseToken(plain)
		return t, i, err
	}
	return Token{}, 0, failed
}

// openEnvelope guards against the CMS library, which indexes into what it was sent.
func openEnvelope(message []byte, cert *x509.Certificate, key crypto.PrivateKey) (plain []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			plain, err = nil, fmt.Errorf("malformed: %v", r)
		}
	}()
	return tokenpki.DecryptTokenJSON(message, cert, key)
}

// unwrapTokenFile returns the CMS document in a token file: MIME headers, an empty line and base64. Headers say
// nothing that is needed and come folded in ways MIME does not allow, so they are skipped unread. The bare document and
// its bare base64 are taken too.
func unwrapTokenFile(file []byte) ([]byte, error) {
	switch {
	case len(file) == 0:
		return nil, &TokenFileError{Reason: "it is empty"}
	case len(file) > maxTokenFile:
		return nil, &TokenFileError{Reason: fmt.Sprintf("it is larger than %d bytes", maxTokenFile)}
	case file[0] == 0x30: // an ASN.1 SEQUENCE
		return file, nil
	}
	text := strings.ReplaceAll(string(bytes.TrimSpace(file)), "\r\n", "\n")
	if headers, body, ok := strings.Cut(text, "\n\n"); ok && strings.Contains(headers, ":") {
		text = body
	}
	envelope, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil || len(envelope) == 0 {
		return nil, &TokenFileError{Reason: "its content is not base64, or is cut off"}
	}
	return envelope, nil
}
