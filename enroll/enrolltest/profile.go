package enrolltest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/enrollkit/enrollkit/internal/cms"
	"github.com/enrollkit/enrollkit/internal/plist"
)

// Payload types that mean something to an enrollment.
const (
	payloadMDM  = "com.apple.mdm"
	payloadSCEP = "com.apple.security.scep"
)

// Profile is a configuration profile as the device has it.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/toplevel
type Profile struct {
	Identifier, UUID, DisplayName string
	Organization, Description     string
	Scope                         string
	Version                       int
	RemovalDisallowed             bool
	// Managed is true for a profile that came by MDM.
	Managed bool
	// Signers are the certificates of the signature; nil for an unsigned profile. Whether they are trusted is not checked.
	Signers []*x509.Certificate
	// Payloads are the parts of the profile, in its order.
	Payloads []Payload
	// Raw is the property list, without the signature around it.
	Raw []byte
}

// Payload is one part of a profile.
type Payload struct {
	Type, Identifier, UUID, DisplayName string
	Version                             int
	// Content holds all keys of the payload, as a property list decodes into Go values.
	Content map[string]any
}

// payloadOf returns the only payload of the type; ok is false if there is none, or more than one.
func (p *Profile) payloadOf(kind string) (payload Payload, ok bool) {
	for _, pl := range p.Payloads {
		if pl.Type != kind {
			continue
		}
		if ok {
			return Payload{}, false
		}
		payload, ok = pl, true
	}
	return payload, ok
}

func (p *Profile) has(kind string) bool {
	return slices.ContainsFunc(p.Payloads, func(pl Payload) bool { return pl.Type == kind })
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrProfile}, args...)...)
}

// parseProfile reads a configuration profile: an XML or binary property list, or one inside CMS SignedData. It demands
// what Apple's documentation requires of every profile, and returns errors that match ErrProfile.
func parseProfile(data []byte) (*Profile, error) {
	p := &Profile{Raw: data}
	if trimmed := bytes.TrimLeft(data, " \t\r\n\xef\xbb\xbf"); len(trimmed) > 0 && trimmed[0] == 0x30 { // a DER or BER SEQUENCE
		sd, err := cms.Verify(data)
		if err != nil {
			return nil, invalid("signature: %w", err)
		}
		p.Raw, p.Signers = sd.Content, sd.Certificates
	}
	var top struct {
		PayloadType, PayloadIdentifier, PayloadUUID string
		PayloadDisplayName, PayloadOrganization     string
		PayloadDescription, PayloadScope            string
		PayloadVersion                              int
		PayloadRemovalDisallowed                    bool
		PayloadContent                              []map[string]any
		EncryptedPayloadContent                     []byte
	}
	if err := plist.Unmarshal(p.Raw, &top); err != nil {
		return nil, invalid("%w", err)
	}
	switch {
	case top.PayloadType != "Configuration":
		return nil, invalid("PayloadType is %q, want Configuration", top.PayloadType)
	case top.PayloadVersion != 1:
		return nil, invalid("PayloadVersion is %d, want 1", top.PayloadVersion)
	case top.PayloadIdentifier == "":
		return nil, invalid("PayloadIdentifier is missing")
	case top.PayloadUUID == "":
		return nil, invalid("PayloadUUID is missing")
	case top.PayloadScope != "" && top.PayloadScope != "System" && top.PayloadScope != "User":
		return nil, invalid("PayloadScope is %q", top.PayloadScope)
	case top.EncryptedPayloadContent != nil:
		return nil, invalid("encrypted profiles are not simulated")
	}
	p.Identifier, p.UUID, p.DisplayName = top.PayloadIdentifier, top.PayloadUUID, top.PayloadDisplayName
	p.Organization, p.Description, p.Scope = top.PayloadOrganization, top.PayloadDescription, top.PayloadScope
	p.Version, p.RemovalDisallowed = top.PayloadVersion, top.PayloadRemovalDisallowed
	if err := p.addPayloads(top.PayloadContent); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Profile) addPayloads(contents []map[string]any) error {
	seen := map[string]bool{}
	for i, c := range contents {
		pl := Payload{
			Type: str(c, "PayloadType"), Identifier: str(c, "PayloadIdentifier"), UUID: str(c, "PayloadUUID"),
			DisplayName: str(c, "PayloadDisplayName"), Version: integer(c, "PayloadVersion"), Content: c,
		}
		switch {
		case pl.Type == "" || pl.Identifier == "" || pl.UUID == "":
			return invalid("payload %d: PayloadType, PayloadIdentifier and PayloadUUID are required", i)
		case pl.Version != 1:
			return invalid("payload %s: PayloadVersion is %d, want 1", pl.Identifier, pl.Version)
		case seen[pl.UUID]:
			return invalid("payload %s: PayloadUUID is used twice", pl.Identifier)
		}
		seen[pl.UUID] = true
		p.Payloads = append(p.Payloads, pl)
	}
	return nil
}

// certificates returns what the certificate payloads add to the device's trust.
func (p *Profile) certificates() ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, pl := range p.Payloads {
		switch pl.Type {
		case "com.apple.security.root", "com.apple.security.pem", "com.apple.security.pkcs1":
		default:
			continue
		}
		der, _ := pl.Content["PayloadContent"].([]byte)
		if block, _ := pem.Decode(der); block != nil {
			der = block.Bytes
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, invalid("payload %s: %w", pl.Identifier, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// mdmPayload is com.apple.mdm.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/mdm
type mdmPayload struct {
	IdentityCertificateUUID string
	Topic                   string
	ServerURL               string
	CheckInURL              string
	AccessRights            int
	SignMessage             bool
	CheckOutWhenRemoved     bool
	ServerCapabilities      []string
	EnrollmentMode          string
}

func (m *mdmPayload) checkInURL() string {
	if m.CheckInURL != "" {
		return m.CheckInURL
	}
	return m.ServerURL
}

func (m *mdmPayload) capable(capability string) bool {
	return slices.Contains(m.ServerCapabilities, capability)
}

// allows reports whether all the rights in mask were given.
func (m *mdmPayload) allows(mask int) bool { return m.AccessRights&mask == mask }

// enrollmentPayload finds and checks the MDM payload of an enrollment profile, and the identity it refers to.
func enrollmentPayload(p *Profile) (*mdmPayload, *scepPayload, error) {
	pl, ok := p.payloadOf(payloadMDM)
	if !ok {
		return nil, nil, invalid("want exactly one %s payload", payloadMDM)
	}
	var m mdmPayload
	if err := redecode(pl.Content, &m); err != nil {
		return nil, nil, invalid("%s: %w", payloadMDM, err)
	}
	if err := m.check(); err != nil {
		return nil, nil, err
	}
	for _, id := range p.Payloads {
		if id.UUID != m.IdentityCertificateUUID {
			continue
		}
		if id.Type != payloadSCEP {
			return nil, nil, invalid("identity payload is %s; only %s is simulated", id.Type, payloadSCEP)
		}
		s, err := parseSCEPPayload(id)
		return &m, s, err
	}
	return nil, nil, invalid("IdentityCertificateUUID %q is not the PayloadUUID of any payload", m.IdentityCertificateUUID)
}

func (m *mdmPayload) check() error {
	if m.IdentityCertificateUUID == "" {
		return invalid("IdentityCertificateUUID is missing")
	}
	if !strings.HasPrefix(m.Topic, "com.apple.mgmt.") {
		return invalid("Topic %q does not start with com.apple.mgmt.", m.Topic)
	}
	if _, err := checkURL(m.ServerURL); err != nil {
		return invalid("ServerURL: %w", err)
	}
	if _, err := checkURL(m.checkInURL()); err != nil {
		return invalid("CheckInURL: %w", err)
	}
	switch {
	case m.EnrollmentMode != "":
		return invalid("EnrollmentMode belongs to account-driven enrollment, which is not simulated")
	case m.AccessRights <= 0 || m.AccessRights > 8191:
		return invalid("AccessRights %d is not between 1 and 8191", m.AccessRights)
	case m.AccessRights&2 != 0 && m.AccessRights&1 == 0:
		return invalid("AccessRights: 2 needs 1")
	case m.AccessRights&128 != 0 && m.AccessRights&64 == 0:
		return invalid("AccessRights: 128 needs 64")
	}
	return nil
}

// checkUpdate says whether a profile may replace the one the device enrolled with.
func (m *mdmPayload) checkUpdate(old *mdmPayload) error {
	const perUser = "com.apple.mdm.per-user-connections"
	switch {
	case m.Topic != old.Topic, m.ServerURL != old.ServerURL, m.CheckInURL != old.CheckInURL:
		return invalid("an update may not change Topic, ServerURL or CheckInURL")
	case m.AccessRights&^old.AccessRights != 0:
		return invalid("an update may not add access rights")
	case m.capable(perUser) != old.capable(perUser):
		return invalid("an update may not add or remove %s", perUser)
	}
	return nil
}

// redecode reads a decoded dictionary into a struct.
func redecode(dict map[string]any, into any) error {
	b, err := plist.Marshal(dict)
	if err != nil {
		return err
	}
	return plist.Unmarshal(b, into)
}

func str(dict map[string]any, key string) string {
	s, _ := dict[key].(string)
	return s
}

func integer(dict map[string]any, key string) int {
	switch n := dict[key].(type) {
	case uint64:
		return int(n) //nolint:gosec // a version number; a wrapped one is wrong too
	case int64:
		return int(n)
	}
	return 0
}
