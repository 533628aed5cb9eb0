package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/enrollkit/enrollkit/enroll"
	"github.com/enrollkit/enrollkit/setupexp"
)

// agentID and appID are the bundle ids of the two packages that Macs get.
const (
	agentID = "com.example.agent"
	appID   = "com.example.app"
)

// software serves the packages that Macs install. They hold made-up bytes: what the simulated devices check is that
// what they download is what the manifest says.
type software struct {
	base string // where the handler is mounted
	pkgs map[string][]byte
}

func newSoftware(base string) (*software, error) {
	s := &software{base: base, pkgs: map[string][]byte{}}
	for name, size := range map[string]int{"agent": 256 << 10, "app": 3 << 20} {
		b := make([]byte, size)
		if _, err := rand.Read(b); err != nil {
			return nil, err
		}
		s.pkgs[name] = b
	}
	return s, nil
}

func (s *software) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, ok := s.pkgs[strings.TrimSuffix(r.PathValue("name"), ".pkg")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (s *software) spec(name, bundleID string) (setupexp.PackageSpec, error) {
	const chunk = 1 << 20
	size, hashes, err := setupexp.HashPackage(bytes.NewReader(s.pkgs[name]), chunk)
	return setupexp.PackageSpec{
		URL: s.base + "/" + name + ".pkg", Size: size, ChunkSize: min(chunk, size), SHA256: hashes,
		BundleID: bundleID, BundleVersion: "1.0",
	}, err
}

// planner decides what a device gets: iPhones and iPads two profiles, Macs their account, profiles, the agent, an
// application and a script as well.
type planner struct {
	software  *software
	agentURL  string
	agentKeys *setupexp.AgentKeys // makes the credentials of agents
	adminHash []byte
}

// Plan implements setupexp.Planner.
func (p *planner) Plan(_ context.Context, s setupexp.Subject) (*setupexp.Plan, error) {
	plan := &setupexp.Plan{Revision: "quickstart 1", Deadline: 10 * time.Minute}
	plan.Items = append(plan.Items,
		profileItem("restrictions", "Restrictions", "com.apple.applicationaccess", map[string]string{"allowCamera": "<true/>"}),
		profileItem("passcode", "Passcode rules", "com.apple.mobiledevice.passwordpolicy", map[string]string{"minLength": "<integer>8</integer>"}))
	if !strings.HasPrefix(s.Product, "Mac") {
		return plan, nil
	}
	account := setupexp.AccountSpec{Admin: &setupexp.AdminAccount{ShortName: "itadmin", FullName: "IT Administrator", PasswordHash: p.adminHash, Hidden: true}}
	if user, err := enroll.ParseUser(s.User); err == nil && user != nil {
		account.FullName, account.UserName, account.Lock = user.Name, user.Username, true
	}
	config := profileItem("agent-config", "Agent configuration", agentID, map[string]string{
		"URL": "<string>" + p.agentURL + "</string>", "Token": "<string>" + p.agentKeys.Token(s.EnrollmentID, s.Generation) + "</string>",
	})
	agentSpec, err := p.software.spec("agent", agentID)
	if err != nil {
		return nil, err
	}
	agent := setupexp.AgentPackage("agent", "Agent", agentSpec)
	agent.After = []setupexp.Dependency{{ID: config.ID}}
	appSpec, err := p.software.spec("app", appID)
	if err != nil {
		return nil, err
	}
	// An item whose id is a bundle id is one the agent looks for, so that its success is known at once.
	app := setupexp.Package(appID, "Company app", setupexp.ProofPresent, appSpec)
	app.After = []setupexp.Dependency{{ID: agent.ID}}
	plan.Items = append(plan.Items,
		setupexp.Account("account", "Your account", account), config, agent, app,
		setupexp.Script("computer-name", "Computer name", "#!/bin/sh\nscutil --set ComputerName \"$(hostname -s)\"\n"))
	return plan, nil
}

// profileItem returns the item of a configuration profile with one payload of the given type.
func profileItem(id, title, payloadType string, keys map[string]string) setupexp.Item {
	identifier := "com.example.quickstart." + id
	var content strings.Builder
	for k, v := range keys {
		fmt.Fprintf(&content, "<key>%s</key>%s", k, v)
	}
	payload := func(suffix string) string {
		return strings.ToUpper(uuid.NewSHA1(uuid.NameSpaceURL, []byte(identifier+suffix)).String())
	}
	return setupexp.Profile(id, title, identifier, fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>%[1]s</string><key>PayloadUUID</key><string>%[2]s</string>
<key>PayloadDisplayName</key><string>%[3]s</string>
<key>PayloadContent</key><array><dict>
<key>PayloadType</key><string>%[4]s</string><key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>%[1]s.1</string><key>PayloadUUID</key><string>%[5]s</string>%[6]s
</dict></array></dict></plist>
`, identifier, payload(""), title, payloadType, payload(".1"), content.String()))
}

// randomKey returns n random bytes.
func randomKey(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return b
}

func randomText() string { return base64.RawURLEncoding.EncodeToString(randomKey(24)) }
