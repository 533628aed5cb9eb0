package enrolltest_test

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/enroll/enrolltest"
)

// profile returns a configuration profile without an MDM payload.
func (s *server) plainProfile(identifier, name string) []byte {
	return s.marshal(map[string]any{
		"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": identifier, "PayloadUUID": "uuid-" + name,
		"PayloadDisplayName": name, "PayloadContent": []map[string]any{{
			"PayloadType": "com.apple.wifi.managed", "PayloadVersion": 1, "PayloadIdentifier": identifier + ".wifi",
			"PayloadUUID": "uuid-wifi-" + name,
		}},
	})
}

// run boots the device with the plan, to which DeviceConfigured is added, and returns the first answers to it.
func (s *server) run(d *enrolltest.Device, plan ...map[string]any) []enrolltest.Answer {
	s.t.Helper()
	s.plan = append(plan, command("DeviceConfigured"))
	require.NoError(s.t, d.Boot(timeout(s.t)))
	answers := d.Answers()
	require.Len(s.t, answers, len(s.plan))
	return answers[:len(plan)]
}

func TestProfileCommands(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(enrolltest.IPhone, byURLAwait)
	s.profile = func(top map[string]any) { top["PayloadIdentifier"] = "org.example.second" }
	second := s.enrollmentProfile()
	s.profile = nil
	answers := s.run(d,
		command("InstallProfile", "Payload", s.plainProfile("org.example.a", "A")),
		command("InstallProfile", "Payload", s.plainProfile("org.example.b", "B")),
		command("InstallProfile", "Payload", s.plainProfile("org.example.a", "A2")),
		command("ProfileList"),
		command("RemoveProfile", "Identifier", "org.example.b"),
		command("RemoveProfile", "Identifier", "org.example.b"),
		command("InstallProfile", "Payload", []byte("rubbish")),
		command("InstallProfile"),
		command("InstallProfile", "Payload", second),
		command("RemoveProfile"),
	)
	var statuses []string
	for _, a := range answers {
		statuses = append(statuses, a.Status)
	}
	assert.Equal(t, []string{
		"Acknowledged", "Acknowledged", "Acknowledged", "Acknowledged", "Acknowledged", "Error", "Error", "CommandFormatError",
		"Error", "CommandFormatError",
	}, statuses)
	var names []string
	for _, p := range d.Profiles() {
		names = append(names, p.DisplayName)
	}
	assert.Equal(t, []string{"Enrollment", "A2"}, names)
	list, ok := s.results("plan-4")[0]["ProfileList"].([]any)
	require.True(t, ok)
	require.Len(t, list, 3)
	a2, ok := list[1].(map[string]any)
	require.True(t, ok)
	assert.Equal(t, "org.example.a", a2["PayloadIdentifier"])
	assert.Equal(t, "uuid-A2", a2["PayloadUUID"])
	assert.Equal(t, true, a2["IsManaged"])
}

func TestPackageIsAcknowledgedThenInstalled(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	var got enrolltest.Package
	d := s.device(enrolltest.Mac, byURLAwait,
		enrolltest.WithOnPackageInstalled(func(_ context.Context, d *enrolltest.Device, p enrolltest.Package) {
			note("hook")
			assert.Len(t, d.Packages(), 1)
			got = p
		}),
		enrolltest.WithObserver(func(e enrolltest.Event) {
			s.note(e)
			if e.RequestType == "InstallEnterpriseApplication" || e.Kind == enrolltest.EventPackage {
				note(string(e.Kind))
			}
		}))
	s.run(d, command("InstallEnterpriseApplication", "ManifestURL", s.srv.URL+"/manifest", "InstallAsManaged", true))
	assert.Equal(t, []string{"command", "answer", "package", "hook"}, order)
	assert.Equal(t, pkgContent, string(got.Content))
	got.Content = nil
	assert.Equal(t, []enrolltest.Package{got}, d.Packages())
	assert.Equal(t, enrolltest.Package{
		Identifier: "org.example.agent", Version: "1.2.3", Title: "Agent", URL: s.srv.URL + "/pkg", Hash: "sha256s",
		Size: int64(len(pkgContent)), Managed: true,
	}, got)

	s.enqueue(d.UDID(), "list", command("InstalledApplicationList"))
	s.runUntil(d, "list", 1)
	list, _ := s.results("list")[0]["InstalledApplicationList"].([]any)
	require.Len(t, list, 1)
	assert.Equal(t, "org.example.agent", list[0].(map[string]any)["Identifier"])
}

func TestPackageFailuresAreNotReported(t *testing.T) {
	t.Parallel()
	sha := map[string]any{"kind": "software-package", "sha256": "00"}
	for _, tt := range []struct {
		name     string
		manifest func(s *server) map[string]any
		err      string
	}{
		{"wrong hash", func(s *server) map[string]any { sha["url"] = s.srv.URL + "/pkg"; return manifestOf(sha) }, "does not match"},
		{"short chunks", func(s *server) map[string]any {
			m := s.manifest()
			a := m["items"].([]map[string]any)[0]["assets"].([]map[string]any)[0]
			a["sha256s"] = a["sha256s"].([]string)[:1]
			return m
		}, "longer"},
		{"no such package", func(s *server) map[string]any {
			return manifestOf(map[string]any{"kind": "software-package", "url": s.srv.URL + "/gone"})
		}, "404"},
		{"no package", func(*server) map[string]any { return manifestOf(map[string]any{"kind": "display-image"}) }, "no software-package"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			d := s.device(enrolltest.Mac, byURLAwait, enrolltest.WithOnPackageInstalled(
				func(context.Context, *enrolltest.Device, enrolltest.Package) { t.Error("installed") }))
			answers := s.run(d, command("InstallEnterpriseApplication", "Manifest", tt.manifest(s)))
			assert.Equal(t, "Acknowledged", answers[0].Status)
			require.Len(t, d.Packages(), 1)
			assert.ErrorContains(t, d.Packages()[0].Err, tt.err)
		})
	}
}

func TestAccountConfiguration(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	salt := []byte("0123456789abcdef0123456789abcdef")
	key, err := pbkdf2.Key(sha512.New, "admin password", salt, 1000, 128)
	require.NoError(t, err)
	hash := s.marshal(map[string]any{"SALTED-SHA512-PBKDF2": map[string]any{"entropy": key, "salt": salt, "iterations": 1000}})
	admins := []map[string]any{{"shortName": "itadmin", "passwordHash": hash, "hidden": true}}
	d := s.device(enrolltest.Mac, byURLAwait)
	answers := s.run(d,
		command("AccountConfiguration", "SkipPrimarySetupAccountCreation", true),
		command("AccountConfiguration", "AutoSetupAdminAccounts", []map[string]any{{"shortName": "x", "passwordHash": []byte("y")}}),
		command("AccountConfiguration", "SkipPrimarySetupAccountCreation", true, "AutoSetupAdminAccounts", admins,
			"PrimaryAccountUserName", "jane", "LockPrimaryAccountInfo", true),
	)
	assert.Equal(t, "Error", answers[0].Status)
	assert.Equal(t, "Error", answers[1].Status)
	assert.Equal(t, "Acknowledged", answers[2].Status)
	c, ok := d.AccountConfiguration()
	require.True(t, ok)
	assert.True(t, c.SkipPrimarySetupAccountCreation)
	assert.Equal(t, "jane", c.PrimaryAccountUserName)
	assert.True(t, c.LockPrimaryAccountInfo)
	assert.Equal(t, "itadmin", c.AutoSetupAdminAccounts[0].ShortName)
	assert.True(t, c.AutoSetupAdminAccounts[0].Accepts("admin password"))
	assert.False(t, c.AutoSetupAdminAccounts[0].Accepts("another"))

	late := newServer(t)
	late.plan = []map[string]any{command("AccountConfiguration", "PrimaryAccountUserName", "jane")}
	m := late.device(enrolltest.Mac, byURL)
	require.NoError(t, m.Boot(timeout(t)))
	late.runUntil(m, "plan-1", 1)
	assert.Equal(t, 101, m.Answers()[0].ErrorChain[0].Code)
	assert.Equal(t, "MDMDeviceEnrollment", m.Answers()[0].ErrorChain[0].Domain)
}

func TestRestartWhileAwaitingLosesAccountConfiguration(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(enrolltest.Mac, byURLAwait)
	answers := s.run(d, command("RestartDevice"), command("AccountConfiguration", "PrimaryAccountUserName", "jane"))
	assert.Equal(t, "Acknowledged", answers[0].Status)
	assert.Equal(t, 101, answers[1].ErrorChain[0].Code)
	_, ok := d.AccountConfiguration()
	assert.False(t, ok)
}

func TestOtherCommands(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(enrolltest.IPhone, byURLAwait)
	answers := s.run(d,
		command("DeclarativeManagement"), command("SecurityInfo"), command("MakeCoffee"), command("AccountConfiguration"),
		command("InstallEnterpriseApplication", "ManifestURL", s.srv.URL+"/manifest"),
		command("InstallApplication", "iTunesStoreID", 42), command("ManagedApplicationList"), command("DeviceInformation"))
	assert.Equal(t, "Acknowledged", answers[0].Status)
	assert.Contains(t, s.results("plan-2")[0]["SecurityInfo"], "ManagementStatus")
	for _, a := range answers[2:5] {
		assert.Equal(t, "Error", a.Status, a.RequestType)
		assert.Equal(t, 12021, a.ErrorChain[0].Code)
	}
	assert.Equal(t, []enrolltest.App{{Identifier: "store.42", StoreID: 42, Status: "Managed"}}, d.Apps())
	apps, _ := s.results("plan-7")[0]["ManagedApplicationList"].(map[string]any)
	assert.Contains(t, apps, "store.42")
	assert.Equal(t, "CommandFormatError", answers[7].Status)
}

func TestAccessRights(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mdm = func(p map[string]any) { p["AccessRights"] = 1 }
	d := s.device(enrolltest.Mac, byURLAwait)
	answers := s.run(d, command("ProfileList"), command("InstallProfile", "Payload", s.plainProfile("a", "a")),
		command("DeviceInformation", "Queries", []string{"AwaitingConfiguration", "OSVersion"}))
	assert.Equal(t, "Acknowledged", answers[0].Status)
	assert.Equal(t, "Error", answers[1].Status)
	assert.Equal(t, map[string]any{"AwaitingConfiguration": true}, s.results("plan-3")[0]["QueryResponses"])
}

func TestScript(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	chain := enrolltest.ErrorItem{Code: 7, Domain: "Test", LocalizedDescription: "no"}
	s.plan = []map[string]any{
		command("ProfileList"), command("InstallProfile", "Payload", s.plainProfile("org.example.a", "A")),
	}
	var d *enrolltest.Device
	d = s.device(enrolltest.Mac, byURLAwait, enrolltest.WithObserver(func(e enrolltest.Event) {
		s.note(e)
		if e.RequestType == "InstallProfile" && e.Status == enrolltest.StatusAcknowledged {
			s.enqueue(d.UDID(), "release", command("DeviceConfigured"))
		}
	}))
	require.NoError(t, d.Script(enrolltest.NotNow("InstallProfile", 2), enrolltest.Fail("ProfileList", 1, chain),
		enrolltest.Rule{Match: func(c enrolltest.Command) bool { return c.UUID == "never" }, Status: enrolltest.StatusNotNow}))
	require.Error(t, d.Script(enrolltest.Rule{}))
	require.Error(t, d.Script(enrolltest.Rule{Status: "Idle"}))
	require.Error(t, d.Script(enrolltest.Rule{Status: "NotNow", ErrorChain: []enrolltest.ErrorItem{chain}}))
	require.NoError(t, d.Boot(timeout(t)))

	var profile []string
	for _, r := range s.results("plan-2") {
		profile = append(profile, fmt.Sprint(r["Status"]))
	}
	assert.Equal(t, []string{"NotNow", "NotNow", "Acknowledged"}, profile)
	failed := s.results("plan-1")
	require.Len(t, failed, 1)
	assert.Equal(t, []any{map[string]any{
		"ErrorCode": uint64(7), "ErrorDomain": "Test", "LocalizedDescription": "no",
	}}, failed[0]["ErrorChain"])
	assert.Len(t, d.Profiles(), 2)

	// After NotNow a device past Setup Assistant asks again by itself; one push is enough.
	require.NoError(t, d.Script(enrolltest.NotNow("SecurityInfo", 1)))
	s.enqueue(d.UDID(), "later", command("SecurityInfo"))
	s.runUntil(d, "later", 2)
	d.ClearScript()
}

func TestLostConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.plan = []map[string]any{command("DeviceConfigured")}
	var lost []error
	d := s.device(enrolltest.Mac, byURLAwait, enrolltest.WithObserver(func(e enrolltest.Event) {
		if e.Err != nil {
			lost = append(lost, e.Err)
		}
	}))
	require.NoError(t, d.Script(enrolltest.Lose("DeviceConfigured", 1)))
	require.NoError(t, d.Boot(timeout(t)))
	assert.Len(t, lost, 1)
	assert.Len(t, d.Answers(), 1, "carried out once")
	assert.Len(t, s.results("plan-1"), 1, "and reported on the next connection")
}

func TestAnswerSurvivesABrokenConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.plan = []map[string]any{command("DeviceConfigured")}
	fails := 3
	s.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/mdm" || fails == 0 || r.Header.Get("Content-Type") == "application/x-apple-aspen-mdm-checkin" {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		fails--
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "try later")
		return true
	}
	var failures []error
	d := s.device(enrolltest.Mac, byURLAwait, enrolltest.WithObserver(func(e enrolltest.Event) {
		if e.Kind == enrolltest.EventConnectionFailed {
			failures = append(failures, e.Err)
		}
	}))
	require.NoError(t, d.Boot(timeout(t)))
	assert.Len(t, failures, 3)
	assert.ErrorContains(t, errors.Join(failures...), "502")
	assert.Len(t, s.results("plan-1"), 1)
}
