package abmtest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// deviceFaultTests drive the faults of what happens to devices and profiles.
func deviceFaultTests() map[abmtest.FaultKind]func(*testing.T) {
	return map[abmtest.FaultKind]func(*testing.T){
		abmtest.FaultSilentRelease:  testSilentRelease,
		abmtest.FaultOldProfile:     testOldProfile,
		abmtest.FaultRemovedStatus:  testRemovedStatus,
		abmtest.FaultProfileRemoved: testProfileRemoved,
		abmtest.FaultProfileLost:    testProfileLost,
		abmtest.FaultResultFailed:   func(t *testing.T) { testResult(t, abmtest.FaultResultFailed, "FAILED") },
		abmtest.FaultResultNotAccessible: func(t *testing.T) {
			testResult(t, abmtest.FaultResultNotAccessible, "NOT_ACCESSIBLE")
		},
		abmtest.FaultResultMissing: func(t *testing.T) {
			s, c, id := assigned(t, "A", "B")
			for _, applied := range []bool{false, true} {
				set(t, s, abmtest.Fault{ID: "x", Kind: abmtest.FaultResultMissing, Serials: []string{"A"}, Applied: applied})
				other := c.define(`{"profile_name":"q","url":"https://e.org/"}`)
				got := c.devices("POST", "/profile/devices", other, "A", "B")
				assert.Equal(t, map[string]string{"B": "SUCCESS"}, got.Devices)
				d, err := s.Device("A")
				require.NoError(t, err)
				assert.Equal(t, applied, d.ProfileUUID == other && d.ProfileUUID != id)
			}
			set(t, s, abmtest.Fault{ID: "x", Kind: abmtest.FaultResultMissing, Serials: []string{"A"}, Operation: "/devices"})
			assert.NotContains(t, c.call("POST", "/devices", `{"devices":["A","B"]}`).body, `"A"`)
		},
		abmtest.FaultResultUnasked: func(t *testing.T) {
			s, c, id := assigned(t, "A")
			set(t, s, abmtest.Fault{Kind: abmtest.FaultResultUnasked, Count: 1})
			set(t, s, abmtest.Fault{Kind: abmtest.FaultResultUnasked, Value: json.RawMessage(`"Z"`), Count: 1})
			for _, want := range []string{"UNASKED001", "Z"} {
				got := c.devices("POST", "/profile/devices", id, "A")
				assert.Equal(t, map[string]string{"A": "SUCCESS", want: "SUCCESS"}, got.Devices)
			}
		},
		abmtest.FaultResultThrottled:    testThrottled,
		abmtest.FaultThrottleReassigned: testThrottleReassigned,
	}
}

// assigned is a world whose devices have a profile.
func assigned(t *testing.T, serials ...string) (*abmtest.Service, *feed, string) {
	t.Helper()
	s, _, _, c, _ := twoServers(t, serials...)
	id := c.define(simpleProfile)
	c.devices("POST", "/profile/devices", id, serials...)
	c.news()
	return s, c, id
}

func testSilentRelease(t *testing.T) {
	s, m, n, c, o := twoServers(t, "A", "B", "C", "D", "E")
	set(t, s, abmtest.Fault{Kind: abmtest.FaultSilentRelease, Serials: []string{"A", "B", "C"}, Server: m.UUID()})
	require.NoError(t, s.Release("A", "D"))
	require.NoError(t, s.Assign(n, "B"))
	c.devices("POST", "/devices/disown", "", "C", "E")
	assert.Equal(t, []string{"deleted D", "deleted E"}, opsOf(c.news()))
	assert.Equal(t, []string{"added B"}, opsOf(o.news()))
	listed, _ := c.all("/server/devices", "", 0)
	assert.Empty(t, listed)
	assert.Contains(t, c.call("POST", "/devices", `{"devices":["A"]}`).body, "NOT_ACCESSIBLE")

	require.NoError(t, s.Assign(m, "B"))
	assert.Equal(t, []string{"added B"}, opsOf(c.news()), "it came back")
	assert.Equal(t, []string{"deleted B"}, opsOf(o.news()), "another server")

	require.NoError(t, s.Assign(m, "B"))
	require.NoError(t, s.ForceAssignResult("B", "THROTTLED", time.Hour))
	require.NoError(t, s.Assign(m, "B"))
	assert.Empty(t, c.news(), "it passes over the device")
	require.NoError(t, s.Release("B"))
	require.NoError(t, s.ForceAssignResult("B", "SUCCESS", 0))
	assert.Empty(t, c.news(), "nothing was kept back either")
}

func testOldProfile(t *testing.T) {
	s, c, id := assigned(t, "A", "B")
	m, err := s.MDMServer("Fleet")
	require.NoError(t, err)
	set(t, s, abmtest.Fault{Kind: abmtest.FaultOldProfile, Serials: []string{"A"}})
	require.NoError(t, s.Release("A", "B"))
	require.NoError(t, s.AddDevices(m, machines("A", "B")...))
	news := c.news()
	assert.Equal(t, []string{"deleted A", "deleted B", "added A", "added B"}, opsOf(news))
	assert.Equal(t, []any{id, nil}, pluck(news[2:], "profile_uuid"))
	assert.Equal(t, []any{"assigned", "empty"}, pluck(news[2:], "profile_status"))
	_, err = s.ActivationRecord("A")
	require.ErrorIs(t, err, abmtest.ErrNoProfile, "it is only on show")

	c.devices("POST", "/profile/devices", id, "A")
	record, err := s.ActivationRecord("A")
	require.NoError(t, err)
	assert.Equal(t, id, record.ProfileUUID)
	require.NoError(t, s.Assign(m, "A"))
	assert.Equal(t, []any{id, id, id}, pluck(c.news(), "profile_uuid"))

	s, c, id = assigned(t, "C")
	m, err = s.MDMServer("Fleet")
	require.NoError(t, err)
	set(t, s, abmtest.Fault{Kind: abmtest.FaultOldProfile})
	require.NoError(t, s.Assign(m, "C"))
	assert.Equal(t, []any{id}, pluck(c.news(), "profile_uuid"), "assigning it again in the portal does it, too")
}

func testRemovedStatus(t *testing.T) {
	s, m, n, c, o := twoServers(t, "A", "B")
	id := c.define(simpleProfile)
	c.devices("POST", "/profile/devices", id, "A", "B")
	c.news()
	set(t, s, abmtest.Fault{Kind: abmtest.FaultRemovedStatus})
	c.devices("DELETE", "/profile/devices", "", "A")
	news := c.news()
	assert.Equal(t, []string{"modified A"}, opsOf(news))
	assert.Equal(t, []any{id, "removed"}, []any{news[0]["profile_uuid"], news[0]["profile_status"]})
	_, err := s.ActivationRecord("A")
	require.ErrorIs(t, err, abmtest.ErrNoProfile)
	c.devices("DELETE", "/profile/devices", "", "A")
	assert.Equal(t, []any{"empty"}, pluck(c.news(), "profile_status"), "the second time it is gone")

	require.NoError(t, s.Assign(n, "B"))
	news = o.news()
	assert.Equal(t, []string{"modified B"}, opsOf(news), "not added")
	assert.Equal(t, []any{id, "removed"}, []any{news[0]["profile_uuid"], news[0]["profile_status"]})
	require.NoError(t, s.Assign(m, "B"))
	o.news()
	listed, _ := c.all("/server/devices", "", 0)
	assert.Equal(t, []string{"A", "B"}, serialsOf(listed))
	c.devices("POST", "/profile/devices", id, "B")
	_, err = s.ActivationRecord("B")
	require.NoError(t, err)
}

func testProfileRemoved(t *testing.T) {
	s, c, id := assigned(t, "A", "B", "C")
	_, err := s.ActivationRecord("B")
	require.NoError(t, err)
	c.news()
	c.clock.Advance(time.Minute)
	set(t, s, abmtest.Fault{Kind: abmtest.FaultProfileRemoved, Serials: []string{"A", "B"}})
	news := c.news()
	assert.Equal(t, []string{"modified A", "modified B"}, opsOf(news))
	for _, d := range news {
		assert.Equal(t, []any{id, "removed", "2026-09-01T12:01:00Z"}, []any{d["profile_uuid"], d["profile_status"], d["op_date"]})
	}
	assert.Empty(t, c.news(), "once")
	_, err = s.ActivationRecord("A")
	require.ErrorIs(t, err, abmtest.ErrNoProfile)
	c.devices("POST", "/profile/devices", id, "A")
	assert.Equal(t, []any{"assigned", "removed"}, pluck(c.news(), "profile_status"), "and again, while the fault is set")
	s.ClearFaults()
	c.devices("POST", "/profile/devices", id, "A")
	assert.Equal(t, []any{"assigned"}, pluck(c.news(), "profile_status"))
}

func testProfileLost(t *testing.T) {
	s, c, id := assigned(t, "A")
	other := c.define(`{"profile_name":"q","url":"https://e.org/"}`)
	set(t, s, abmtest.Fault{Kind: abmtest.FaultProfileLost, ProfileUUID: id, Count: 2})
	assert.Equal(t, 200, c.call("GET", "/profile?profile_uuid="+other, "").status)
	body := `{"profile_uuid":"` + id + `","devices":["A"]}`
	for range 2 {
		a := c.call("POST", "/profile/devices", body)
		assert.Equal(t, []any{404, "PROFILE_NOT_FOUND"}, []any{a.status, a.body})
		a = c.call("GET", "/profile?profile_uuid="+id, "")
		assert.Equal(t, []any{400, "NOT_FOUND"}, []any{a.status, a.body})
		require.Equal(t, id, c.define(simpleProfile))
	}
	assert.Equal(t, 2, s.Faults()[0].Struck, "a profile is lost once until it is defined again")
	assert.Equal(t, 200, c.call("POST", "/profile/devices", body).status)
	_, err := s.ActivationRecord("A")
	require.NoError(t, err)
}

func testResult(t *testing.T, kind abmtest.FaultKind, word string) {
	s, c, id := assigned(t, "A", "B")
	other := c.define(`{"profile_name":"q","url":"https://e.org/"}`)
	profileOfA := func() string {
		d, err := s.Device("A")
		require.NoError(t, err)
		return d.ProfileUUID
	}
	set(t, s, abmtest.Fault{ID: "x", Kind: kind, Serials: []string{"A", "C"}, Count: 2})
	got := c.devices("PUT", "/profile/devices", other, "A", "B", "C")
	assert.Equal(t, map[string]string{"A": word, "B": "SUCCESS", "C": word}, got.Devices)
	assert.Equal(t, id, profileOfA())
	assert.Equal(t, map[string]string{"A": "SUCCESS"}, c.devices("DELETE", "/profile/devices", "", "A").Devices, "assignments only")
	assert.Equal(t, map[string]string{"A": "SUCCESS"}, c.devices("PUT", "/profile/devices", other, "A").Devices, "count counts devices")

	set(t, s, abmtest.Fault{ID: "x", Kind: kind, Serials: []string{"A"}, Applied: true})
	assert.Equal(t, map[string]string{"A": word}, c.devices("POST", "/profile/devices", id, "A").Devices)
	assert.Equal(t, id, profileOfA(), "done, whatever it says")
	for _, call := range []string{"DELETE /profile/devices", "POST /devices/disown"} {
		set(t, s, abmtest.Fault{ID: "x", Kind: kind, Operation: call, Serials: []string{"A"}})
		method, path, _ := strings.Cut(call, " ")
		assert.Equal(t, map[string]string{"A": word, "B": "SUCCESS"}, c.devices(method, path, "", "A", "B").Devices, call)
	}
	set(t, s, abmtest.Fault{ID: "x", Kind: kind, Operation: "/devices"})
	assert.JSONEq(t, `{"devices":{"A":{"serial_number":"A","response_status":"`+word+`"}}}`, c.call("POST", "/devices", `{"devices":["A"]}`).body)
	set(t, s, abmtest.Fault{ID: "x", Kind: kind, Operation: "/device/activationlock"})
	assert.JSONEq(t, `{"serial_number":"A","response_status":"`+word+`"}`, c.call("POST", "/device/activationlock", `{"device":"A"}`).body)
	s.ClearFaults()
	assert.Contains(t, c.call("POST", "/device/activationlock", `{"device":"A"}`).body, "SUCCESS")
}

func testThrottled(t *testing.T) {
	s, c, id := assigned(t, "A", "B")
	set(t, s, abmtest.Fault{ID: "x", Kind: abmtest.FaultResultThrottled, Serials: []string{"A"}, Duration: time.Hour, Count: 1})
	for version, want := range map[string]string{"8": "FAILED", "9": "THROTTLED", "10": "THROTTLED"} {
		c.version = version
		got := c.devices("POST", "/profile/devices", id, "A", "B")
		assert.Equal(t, map[string]string{"A": want, "B": "SUCCESS"}, got.Devices, "though it struck once: the throttle lasts")
		if version == "10" {
			require.NotNil(t, got.RetryAfter)
			assert.EqualValues(t, 3600, *got.RetryAfter)
		} else {
			assert.Nil(t, got.RetryAfter)
		}
	}
	c.version = "10"
	m, err := s.MDMServer("Fleet")
	require.NoError(t, err)
	require.NoError(t, s.Assign(m, "A"))
	assert.NotContains(t, serialsOf(c.news()), "A", "hidden")
	c.clock.Advance(time.Hour)
	c.session = ""
	assert.Equal(t, []string{"modified A"}, opsOf(c.news()), "over")
	assert.Equal(t, "SUCCESS", c.devices("POST", "/profile/devices", id, "A").Devices["A"])

	set(t, s, abmtest.Fault{ID: "x", Kind: abmtest.FaultResultThrottled, Serials: []string{"A"}})
	assert.EqualValues(t, 24*3600, *c.devices("POST", "/profile/devices", id, "A").RetryAfter)
	s.ClearFaults("x")
	assert.Equal(t, "SUCCESS", c.devices("POST", "/profile/devices", id, "A").Devices["A"], "cleared with what it began")
}

func testThrottleReassigned(t *testing.T) {
	s, m, _, c, _ := twoServers(t, "A", "B")
	id := c.define(simpleProfile)
	rule := set(t, s, abmtest.Fault{Kind: abmtest.FaultThrottleReassigned, Window: time.Minute, Duration: 2 * time.Hour})
	assign := func(serials ...string) results {
		t.Helper()
		c.session = "" // the clock moves far
		return c.devices("POST", "/profile/devices", id, serials...)
	}
	assert.Equal(t, "SUCCESS", assign("A").Devices["A"])
	c.clock.Advance(61 * time.Second)
	assert.Equal(t, "SUCCESS", assign("A").Devices["A"], "late enough")
	c.clock.Advance(30 * time.Second)
	got := assign("A", "B")
	assert.Equal(t, map[string]string{"A": "THROTTLED", "B": "SUCCESS"}, got.Devices)
	assert.EqualValues(t, 7200, *got.RetryAfter)
	c.clock.Advance(time.Hour)
	assert.Equal(t, "THROTTLED", assign("A").Devices["A"], "an hour is too short")
	require.NoError(t, s.Assign(m, "A"))
	c.news()
	c.clock.Advance(time.Hour)
	assert.Equal(t, "SUCCESS", assign("A").Devices["A"])
	assert.Equal(t, 1, s.Faults()[0].Struck)
	assert.Equal(t, "THROTTLED", assign("A").Devices["A"])
	s.ClearFaults(rule)
	assert.Equal(t, "SUCCESS", assign("A").Devices["A"])
}
