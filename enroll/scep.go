package enroll

import (
	"context"
	"errors"
	"fmt"
)

// ChallengeIssuer makes SCEP challenges: passwords that let one device obtain one certificate. Issue a new one each
// time, and have the SCEP server accept each once: a device may ask for its profile many times, and every time it
// gets a challenge that works.
type ChallengeIssuer interface {
	IssueChallenge(ctx context.Context, c Candidate) (string, error)
}

// SCEPSettings say how devices obtain their identity by SCEP.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/scep
type SCEPSettings struct {
	// URL is the SCEP server; it has no query, because devices append theirs blindly (observed). Required.
	URL string
	// Name is handed to the server, which may choose an authority by it.
	Name string
	// Subject is the subject of the certificates; each entry is one relative name, an attribute such as CN or O with
	// its value. Nil means the serial as CN.
	Subject func(c Candidate) [][2]string
	// KeySize is 2048 or 4096 bits; 0 means 2048.
	KeySize int
	// CAFingerprint is the fingerprint of the authority's certificate; devices refuse another one. Nil: not checked.
	CAFingerprint []byte
}

// SCEP is an [Identity] by com.apple.security.scep.
type SCEP struct {
	set        SCEPSettings
	challenges ChallengeIssuer
}

var _ Identity = (*SCEP)(nil)

// NewSCEP returns an Identity whose certificates come from a SCEP server.
func NewSCEP(s SCEPSettings, challenges ChallengeIssuer) (*SCEP, error) {
	u, err := publicURL(s.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("enroll: new SCEP: URL: %w", err)
	case u.RawQuery != "":
		return nil, errors.New("enroll: new SCEP: URL has a query")
	case challenges == nil:
		return nil, errors.New("enroll: new SCEP: no challenge issuer")
	}
	switch s.KeySize {
	case 0:
		s.KeySize = 2048
	case 2048, 4096:
	default:
		return nil, errors.New("enroll: new SCEP: KeySize is not 2048 or 4096")
	}
	s.CAFingerprint = append([]byte(nil), s.CAFingerprint...)
	if s.Subject == nil {
		s.Subject = func(c Candidate) [][2]string { return [][2]string{{"CN", c.Device.Serial}} }
	}
	return &SCEP{set: s, challenges: challenges}, nil
}

// Payload implements Identity.
func (s *SCEP) Payload(ctx context.Context, c Candidate) (Payload, error) {
	challenge, err := s.challenges.IssueChallenge(ctx, c)
	if err != nil {
		return Payload{}, fmt.Errorf("issue challenge: %w", err)
	}
	var subject [][][]string
	for _, rdn := range s.set.Subject(c) {
		subject = append(subject, [][]string{{rdn[0], rdn[1]}})
	}
	content := map[string]any{
		"URL": s.set.URL, "Challenge": challenge, "Subject": subject,
		"Keysize": s.set.KeySize, "Key Type": "RSA", "Key Usage": 5, // signing and encryption
		"KeyIsExtractable": false,
	}
	if s.set.Name != "" {
		content["Name"] = s.set.Name
	}
	if len(s.set.CAFingerprint) > 0 {
		content["CAFingerprint"] = s.set.CAFingerprint
	}
	return Payload{
		Type: "com.apple.security.scep", DisplayName: "Device identity",
		Content: map[string]any{"PayloadContent": content},
	}, nil
}
