package main

import (
	"encoding/json"
	"errors"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/examples/internal/sqlitedb"
)

// connected returns a folder with the database of an account that has assigned a profile to the Mac C02A and the iPad DMQA,
// and the simulated service.
func connected(t *testing.T) (string, *abmtest.Service) {
	t.Helper()
	apple, err := abmtest.NewService()
	require.NoError(t, err)
	server := httptest.NewServer(apple)
	t.Cleanup(server.Close)
	entry, err := apple.AddMDMServer("MDM")
	require.NoError(t, err)
	require.NoError(t, apple.AddDevices(entry,
		abmtest.Device{SerialNumber: "C02A", Model: "MacBook Air", Family: "Mac", OS: "OSX"},
		abmtest.Device{SerialNumber: "DMQA", Model: "iPad Air", Family: "iPad", OS: "iOS"}))

	dir := t.TempDir()
	db, err := sqlitedb.Create(t.Context(), dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	resolver, err := abm.ForAll(depprofile.Default("https://mdm.example.com/mdm/sso"))
	require.NoError(t, err)
	engine, err := abm.New(db, db.Sealer, resolver)
	require.NoError(t, err)
	_, err = engine.Accounts().Create(t.Context(), "acme", server.URL)
	require.NoError(t, err)
	keyPair, err := engine.Accounts().CreateKeyPair(t.Context(), "acme")
	require.NoError(t, err)
	require.NoError(t, entry.UploadCertificate(keyPair.Certificate))
	token, err := entry.MintToken()
	require.NoError(t, err)
	_, err = engine.Accounts().ImportToken(t.Context(), "acme", token, abm.ImportOptions{})
	require.NoError(t, err)
	_, err = engine.SyncOnce(t.Context(), "acme")
	require.NoError(t, err)
	_, err = engine.AssignOnce(t.Context(), "acme")
	require.NoError(t, err)
	_, err = engine.SyncOnce(t.Context(), "acme")
	require.NoError(t, err)
	return dir, apple
}

// printed returns what the program prints, and its error.
func printed(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	err := run(t.Context(), args, strings.NewReader("C02A\n\n C02X \n"), &out)
	return out.String(), err
}

// file writes a file and returns its name.
func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	name = filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestPrintsWhatAppleSays(t *testing.T) {
	t.Parallel()
	dir, _ := connected(t)
	out, err := printed(t, "-dir", dir, "C02A")
	require.NoError(t, err)
	assert.Regexp(t, `C02A +SUCCESS +MacBook Air +Mac +assigned +[0-9A-F]{32}`, out)

	out, err = printed(t, "-dir", dir, "-account", "acme", "-json", "-")
	require.ErrorIs(t, err, errNotAccessible)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	var first, second map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &second))
	assert.Equal(t, "assigned", first["profile_status"])
	assert.Equal(t, "C02X", second["serial_number"])
	assert.Equal(t, "NOT_ACCESSIBLE", second["response_status"])
}

func TestExplains(t *testing.T) {
	t.Parallel()
	dir, apple := connected(t)
	before := apple.Stats()
	out, err := printed(t, "-dir", dir, "-explain", "C02A")
	require.NoError(t, err)
	assert.Contains(t, out, `C02A: It has the wanted profile "Default enrollment profile".`)
	assert.Regexp(t, `rule: was "all devices" when it was decided, 20.* \(.*\); cannot be told now: .* name their file with -rules\n`, out)
	assert.Contains(t, out, "profile_verified")

	rules := file(t, dir, "rules.json", `{"order": 2, "rules": [{"name": "the lab", "serials": ["C02A"]}]}`)
	out, err = printed(t, "-dir", dir, "-explain", "-rules", rules, "-json", "-")
	require.ErrorIs(t, err, errNotAccessible)
	assert.Equal(t, 3, status(err))
	known, unknown, ok := strings.Cut(strings.TrimSpace(out), "\n")
	require.True(t, ok)
	var x abm.Explanation
	require.NoError(t, json.Unmarshal([]byte(known), &x))
	assert.Equal(t, abm.VerdictSatisfied, x.Verdict)
	assert.Equal(t, "the lab", x.Accounts[0].Rule.Reason)
	assert.Contains(t, x.Accounts[0].Rule.Note, "The rules want nothing for it now (the lab)")
	x = abm.Explanation{}
	require.NoError(t, json.Unmarshal([]byte(unknown), &x))
	assert.Equal(t, abm.VerdictUnknown, x.Verdict)
	assert.Equal(t, before, apple.Stats(), "Apple was asked")
}

func TestDryRunOfRules(t *testing.T) {
	t.Parallel()
	dir, apple := connected(t)
	before := apple.Stats()
	file(t, dir, "kiosk.json", `{"profile_name": "Kiosk", "url": "https://mdm.example.com/kiosk"}`)
	rules := file(t, dir, "rules.json", `{"order": 2, "rules": [
		{"name": "the lab", "accounts": ["other"], "serials": ["C02A"]},
		{"name": "kiosks", "families": ["iPad"], "models": ["iPad Air"], "profile": "kiosk.json", "rollout": {"perHour": 10}},
		{"name": "Macs", "families": ["Mac"]}
	]}`)
	out, err := printed(t, "-dir", dir, "-dry-run", rules)
	require.NoError(t, err)
	assert.Regexp(t, `acme +assign( \(1 later, by pace\))? +1 +"Default enrollment profile" +"Kiosk" +kiosks +DMQA\n`, out)
	assert.Regexp(t, `acme +left_alone +1 +"Default enrollment profile" +- +Macs +C02A\n`, out)
	assert.Contains(t, out, "account acme: devices 2, to assign 1; calls to Apple at least 1 to assign and 1 to define\n  the pace of the roll-out makes ")
	assert.Contains(t, out, `url: "https://mdm.example.com/mdm/sso" -> "https://mdm.example.com/kiosk"`)

	out, err = printed(t, "-dir", dir, "-dry-run", filepath.Join(dir, "kiosk.json"), "-json", "-samples", "0", "-account", "acme")
	require.NoError(t, err)
	var res abm.DryRunResult
	require.NoError(t, json.Unmarshal([]byte(out), &res))
	assert.Equal(t, map[abm.DryRunOutcome]int{abm.OutcomeAssign: 2}, res.Outcomes)
	assert.Empty(t, res.Groups[0].Serials)
	assert.Equal(t, before, apple.Stats(), "Apple was asked")
}

// What comes later by itself is told from what does not come while the rules stay as they are.
func TestDryRunTellsPaceFromPercent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 15, 0, 0, 0, time.UTC)
	out := dryRunText(&abm.DryRunResult{
		Groups: []abm.DryRunGroup{
			{Account: "acme", Outcome: abm.OutcomeDeferred, Percent: 10, Devices: 90},
			{Account: "acme", Outcome: abm.OutcomeAssign, Devices: 10, Paced: 9},
			{Account: "acme", Outcome: abm.OutcomeAssign, Devices: 1},
		},
		Accounts: []abm.DryRunAccount{{
			Account: "acme", Devices: 101, Paced: 9, RolloutEndsAt: at,
			Outcomes: map[abm.DryRunOutcome]int{abm.OutcomeDeferred: 90, abm.OutcomeAssign: 11},
		}},
	})
	assert.Regexp(t, `acme +deferred \(not while it is 10 percent\) +90 `, out)
	assert.Regexp(t, `acme +assign \(9 later, by pace\) +10 `, out)
	assert.Regexp(t, `acme +assign +1 `, out)
	assert.Contains(t, out, "  a roll-out leaves out 90 more: they keep what they have until its percentage is raised\n"+
		"  the pace of the roll-out makes 9 of them wait; begun now, the last one's turn is at 2026-11-24T15:00:00Z, without those that are left out\n")
}

func TestRefusesRules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, tt := range map[string]struct{ text, want string }{
		"no JSON":        {"hello", "not a JSON object"},
		"a typo":         {`{"rules": [{"family": ["Mac"]}]}`, "unknown field"},
		"an empty entry": {`{"rules": [{"families": [""]}]}`, "rule 1: an entry of the families is empty"},
		"no such file":   {`{"rules": [{"name": "lab", "profile": "missing.json"}]}`, "lab: open "},
		"a profile":      {`{"profile_name": "x"}`, "CONFIG_URL_REQUIRED"},
		"a roll-out":     {`{"rules": [{"rollout": {"percent": 101}}]}`, "101 percent"},
		"a number":       {`{"rules": [{"profile": 7}]}`, "not a well-formed JSON object"},
	} {
		_, err := readRules(file(t, dir, "rules.json", tt.text))
		require.ErrorIs(t, err, errUsage, name)
		assert.ErrorContains(t, err, tt.want, name)
	}
	_, err := readRules(filepath.Join(dir, "nowhere.json"))
	require.ErrorIs(t, err, errUsage)
	_, err = readRules(file(t, dir, "rules.json", `{"rules": [
		{"name": "lab", "profile": {"profile_name": "", "url": "ftp://x"}}, {"profile": {"url": "https://x/", "department": ""}}
	]}`))
	require.Error(t, err)
	for _, want := range []string{"lab: profile_name", "url: CONFIG_URL_INVALID", "rule 2: profile_name: CONFIG_NAME_REQUIRED"} {
		assert.ErrorContains(t, err, want, "all complaints at once")
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	dir, _ := connected(t)
	for want, args := range map[string][]string{
		"-dir is missing":      {"C02A"},
		"at least one":         {"-dir", dir},
		"not defined":          {"-dir", dir, "-nope", "C02A"},
		"for all devices":      {"-dir", dir, "-dry-run", "x.json", "C02A"},
		"two things":           {"-dir", dir, "-dry-run", "x.json", "-explain"},
		"needs a file":         {"-dir", dir, "-dry-run", ""},
		"is for -explain":      {"-dir", dir, "-rules", "x.json", "C02A"},
		"about all accounts":   {"-dir", dir, "-explain", "-account", "acme", "C02A"},
		"is for -dry-run":      {"-dir", dir, "-samples", "3", "C02A"},
		"cannot be negative":   {"-dir", dir, "-dry-run", "x.json", "-samples", "-1"},
		"no such file":         {"-dir", dir, "-dry-run", "nowhere.json"},
		"nowhere.json: no suc": {"-dir", dir, "-explain", "-rules", "nowhere.json", "C02A"},
	} {
		_, err := printed(t, args...)
		require.ErrorContains(t, err, want)
		assert.Equal(t, 2, status(err), want)
	}
	empty := t.TempDir()
	db, err := sqlitedb.Create(t.Context(), empty)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for want, args := range map[string][]string{
		"no database": {"-dir", t.TempDir(), "C02A"},
		"no account":  {"-dir", empty, "C02A"},
		"not found":   {"-dir", dir, "-account", "other", "C02A"},
	} {
		_, err := printed(t, args...)
		require.ErrorContains(t, err, want)
		assert.Equal(t, 1, status(err), want)
	}
	_, err = parse([]string{"-h"}, nil)
	require.ErrorIs(t, err, flag.ErrHelp)
	out, err := printed(t, "-h")
	require.NoError(t, err)
	assert.Equal(t, usage, out)
	assert.Equal(t, 0, status(nil))
	assert.Equal(t, 1, status(errors.New("any")))
}

// The rules in the help are rules that can be read.
func TestHelpShowsRules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file(t, dir, "kiosk.json", `{"profile_name": "Kiosk", "url": "https://mdm.example.com/kiosk"}`)
	_, rest, ok := strings.Cut(usage, `    {"order"`)
	require.True(t, ok)
	text, _, ok := strings.Cut(rest, "\n\n")
	require.True(t, ok)
	_, err := readRules(file(t, dir, "rules.json", `{"order"`+text))
	require.NoError(t, err)
}
