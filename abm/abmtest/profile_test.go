package abmtest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDefineValidates(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("ü", n) }
	tests := []struct {
		name    string
		members map[string]any // added to a valid profile; nil removes
		want    string
	}{
		{"valid", map[string]any{}, ""},
		{"no name", map[string]any{"profile_name": nil}, "CONFIG_NAME_REQUIRED"},
		{"empty name", map[string]any{"profile_name": ""}, "CONFIG_NAME_INVALID"},
		{"longest name", map[string]any{"profile_name": long(125)}, ""},
		{"long name", map[string]any{"profile_name": long(126)}, "CONFIG_NAME_INVALID"},
		{"no url", map[string]any{"url": nil}, "CONFIG_URL_REQUIRED"},
		{"empty url", map[string]any{"url": ""}, "CONFIG_URL_INVALID"},
		{"relative url", map[string]any{"url": "/mdm"}, "CONFIG_URL_INVALID"},
		{"url is no url", map[string]any{"url": "https://a b/"}, "CONFIG_URL_INVALID"},
		{"longest url", map[string]any{"url": "https://e.org/" + strings.Repeat("a", 1986)}, ""},
		{"url long when encoded", map[string]any{"url": "https://e.org/" + strings.Repeat("ü", 400)}, "CONFIG_URL_INVALID"},
		{"empty department", map[string]any{"department": ""}, "DEPARTMENT_INVALID"},
		{"long department", map[string]any{"department": long(126)}, "DEPARTMENT_INVALID"},
		{"empty phone", map[string]any{"support_phone_number": ""}, "SUPPORT_PHONE_INVALID"},
		{"long phone", map[string]any{"support_phone_number": long(51)}, "SUPPORT_PHONE_INVALID"},
		{"empty mail", map[string]any{"support_email_address": ""}, "SUPPORT_EMAIL_INVALID"},
		{"long mail", map[string]any{"support_email_address": long(251)}, "SUPPORT_EMAIL_INVALID"},
		{"empty magic", map[string]any{"org_magic": ""}, "MAGIC_INVALID"},
		{"long magic", map[string]any{"org_magic": long(257)}, "MAGIC_INVALID"},
		{"locked, unsupervised", map[string]any{"is_mdm_removable": false}, "FLAGS_INVALID"},
		{"locked, not supervised", map[string]any{"is_mdm_removable": false, "is_supervised": false}, "FLAGS_INVALID"},
		{"locked, supervised", map[string]any{"is_mdm_removable": false, "is_supervised": true}, ""},
		{"locale", map[string]any{"language": "haw", "region": "US"}, ""},
		{"language", map[string]any{"language": "English", "region": "US"}, "LOCALE_INVALID"},
		{"region", map[string]any{"language": "en", "region": "us"}, "LOCALE_INVALID"},
		{"type", map[string]any{"is_supervised": "yes"}, "MALFORMED_REQUEST_BODY"},
		{"anchor is not base64", map[string]any{"anchor_certs": []string{"-----BEGIN"}}, "MALFORMED_REQUEST_BODY"},
		{"unknown member", map[string]any{"new_key": 1}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, c := world(t)
			members := map[string]any{"profile_name": "p", "url": "https://mdm.example.org/"}
			for k, v := range tt.members {
				members[k] = v
				if v == nil {
					delete(members, k)
				}
			}
			body, err := json.Marshal(members)
			require.NoError(t, err)
			a := c.call("POST", "/profile", string(body))
			if tt.want == "" {
				assert.Equal(t, http.StatusOK, a.status, a.body)
				return
			}
			assert.Equal(t, http.StatusBadRequest, a.status)
			assert.Equal(t, tt.want, a.body)
		})
	}
}

func TestProfilesAreContentAddressed(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, machines("A")...))
	id := c.define(`{"profile_name":"p","url":"https://e.org/","skip_setup_items":["Siri","TOS"],"new":1.50}`)
	assert.Equal(t, id, c.define(`{"new":1.50, "skip_setup_items":["Siri","TOS"], "url":"https:\/\/e.org\/",
		"profile_name":"p", "devices":["A"], "profile_uuid":"X", "department":null}`), "order, spacing, devices do not count")
	assert.NotEqual(t, id, c.define(`{"profile_name":"p","url":"https://e.org/","skip_setup_items":["TOS","Siri"],"new":1.50}`))

	var got map[string]any
	c.call("GET", "/profile?profile_uuid="+id, "").decode(t, &got)
	assert.Equal(t, map[string]any{
		"profile_uuid": id, "profile_name": "p", "url": "https://e.org/", "skip_setup_items": []any{"Siri", "TOS"}, "new": 1.5,
	}, got)

	other, err := s.AddMDMServer("Other")
	require.NoError(t, err)
	o := newTestClient(t, s, other, c.clock)
	a := o.call("GET", "/profile?profile_uuid="+id, "")
	assert.Equal(t, http.StatusBadRequest, a.status, "another server's profile")
	assert.Equal(t, "NOT_FOUND", a.body)
	assert.NotEqual(t, id, o.define(`{"profile_name":"p","url":"https://e.org/","skip_setup_items":["Siri","TOS"],"new":1.50}`))
	assert.Equal(t, "PROFILE_UUID_REQUIRED", c.call("GET", "/profile", "").body)
}

func TestVersion1DropsNewProfileMembers(t *testing.T) {
	t.Parallel()
	_, _, c := world(t)
	full := `{"profile_name":"p","url":"https://e.org/","await_device_configured":true,"auto_advance_setup":true,` +
		`"is_multi_user":true,"support_email_address":"a@b"}`
	c.version = "2"
	id := c.define(full)
	var got map[string]any
	c.call("GET", "/profile?profile_uuid="+id, "").decode(t, &got)
	assert.Len(t, got, 7)
	c.version = "1"
	got = nil
	c.call("GET", "/profile?profile_uuid="+id, "").decode(t, &got)
	assert.Equal(t, map[string]any{"profile_uuid": id, "profile_name": "p", "url": "https://e.org/"}, got)
	assert.Equal(t, c.define(`{"profile_name":"p","url":"https://e.org/"}`), c.define(full))
}

func TestDefineAssignsAtOnce(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, machines("A", "B")...))
	require.NoError(t, s.ForceAssignResult("B", "THROTTLED", time.Hour))
	var out results
	c.call("POST", "/profile", `{"profile_name":"p","url":"https://e.org/","devices":["A","B","X"]}`).decode(t, &out)
	assert.Equal(t, map[string]string{"A": "SUCCESS", "B": "FAILED", "X": "NOT_ACCESSIBLE"}, out.Devices)
	d, err := s.Device("A")
	require.NoError(t, err)
	assert.Equal(t, out.ProfileUUID, d.ProfileUUID)
	assert.Equal(t, 1, d.AssignCalls)
}

func TestAssign(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	other, err := s.AddMDMServer("Other")
	require.NoError(t, err)
	require.NoError(t, s.AddDevices(m, machines("A", "B")...))
	require.NoError(t, s.AddDevices(other, machines("C")...))
	require.NoError(t, s.AddDevices(nil, machines("D")...))
	id := c.define(simpleProfile)

	for body, want := range map[string]string{
		`{"profile_uuid":"` + id + `"}`:              "DEVICE_ID_REQUIRED",
		`{"profile_uuid":"` + id + `","devices":[]}`: "DEVICE_ID_REQUIRED",
		`{"devices":["A"]}`:                          "PROFILE_UUID_REQUIRED",
	} {
		a := c.call("POST", "/profile/devices", body)
		assert.Equal(t, http.StatusBadRequest, a.status)
		assert.Equal(t, want, a.body)
	}
	assert.Equal(t, http.StatusNotFound, c.call("POST", "/profile/devices", `{"profile_uuid":"X","devices":["A"]}`).status)
	assert.Zero(t, s.AssignCalls("A"), "a call that is refused as a whole")

	got := c.devices("POST", "/profile/devices", id, "A", "C", "D", "X", "A")
	assert.Equal(t, results{ProfileUUID: id, Devices: map[string]string{
		"A": "SUCCESS", "C": "NOT_ACCESSIBLE", "D": "NOT_ACCESSIBLE", "X": "NOT_ACCESSIBLE",
	}}, got)
	d, err := s.Device("A")
	require.NoError(t, err)
	assert.Equal(t, "assigned", d.ProfileStatus)
	assert.Equal(t, id, d.ProfileUUID)
	assert.Equal(t, c.clock.Now(), d.ProfileAssignTime)
	assert.Zero(t, d.ProfilePushTime)

	c.devices("PUT", "/profile/devices", id, "A", "B")
	assert.Equal(t, 2, s.AssignCalls("A"))
	assert.Equal(t, 1, s.AssignCalls("B"))
	stats := s.Stats()
	assert.Equal(t, 5, stats.LargestBatch["POST /profile/devices"])
	assert.Equal(t, 2, stats.LargestBatch["PUT /profile/devices"])
	assert.Equal(t, 2, stats.AssignCalls["A"])

	got = c.devices("DELETE", "/profile/devices", "", "A", "C")
	assert.Equal(t, results{Devices: map[string]string{"A": "SUCCESS", "C": "NOT_ACCESSIBLE"}}, got)
	d, err = s.Device("A")
	require.NoError(t, err)
	assert.Equal(t, "empty", d.ProfileStatus)
	assert.Empty(t, d.ProfileUUID)
}
