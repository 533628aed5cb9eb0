package depprofile_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/depprofile"
)

// golden returns a file of testdata. The *.canonical.json files and the fingerprints in this file were made with Python's
// json.dumps(sort_keys=True) and hashlib, not with this package.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

func TestGoldens(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, fingerprint string }{
		{"default_profile", "6e22f9cfcbec57d1b9fb87602af15ecb611d1fa9f1d17d85988b468f0cd1624a"},
		{"full_profile", "3cd244c33dde25e01e86f647129f04b34ae76a02569544d9c08d730b3925f6a2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := golden(t, tt.name+".json")
			p, err := depprofile.Parse(file)
			require.NoError(t, err)
			require.NoError(t, p.Validate())

			again, err := json.Marshal(p)
			require.NoError(t, err)
			assert.JSONEq(t, string(file), string(again))
			assert.Equal(t, values(t, file), values(t, again), "numbers keep their text")

			canonical, err := p.Canonical()
			require.NoError(t, err)
			assert.Equal(t, string(golden(t, tt.name+".canonical.json")), string(canonical))

			f, err := p.Fingerprint()
			require.NoError(t, err)
			assert.Equal(t, tt.fingerprint, f.String())

			q, err := depprofile.Parse(again)
			require.NoError(t, err)
			assert.Empty(t, cmp.Diff(p, q, sameJSON))
		})
	}
}

// sameJSON compares raw JSON without its white space and key order.
var sameJSON = cmp.Transformer("JSON", func(raw json.RawMessage) (v any) {
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	return v
})

// values decodes a JSON object without rounding its numbers.
func values(t testing.TB, data []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var m map[string]any
	require.NoError(t, d.Decode(&m))
	return m
}

func TestDefaultIsTheGoldenAndAStructLiteral(t *testing.T) {
	t.Parallel()
	file, err := depprofile.Parse(golden(t, "default_profile.json"))
	require.NoError(t, err)
	literal := &depprofile.Profile{
		ProfileName:               "Fleet default enrollment profile",
		OrgMagic:                  "1",
		URL:                       "https://mdm.example.com/mdm/sso",
		ConfigurationWebURL:       "https://mdm.example.com/mdm/sso",
		IsSupervised:              new(false),
		AllowPairing:              new(true),
		IsMandatory:               new(false),
		IsMDMRemovable:            new(true),
		AwaitDeviceConfigured:     new(true),
		IsMultiUser:               new(false),
		IsReturnToService:         new(false),
		DoNotUseProfileFromBackup: new(false),
		AutoAdvanceSetup:          new(false),
		Language:                  "en",
		Region:                    "US",
		SkipSetupItems: []depprofile.SkipKey{
			"Accessibility", "Appearance", "AppleID", "AppStore", "Biometric", "Diagnostics", "FileVault", "iCloudDiagnostics",
			"iCloudStorage", "Location", "Payment", "Privacy", "Restore", "ScreenTime", "Siri", "TermsOfAddress", "TOS", "UnlockWithWatch",
		},
	}
	assert.Empty(t, cmp.Diff(file, literal))
	standard := depprofile.Default("https://mdm.example.com/mdm/sso")
	standard.ProfileName = file.ProfileName
	assert.Empty(t, cmp.Diff(file, standard))
}

func TestFullGoldenFillsEveryField(t *testing.T) {
	t.Parallel()
	p, err := depprofile.Parse(golden(t, "full_profile.json"))
	require.NoError(t, err)
	v := reflect.ValueOf(*p)
	for i := range v.NumField() {
		assert.False(t, v.Field(i).IsZero(), "%s is not in the golden, or not decoded", v.Type().Field(i).Name)
	}
	assert.Len(t, values(t, golden(t, "full_profile.json")), v.NumField()-1+2, "each field is one key, Extra is two")
	assert.JSONEq(t, `null`, string(p.Extra["future_null"]))
}

func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	p, err := depprofile.Parse(golden(t, "full_profile.json"))
	require.NoError(t, err)
	c := p.Clone()
	require.Empty(t, cmp.Diff(p, c))

	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Pointer:
			f.Elem().SetBool(!f.Elem().Bool())
		case reflect.Slice:
			f.Index(0).SetString("changed")
		case reflect.Map:
			c.Extra["future_key"][0] = '['
			c.Extra["added"] = nil
		case reflect.String:
		default:
			t.Fatalf("field %s: kind %s is new; does Clone copy it?", v.Type().Field(i).Name, f.Kind())
		}
	}
	q, err := depprofile.Parse(golden(t, "full_profile.json"))
	require.NoError(t, err)
	assert.Empty(t, cmp.Diff(q, p))
	assert.Nil(t, (*depprofile.Profile)(nil).Clone())
}

func TestEncodeCertificates(t *testing.T) {
	t.Parallel()
	p, err := depprofile.Parse(golden(t, "full_profile.json"))
	require.NoError(t, err)
	der, err := base64.StdEncoding.DecodeString(p.AnchorCerts[0])
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	assert.Equal(t, []string{p.AnchorCerts[0], p.AnchorCerts[0]}, depprofile.EncodeCertificates(cert, cert))
	assert.False(t, strings.ContainsAny(p.AnchorCerts[0], "\n-"))
}
