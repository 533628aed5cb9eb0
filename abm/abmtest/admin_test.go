package abmtest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

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

	assert.JSONEq(t, `{"added":["A","B"]}`, ok("POST", "/devices",
		`{"server":"Fleet","devices":[{"serial_number":"A","model":"iMac"},{"serial_number":"B","model":"iMac"}]}`))
	ok("POST", "/devices", `{"random":3}`)
	assert.Len(t, s.Devices(0, 0), 5)
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

	ok("PUT", "/terms", `{"signed":false}`)
	assert.JSONEq(t, `{"signed":false}`, ok("GET", "/terms", ""))
	assert.False(t, s.TermsSigned())
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
		{"POST", "/force-assign-result", `{"device":"A","result":"x"}`, 400},
	}
	for _, tt := range tests {
		status, body := admin(t, s, tt.method, tt.path, tt.body)
		assert.Equal(t, tt.status, status, "%s %s %s: %s", tt.method, tt.path, tt.body, body)
	}
	_, body := admin(t, s, "GET", "/devices/X", "")
	assert.JSONEq(t, `{"error":"abmtest: \"X\": device is not in the organization"}`, body)
}
