package abmtest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/nanodep/tokenpki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// admin makes one request to the admin handler of a server.
func admin(t *testing.T, s *abmtest.Server, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.AdminURL+path, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { assert.NoError(t, resp.Body.Close()) }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(data)
}

func TestAdminHandlerDoesWhatTheMethodsDo(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s := abmtest.New(t, abmtest.WithClock(clk.Now), abmtest.WithBasePath("/dep"))
	ok := func(method, path, body string) string {
		t.Helper()
		status, out := admin(t, s, method, path, body)
		require.Equal(t, http.StatusOK, status, "%s %s: %s", method, path, out)
		return out
	}
	assert.Contains(t, ok("GET", "/", ""), "POST /servers/{server}/token")
	assert.Equal(t, "[]", ok("GET", "/servers", ""))
	ok("POST", "/servers", `{"name":"Fleet"}`)
	ok("POST", "/servers", `{"name":"Other"}`)
	m, err := s.MDMServer("Fleet")
	require.NoError(t, err)
	other, err := s.MDMServer("Other")
	require.NoError(t, err)
	key, cert, err := tokenpki.SelfSignedRSAKeypair("mdm", 1)
	require.NoError(t, err)
	ok("PUT", "/servers/Fleet/certificate", string(toPEM(cert.Raw)))
	file := ok("POST", "/servers/"+m.UUID()+"/token", "")
	_, err = tokenpki.DecryptTokenJSON([]byte(file), cert, key)
	require.NoError(t, err)
	assert.Contains(t, ok("GET", "/servers", ""), `"has_certificate":true`)
	year := m.Credentials()
	assert.Equal(t, clk.Now().Add(365*24*time.Hour), year.AccessTokenExpiry)
	ok("POST", "/servers/Fleet/token", `{"expires_in":"144h"}`)
	assert.Equal(t, clk.Now().Add(144*time.Hour), m.Credentials().AccessTokenExpiry)
	assert.NotEqual(t, year.AccessToken, m.Credentials().AccessToken)
	ok("POST", "/servers/Fleet/token", `{}`)
	assert.Equal(t, year.AccessTokenExpiry, m.Credentials().AccessTokenExpiry)

	assert.JSONEq(t, `{"added":["A","B"]}`, ok("POST", "/devices",
		`{"server":"Fleet","devices":[{"serial_number":"A","model":"iMac"},{"serial_number":"B","model":"iMac"}]}`))
	ok("POST", "/devices", `{"random":3}`)
	assert.Len(t, s.Devices(0, 0), 5)
	assert.Contains(t, ok("GET", "/devices/A", ""), `"device_family":"Mac","os":"OSX"`, "as follows from the model")
	assert.Equal(t, 2, strings.Count(ok("GET", "/devices?offset=3&limit=5", ""), `"serial_number"`))

	ok("POST", "/assign", `{"server":"Other","devices":["A"]}`)
	state := func(serial string) abmtest.DeviceState {
		d, err := s.Device(serial)
		require.NoError(t, err)
		return d
	}
	assert.Equal(t, other.UUID(), state("A").ServerUUID)
	assert.Contains(t, ok("GET", "/devices/A", ""), `"server_uuid":"`+other.UUID()+`"`)
	ok("POST", "/migrate", `{"server":"Fleet","devices":["A"],"deadline":"2026-09-30T00:00:00Z"}`)
	assert.Equal(t, "2026-09-30", state("A").MigrationDeadline.Format("2006-01-02"))
	ok("POST", "/cancel-migration", `{"devices":["A"]}`)
	assert.Equal(t, other.UUID(), state("A").ServerUUID)
	ok("POST", "/unassign", `{"devices":["A"]}`)
	assert.Empty(t, state("A").ServerUUID)
	ok("POST", "/release", `{"devices":["A"]}`)
	assert.True(t, state("A").Released)
	ok("POST", "/replace", `{"original":"B","replacement":{"serial_number":"C","model":"iMac"}}`)
	assert.Equal(t, "B", state("C").Replaces)

	c := newTestClient(t, s.Service, m, clk)
	c.base = "/dep"
	id := c.define(simpleProfile)
	ok("POST", "/force-assign-result", `{"device":"C","result":"FAILED","seconds":60}`)
	assert.Equal(t, "FAILED", c.devices("POST", "/profile/devices", id, "C").Devices["C"])
	ok("POST", "/force-assign-result", `{"device":"C","result":"SUCCESS"}`)
	assert.Equal(t, "SUCCESS", c.devices("POST", "/profile/devices", id, "C").Devices["C"])
	assert.Contains(t, ok("POST", "/devices/C/activation-record", ""), `"profile_uuid":"`+id+`"`)
	assert.Equal(t, "pushed", state("C").ProfileStatus)
	assert.Contains(t, ok("GET", "/stats", ""), `"assign_calls":{"C":2}`)

	ok("POST", "/roster", `{"path":"/roster/class","entries":[{"n":1}]}`)
	assert.Contains(t, c.call("POST", "/roster/class", "{}").body, `"classes":[{"n":1}]`)

	ok("PUT", "/terms", `{"signed":false}`)
	assert.JSONEq(t, `{"signed":false}`, ok("GET", "/terms", ""))
	assert.False(t, s.TermsSigned())
}

func TestAdminHandlerSetsFaults(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s := abmtest.New(t, abmtest.WithClock(clk.Now))
	m, err := s.AddMDMServer("Fleet")
	require.NoError(t, err)
	c := newTestClient(t, s.Service, m, clk)
	require.Equal(t, http.StatusOK, c.open().status)
	ok := func(method, path, body string) string {
		t.Helper()
		status, out := admin(t, s, method, path, body)
		require.Equal(t, http.StatusOK, status, "%s %s: %s", method, path, out)
		return out
	}
	assert.Equal(t, "[]", ok("GET", "/faults", ""))
	assert.Contains(t, ok("GET", "/fault-kinds", ""), `{"kind":"late-events","help":"`)
	assert.JSONEq(t, `{"id":"fault-1"}`, ok("POST", "/faults",
		`{"kind":"unavailable","server":"Fleet","operation":"/account","count":3,"retry_after":"30s"}`))
	assert.JSONEq(t, `{"id":"mine"}`, ok("POST", "/faults", `{"id":"mine","kind":"unauthorized","operation":"/profile"}`))
	a := c.call("GET", "/account", "")
	assert.Equal(t, []any{503, "30"}, []any{a.status, a.header.Get("Retry-After")})
	assert.Equal(t, 401, c.call("GET", "/profile", "").status)
	assert.JSONEq(t, `[{"id":"fault-1","kind":"unavailable","server":"Fleet","operation":"/account","count":3,"retry_after":"30s","struck":1},
		{"id":"mine","kind":"unauthorized","operation":"/profile","struck":1}]`, ok("GET", "/faults", ""))
	ok("DELETE", "/faults/mine", "")
	ok("DELETE", "/faults/unknown", "")
	assert.Equal(t, 400, c.call("GET", "/profile", "").status)
	assert.Equal(t, 503, c.call("GET", "/account", "").status)
	ok("DELETE", "/faults", "")
	assert.Equal(t, 200, c.call("GET", "/account", "").status)
	stats := ok("GET", "/stats", "")
	assert.Contains(t, stats, `"statuses":{"GET /account":{"200":1,"503":2},"GET /profile":{"400":1,"401":1},"GET /session":{"200":1}}`)
	assert.Contains(t, stats, `"logins":1,"assigns":0`)
}

func TestAdminHandlerTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := abmtest.New(t)
	m, err := s.AddMDMServer("Fleet")
	require.NoError(t, err)
	require.NoError(t, s.AddDevices(m, machines("A")...))
	tests := []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/nowhere", "", 404},
		{"GET", "/devices/X", "", 404},
		{"POST", "/devices/A/activation-record", "", 404},
		{"GET", "/devices/A/activation-record", "", 405},
		{"GET", "/devices?limit=x", "", 400},
		{"POST", "/servers", `{"name":"Fleet"}`, 409},
		{"POST", "/servers", `{`, 400},
		{"POST", "/servers", `{"nam":"Fleet"}`, 400},
		{"POST", "/servers/Fleet/token", "", 400},
		{"POST", "/servers/X/token", "", 404},
		{"POST", "/servers/Fleet/token", "144h", 400},
		{"POST", "/servers/Fleet/token", `{"expires_in":144}`, 400},
		{"POST", "/servers/Fleet/token", `{"expires_in":"6 days"}`, 400},
		{"POST", "/servers/Fleet/token", `{"expires_in":"0s"}`, 400},
		{"PUT", "/servers/X/certificate", "", 404},
		{"PUT", "/servers/Fleet/certificate", "x", 400},
		{"POST", "/devices", `{"server":"X"}`, 404},
		{"POST", "/devices", `{"devices":["A"]}`, 400},
		{"POST", "/devices", `{"random":-1}`, 400},
		{"POST", "/devices", `{"devices":[{"serial_number":"A","model":"iMac"}]}`, 409},
		{"POST", "/assign", `{"server":"X","devices":["A"]}`, 404},
		{"POST", "/assign", `{"server":"Fleet","devices":"A"}`, 400},
		{"POST", "/migrate", `{"server":"X"}`, 404},
		{"POST", "/migrate", `{"server":"Fleet","devices":["A"]}`, 400},
		{"PUT", "/terms", `{}`, 400},
		{"POST", "/roster", `{"path":"/roster"}`, 400},
		{"POST", "/faults", ``, 400},
		{"POST", "/faults", `{"kind":"x"}`, 400},
		{"POST", "/faults", `{"kind":"hang","serial":"A"}`, 400},
		{"POST", "/faults", `{"kind":"hang","server":"X"}`, 404},
		{"POST", "/force-assign-result", `{"device":"A","result":"x"}`, 400},
	}
	for _, tt := range tests {
		status, body := admin(t, s, tt.method, tt.path, tt.body)
		assert.Equal(t, tt.status, status, "%s %s %s: %s", tt.method, tt.path, tt.body, body)
	}
	_, body := admin(t, s, "GET", "/devices/X", "")
	assert.JSONEq(t, `{"error":"abmtest: \"X\": device is not in the organization"}`, body)
}
