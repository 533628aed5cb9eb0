package abmtest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

func TestUserAgentIsRequiredEverywhere(t *testing.T) {
	t.Parallel()
	s, _, c := world(t)
	require.Equal(t, http.StatusOK, c.open().status)
	for _, endpoint := range endpoints() {
		method, path, _ := strings.Cut(endpoint, " ")
		h := c.header()
		h.Del("User-Agent")
		a := c.send(method, path, "{}", h)
		assert.Equal(t, http.StatusBadRequest, a.status, endpoint)
		assert.Equal(t, "USER_AGENT_MISSING", a.body, endpoint)
	}
	assert.Equal(t, 1, s.Stats().Calls["PUT /profile/devices"])
}

func endpoints() []string {
	return []string{
		"GET /session", "GET /account", "POST /server/devices", "POST /devices/sync", "POST /devices",
		"POST /devices/disown", "GET /device/replacementDetails", "POST /device/activationlock", "POST /profile",
		"GET /profile", "POST /profile/devices", "PUT /profile/devices", "DELETE /profile/devices",
		"GET /os-beta-enrollment/tokens", "POST /account-driven-enrollment/profile",
		"GET /account-driven-enrollment/profile", "DELETE /account-driven-enrollment/profile",
		"POST /roster/class", "POST /roster/class/sync", "POST /roster/class/course", "POST /roster/class/course/sync",
		"POST /roster/class/person", "POST /roster/class/person/sync", "POST /roster/class/location",
		"POST /roster/class/location/sync",
	}
}

func TestBodiesAreChecked(t *testing.T) {
	t.Parallel()
	_, _, c := world(t)
	require.Equal(t, http.StatusOK, c.open().status)
	for _, endpoint := range endpoints() {
		method, path, _ := strings.Cut(endpoint, " ")
		if method == "GET" || endpoint == "DELETE /account-driven-enrollment/profile" {
			continue
		}
		for _, body := range []string{"", "{", "[]", "null", `"x"`, `{"cursor":1,"devices":1,"device":1,"profile_name":1,"mdm_service_discovery_url":1}`, "\xff"} {
			a := c.call(method, path, body)
			assert.Equal(t, http.StatusBadRequest, a.status, "%s %q", endpoint, body)
			assert.Equal(t, "MALFORMED_REQUEST_BODY", a.body, "%s %q", endpoint, body)
		}
		h := c.header()
		h.Del("Content-Type")
		assert.Equal(t, http.StatusUnsupportedMediaType, c.send(method, path, "{}", h).status, endpoint)
		c.session = "" // the call above may have rotated it
	}
	a := c.call("POST", "/devices", `{"devices":["`+strings.Repeat("x", 5<<20)+`"]}`)
	assert.Equal(t, http.StatusRequestEntityTooLarge, a.status)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	s, _, c := world(t)
	assert.Equal(t, http.StatusNotFound, c.call("GET", "/", "").status)
	assert.Equal(t, http.StatusNotFound, c.call("GET", "/profile/", "").status)
	a := c.call("PATCH", "/profile/devices", "")
	assert.Equal(t, http.StatusMethodNotAllowed, a.status)
	assert.Equal(t, "DELETE, POST, PUT", a.header.Get("Allow"))
	assert.Equal(t, map[string]int{"GET /session": 1}, s.Stats().Calls)
}

func TestBasePath(t *testing.T) {
	t.Parallel()
	s, _, c := world(t, abmtest.WithBasePath("/dep/v1"))
	assert.Equal(t, http.StatusNotFound, c.send("GET", "/session", "", c.header()).status)
	c.base = "/dep/v1"
	assert.Equal(t, http.StatusOK, c.call("GET", "/account", "").status)
	assert.Equal(t, "DEVICE_ID_REQUIRED", c.call("POST", "/devices", "{}").body)
	assert.Equal(t, 1, s.Stats().Calls["POST /devices"])

	_, _, c = world(t)
	c.base = "/mounted"
	c.handler = http.StripPrefix("/mounted", c.handler)
	assert.Equal(t, http.StatusOK, c.call("GET", "/account", "").status)
}

func TestProtocolVersionGatesMembers(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, abmtest.Device{
		SerialNumber: "IPAD", Model: "iPad", Description: "d", Color: "c", AssetTag: "a", Family: "iPad", OS: "iPadOS",
		WiFiMAC: "w", BluetoothMAC: "b", EthernetMAC: "e", IMEI: []string{"1", "2"}, MEID: []string{"3"}, EID: "4",
	}))
	from, err := s.AddMDMServer("Old")
	require.NoError(t, err)
	require.NoError(t, s.Assign(from, "IPAD"))
	require.NoError(t, s.Migrate(m, c.clock.Now().Add(24*time.Hour), "IPAD"))

	base := []string{"serial_number", "model", "description", "color", "asset_tag", "device_assigned_date", "device_assigned_by", "profile_status"}
	v2 := append([]string{"device_family", "os"}, base...)
	v8 := append([]string{"mdm_migration_deadline"}, v2...)
	v10 := append([]string{
		"wifi_mac_address", "bluetooth_mac_address", "ethernet_mac_address", "imei", "meid", "eid", "is_replacement_device",
	}, v8...)
	for version, members := range map[string][]string{
		"": base, "x": base, "0": base, "-1": base, "1": base, "2": v2, "6": v2, "7": v2, "8": v8, "9": v8, "10": v10, "11": v10,
	} {
		c.version = version
		devices, _ := c.all("/server/devices", "", 0)
		require.Len(t, devices, 1)
		keys := make([]string, 0, len(devices[0]))
		for k := range devices[0] {
			keys = append(keys, k)
		}
		assert.ElementsMatch(t, members, keys, "version %q", version)
	}
	for version, os := range map[string]string{"2": "iOS", "6": "iOS", "7": "iPadOS", "10": "iPadOS"} {
		c.version = version
		devices, _ := c.all("/server/devices", "", 0)
		assert.Equal(t, os, devices[0]["os"], version)
	}
	c.version = "10"
	devices, _ := c.all("/server/devices", "", 0)
	assert.Equal(t, wire{
		"serial_number": "IPAD", "model": "iPad", "description": "d", "color": "c", "asset_tag": "a", "device_family": "iPad",
		"os": "iPadOS", "device_assigned_date": "2026-09-01T12:00:00Z", "device_assigned_by": "admin@example.org",
		"profile_status": "empty", "mdm_migration_deadline": "2026-09-02T12:00:00Z", "wifi_mac_address": "w",
		"bluetooth_mac_address": "b", "ethernet_mac_address": "e", "imei": []any{"1", "2"}, "meid": []any{"3"}, "eid": "4",
		"is_replacement_device": false,
	}, devices[0])
}

func TestAccount(t *testing.T) {
	t.Parallel()
	_, m, c := world(t, abmtest.WithPageLimits(5, 7), abmtest.WithOrganization(abmtest.Organization{
		Name: "n", Email: "e", Phone: "p", Address: "a", ID: "42", Type: "edu", Version: "v2", AdminID: "admin",
	}))
	c.version = "2"
	var got map[string]any
	c.call("GET", "/account", "").decode(t, &got)
	assert.Equal(t, map[string]any{
		"server_name": "Fleet", "server_uuid": m.UUID(), "admin_id": "admin", "facilitator_id": "admin",
		"org_name": "n", "org_email": "e", "org_phone": "p", "org_address": "a",
	}, got)

	c.version = "3"
	got = nil
	c.call("GET", "/account", "").decode(t, &got)
	assert.Equal(t, "42", got["org_id"])
	assert.Equal(t, "73475cb40a568e8da8a045ced110137e159f890ac4da883b6b17dc651b3a8049", got["org_id_hash"])
	assert.Equal(t, "edu", got["org_type"])
	assert.Equal(t, "v2", got["org_version"])
	limits := map[string]string{}
	for _, u := range got["urls"].([]any) {
		entry := u.(map[string]any)
		if l, ok := entry["limit"].(map[string]any); ok {
			limits[entry["uri"].(string)] = fmt.Sprint(entry["http_method"], l["default"], l["maximum"])
		}
	}
	assert.Equal(t, map[string]string{
		"/server/devices": "[POST] 5 7", "/devices/sync": "[POST] 5 7", "/devices": "[POST] 5 7",
		"/devices/disown": "[POST] 5 7", "/profile/devices": "[POST PUT DELETE] 5 7",
	}, limits)
}

func TestOptionsRefuseNonsense(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]abmtest.Option{
		"nil":                 nil,
		"WithClock":           abmtest.WithClock(nil),
		"WithBasePath":        abmtest.WithBasePath("dep"),
		"WithSessionLifetime": abmtest.WithSessionLifetime(0),
		"WithSessionRotation": abmtest.WithSessionRotation(-1),
		"WithPageLimits":      abmtest.WithPageLimits(2, 1),
		"WithLimits":          abmtest.WithLimits("/devices", 0, 1),
		"has no limits":       abmtest.WithLimits("/account", 1, 1),
		"WithCursorLifetime":  abmtest.WithCursorLifetime(-1),
		"WithOrganization":    abmtest.WithOrganization(abmtest.Organization{Name: "x"}),
	} {
		s, err := abmtest.NewService(o)
		require.ErrorContains(t, err, name)
		assert.Nil(t, s)
	}
}
