package abmtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// twoServers is a world with a second entry, "Other", and cursors that are up to date with what is there.
func twoServers(t *testing.T, serials ...string) (s *abmtest.Service, m, n *abmtest.MDMServer, c, o *feed) {
	t.Helper()
	s, m, a := world(t)
	n, err := s.AddMDMServer("Other")
	require.NoError(t, err)
	require.NoError(t, s.AddDevices(m, machines(serials...)...))
	c, o = &feed{client: a}, &feed{client: newTestClient(t, s, n, a.clock)}
	_, c.cursor = c.all("/server/devices", "", 0)
	_, o.cursor = o.all("/server/devices", "", 0)
	return s, m, n, c, o
}

// feed is a client that remembers its place.
type feed struct {
	*client
	cursor string
}

func (f *feed) news() []wire {
	f.t.Helper()
	var devices []wire
	devices, f.cursor = f.all("/devices/sync", f.cursor, 0)
	return devices
}

func TestMoveBetweenServers(t *testing.T) {
	t.Parallel()
	s, m, n, c, o := twoServers(t, "A", "B")
	id := c.define(simpleProfile)
	c.devices("POST", "/profile/devices", id, "A")
	c.news()
	require.NoError(t, s.Assign(n, "A"))
	assert.Equal(t, []string{"deleted A"}, opsOf(c.news()))
	got := o.news()
	assert.Equal(t, []string{"added A"}, opsOf(got))
	assert.Equal(t, "empty", got[0]["profile_status"])
	assert.NotContains(t, got[0], "profile_uuid")
	assert.Equal(t, map[string]string{"A": "NOT_ACCESSIBLE"}, c.devices("POST", "/profile/devices", id, "A").Devices)

	require.NoError(t, s.Assign(m, "A"))
	assert.Equal(t, []string{"added A"}, opsOf(c.news()))
	c.devices("POST", "/profile/devices", id, "A")
	require.NoError(t, s.Assign(m, "A")) // to the same server again
	got = c.news()
	assert.Equal(t, []string{"modified A", "modified A"}, opsOf(got))
	assert.Equal(t, []any{"assigned", "empty"}, pluck(got, "profile_status"), "the assignment is lost")
	listed, _ := c.all("/server/devices", "", 0)
	assert.Equal(t, []string{"B", "A"}, serialsOf(listed))

	require.NoError(t, s.Unassign("A", "B"))
	require.NoError(t, s.Unassign("A"))
	assert.Equal(t, []string{"deleted A", "deleted B"}, opsOf(c.news()))
}

func TestReleaseAndDisown(t *testing.T) {
	t.Parallel()
	s, m, _, c, _ := twoServers(t, "A", "B")
	require.NoError(t, s.Release("A"))
	got := c.devices("POST", "/devices/disown", "", "A", "B", "X")
	assert.Equal(t, map[string]string{"A": "NOT_ACCESSIBLE", "B": "SUCCESS", "X": "NOT_ACCESSIBLE"}, got.Devices)
	news := c.news()
	assert.Equal(t, []string{"deleted A", "deleted B"}, opsOf(news))
	assert.Equal(t, false, news[0]["released_by_replacement"])
	for _, serial := range []string{"A", "B"} {
		d, err := s.Device(serial)
		require.NoError(t, err)
		assert.True(t, d.Released)
		assert.Empty(t, d.ServerUUID)
		require.ErrorIs(t, s.Assign(m, serial), abmtest.ErrUnknownDevice)
	}
	require.NoError(t, s.AddDevices(m, machines("A")...), "bought again")
	assert.Equal(t, []string{"added A"}, opsOf(c.news()))
	listed, _ := c.all("/server/devices", "", 0)
	assert.Equal(t, []string{"A"}, serialsOf(listed))
	assert.Len(t, s.Devices(0, 0), 2)
}

func TestMigration(t *testing.T) {
	t.Parallel()
	s, m, n, c, o := twoServers(t, "A", "B")
	deadline := c.clock.Now().Add(90 * 24 * time.Hour)
	for _, bad := range []time.Time{{}, c.clock.Now(), deadline.Add(time.Second)} {
		require.ErrorIs(t, s.Migrate(n, bad, "A"), abmtest.ErrInvalid)
	}
	require.ErrorIs(t, s.Migrate(m, deadline, "A"), abmtest.ErrInvalid)
	require.ErrorIs(t, s.CancelMigration("A"), abmtest.ErrInvalid)
	require.NoError(t, s.Migrate(n, deadline, "A", "B"))
	assert.Equal(t, []string{"deleted A", "deleted B"}, opsOf(c.news()))
	news := o.news()
	assert.Equal(t, []string{"modified A", "modified B"}, opsOf(news))
	assert.Equal(t, "2026-11-30T12:00:00Z", news[0]["mdm_migration_deadline"])

	require.NoError(t, s.CancelMigration("B"))
	assert.Equal(t, []string{"deleted B"}, opsOf(o.news()))
	news = c.news()
	assert.Equal(t, []string{"added B"}, opsOf(news))
	assert.NotContains(t, news[0], "mdm_migration_deadline")

	o.devices("POST", "/profile/devices", o.define(simpleProfile), "A")
	record, err := s.ActivationRecord("A")
	require.NoError(t, err)
	assert.Equal(t, deadline, record.MigrationDeadline)
	news = o.news()
	assert.Equal(t, []any{"assigned", "pushed"}, pluck(news, "profile_status"))
	assert.Equal(t, []any{"2026-11-30T12:00:00Z", nil}, pluck(news, "mdm_migration_deadline"), "it is done")
	require.ErrorIs(t, s.CancelMigration("A"), abmtest.ErrInvalid)
}

func TestMigrationMovesLocksAndAsksForAFittingProfile(t *testing.T) {
	t.Parallel()
	s, _, n, c, o := twoServers(t, "A", "B", "C", "D")
	deadline := c.clock.Now().Add(time.Hour)
	for _, member := range []string{"is_multi_user", "is_return_to_service"} {
		id := c.define(`{"profile_name":"p","url":"https://e.org/","` + member + `":true}`)
		c.devices("POST", "/profile/devices", id, "A")
		require.ErrorIs(t, s.Migrate(n, deadline, "B", "A"), abmtest.ErrInvalid, member)
	}
	for _, serial := range []string{"B", "C"} {
		assert.Contains(t, c.call("POST", "/device/activationlock", `{"device":"`+serial+`"}`).body, "SUCCESS")
	}
	require.NoError(t, s.Migrate(n, deadline, "B", "C"))
	o.devices("POST", "/profile/devices", o.define(simpleProfile), "B", "C")
	locked := func(serial string) bool {
		d, err := s.Device(serial)
		require.NoError(t, err)
		return d.ActivationLocked
	}
	assert.True(t, locked("B"), "not yet")
	_, err := s.ActivationRecord("B")
	require.NoError(t, err)
	assert.False(t, locked("B"), "the old server's lock is gone")
	assert.Contains(t, o.call("POST", "/device/activationlock", `{"device":"B"}`).body, "SUCCESS")
	require.NoError(t, s.CancelMigration("C"))
	assert.True(t, locked("C"), "it never moved")

	require.NoError(t, s.Migrate(n, deadline, "D"))
	assert.Contains(t, o.call("POST", "/device/activationlock", `{"device":"D"}`).body, "SUCCESS")
	o.devices("POST", "/profile/devices", o.define(simpleProfile), "D")
	_, err = s.ActivationRecord("D")
	require.NoError(t, err)
	assert.True(t, locked("D"), "the new server's stays")
}

func TestReplacement(t *testing.T) {
	t.Parallel()
	s, m, _, c, _ := twoServers(t, "A", "B")
	require.ErrorIs(t, s.Replace("A", machines("B")[0]), abmtest.ErrExists)
	require.ErrorIs(t, s.Replace("X", machines("Y")[0]), abmtest.ErrUnknownDevice)
	require.NoError(t, s.Replace("A", machines("Z")[0]))
	news := c.news()
	assert.Equal(t, []string{"added Z", "deleted A"}, opsOf(news))
	assert.Equal(t, true, news[0]["is_replacement_device"])
	assert.NotContains(t, news[0], "released_by_replacement")
	assert.Equal(t, true, news[1]["released_by_replacement"])
	d, err := s.Device("Z")
	require.NoError(t, err)
	assert.Equal(t, m.UUID(), d.ServerUUID)

	var got map[string]string
	c.call("GET", "/device/replacementDetails?device=Z", "").decode(t, &got)
	assert.Equal(t, map[string]string{
		"serial_number": "Z", "original_device_serial_number": "A", "replacement_date": "2026-09-01",
	}, got)
	for query, want := range map[string]string{"": "DEVICE_ID_REQUIRED", "?device=B": "DEVICE_NOT_FOUND", "?device=X": "DEVICE_NOT_FOUND"} {
		assert.Equal(t, want, c.call("GET", "/device/replacementDetails"+query, "").body)
	}
	c.version = "9"
	assert.Equal(t, http.StatusNotFound, c.call("GET", "/device/replacementDetails?device=Z", "").status)
}

func TestDeviceDetails(t *testing.T) {
	t.Parallel()
	_, _, _, c, _ := twoServers(t, "A")
	assert.Equal(t, "DEVICE_ID_REQUIRED", c.call("POST", "/devices", `{"devices":[]}`).body)
	var got struct {
		Devices map[string]wire `json:"devices"`
	}
	c.call("POST", "/devices", `{"devices":["A","X"]}`).decode(t, &got)
	require.Len(t, got.Devices, 2)
	assert.Equal(t, "SUCCESS", got.Devices["A"]["response_status"])
	assert.Equal(t, "MacBook Air", got.Devices["A"]["model"])
	assert.NotContains(t, got.Devices["A"], "op_type")
	assert.Equal(t, wire{"serial_number": "X", "response_status": "NOT_ACCESSIBLE"}, got.Devices["X"])
}

func TestActivationRecord(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, machines("A")...))
	_, err := s.ActivationRecord("X")
	require.ErrorIs(t, err, abmtest.ErrUnknownDevice)
	_, err = s.ActivationRecord("A")
	require.ErrorIs(t, err, abmtest.ErrNoProfile)

	id := c.define(`{"profile_name":"p","url":"https://e.org/","allow_pairing":false,"is_return_to_service":true}`)
	c.devices("POST", "/profile/devices", id, "A")
	_, cursor := c.all("/server/devices", "", 0)
	c.clock.Advance(time.Minute)
	record, err := s.ActivationRecord("A")
	require.NoError(t, err)
	assert.JSONEq(t, `{"profile_name":"p","url":"https://e.org/","allow_pairing":false,"is_return_to_service":true,
		"await_device_configured":true,"is_supervised":false,"is_mandatory":false,"is_mdm_removable":true,"is_multi_user":false,
		"auto_advance_setup":false,"do_not_use_profile_from_backup":false}`, string(record.Profile))
	record.Profile = nil
	assert.Equal(t, &abmtest.ActivationRecord{
		SerialNumber: "A", ServerUUID: m.UUID(), ServerName: "Fleet", OrgName: "Example Organization", ProfileUUID: id,
	}, record)
	news, _ := c.all("/devices/sync", cursor, 0)
	assert.Equal(t, []string{"modified A"}, opsOf(news))
	assert.Equal(t, "pushed", news[0]["profile_status"])
	assert.Equal(t, "2026-09-01T12:01:00Z", news[0]["profile_push_time"])
	assert.Equal(t, "2026-09-01T12:00:00Z", news[0]["profile_assign_time"])
}

func TestDevicesGetFamilyAndOSFromTheModel(t *testing.T) {
	t.Parallel()
	s, m, _ := world(t)
	for i, tt := range []struct{ model, family, os, wantFamily, wantOS string }{
		{"iMac", "", "", "Mac", "OSX"},
		{"MacBook Air", "", "", "Mac", "OSX"},
		{"iPhone 17 Pro", "", "", "iPhone", "iOS"},
		{"iPad Air 11-inch", "", "", "iPad", "iPadOS"},
		{"iPod touch", "", "", "iPod", "iOS"},
		{"Apple TV 4K", "", "", "AppleTV", "tvOS"},
		{"Apple Vision Pro", "", "", "Vision", "visionOS"},
		{"Apple Watch", "", "", "", ""},
		{"Apple Watch", "Watch", "", "Watch", ""},
		{"Unknown", "Mac", "", "Mac", "OSX"},
		{"iMac", "", "macOS", "Mac", "macOS"},
		{"iPad", "iPad", "iOS", "iPad", "iOS"},
	} {
		serial := fmt.Sprintf("MODEL%d", i)
		require.NoError(t, s.AddDevices(m, abmtest.Device{SerialNumber: serial, Model: tt.model, Family: tt.family, OS: tt.os}))
		d, err := s.Device(serial)
		require.NoError(t, err)
		assert.Equal(t, [2]string{tt.wantFamily, tt.wantOS}, [2]string{d.Family, d.OS}, "%+v", tt)
	}
	for _, d := range s.RandomDevices(50) {
		assert.NotEmpty(t, d.Family, d.Model)
		assert.NotEmpty(t, d.OS, d.Model)
	}
}

func TestActivationLock(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, machines("A", "B")...))
	require.NoError(t, s.AddDevices(m, abmtest.Device{SerialNumber: "TV", Model: "Apple TV", Family: "AppleTV"}))
	lock := func(body string) string {
		a := c.call("POST", "/device/activationlock", body)
		if a.status != http.StatusOK {
			return a.body
		}
		var out map[string]string
		require.NoError(t, json.Unmarshal([]byte(a.body), &out))
		assert.Contains(t, body, out["serial_number"])
		return out["response_status"]
	}
	assert.Equal(t, "MALFORMED_REQUEST_BODY", lock(`{}`))
	assert.Equal(t, "MALFORMED_REQUEST_BODY", lock(`{"device":"A","escrow_key":"xyz"}`))
	assert.Equal(t, "NOT_ACCESSIBLE", lock(`{"device":"X"}`))
	assert.Equal(t, "DEVICE_NOT_SUPPORTED", lock(`{"device":"TV"}`))
	assert.Equal(t, "SUCCESS", lock(`{"device":"A","lost_message":"call us","escrow_key":"`+strings.Repeat("ab", 32)+`"}`))
	assert.Equal(t, "DEVICE_ALREADY_LOCKED", lock(`{"device":"A"}`))
	assert.Equal(t, "SUCCESS", lock(`{"device":"B"}`))
	d, err := s.Device("A")
	require.NoError(t, err)
	assert.True(t, d.ActivationLocked)
	assert.Equal(t, "call us", d.LostMessage)
}

func TestOptionalServices(t *testing.T) {
	t.Parallel()
	_, _, c := world(t)
	path := "/account-driven-enrollment/profile"
	assert.Contains(t, c.call("GET", "/os-beta-enrollment/tokens", "").body, `{"betaEnrollmentTokens":[{"token":"`)
	a := c.call("GET", path, "")
	assert.Equal(t, http.StatusNotFound, a.status)
	assert.Equal(t, "NOT_FOUND", a.body)
	assert.Equal(t, "MDM_SERVICE_DISCOVERY_URL_REQUIRED", c.call("POST", path, `{}`).body)
	assert.Equal(t, "MDM_SERVICE_DISCOVERY_URL_NOT_VALID", c.call("POST", path, `{"mdm_service_discovery_url":"http://e.org/"}`).body)
	assert.Equal(t, answer{200, "", http.Header{}}, c.call("POST", path, `{"mdm_service_discovery_url":"https://e.org/x"}`))
	assert.JSONEq(t, `{"mdm_service_discovery_url":"https://e.org/x","last_updated_timestamp":"2026-09-01T12:00:00Z"}`, c.call("GET", path, "").body)
	assert.Equal(t, answer{200, "", http.Header{}}, c.call("DELETE", path, ""))
	assert.Equal(t, http.StatusNotFound, c.call("GET", path, "").status)

	s, m, c := world(t, abmtest.WithOrganization(abmtest.Organization{
		Name: "n", ID: "1", AdminID: "a", NoAppleSeed: true, NoAccountDriven: true, NoActivationLock: true,
	}))
	require.NoError(t, s.AddDevices(m, machines("A")...))
	a = c.call("GET", "/os-beta-enrollment/tokens", "")
	assert.Equal(t, http.StatusForbidden, a.status)
	assert.Equal(t, "APPLE_SEED_FOR_IT_TURNED_OFF", a.body)
	for _, method := range []string{"GET", "POST", "DELETE"} {
		a := c.call(method, path, "{}")
		assert.Equal(t, http.StatusBadRequest, a.status)
		assert.Equal(t, "ORG_NOT_SUPPORTED", a.body)
	}
	assert.Contains(t, c.call("POST", "/device/activationlock", `{"device":"A"}`).body, "ORG_NOT_SUPPORTED")
}

func TestAdministratorsMistakes(t *testing.T) {
	t.Parallel()
	s, m, _ := world(t)
	_, err := s.AddMDMServer("Fleet")
	require.ErrorIs(t, err, abmtest.ErrExists)
	_, err = s.AddMDMServer(" ")
	require.ErrorIs(t, err, abmtest.ErrInvalid)
	_, err = s.MDMServer("X")
	require.ErrorIs(t, err, abmtest.ErrUnknownServer)
	for _, id := range []string{m.Name(), m.UUID()} {
		got, err := s.MDMServer(id)
		require.NoError(t, err)
		assert.Same(t, m, got)
	}
	_, foreign, _ := world(t)
	require.ErrorIs(t, s.AddDevices(foreign, machines("A")...), abmtest.ErrUnknownServer)
	require.ErrorIs(t, s.Assign(nil, "A"), abmtest.ErrUnknownServer)
	require.ErrorIs(t, s.Migrate(nil, time.Time{}, "A"), abmtest.ErrUnknownServer)
	require.ErrorIs(t, s.AddDevices(m, machines("A", "B", "A")...), abmtest.ErrExists)
	require.ErrorIs(t, s.AddDevices(m, abmtest.Device{SerialNumber: "A"}), abmtest.ErrInvalid)
	assert.Empty(t, s.Devices(0, 0), "all or none")
	require.NoError(t, s.AddDevices(m, machines("A")...))
	require.ErrorIs(t, s.Unassign("A", "X"), abmtest.ErrUnknownDevice)
	d, err := s.Device("A")
	require.NoError(t, err)
	assert.Equal(t, m.UUID(), d.ServerUUID, "all or none")
	_, err = s.Device("X")
	require.ErrorIs(t, err, abmtest.ErrUnknownDevice)
	assert.Equal(t, []*abmtest.MDMServer{m}, s.MDMServers())
}

func TestRandomDevices(t *testing.T) {
	t.Parallel()
	s, m, _ := world(t)
	again, _, _ := world(t)
	devices := s.RandomDevices(500)
	assert.Equal(t, devices, again.RandomDevices(500), "the same seed gives the same devices")
	require.NoError(t, s.AddDevices(m, devices...))
	families := map[string]int{}
	for _, d := range devices {
		families[d.Family]++
		assert.Len(t, d.SerialNumber, 10)
		assert.NotEmpty(t, d.OS)
		assert.NotEmpty(t, d.WiFiMAC)
	}
	assert.Len(t, families, 3)
	assert.Empty(t, s.RandomDevices(-1))
	assert.Len(t, s.Devices(10, 20), 20)
	assert.Empty(t, s.Devices(500, 20))
}
