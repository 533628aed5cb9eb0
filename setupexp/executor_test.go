package setupexp

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// dispatched returns the Command dictionary of the command an item is dispatched with.
func dispatched(t *testing.T, x Executor, q *queue, it Item) map[string]any {
	t.Helper()
	require.NoError(t, x.Dispatch(t.Context(), Task{Subject: testSubject(), Item: it, ExecutionID: "E1"}))
	require.NoError(t, x.Dispatch(t.Context(), Task{Subject: testSubject(), Item: it, ExecutionID: "E1"}))
	require.Len(t, q.ids, 1)
	assert.True(t, bytes.HasPrefix(q.raw["E1"], []byte("<?xml")), "NanoMDM's SQL stores take no other")
	var c struct{ Command map[string]any }
	require.NoError(t, plist.Unmarshal(q.raw["E1"], &c))
	return c.Command
}

func TestInstallProfileCommand(t *testing.T) {
	t.Parallel()
	q := newQueue()
	got := dispatched(t, profiles{q}, q, Profile("a", "A", "com.example.a", []byte("payload")))
	assert.Equal(t, map[string]any{"RequestType": "InstallProfile", "Payload": []byte("payload")}, got)
}

func TestInstallEnterpriseApplicationCommand(t *testing.T) {
	t.Parallel()
	q := newQueue()
	got := dispatched(t, packages{q}, q, Package("a", "The App", ProofAcknowledged, packageSpec()))
	assert.Equal(t, map[string]any{
		"RequestType": "InstallEnterpriseApplication",
		"Manifest": map[string]any{"items": []any{map[string]any{
			"assets": []any{map[string]any{
				"kind": "software-package", "url": "https://mdm.example.com/app.pkg",
				"sha256-size": uint64(3 << 20), "sha256s": []any{strings.Repeat("ab", 32)},
			}},
			"metadata": map[string]any{
				"bundle-identifier": "com.example.app", "bundle-version": "1.2", "kind": "software", "title": "The App",
			},
		}}},
	}, got)
}

func TestAccountConfigurationCommand(t *testing.T) {
	t.Parallel()
	hash, err := HashPassword(strings.NewReader(strings.Repeat("s", 32)), "secret")
	require.NoError(t, err)
	q := newQueue()
	got := dispatched(t, accounts{q}, q, Account("a", "A", AccountSpec{
		Admin:          &AdminAccount{ShortName: "admin", FullName: "Admin", PasswordHash: hash, Hidden: true},
		PrimaryRegular: true, FullName: "Ada Lovelace", UserName: "ada", Lock: true, ManagedUser: "ada",
	}))
	assert.Equal(t, map[string]any{
		"RequestType": "AccountConfiguration", "SetPrimarySetupAccountAsRegularUser": true,
		"PrimaryAccountFullName": "Ada Lovelace", "PrimaryAccountUserName": "ada", "LockPrimaryAccountInfo": true,
		"ManagedLocalUserShortName": "ada",
		"AutoSetupAdminAccounts": []any{map[string]any{
			"shortName": "admin", "fullName": "Admin", "passwordHash": hash, "hidden": true,
		}},
	}, got)
}

func TestHashPassword(t *testing.T) {
	t.Parallel()
	salt := strings.Repeat("s", 32)
	hash, err := HashPassword(strings.NewReader(salt), "secret")
	require.NoError(t, err)
	var doc map[string]map[string]any
	require.NoError(t, plist.Unmarshal(hash, &doc))
	want, err := pbkdf2.Key(sha512.New, "secret", []byte(salt), 40000, 128)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"entropy": want, "salt": []byte(salt), "iterations": uint64(40000)}, doc["SALTED-SHA512-PBKDF2"])
	assert.NotContains(t, string(hash), "secret")
	_, err = HashPassword(strings.NewReader("short"), "secret")
	require.Error(t, err)
	_, err = HashPassword(strings.NewReader(salt), "")
	require.Error(t, err)
}

func TestHashPackage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		size   int
		chunks int
	}{{0, 0}, {9, 1}, {10, 1}, {11, 2}, {25, 3}} {
		data := bytes.Repeat([]byte{7}, tt.size)
		size, sums, err := HashPackage(bytes.NewReader(data), 10)
		require.NoError(t, err)
		assert.Equal(t, int64(tt.size), size)
		require.Len(t, sums, tt.chunks)
		for i, s := range sums {
			want := sha256.Sum256(data[10*i : min(10*i+10, tt.size)])
			assert.Equal(t, hex.EncodeToString(want[:]), s)
		}
	}
	_, _, err := HashPackage(strings.NewReader("x"), 0)
	require.Error(t, err)
	_, _, err = HashPackage(iotest.ErrReader(errCrash), 10)
	require.ErrorIs(t, err, errCrash)
}

func TestPackagesAreFoundByVersion(t *testing.T) {
	t.Parallel()
	list := func(apps ...map[string]any) []byte {
		raw, err := plist.Marshal(map[string]any{"InstalledApplicationList": apps})
		require.NoError(t, err)
		return raw
	}
	it := Package("app", "App", ProofPresent, packageSpec())
	for _, tt := range []struct {
		raw  []byte
		want Presence
	}{
		{list(), Absent},
		{list(map[string]any{"Identifier": "com.example.app", "Version": "1.1"}), Absent},
		{list(map[string]any{"Identifier": "com.example.app", "ShortVersion": "1.2"}), Installed},
		{list(map[string]any{"Identifier": "com.example.app", "Version": "1.2", "Installing": true}), Installing},
		{list(map[string]any{"Identifier": "com.example.other", "Version": "1.2"}), Absent},
	} {
		got, err := packages{}.Read([]Item{it}, tt.raw)
		require.NoError(t, err)
		assert.Equal(t, map[string]Presence{"app": tt.want}, got)
	}
	for _, raw := range []string{"", "<plist", "<plist><dict></dict></plist>"} {
		_, err := packages{}.Read([]Item{it}, []byte(raw))
		require.Error(t, err)
		_, err = profiles{}.Read(nil, []byte(raw))
		require.Error(t, err)
	}
}
