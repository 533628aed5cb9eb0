// Package cms signs and verifies Cryptographic Message Syntax documents (RFC 5652).
//
// It is the only importer of the CMS library. Verification here proves that the content was signed by the
// certificate found in the document; whom that certificate belongs to is the caller's question.
package cms

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/smallstep/pkcs7"
)

// ErrSignature means that the document is well formed and its signature does not fit its content.
var ErrSignature = errors.New("cms: signature does not match the content")

// ErrSigners means that the document does not have exactly one signer whose certificate it contains.
var ErrSigners = errors.New("cms: want exactly one signer, with its certificate")

// Sign returns DER SignedData that contains content, signed with SHA-256 by cert, followed by chain.
func Sign(content []byte, cert *x509.Certificate, key crypto.Signer, chain ...*x509.Certificate) ([]byte, error) {
	return sign(content, cert, key, chain, false)
}

// SignDetached returns DER SignedData over content that does not contain it, as in the Mdm-Signature header.
func SignDetached(content []byte, cert *x509.Certificate, key crypto.Signer, chain ...*x509.Certificate) ([]byte, error) {
	return sign(content, cert, key, chain, true)
}

func sign(content []byte, cert *x509.Certificate, key crypto.Signer, chain []*x509.Certificate, detach bool) ([]byte, error) {
	sd, err := pkcs7.NewSignedData(content)
	if err != nil {
		return nil, fmt.Errorf("cms: sign: %w", err)
	}
	sd.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := sd.AddSigner(cert, key, pkcs7.SignerInfoConfig{}); err != nil {
		return nil, fmt.Errorf("cms: sign: %w", err)
	}
	for _, c := range chain {
		sd.AddCertificate(c)
	}
	if detach {
		sd.Detach()
	}
	b, err := sd.Finish()
	if err != nil {
		return nil, fmt.Errorf("cms: sign: %w", err)
	}
	return b, nil
}

// SignedData is a parsed CMS document. Nothing of it is to be believed before [SignedData.Verify] has returned nil.
type SignedData struct {
	// Content is what was signed.
	Content []byte
	// Signer is the certificate whose key is to have made the signature.
	Signer *x509.Certificate
	// Certificates are all certificates the document carries, the signer's among them.
	Certificates []*x509.Certificate

	p7 *pkcs7.PKCS7
}

// Verify parses SignedData (DER or BER) and checks that its only signer signed its content.
// It does not look at validity dates or issuers. It returns ErrSigners or ErrSignature, or a parse error.
func Verify(data []byte) (*SignedData, error) {
	return verify(data, nil)
}

// VerifyDetached is [Verify] for a document made by [SignDetached] over content.
func VerifyDetached(data, content []byte) (*SignedData, error) {
	return verify(data, content)
}

func verify(data, content []byte) (*SignedData, error) {
	sd, err := Parse(data)
	if err != nil {
		return nil, err
	}
	if content != nil {
		sd.Content, sd.p7.Content = content, content
	}
	if err := sd.Verify(); err != nil {
		return nil, err
	}
	return sd, nil
}

// Parse parses SignedData (DER or BER) and verifies nothing, so that a caller can ask whose certificates they are
// before it spends time on their keys. It returns ErrSigners, ErrLimits or a parse error.
func Parse(data []byte) (*SignedData, error) {
	p7, err := parse(data)
	if err != nil {
		return nil, err
	}
	if err := checkCertificates(p7.Certificates); err != nil {
		return nil, err
	}
	signer := p7.GetOnlySigner()
	if signer == nil {
		return nil, ErrSigners
	}
	return &SignedData{Content: p7.Content, Signer: signer, Certificates: p7.Certificates, p7: p7}, nil
}

func parse(data []byte) (p7 *pkcs7.PKCS7, err error) {
	defer func() {
		if r := recover(); r != nil { // the BER reader of the library is not proof against every input
			p7, err = nil, fmt.Errorf("cms: parse: malformed document: %v", r)
		}
	}()
	if err := checkNesting(data); err != nil {
		return nil, fmt.Errorf("cms: parse: %w", err)
	}
	if p7, err = pkcs7.Parse(data); err != nil {
		return nil, fmt.Errorf("cms: parse: %w", err)
	}
	return p7, nil
}

// Verify checks that the signer's key signed the content. It does not look at validity dates or issuers.
// It returns ErrSignature.
func (sd *SignedData) Verify() (err error) {
	defer func() {
		if r := recover(); r != nil { // as in parse
			err = fmt.Errorf("%w: malformed document: %v", ErrSignature, r)
		}
	}()
	// The library refuses a signing time outside the signer's validity. Apple's device certificates expire while
	// their devices live on, so the check runs on copies that never expire; everything else of it stays.
	p7 := *sd.p7
	p7.Certificates = withoutExpiry(sd.Certificates)
	if err := p7.Verify(); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}

func withoutExpiry(certs []*x509.Certificate) []*x509.Certificate {
	out := make([]*x509.Certificate, len(certs))
	for i, c := range certs {
		cp := *c
		cp.NotBefore, cp.NotAfter = time.Time{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		out[i] = &cp
	}
	return out
}

// ErrNotEnveloped means that the document is well formed and holds nothing that is encrypted to someone.
var ErrNotEnveloped = errors.New("cms: want enveloped data")

// AddressedTo reports whether data, DER or BER, is enveloped data that names cert as a recipient, by issuer and serial
// number. It decrypts nothing. It returns ErrNotEnveloped or a parse error.
func AddressedTo(data []byte, cert *x509.Certificate) (is bool, err error) {
	defer func() {
		if r := recover(); r != nil { // as in verify
			is, err = false, fmt.Errorf("cms: malformed document: %v", r)
		}
	}()
	p7, err := parse(data)
	if err != nil {
		return false, err
	}
	// The library looks for the recipient first and finds out that it cannot use no key after that.
	_, err = p7.Decrypt(cert, nil)
	if errors.Is(err, pkcs7.ErrNotEncryptedContent) {
		return false, ErrNotEnveloped
	}
	return errors.Is(err, pkcs7.ErrUnsupportedAlgorithm), nil
}
