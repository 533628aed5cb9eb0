package enroll

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/internal/cms"
	"github.com/enrollkit/enrollkit/internal/plist"
)

// enrollmentProfile is a decoded profile.
type enrollmentProfile struct {
	top, mdm, identity, scep map[string]any
	types                    []string
}

func readProfile(t testing.TB, raw []byte) enrollmentProfile {
	t.Helper()
	var p enrollmentProfile
	require.NoError(t, plist.Unmarshal(raw, &p.top), string(raw))
	for _, c := range p.top["PayloadContent"].([]any) {
		d := c.(map[string]any)
		p.types = append(p.types, d["PayloadType"].(string))
		switch d["PayloadType"] {
		case "com.apple.mdm":
			p.mdm = d
		case "com.apple.security.scep":
			p.identity, p.scep = d, d["PayloadContent"].(map[string]any)
		}
	}
	return p
}

type fixedIdentity struct{ err error }

func (f fixedIdentity) Payload(context.Context, Candidate) (Payload, error) {
	return Payload{Type: "com.apple.security.acme"}, f.err
}

func settingsOf(edit func(*ProfileSettings)) ProfileSettings {
	s := ProfileSettings{Identifier: "org.example", DisplayName: "Example", Topic: topic, ServerURL: "https://mdm.example.org/mdm"}
	if edit != nil {
		edit(&s)
	}
	return s
}

func TestProfileIsSignedAndCarriesPayloadsOfTheHost(t *testing.T) {
	t.Parallel()
	signer, root := selfSigned(t), selfSigned(t)
	b, err := newProfileBuilder(settingsOf(func(s *ProfileSettings) {
		s.Signer = &Signer{Certificate: signer.cert, Key: signer.key}
		s.Payloads = []Payload{RootCertificate("root", root.cert)}
		s.AccessRights, s.NoCheckOut = 3, true
		s.PayloadsFor = func(_ context.Context, c Candidate) ([]Payload, error) {
			return []Payload{{Type: "com.example.tag", Name: "tag", Content: map[string]any{"Serial": c.Device.Serial}}}, nil
		}
	}), fixedIdentity{}, rand.Reader)
	require.NoError(t, err)
	out, err := b.build(t.Context(), Candidate{Device: MachineInfo{Serial: "S1", Product: "Mac15,12"}}, "token")
	require.NoError(t, err)
	sd, err := cms.Verify(out)
	require.NoError(t, err)
	assert.True(t, sd.Signer.Equal(signer.cert))
	p := readProfile(t, sd.Content)
	assert.Equal(t, []string{"com.apple.security.root", "com.example.tag", "com.apple.security.acme", "com.apple.mdm"}, p.types)
	assert.Equal(t, uint64(3), p.mdm["AccessRights"])
	assert.Equal(t, false, p.mdm["CheckOutWhenRemoved"])
	assert.NotContains(t, p.mdm, "CheckInURL")
	first := p.top["PayloadContent"].([]any)[0].(map[string]any)
	assert.Equal(t, root.cert.Raw, first["PayloadContent"])
	assert.Equal(t, "org.example.root", first["PayloadIdentifier"])
}

// TestProfileSettingsAreCopied has the host change what it handed in.
func TestProfileSettingsAreCopied(t *testing.T) {
	t.Parallel()
	signer, root := selfSigned(t), selfSigned(t)
	s := settingsOf(func(s *ProfileSettings) {
		s.Signer = &Signer{Certificate: signer.cert, Key: signer.key, Chain: []*x509.Certificate{root.cert}}
		s.Payloads = []Payload{RootCertificate("root", root.cert)}
	})
	b, err := newProfileBuilder(s, fixedIdentity{}, rand.Reader)
	require.NoError(t, err)
	s.Payloads[0].Content["PayloadContent"] = []byte("other")
	s.Payloads[0].Type = "other"
	s.Signer.Chain[0], s.Signer.Key = nil, nil
	out, err := b.build(t.Context(), Candidate{}, "token")
	require.NoError(t, err)
	sd, err := cms.Verify(out)
	require.NoError(t, err)
	assert.Len(t, sd.Certificates, 2)
	p := readProfile(t, sd.Content)
	assert.Equal(t, "com.apple.security.root", p.types[0])
	assert.Equal(t, root.cert.Raw, p.top["PayloadContent"].([]any)[0].(map[string]any)["PayloadContent"])
}

func TestProfileSettingsAreChecked(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*ProfileSettings){
		"no identifier":        func(s *ProfileSettings) { s.Identifier = "" },
		"no name":              func(s *ProfileSettings) { s.DisplayName = "" },
		"topic":                func(s *ProfileSettings) { s.Topic = "org.example" },
		"no server":            func(s *ProfileSettings) { s.ServerURL = "" },
		"plain http":           func(s *ProfileSettings) { s.ServerURL = "http://mdm.example.org/" },
		"check-in by http":     func(s *ProfileSettings) { s.CheckInURL = "http://mdm.example.org/" },
		"rights too wide":      func(s *ProfileSettings) { s.AccessRights = 8192 },
		"install, not inspect": func(s *ProfileSettings) { s.AccessRights = 2 },
		"signer without a key": func(s *ProfileSettings) { s.Signer = &Signer{} },
	} {
		_, err := newProfileBuilder(settingsOf(edit), fixedIdentity{}, rand.Reader)
		require.Error(t, err, name)
	}
	_, err := newProfileBuilder(settingsOf(nil), nil, rand.Reader)
	require.Error(t, err)
	for name, s := range map[string]SCEPSettings{
		"query": {URL: "https://a.example/scep?x=1"}, "http": {URL: "http://a.example/scep"}, "key size": {URL: "https://a.example/", KeySize: 1024},
	} {
		_, err := NewSCEP(s, &challenges{})
		require.Error(t, err, name)
	}
	_, err = NewSCEP(SCEPSettings{URL: "https://a.example/"}, nil)
	require.Error(t, err)
}

func TestProfileNeedsItsIdentity(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	b, err := newProfileBuilder(settingsOf(nil), fixedIdentity{err: down}, rand.Reader)
	require.NoError(t, err)
	out, err := b.build(t.Context(), Candidate{}, "token")
	require.ErrorIs(t, err, down)
	assert.Nil(t, out)
}
