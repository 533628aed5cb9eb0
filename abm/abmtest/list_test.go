package abmtest_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

func TestFetchPages(t *testing.T) {
	t.Parallel()
	s, m, c := world(t, abmtest.WithPageLimits(3, 4))
	require.NoError(t, s.AddDevices(m, machines("A", "B", "C", "D", "E", "F", "G", "H")...))
	for limit, want := range map[int]int{-1: 3, 0: 3, 1: 1, 4: 4, 5: 4, 1000: 4} {
		p := c.page("/server/devices", "", limit)
		assert.Len(t, p.Devices, want, "limit %d", limit)
		assert.True(t, p.MoreToFollow)
		devices, _ := c.all("/server/devices", "", limit)
		assert.Equal(t, []string{"A", "B", "C", "D", "E", "F", "G", "H"}, serialsOf(devices))
	}
	p := c.page("/server/devices", "", 2)
	again := c.page("/server/devices", p.Cursor, 2)
	assert.Equal(t, again, c.page("/server/devices", p.Cursor, 2), "a page can be read twice")
	assert.NotContains(t, again.Devices[0], "op_type")
	assert.NotContains(t, again.Devices[0], "op_date")
	assert.Equal(t, "2026-09-01T12:00:00Z", p.FetchedUntil)
}

func TestFetchOfNothing(t *testing.T) {
	t.Parallel()
	_, _, c := world(t)
	a := c.call("POST", "/server/devices", "{}")
	assert.Contains(t, a.body, `"devices":[]`)
	p := c.page("/server/devices", "", 0)
	assert.False(t, p.MoreToFollow)
	p = c.page("/devices/sync", p.Cursor, 0)
	assert.Empty(t, p.Devices)
	assert.False(t, p.MoreToFollow)
}

func TestFetchIsOrderedByLastOperation(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, machines("A", "B", "C", "D")...))
	id := c.define(simpleProfile)
	c.devices("POST", "/profile/devices", id, "A")
	require.NoError(t, s.Release("C"))
	devices, _ := c.all("/server/devices", "", 1)
	assert.Equal(t, []string{"B", "D", "A"}, serialsOf(devices))
	assert.Equal(t, id, devices[2]["profile_uuid"])
}

func TestChangesDuringFetchAreInTheSyncThatFollows(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, machines("A", "B", "C", "D", "E")...))
	id := c.define(simpleProfile)
	first := c.page("/server/devices", "", 1)

	c.clock.Advance(time.Minute)
	require.NoError(t, s.AddDevices(m, machines("F")...))
	c.devices("POST", "/profile/devices", id, "A", "C")
	require.NoError(t, s.Unassign("D"))
	require.NoError(t, s.Unassign("E"))
	require.NoError(t, s.Assign(m, "E"))

	rest, cursor := c.all("/server/devices", first.Cursor, 1)
	assert.Equal(t, []string{"B", "C", "E"}, serialsOf(rest), "D has left; F comes by sync; C is not lost for having changed")
	assert.Equal(t, id, rest[1]["profile_uuid"], "fetch shows the present")
	changes, _ := c.all("/devices/sync", cursor, 2)
	assert.Equal(t, []string{"added F", "modified A", "modified C", "deleted D", "deleted E", "added E"}, opsOf(changes))
	assert.Equal(t, "2026-09-01T12:01:00Z", changes[0]["op_date"])
	assert.Equal(t, changes[0]["op_date"], changes[0]["device_assigned_date"])
}

func TestSyncReturnsEachOperation(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	_, cursor := c.all("/server/devices", "", 0)
	require.NoError(t, s.AddDevices(m, machines("A")...))
	c.clock.Advance(1500 * time.Millisecond)
	one, two := c.define(simpleProfile), c.define(strings.Replace(simpleProfile, `"p"`, `"q"`, 1))
	c.devices("POST", "/profile/devices", one, "A")
	c.devices("PUT", "/profile/devices", two, "A")
	c.devices("DELETE", "/profile/devices", "", "A")
	c.devices("DELETE", "/profile/devices", "", "A") // nothing left to remove: no operation

	changes, next := c.all("/devices/sync", cursor, 1)
	assert.Equal(t, []string{"added A", "modified A", "modified A", "modified A"}, opsOf(changes))
	assert.Equal(t, []any{"empty", "assigned", "assigned", "empty"}, pluck(changes, "profile_status"), "as it was then")
	assert.Equal(t, []any{nil, one, two, nil}, pluck(changes, "profile_uuid"))
	assert.Equal(t, "2026-09-01T12:00:01Z", changes[1]["profile_assign_time"])
	assert.NotContains(t, changes[3], "profile_assign_time")

	again, _ := c.all("/devices/sync", cursor, 0)
	assert.Equal(t, changes, again, "an old cursor replays")
	none, _ := c.all("/devices/sync", next, 0)
	assert.Empty(t, none)
}

func pluck(devices []wire, key string) []any {
	out := make([]any, len(devices))
	for i, d := range devices {
		out[i] = d[key]
	}
	return out
}

func TestCursorErrors(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, machines("A", "B")...))
	other, err := s.AddMDMServer("Other")
	require.NoError(t, err)
	require.NoError(t, s.AddDevices(other, machines("C", "D")...))
	foreign := newTestClient(t, s, other, c.clock).page("/server/devices", "", 1).Cursor
	open := c.page("/server/devices", "", 1).Cursor
	_, done := c.all("/server/devices", "", 0)
	raw, err := base64.StdEncoding.DecodeString(done)
	require.NoError(t, err)
	assert.Regexp(t, fmt.Sprintf(`^100:2:%d:`, c.clock.Now().UnixMilli()), string(raw))
	raw[4] = '1'
	forged := base64.StdEncoding.EncodeToString(raw)

	fetch, sync := "/server/devices", "/devices/sync"
	check := func(path, cursor, want string) {
		t.Helper()
		a := c.call("POST", path, fmt.Sprintf(`{"cursor":%q}`, cursor))
		if want == "" {
			assert.Equal(t, http.StatusOK, a.status, a.body)
			return
		}
		assert.Equal(t, http.StatusBadRequest, a.status)
		assert.Equal(t, want, a.body)
	}
	assert.Equal(t, "CURSOR_REQUIRED", c.call("POST", sync, `{}`).body)
	check(sync, "", "CURSOR_REQUIRED")
	for _, path := range []string{fetch, sync} {
		for _, cursor := range []string{"x", "%%%", forged, foreign, strings.Repeat("A", 1004)} {
			check(path, cursor, "INVALID_CURSOR")
		}
	}
	check(fetch, done, "EXHAUSTED_CURSOR")
	check(fetch, c.page(sync, done, 0).Cursor, "EXHAUSTED_CURSOR")
	check(sync, open, "INVALID_CURSOR") // the fetch is not finished
	check(sync, done, "")

	c.clock.Advance(7 * 24 * time.Hour)
	c.session = ""
	check(sync, done, "")
	check(fetch, open, "")
	renewed := c.page(sync, done, 0).Cursor
	c.clock.Advance(time.Second)
	check(sync, done, "EXPIRED_CURSOR")
	check(fetch, open, "INVALID_CURSOR") // EXPIRED_CURSOR is not documented for fetch
	check(sync, renewed, "")
}

func TestFetchSeesEveryDeviceOnceWhateverHappens(t *testing.T) {
	t.Parallel()
	s, m, c := world(t)
	devices := s.RandomDevices(300)
	require.NoError(t, s.AddDevices(m, devices...))
	id := c.define(simpleProfile)
	var got []wire
	cursor := ""
	for i := 0; ; i++ { // while a fetch runs, everything changes all the time
		p := c.page("/server/devices", cursor, 7)
		got, cursor = append(got, p.Devices...), p.Cursor
		if !p.MoreToFollow {
			break
		}
		c.devices("POST", "/profile/devices", id, devices[(i*13)%300].SerialNumber, devices[(i*29)%300].SerialNumber)
	}
	serials := serialsOf(got)
	slices.Sort(serials)
	assert.Len(t, slices.Compact(serials), 300)
	assert.Len(t, got, 300)
}

func TestLimitsPerEndpoint(t *testing.T) {
	t.Parallel()
	s, m, c := world(t, abmtest.WithPageLimits(3, 4), abmtest.WithLimits("/devices/sync", 1, 2),
		abmtest.WithLimits("/profile/devices", 1, 1))
	require.NoError(t, s.AddDevices(m, machines("A", "B", "C", "D", "E")...))
	p := c.page("/server/devices", "", 4)
	p = c.page("/server/devices", p.Cursor, 4)
	require.NoError(t, s.AddDevices(m, machines("F", "G", "H")...))
	assert.Len(t, c.page("/devices/sync", p.Cursor, 0).Devices, 1)
	assert.Empty(t, s.Stats().OverLimit)
	assert.Len(t, c.page("/devices/sync", p.Cursor, 3).Devices, 2)
	id := c.define(simpleProfile)
	c.devices("POST", "/profile/devices", id, "A", "B")
	c.devices("POST", "/profile/devices", id, "C")
	assert.Equal(t, map[string]int{"POST /devices/sync": 1, "POST /profile/devices": 1}, s.Stats().OverLimit)
	var got struct {
		URLs []struct {
			URI   string
			Limit map[string]int
		}
	}
	c.call("GET", "/account", "").decode(t, &got)
	for _, u := range got.URLs {
		switch u.URI {
		case "/devices/sync":
			assert.Equal(t, map[string]int{"default": 1, "maximum": 2}, u.Limit)
		case "/devices":
			assert.Equal(t, map[string]int{"default": 3, "maximum": 4}, u.Limit)
		}
	}
}
