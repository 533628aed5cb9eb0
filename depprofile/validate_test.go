package depprofile_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/depprofile"
)

// valid returns the smallest valid profile.
func valid() *depprofile.Profile {
	return &depprofile.Profile{ProfileName: "n", URL: "https://mdm.example.com"}
}

// broken returns what Validate reports as "key CODE" lines.
func broken(t *testing.T, p *depprofile.Profile) []string {
	t.Helper()
	err := p.Validate()
	if err == nil {
		return nil
	}
	var errs depprofile.KeyErrors
	require.ErrorAs(t, err, &errs)
	require.NotEmpty(t, errs)
	var out []string
	for _, e := range errs {
		assert.NotEmpty(t, e.Reason)
		assert.NotEmpty(t, e.Fix)
		out = append(out, strings.TrimSpace(e.Key+" "+string(e.Code)))
	}
	return out
}

func TestValidateLengthBoundaries(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key, code string
		limit     int
		set       func(*depprofile.Profile, string)
	}{
		{"profile_name", "CONFIG_NAME_INVALID", 125, func(p *depprofile.Profile, s string) { p.ProfileName = s }},
		{"department", "DEPARTMENT_INVALID", 125, func(p *depprofile.Profile, s string) { p.Department = s }},
		{"support_phone_number", "SUPPORT_PHONE_INVALID", 50, func(p *depprofile.Profile, s string) { p.SupportPhoneNumber = s }},
		{"support_email_address", "SUPPORT_EMAIL_INVALID", 250, func(p *depprofile.Profile, s string) { p.SupportEmailAddress = s }},
		{"org_magic", "MAGIC_INVALID", 256, func(p *depprofile.Profile, s string) { p.OrgMagic = s }},
	}
	for _, tt := range tests {
		t.Run(tt.key, func(t *testing.T) {
			t.Parallel()
			for _, char := range []string{"x", "ü", "日", "😀"} { // 1 to 4 bytes, 1 or 2 UTF-16 units: each one character
				p := valid()
				tt.set(p, char)
				assert.Empty(t, broken(t, p), "1 %s", char)
				tt.set(p, strings.Repeat(char, tt.limit))
				assert.Empty(t, broken(t, p), "%d times %s", tt.limit, char)
				tt.set(p, strings.Repeat(char, tt.limit+1))
				assert.Equal(t, []string{tt.key + " " + tt.code}, broken(t, p), "%d times %s", tt.limit+1, char)
			}
		})
	}
}

func TestValidateURLs(t *testing.T) {
	t.Parallel()
	long := func(n int) string {
		const base = "https://mdm.example.com/"
		return base + strings.Repeat("a", n-len(base))
	}
	tests := []struct {
		name, url string
		ok        bool
	}{
		{"host only", "https://mdm.example.com", true},
		{"port, path and query", "https://mdm.example.com:8443/mdm/enroll?t=a%20b&c=(d)", true},
		{"upper-case scheme", "HTTPS://mdm.example.com", true},
		{"IPv6 host", "https://[2001:db8::1]/mdm", true},
		{"2000 characters", long(2000), true},
		{"2001 characters", long(2001), false},
		{"escapes count as three", "https://mdm.example.com/" + strings.Repeat("%C3", 659), false},
		{"http", "http://mdm.example.com", false},
		{"other scheme", "ftp://mdm.example.com", false},
		{"no scheme", "mdm.example.com/mdm", false},
		{"no scheme, two slashes", "//mdm.example.com/mdm", false},
		{"path only", "/mdm/sso", false},
		{"no host", "https:///mdm", false},
		{"port without host", "https://:8443/mdm", false},
		{"opaque", "https:mdm.example.com", false},
		{"template left in", "https://<mdmserver>/mdm/sso", false},
		{"space", "https://mdm.example.com/a b", false},
		{"space around", " https://mdm.example.com", false},
		{"line break at the end", "https://mdm.example.com\n", false},
		{"not ASCII", "https://mdm.example.com/ü", false},
		{"broken escape", "https://mdm.example.com/%zz", false},
		{"half an IPv6 host", "https://[2001:db8::1/mdm", false},
		{"bad port", "https://mdm.example.com:port/", false},
		{"fragment", "https://mdm.example.com/#x", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, q := valid(), valid()
			p.URL, q.ConfigurationWebURL = tt.url, tt.url
			if tt.ok {
				assert.Empty(t, broken(t, p))
				assert.Empty(t, broken(t, q))
				return
			}
			assert.Equal(t, []string{"url CONFIG_URL_INVALID"}, broken(t, p))
			assert.Equal(t, []string{"configuration_web_url"}, broken(t, q), "Apple documents no token for this key")
		})
	}
}

func TestValidateRequiredKeys(t *testing.T) {
	t.Parallel()
	want := []string{"profile_name CONFIG_NAME_REQUIRED", "url CONFIG_URL_REQUIRED"}
	assert.Equal(t, want, broken(t, &depprofile.Profile{}))
	assert.Equal(t, want, broken(t, nil))
	p := valid()
	p.URL, p.ConfigurationWebURL = "", "https://mdm.example.com/web"
	assert.Equal(t, want[1:], broken(t, p), "the web URL does not replace url")
	require.NoError(t, valid().Validate())
}

func TestValidateFlags(t *testing.T) {
	t.Parallel()
	for _, supervised := range []*bool{nil, new(false), new(true)} {
		for _, removable := range []*bool{nil, new(false), new(true)} {
			p := valid()
			p.IsSupervised, p.IsMDMRemovable = supervised, removable
			locked, sup := removable != nil && !*removable, supervised != nil && *supervised
			if locked && !sup {
				assert.Equal(t, []string{"is_mdm_removable FLAGS_INVALID"}, broken(t, p))
			} else {
				assert.Empty(t, broken(t, p))
			}
		}
	}
}

func TestValidateLocale(t *testing.T) {
	t.Parallel()
	for value, ok := range map[string]bool{"": true, "en": true, "haw": true, "e": false, "EN": false, "engl": false, "en-US": false, "e1": false, "en\n": false} {
		p := valid()
		p.Language = value
		assert.Equal(t, ok, broken(t, p) == nil, "language %q", value)
		if !ok {
			assert.Equal(t, []string{"language LOCALE_INVALID"}, broken(t, p))
		}
	}
	for value, ok := range map[string]bool{"": true, "US": true, "us": false, "U": false, "USA": false, "U1": false, "ÄÖ": false} {
		p := valid()
		p.Region = value
		assert.Equal(t, ok, broken(t, p) == nil, "region %q", value)
		if !ok {
			assert.Equal(t, []string{"region LOCALE_INVALID"}, broken(t, p))
		}
	}
}

func TestValidateCertificates(t *testing.T) {
	t.Parallel()
	full, err := depprofile.Parse(golden(t, "full_profile.json"))
	require.NoError(t, err)
	good := full.AnchorCerts[0]
	tests := []struct{ name, cert, reason string }{
		{"PEM", "-----BEGIN CERTIFICATE-----\n" + good + "\n-----END CERTIFICATE-----", "it is PEM"},
		{"wrapped lines", good[:64] + "\n" + good[64:], "it has line breaks"},
		{"not base64", "%%%", "it is not base64"},
		{"not a certificate", "aGVsbG8=", "it is not a DER certificate"},
		{"cut short", good[:len(good)/2/4*4], "it is not a DER certificate"},
		{"empty", "", "it is not a DER certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for key, p := range map[string]*depprofile.Profile{
				"anchor_certs":           {ProfileName: "n", URL: "https://a.example", AnchorCerts: []string{good, tt.cert}},
				"supervising_host_certs": {ProfileName: "n", URL: "https://a.example", SupervisingHostCerts: []string{good, tt.cert}},
			} {
				assert.Equal(t, []string{key}, broken(t, p))
				require.ErrorContains(t, p.Validate(), "item 1: "+tt.reason)
			}
		})
	}
}

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	p := &depprofile.Profile{
		ProfileName: strings.Repeat("x", 126), URL: "http://" + strings.Repeat("a", 2000) + "?secret=s3cret", ConfigurationWebURL: "/sso",
		IsMDMRemovable: new(false), Language: "English", Region: "usa", SkipSetupItems: []depprofile.SkipKey{"TOS", ""},
		Department: strings.Repeat("x", 126), SupportPhoneNumber: strings.Repeat("1", 51), SupportEmailAddress: strings.Repeat("x", 251),
		OrgMagic: strings.Repeat("x", 257), AnchorCerts: []string{"?"}, SupervisingHostCerts: []string{"?"}, Devices: []string{""},
	}
	assert.Equal(t, []string{
		"profile_name CONFIG_NAME_INVALID", "url CONFIG_URL_INVALID", "url CONFIG_URL_INVALID", "configuration_web_url",
		"is_mdm_removable FLAGS_INVALID", "language LOCALE_INVALID", "region LOCALE_INVALID", "skip_setup_items",
		"department DEPARTMENT_INVALID", "support_phone_number SUPPORT_PHONE_INVALID", "support_email_address SUPPORT_EMAIL_INVALID",
		"org_magic MAGIC_INVALID", "anchor_certs", "supervising_host_certs", "devices",
	}, broken(t, p))
	err := p.Validate()
	assert.NotContains(t, err.Error(), "s3cret", "values stay out of messages")
	var first *depprofile.KeyError
	require.ErrorAs(t, err, &first)
	assert.Equal(t, "profile_name: CONFIG_NAME_INVALID: it has 126 characters; shorten it to 125", first.Error())
}
