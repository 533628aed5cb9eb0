package enrolltest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/internal/plist"
)

func TestSameOrigin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		start, end string
		want       bool
	}{
		{"mdm.example.com", "mdm.example.com", true},
		{"mdm.example.com", "MDM.Example.com", true},
		{"mdm.example.com", "login.example.com", true},
		{"example.com", "a.b.example.com", true},
		{"mdm.example.com", "mdm.example.org", false},
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "10.1.0.1", false},
		{"localhost", "localhost", true},
		{"localhost", "127.0.0.1", false},
		{"localhost", "otherhost", false},
		{"::1", "::1", true},
	} {
		assert.Equal(t, tt.want, sameOrigin(tt.start, tt.end), "%s %s", tt.start, tt.end)
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"https://mdm.example/x?y=1", "http://127.0.0.1:80/", "http://localhost/", "http://[::1]:8080/"} {
		_, err := checkURL(good)
		assert.NoError(t, err, good)
	}
	for _, bad := range []string{"", "/enroll", "http://mdm.example/", "ftp://localhost/", "http://127.0.0.1.example/", "https:///x"} {
		_, err := checkURL(bad)
		assert.Error(t, err, bad)
	}
}

func TestParseForms(t *testing.T) {
	t.Parallel()
	forms := parseForms([]byte(`<form action=/a/b method=post><input name=one value=1><input type="radio" name=r value=x>
		<input type=radio name=r value=y checked><input type=checkbox name=c checked><select name="s"><option value=1><option
		value=2 selected></select><textarea name=t>a &lt; b</textarea><input disabled name=d><input type=submit value=Go></form>
		<form><input type=password name='p&quot;w'>`))
	require.Len(t, forms, 2)
	assert.Equal(t, form{
		action: "/a/b", method: "POST",
		inputs: []input{
			{"one", "text", "1"}, {"r", "radio", "y"}, {"c", "checkbox", "on"}, {"s", "select", "2"}, {"t", "text", "a < b"},
		},
		button: input{"", "submit", "Go"},
	}, forms[0])
	best, ok := chooseForm(forms)
	require.True(t, ok)
	assert.Equal(t, `p"w`, best.inputs[0].name)
	_, ok = chooseForm(nil)
	assert.False(t, ok)
}

// validProfile is an enrollment profile; change edits its parts.
func validProfile(t testing.TB, change func(top, mdm, scep, content map[string]any)) []byte {
	content := map[string]any{"URL": "https://scep.example/scep", "Keysize": 2048}
	scep := map[string]any{
		"PayloadType": payloadSCEP, "PayloadVersion": 1, "PayloadIdentifier": "scep", "PayloadUUID": "u-scep",
		"PayloadContent": content,
	}
	mdm := map[string]any{
		"PayloadType": payloadMDM, "PayloadVersion": 1, "PayloadIdentifier": "mdm", "PayloadUUID": "u-mdm",
		"IdentityCertificateUUID": "u-scep", "Topic": "com.apple.mgmt.x", "ServerURL": "https://mdm.example/mdm",
		"AccessRights": 8191,
	}
	top := map[string]any{
		"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "top", "PayloadUUID": "u-top",
		"PayloadContent": []map[string]any{scep, mdm},
	}
	change(top, mdm, scep, content)
	b, err := plist.Marshal(top)
	require.NoError(t, err)
	return b
}

func TestEnrollmentProfileIsChecked(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	for name, change := range map[string]func(top, mdm, scep, content m){
		"valid":              func(m, m, m, m) {},
		"type":               func(top, _, _, _ m) { top["PayloadType"] = "Other" },
		"version":            func(top, _, _, _ m) { top["PayloadVersion"] = 2 },
		"identifier":         func(top, _, _, _ m) { delete(top, "PayloadIdentifier") },
		"uuid":               func(top, _, _, _ m) { delete(top, "PayloadUUID") },
		"scope":              func(top, _, _, _ m) { top["PayloadScope"] = "Galaxy" },
		"encrypted":          func(top, _, _, _ m) { top["EncryptedPayloadContent"] = []byte("x") },
		"payload uuid":       func(_, mdm, _, _ m) { delete(mdm, "PayloadUUID") },
		"payload version":    func(_, mdm, _, _ m) { mdm["PayloadVersion"] = 0 },
		"same uuid":          func(_, mdm, _, _ m) { mdm["PayloadUUID"] = "u-scep" },
		"no mdm":             func(_, mdm, _, _ m) { mdm["PayloadType"] = "com.apple.wifi.managed" },
		"two mdm":            func(_, _, scep, _ m) { scep["PayloadType"] = payloadMDM },
		"identity":           func(_, mdm, _, _ m) { mdm["IdentityCertificateUUID"] = "nothing" },
		"no identity":        func(_, mdm, _, _ m) { delete(mdm, "IdentityCertificateUUID") },
		"identity kind":      func(_, _, scep, _ m) { scep["PayloadType"] = "com.apple.security.acme" },
		"topic":              func(_, mdm, _, _ m) { mdm["Topic"] = "com.example" },
		"server url":         func(_, mdm, _, _ m) { mdm["ServerURL"] = "http://mdm.example/mdm" },
		"check-in url":       func(_, mdm, _, _ m) { mdm["CheckInURL"] = "mdm" },
		"rights zero":        func(_, mdm, _, _ m) { delete(mdm, "AccessRights") },
		"rights too many":    func(_, mdm, _, _ m) { mdm["AccessRights"] = 8192 },
		"install alone":      func(_, mdm, _, _ m) { mdm["AccessRights"] = 2 },
		"provisioning alone": func(_, mdm, _, _ m) { mdm["AccessRights"] = 128 },
		"mode":               func(_, mdm, _, _ m) { mdm["EnrollmentMode"] = "BYOD" },
		"wrong kind of key":  func(_, mdm, _, _ m) { mdm["ServerURL"] = 7 },
		"scep url":           func(_, _, _, c m) { delete(c, "URL") },
		"key size":           func(_, _, _, c m) { c["Keysize"] = 512 },
		"key type":           func(_, _, _, c m) { c["Key Type"] = "EC" },
		"subject":            func(_, _, _, c m) { c["Subject"] = [][][]string{{{"Nickname", "x"}}} },
		"subject pair":       func(_, _, _, c m) { c["Subject"] = [][][]string{{{"CN"}}} },
		"no scep content":    func(_, _, scep, _ m) { delete(scep, "PayloadContent") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := parseProfile(validProfile(t, change))
			if err == nil {
				_, _, err = enrollmentPayload(p)
			}
			if name == "valid" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrProfile)
		})
	}
}

func TestDevicesAreRepeatable(t *testing.T) {
	t.Parallel()
	ca, err := NewDeviceCA()
	require.NoError(t, err)
	source := ActivationFunc(nil)
	a, err := New(Mac, ca, source, WithSerial("C02XX"))
	require.NoError(t, err)
	b, err := New(Mac, ca, source, WithSerial("C02XX"))
	require.NoError(t, err)
	c, err := New(Mac, ca, source, WithSeed(7))
	require.NoError(t, err)
	e, err := New(Mac, ca, source, WithSeed(7))
	require.NoError(t, err)
	r, err := New(Mac, ca, source)
	require.NoError(t, err)
	assert.Equal(t, a.Info(), b.Info())
	assert.Equal(t, c.Info(), e.Info())
	assert.NotEqual(t, c.UDID(), r.UDID())
	assert.NotEqual(t, a.UDID(), c.UDID())
	assert.Regexp(t, `^[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`, a.UDID())
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	ca, err := NewDeviceCA(WithSharedKeys(0))
	require.NoError(t, err)
	_, err = NewDeviceCA(WithSharedKeys(-1))
	require.Error(t, err)
	source := ActivationFunc(nil)
	for i, o := range []Option{
		WithSerial(""), WithOS("", ""), WithMachineInfo(nil), WithName(""), WithHTTPClient(nil), WithClock(nil),
		WithObserver(nil), WithPollInterval(0), WithUser("", "x"), WithFormValue("", ""), WithChain(9),
		WithSoftwareUpdate(nil), WithOnPackageInstalled(nil),
	} {
		_, err := New(Mac, ca, source, o)
		require.Error(t, err, i)
	}
	_, err = New(0, ca, source)
	require.Error(t, err)
	_, err = New(Mac, nil, source)
	require.Error(t, err)
	_, err = New(Mac, ca, nil)
	require.Error(t, err)
}

func TestInventedBuilds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind    Kind
		version string
		want    string
	}{{Mac, "15.6.1", `^24G\d{3}$`}, {Mac, "26.0", `^25A\d{3}$`}, {IPhone, "18.1", `^22B\d{3}$`}, {IPad, "26.2", `^23C\d{3}$`}} {
		assert.Regexp(t, tt.want, tt.kind.inventBuild(tt.version))
	}
}

func FuzzParseForms(f *testing.F) {
	f.Add([]byte(`<form method=post><input name=a value="b"><!-- x --><textarea name=t>y</textarea></form>`))
	f.Add([]byte(`<form><script>if (a<b)</script><select name=s><option value=1></select`))
	f.Add([]byte("<textarea name=t></textarea><a <b <"))
	f.Add([]byte("<script>ȺȺȺȺȺȺȺȺ</SCRIPT><form>")) // letters that are longer in lower case
	f.Fuzz(func(t *testing.T, page []byte) {
		for _, fm := range parseForms(page) {
			for _, in := range fm.inputs {
				assert.NotEqual(t, "submit", in.kind)
			}
		}
		assert.LessOrEqual(t, len(pageText(page)), 1024+len("…"))
	})
}

func FuzzParseProfile(f *testing.F) {
	f.Add(validProfile(f, func(_, _, _, _ map[string]any) {}))
	f.Add([]byte("bplist00"))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseProfile(data)
		if err != nil {
			require.ErrorIs(t, err, ErrProfile)
			return
		}
		if m, s, err := enrollmentPayload(p); err == nil {
			assert.NotEmpty(t, m.Topic)
			assert.NotEmpty(t, s.URL)
		} else {
			require.ErrorIs(t, err, ErrProfile)
		}
	})
}
