package enroll

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/enrollkit/enrollkit/internal/cms"
	"github.com/enrollkit/enrollkit/internal/plist"
)

// AllAccessRights is the AccessRights of a profile that may do everything MDM can. It is what devices of an
// organization get; a profile that replaces an installed one may never have more rights than that one, so having all
// from the start is what keeps every later replacement possible.
const AllAccessRights = 8191

// ProfileSettings is what the enrollment profiles of a server have in common.
type ProfileSettings struct {
	// Identifier is the top-level PayloadIdentifier, for example com.example.mdm. Never change it: it is how a device
	// knows that a profile replaces the one it has. Required.
	Identifier string
	// DisplayName, Organization and Description are shown to the user. DisplayName is required.
	DisplayName, Organization, Description string
	// Topic is the APNs topic: the user id in the subject of the push certificate, com.apple.mgmt. and so on. Required.
	Topic string
	// ServerURL and CheckInURL are where the device talks to the MDM server; https, but for a server on this machine.
	// ServerURL is required, CheckInURL defaults to it. Both get the parameter [SessionParam].
	ServerURL, CheckInURL string
	// AccessRights are Apple's bits; 0 means AllAccessRights. Raising them later makes devices refuse to have their
	// profile replaced.
	AccessRights int
	// NoCheckOut leaves CheckOutWhenRemoved away, so that a device does not say when its profile is removed.
	NoCheckOut bool
	// Payloads go into every profile, before the others: trust certificates, for example ([RootCertificate]).
	Payloads []Payload
	// PayloadsFor, if set, adds payloads for one device.
	PayloadsFor func(ctx context.Context, c Candidate) ([]Payload, error)
	// Signer signs the profiles; nil leaves them unsigned, which devices accept and show.
	Signer *Signer
}

// Signer is an identity that signs profiles.
type Signer struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	// Chain are the certificates between Certificate and a root devices trust.
	Chain []*x509.Certificate
}

// Payload is one part of a configuration profile.
type Payload struct {
	// Type is the PayloadType.
	Type string
	// Name tells payloads of one type apart; it becomes part of the PayloadIdentifier. Empty means Type.
	Name        string
	DisplayName string
	// Content are the keys of the payload beside those that all payloads have.
	Content map[string]any
}

// RootCertificate returns a payload that makes a device trust an authority.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/certificateroot
func RootCertificate(name string, c *x509.Certificate) Payload {
	return Payload{
		Type: "com.apple.security.root", Name: name, DisplayName: c.Subject.CommonName,
		Content: map[string]any{"PayloadContent": c.Raw},
	}
}

// Identity provides the payload that gives a device the identity it talks to the MDM server with. [SCEP] is one.
type Identity interface {
	// Payload returns the payload for one profile. It is asked each time a profile is delivered.
	Payload(ctx context.Context, c Candidate) (Payload, error)
}

// profileBuilder makes enrollment profiles.
type profileBuilder struct {
	set      ProfileSettings
	identity Identity
	rand     io.Reader
}

func newProfileBuilder(s ProfileSettings, identity Identity, rand io.Reader) (*profileBuilder, error) {
	switch {
	case s.Identifier == "" || s.DisplayName == "":
		return nil, errors.New("profile: Identifier and DisplayName are required")
	case !strings.HasPrefix(s.Topic, "com.apple.mgmt."):
		return nil, errors.New("profile: Topic does not start with com.apple.mgmt and a dot")
	case s.AccessRights < 0 || s.AccessRights > AllAccessRights:
		return nil, errors.New("profile: AccessRights are not between 1 and 8191")
	case s.AccessRights&2 != 0 && s.AccessRights&1 == 0, s.AccessRights&128 != 0 && s.AccessRights&64 == 0:
		return nil, errors.New("profile: AccessRights 2 needs 1, and 128 needs 64")
	case identity == nil:
		return nil, errors.New("profile: no identity")
	case s.Signer != nil && (s.Signer.Certificate == nil || s.Signer.Key == nil):
		return nil, errors.New("profile: Signer needs a certificate and a key")
	}
	if _, err := publicURL(s.ServerURL); err != nil {
		return nil, fmt.Errorf("profile: ServerURL: %w", err)
	}
	if s.CheckInURL != "" {
		if _, err := publicURL(s.CheckInURL); err != nil {
			return nil, fmt.Errorf("profile: CheckInURL: %w", err)
		}
	}
	if s.AccessRights == 0 {
		s.AccessRights = AllAccessRights
	}
	return &profileBuilder{set: s.clone(), identity: identity, rand: rand}, nil
}

// clone copies what a host could change later.
func (s ProfileSettings) clone() ProfileSettings {
	s.Payloads = slices.Clone(s.Payloads)
	for i := range s.Payloads {
		s.Payloads[i].Content = maps.Clone(s.Payloads[i].Content)
	}
	if s.Signer != nil {
		signer := *s.Signer
		signer.Chain = slices.Clone(signer.Chain)
		s.Signer = &signer
	}
	return s
}

// build returns the profile for a device, signed if there is a signer. token is the signed id of its session.
//
// The identifiers are the same each time, so that a profile delivered again replaces the first one. The UUIDs are
// new each time: the content is too, as it carries a new challenge, and a new identity payload is what makes a
// device ask for a new identity.
func (b *profileBuilder) build(ctx context.Context, c Candidate, token string) ([]byte, error) {
	identity, err := b.identity.Payload(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("enroll: profile: identity: %w", err)
	}
	payloads := append([]Payload(nil), b.set.Payloads...)
	if b.set.PayloadsFor != nil {
		more, err := b.set.PayloadsFor(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("enroll: profile: payloads: %w", err)
		}
		payloads = append(payloads, more...)
	}
	var content []map[string]any
	for _, p := range payloads {
		d, _, err := b.dict(p)
		if err != nil {
			return nil, err
		}
		content = append(content, d)
	}
	id, identityUUID, err := b.dict(identity)
	if err != nil {
		return nil, err
	}
	mdm, _, err := b.dict(b.mdm(c, token, identityUUID))
	if err != nil {
		return nil, err
	}
	return b.finish(append(content, id, mdm))
}

// mdm returns the com.apple.mdm payload.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/mdm
func (b *profileBuilder) mdm(c Candidate, token, identityUUID string) Payload {
	content := map[string]any{
		"IdentityCertificateUUID": identityUUID,
		"Topic":                   b.set.Topic,
		"ServerURL":               withParam(b.set.ServerURL, SessionParam, token),
		"AccessRights":            b.set.AccessRights,
		"SignMessage":             true,
		"CheckOutWhenRemoved":     !b.set.NoCheckOut,
	}
	if b.set.CheckInURL != "" {
		content["CheckInURL"] = withParam(b.set.CheckInURL, SessionParam, token)
	}
	// A profile may not gain or lose per-user connections later, so every device has them from the start: Macs need
	// them for their user channel, iPads to become Shared iPads.
	capabilities := []string{"com.apple.mdm.per-user-connections"}
	if c.Device.Family() == "Mac" {
		capabilities = append(capabilities, "com.apple.mdm.bootstraptoken")
	}
	content["ServerCapabilities"] = capabilities
	return Payload{Type: "com.apple.mdm", DisplayName: b.set.DisplayName, Content: content}
}

// dict adds the keys that all payloads have.
func (b *profileBuilder) dict(p Payload) (d map[string]any, uuid string, err error) {
	if p.Type == "" {
		return nil, "", errors.New("enroll: profile: a payload has no type")
	}
	uuid, err = b.uuid()
	if err != nil {
		return nil, "", err
	}
	if p.Name == "" {
		p.Name = p.Type
	}
	d = maps.Clone(p.Content)
	if d == nil {
		d = map[string]any{}
	}
	d["PayloadType"], d["PayloadVersion"] = p.Type, 1
	d["PayloadIdentifier"], d["PayloadUUID"] = b.set.Identifier+"."+p.Name, uuid
	if p.DisplayName != "" {
		d["PayloadDisplayName"] = p.DisplayName
	}
	return d, uuid, nil
}

// finish wraps the payloads into a profile.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/toplevel
func (b *profileBuilder) finish(content []map[string]any) ([]byte, error) {
	uuid, err := b.uuid()
	if err != nil {
		return nil, err
	}
	top := map[string]any{
		"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadScope": "System",
		"PayloadIdentifier": b.set.Identifier, "PayloadUUID": uuid, "PayloadDisplayName": b.set.DisplayName,
		"PayloadContent": content,
	}
	if b.set.Organization != "" {
		top["PayloadOrganization"] = b.set.Organization
	}
	if b.set.Description != "" {
		top["PayloadDescription"] = b.set.Description
	}
	out, err := plist.Marshal(top)
	if err != nil {
		return nil, fmt.Errorf("enroll: profile: %w", err)
	}
	if s := b.set.Signer; s != nil {
		if out, err = cms.Sign(out, s.Certificate, s.Key, s.Chain...); err != nil {
			return nil, fmt.Errorf("enroll: profile: %w", err)
		}
	}
	return out, nil
}

// uuid returns a random UUID, version 4.
func (b *profileBuilder) uuid() (string, error) {
	var u [16]byte
	if _, err := io.ReadFull(b.rand, u[:]); err != nil {
		return "", fmt.Errorf("enroll: randomness: %w", err)
	}
	return formatUUID(u, 4), nil
}

// formatUUID makes a UUID of a version (RFC 9562) out of bytes, in upper case as Apple writes them.
func formatUUID(u [16]byte, version byte) string {
	u[6], u[8] = u[6]&0x0f|version<<4, u[8]&0x3f|0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// withParam adds a parameter to a URL that publicURL has accepted.
func withParam(raw, key, value string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	q := u.Query()
	q.Set(key, value)
	u.RawQuery = q.Encode()
	return u.String()
}
