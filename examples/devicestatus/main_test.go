package main

import (
	"encoding/json"
	"flag"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/examples/internal/sqlitedb"
)

// connected returns a folder with the database of an account that has assigned a profile to the Mac C02A.
func connected(t *testing.T) string {
	t.Helper()
	apple, err := abmtest.NewService()
	require.NoError(t, err)
	server := httptest.NewServer(apple)
	t.Cleanup(server.Close)
	entry, err := apple.AddMDMServer("MDM")
	require.NoError(t, err)
	require.NoError(t, apple.AddDevices(entry, abmtest.Device{SerialNumber: "C02A", Model: "MacBook Air", Family: "Mac", OS: "OSX"}))

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
	return dir
}

func TestPrintsWhatAppleSays(t *testing.T) {
	t.Parallel()
	dir := connected(t)
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-dir", dir, "C02A"}, nil, &out))
	assert.Regexp(t, `C02A +SUCCESS +MacBook Air +Mac +assigned +[0-9A-F]{32}`, out.String())

	out.Reset()
	err := run(t.Context(), []string{"-dir", dir, "-account", "acme", "-json", "-"}, strings.NewReader("C02A\n\nC02X\n"), &out)
	require.ErrorIs(t, err, errNotAccessible)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2)
	var first, second map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &second))
	assert.Equal(t, "assigned", first["profile_status"])
	assert.Equal(t, "C02X", second["serial_number"])
	assert.Equal(t, "NOT_ACCESSIBLE", second["response_status"])
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	dir := connected(t)
	for want, args := range map[string][]string{
		"-dir is missing": {"C02A"},
		"at least one":    {"-dir", dir},
		"not defined":     {"-dir", dir, "-nope", "C02A"},
		"no database":     {"-dir", t.TempDir(), "C02A"},
		"not found":       {"-dir", dir, "-account", "other", "C02A"},
	} {
		assert.ErrorContains(t, run(t.Context(), args, strings.NewReader(""), &strings.Builder{}), want)
	}
	_, err := parse([]string{"-h"}, nil)
	require.ErrorIs(t, err, flag.ErrHelp)
}
