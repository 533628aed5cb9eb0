package depprofile_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/depprofile"
)

func fingerprint(t testing.TB, doc string) depprofile.Fingerprint {
	t.Helper()
	p, err := depprofile.Parse([]byte(doc))
	require.NoError(t, err)
	f, err := p.Fingerprint()
	require.NoError(t, err)
	return f
}

func TestFingerprintAndDiffAgreeOnWhatCounts(t *testing.T) {
	t.Parallel()
	const base = `{"profile_name":"n","url":"https://a.example","skip_setup_items":["TOS","Siri"],"anchor_certs":["a","b"],"x":{"b":1,"a":2}}`
	tests := []struct {
		name, doc string
		changes   []string
	}{
		{"key order and white space", `{ "x": {"a":2, "b":1}, "anchor_certs":["a","b"], "skip_setup_items":["TOS","Siri"], ` +
			`"url":"https://a.example", "profile_name":"\u006e" }`, nil},
		{"order and repetition of skip items", strings.Replace(base, `["TOS","Siri"]`, `["Siri","TOS","Siri"]`, 1), nil},
		{"devices and uuid", strings.Replace(base, `{`, `{"devices":["S1"],"profile_uuid":"U",`, 1), nil},
		{"empty string and null", strings.Replace(base, `{`, `{"department":"","region":null,`, 1), nil},
		{"an explicit default", strings.Replace(base, `{`, `{"allow_pairing":true,`, 1), []string{`allow_pairing: absent -> true`}},
		{"an empty list", strings.Replace(base, `["TOS","Siri"]`, `[]`, 1), []string{`skip_setup_items: -Siri -TOS`}},
		{"no list", strings.Replace(base, `"skip_setup_items":["TOS","Siri"],`, ``, 1), []string{`skip_setup_items: ["Siri","TOS"] -> absent`}},
		{"skip items", strings.Replace(base, `"Siri"`, `"FileVault"`, 1), []string{`skip_setup_items: +FileVault -Siri`}},
		{"order of certificates", strings.Replace(base, `["a","b"]`, `["b","a"]`, 1), []string{`anchor_certs: same items in another order or number`}},
		{"unknown value", strings.Replace(base, `"b":1`, `"b":1.0`, 1), []string{`x: {"a":2,"b":1} -> {"a":2,"b":1.0}`}},
		{"several keys, sorted", strings.NewReplacer(`"n"`, `"m"`, `a.example`, `b.example`).Replace(base),
			[]string{`profile_name: "n" -> "m"`, `url: "https://a.example" -> "https://b.example"`}},
		{"a long value is cut", strings.Replace(base, `"n"`, `"`+strings.Repeat("é", 80)+`"`, 1),
			[]string{`profile_name: "n" -> "` + strings.Repeat("é", 49) + `…`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, err := depprofile.Parse([]byte(base))
			require.NoError(t, err)
			b, err := depprofile.Parse([]byte(tt.doc))
			require.NoError(t, err)
			var got []string
			for _, c := range depprofile.Diff(a, b) {
				got = append(got, c.String())
			}
			assert.Equal(t, tt.changes, got)
			assert.Equal(t, len(tt.changes) == 0, fingerprint(t, base) == fingerprint(t, tt.doc))
			assert.Len(t, depprofile.Diff(b, a), len(tt.changes))
			assert.Equal(t, "TOS", string(a.SkipSetupItems[0]), "comparing leaves the profile alone")
		})
	}
}

func TestDiffOfNilAndUnencodable(t *testing.T) {
	t.Parallel()
	p := &depprofile.Profile{ProfileName: "n"}
	assert.Equal(t, []depprofile.Change{{Key: "profile_name", To: json.RawMessage(`"n"`)}}, depprofile.Diff(nil, p))
	assert.Equal(t, []depprofile.Change{{Key: "profile_name", From: json.RawMessage(`"n"`)}}, depprofile.Diff(p, nil))
	assert.Empty(t, depprofile.Diff(nil, nil))

	bad := &depprofile.Profile{ProfileName: "n\xff", Extra: map[string]json.RawMessage{"x": json.RawMessage(`{`), "url": json.RawMessage(`1`)}}
	assert.Equal(t, []depprofile.Change{
		{Key: "profile_name", From: json.RawMessage(`"n"`), To: json.RawMessage(`"n�"`)}, {Key: "x", To: json.RawMessage(`"{"`)},
	}, depprofile.Diff(p, bad))
}

func TestEmptyCanonical(t *testing.T) {
	t.Parallel()
	for _, p := range []*depprofile.Profile{nil, {}, {Devices: []string{"S1"}, ProfileUUID: "U"}} {
		b, err := p.Canonical()
		require.NoError(t, err)
		assert.Equal(t, `{}`, string(b))
	}
}

func TestFingerprintText(t *testing.T) {
	t.Parallel()
	f := fingerprint(t, `{"profile_name":"n"}`)
	for _, s := range []string{f.String(), strings.ToUpper(f.String())} {
		g, err := depprofile.ParseFingerprint(s)
		require.NoError(t, err)
		assert.Equal(t, f, g)
	}
	b, err := json.Marshal(map[depprofile.Fingerprint]depprofile.Fingerprint{f: f})
	require.NoError(t, err)
	assert.JSONEq(t, `{"`+f.String()+`":"`+f.String()+`"}`, string(b))
	var back map[depprofile.Fingerprint]depprofile.Fingerprint
	require.NoError(t, json.Unmarshal(b, &back))
	assert.Equal(t, f, back[f])

	for _, s := range []string{"", f.String()[:62], f.String() + "00", strings.Repeat("g", 64)} {
		g := f
		require.ErrorIs(t, g.UnmarshalText([]byte(s)), depprofile.ErrFingerprint)
		assert.Equal(t, f, g, "unchanged on error")
		z, err := depprofile.ParseFingerprint(s)
		require.Error(t, err)
		assert.Zero(t, z)
	}
}

func BenchmarkFingerprint(b *testing.B) {
	p := depprofile.Default("https://mdm.example.com/mdm/sso")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Fingerprint(); err != nil {
			b.Fatal(err)
		}
	}
}
