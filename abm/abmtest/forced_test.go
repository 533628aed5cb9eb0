package abmtest_test

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

func TestThrottleByProtocolVersion(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, machines("A", "B", "C")...))
	id := c.define(simpleProfile)
	require.NoError(t, s.ForceAssignResult("A", "THROTTLED", 24*time.Hour))
	require.NoError(t, s.ForceAssignResult("B", "FAILED", time.Hour))
	c.clock.Advance(500 * time.Millisecond)
	for version, want := range map[string]string{"": "FAILED", "8": "FAILED", "9": "THROTTLED", "10": "THROTTLED"} {
		c.version = version
		got := c.devices("POST", "/profile/devices", id, "A", "B", "C")
		assert.Equal(t, map[string]string{"A": want, "B": "FAILED", "C": "SUCCESS"}, got.Devices, version)
		if version == "10" {
			require.NotNil(t, got.RetryAfter)
			assert.EqualValues(t, 24*3600, *got.RetryAfter, "rounded up")
		} else {
			assert.Nil(t, got.RetryAfter)
		}
	}
	c.version = "10"
	assert.Nil(t, c.devices("POST", "/profile/devices", id, "B").RetryAfter, "only if a device was throttled")
	d, err := s.Device("A")
	require.NoError(t, err)
	assert.Empty(t, d.ProfileUUID)
	assert.Equal(t, 4, d.AssignCalls)

	c.clock.Advance(24 * time.Hour)
	c.session = ""
	got := c.devices("POST", "/profile/devices", id, "A", "B")
	assert.Equal(t, map[string]string{"A": "SUCCESS", "B": "SUCCESS"}, got.Devices)
}

func TestThrottledDevicesAreHiddenFromSync(t *testing.T) {
	t.Parallel()
	s, _, n, c, o := twoServers(t, "A", "B", "C")
	id := c.define(simpleProfile)
	c.devices("POST", "/profile/devices", id, "A", "B", "C")
	require.NoError(t, s.ForceAssignResult("A", "THROTTLED", time.Hour))
	require.NoError(t, s.ForceAssignResult("B", "THROTTLED", time.Hour))
	assert.Equal(t, []string{"modified C"}, opsOf(c.news()), "what was not read yet is hidden, too")
	listed, _ := c.all("/server/devices", "", 0)
	assert.Equal(t, []string{"A", "B", "C"}, serialsOf(listed), "fetch shows them")

	require.NoError(t, s.Assign(n, "A"))
	assert.Empty(t, c.news(), "no deleted meanwhile")
	assert.Empty(t, o.news())
	listed, _ = c.all("/server/devices", "", 0)
	assert.Equal(t, []string{"B", "C"}, serialsOf(listed))

	c.clock.Advance(time.Hour)
	c.session, o.session = "", ""
	assert.ElementsMatch(t, []string{"deleted A", "modified B"}, opsOf(c.news()))
	news := o.news()
	assert.Equal(t, []string{"added A"}, opsOf(news))
	assert.Equal(t, "2026-09-01T13:00:00Z", news[0]["op_date"])
	assert.Equal(t, "2026-09-01T12:00:00Z", news[0]["device_assigned_date"])
	assert.Empty(t, c.news())
}

func TestForcedResultsEndOnDemand(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, machines("A")...))
	_, cursor := c.all("/server/devices", "", 0)
	id := c.define(simpleProfile)
	for _, result := range []string{"", "throttled", "MISSING"} {
		require.ErrorIs(t, s.ForceAssignResult("A", result, time.Hour), abmtest.ErrInvalid)
	}
	require.ErrorIs(t, s.ForceAssignResult("", "FAILED", time.Hour), abmtest.ErrInvalid)
	require.ErrorIs(t, s.ForceAssignResult("A", "FAILED", 0), abmtest.ErrInvalid)

	require.NoError(t, s.ForceAssignResult("A", "THROTTLED", time.Hour))
	require.NoError(t, s.Assign(m, "A"))
	require.NoError(t, s.ForceAssignResult("A", "NOT_ACCESSIBLE", time.Hour))
	assert.Equal(t, map[string]string{"A": "NOT_ACCESSIBLE"}, c.devices("POST", "/profile/devices", id, "A").Devices)
	news, cursor := c.all("/devices/sync", cursor, 0)
	assert.Equal(t, []string{"modified A"}, opsOf(news), "a throttle that was replaced is over")
	require.NoError(t, s.ForceAssignResult("A", "SUCCESS", 0))
	assert.Equal(t, map[string]string{"A": "SUCCESS"}, c.devices("POST", "/profile/devices", id, "A").Devices)
	news, _ = c.all("/devices/sync", cursor, 0)
	assert.Equal(t, []string{"modified A"}, opsOf(news))
}

func TestIntercept(t *testing.T) {
	t.Parallel()
	s, _, c := world(t)
	require.Equal(t, http.StatusOK, c.open().status)
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/account" {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, err := io.WriteString(w, "busy")
		assert.NoError(t, err)
		return true
	})
	assert.Equal(t, http.StatusServiceUnavailable, c.call("GET", "/account", "").status)
	assert.Equal(t, "DEVICE_ID_REQUIRED", c.call("POST", "/devices", "{}").body)
	assert.Equal(t, 1, s.Stats().Calls["GET /account"], "intercepted calls count")
	assert.Equal(t, map[string]map[int]int{"GET /session": {200: 1}, "GET /account": {503: 1}, "POST /devices": {400: 1}}, s.Stats().Statuses)
	s.Intercept(nil)
	assert.Equal(t, http.StatusOK, c.call("GET", "/account", "").status)
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s, m, c := world(t, abmtest.WithSessionRotation(0))
	devices := s.RandomDevices(200)
	require.NoError(t, s.AddDevices(m, devices...))
	id := c.define(simpleProfile)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			own := newTestClient(t, s, m, c.clock)
			own.session = c.session
			for j := range 10 {
				serial := devices[(i*10+j)%200].SerialNumber
				assert.Equal(t, "SUCCESS", own.devices("POST", "/profile/devices", id, serial).Devices[serial])
				_, err := s.ActivationRecord(serial)
				assert.NoError(t, err)
				listed, _ := own.all("/server/devices", "", 1000)
				assert.Len(t, listed, 200)
				assert.Len(t, s.Devices(0, 0), 200)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 80, len(s.Stats().AssignCalls))
}
