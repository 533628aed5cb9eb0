package enroll

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/enrollkit/enrollkit/internal/cms"
)

// maxChain bounds how many certificates are walked from a device's certificate to the pinned authority.
const maxChain = 4

// Verifier checks that a MachineInfo was signed with the built-in identity of a device.
// It is immutable and safe for concurrent use.
//
// A good signature proves that an identity issued by the authority signed the property list. It does not prove that
// SERIAL and UDID belong to that hardware: public research has shown that software can choose them
// (https://duo.com/labs/research/mdm-me-maybe). Hence the [Authorizer] chain.
type Verifier struct{ pinned []*x509.Certificate }

// NewVerifier returns a Verifier that accepts identities issued by one of the authorities. At least one is needed;
// in production it is [AppleDeviceCA], in tests that of a device simulator.
func NewVerifier(authorities ...*x509.Certificate) (*Verifier, error) {
	if len(authorities) == 0 {
		return nil, errors.New("enroll: new verifier: no device CA")
	}
	v := &Verifier{}
	for _, ca := range authorities {
		if ca == nil {
			return nil, errors.New("enroll: new verifier: nil device CA")
		}
		v.pinned = append(v.pinned, ca)
	}
	return v, nil
}

// Verify checks the signature of a MachineInfo in CMS SignedData, DER or BER, and returns what it says.
// It returns ErrMalformed, ErrUnsigned, ErrSignature or ErrIssuer.
//
// Validity dates are ignored: Apple's authority expired in 2014 and still issues, and devices outlive their
// certificates. Chains to an Apple root by another authority of Apple, such as the one of developers, are refused.
//
// Anybody can send one. Therefore the chain comes first, and documents with more than 8 certificates, RSA keys of more
// than 4096 bits or nesting no device makes are ErrMalformed before any key is used.
func (v *Verifier) Verify(data []byte) (MachineInfo, error) {
	sd, err := cms.Parse(data)
	switch {
	case errors.Is(err, cms.ErrSigners):
		return MachineInfo{}, fmt.Errorf("%w: %w", ErrUnsigned, err)
	case err != nil && looksLikePlist(data):
		return MachineInfo{}, fmt.Errorf("%w: a bare property list", ErrUnsigned)
	case err != nil:
		return MachineInfo{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := v.checkIssuer(sd.Signer, sd.Certificates); err != nil {
		return MachineInfo{}, err
	}
	if err := sd.Verify(); err != nil {
		return MachineInfo{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return ParseMachineInfo(sd.Content)
}

func looksLikePlist(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n\xef\xbb\xbf")
	return bytes.HasPrefix(data, []byte("<")) || bytes.HasPrefix(data, []byte("bplist"))
}

// checkIssuer walks from the signer's certificate up to one the pinned authority issued. Macs send the leaf and at
// most its issuer, iPhones the whole chain (observed); the pinned certificate need not be in the document.
func (v *Verifier) checkIssuer(signer *x509.Certificate, bag []*x509.Certificate) error {
	if signer.IsCA {
		return fmt.Errorf("%w: signed by an authority, not a device", ErrIssuer)
	}
	cert := signer
	for range maxChain {
		for _, ca := range v.pinned {
			if issued(ca, cert) {
				return nil
			}
		}
		parent := parentOf(cert, bag)
		if parent == nil {
			return fmt.Errorf("%w: issuer %q", ErrIssuer, cert.Issuer.String())
		}
		cert = parent
	}
	return fmt.Errorf("%w: chain too long", ErrIssuer)
}

// issued reports whether the pinned authority signed cert. CheckSignature on the issuer still takes SHA-1, which
// Apple's authority signs with; CheckSignatureFrom and Verify do not since Go 1.18.
func issued(ca, cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawIssuer, ca.RawSubject) &&
		ca.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// parentOf finds the certificate in the bag that issued cert. Only what the pinned key itself signs may be SHA-1.
func parentOf(cert *x509.Certificate, bag []*x509.Certificate) *x509.Certificate {
	for _, c := range bag {
		if bytes.Equal(cert.RawIssuer, c.RawSubject) && c.BasicConstraintsValid && c.IsCA && !c.Equal(cert) &&
			cert.CheckSignatureFrom(c) == nil {
			return c
		}
	}
	return nil
}
