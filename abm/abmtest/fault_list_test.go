package abmtest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/micromdm/nanodep/godep"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// listFaultTests drive the faults of the devices in answers.
func listFaultTests() map[abmtest.FaultKind]func(*testing.T) {
	return map[abmtest.FaultKind]func(*testing.T){
		abmtest.FaultRepeatedCursor: testRepeatedCursor,
		abmtest.FaultMissingFromSync: func(t *testing.T) {
			s, m, _, c, _ := twoServers(t, "A")
			set(t, s, abmtest.Fault{Kind: abmtest.FaultMissingFromSync, Serials: []string{"C"}})
			require.NoError(t, s.AddDevices(m, machines("B", "C", "D")...))
			assert.Equal(t, []string{"added B", "added D"}, opsOf(c.news()))
			s.ClearFaults()
			assert.Empty(t, c.news(), "it has missed its time")
			listed, _ := c.all("/server/devices", "", 0)
			assert.Equal(t, []string{"A", "B", "C", "D"}, serialsOf(listed))
		},
		abmtest.FaultMissingFromFetch: func(t *testing.T) {
			s, m, _, c, _ := twoServers(t, "A", "B")
			set(t, s, abmtest.Fault{Kind: abmtest.FaultMissingFromFetch, Serials: []string{"B", "C"}})
			require.NoError(t, s.AddDevices(m, machines("C")...))
			listed, _ := c.all("/server/devices", "", 0)
			assert.Equal(t, []string{"A"}, serialsOf(listed))
			assert.Equal(t, []string{"added C"}, opsOf(c.news()))
		},
		abmtest.FaultDuplicateEvents: func(t *testing.T) {
			s, m, _, c, _ := twoServers(t)
			set(t, s, abmtest.Fault{Kind: abmtest.FaultDuplicateEvents, Serials: []string{"B"}})
			require.NoError(t, s.AddDevices(m, machines("A", "B")...))
			assert.Equal(t, []string{"added A", "added B", "added B"}, opsOf(c.news()))
		},
		abmtest.FaultReplayedEvents: func(t *testing.T) {
			s, m, _, c, _ := twoServers(t)
			require.NoError(t, s.AddDevices(m, machines("A", "B", "C", "D", "E")...))
			set(t, s, abmtest.Fault{Kind: abmtest.FaultReplayedEvents})
			p := c.page("/devices/sync", c.cursor, 4)
			assert.Equal(t, []string{"added A", "added B", "added C", "added D"}, opsOf(p.Devices), "nothing came before")
			p = c.page("/devices/sync", p.Cursor, 4)
			assert.Equal(t, []string{"added E", "added C", "added D"}, opsOf(p.Devices))
			assert.Len(t, c.page("/devices/sync", p.Cursor, 30).Devices, 5, "not those of the replay")
		},
		abmtest.FaultReversedEvents: func(t *testing.T) {
			s, m, _, c, _ := twoServers(t)
			require.NoError(t, s.AddDevices(m, machines("A", "B", "C")...))
			require.NoError(t, s.Release("A"))
			set(t, s, abmtest.Fault{Kind: abmtest.FaultReversedEvents})
			assert.Equal(t, []string{"deleted A", "added C", "added B", "added A"}, opsOf(c.news()))
		},
		abmtest.FaultLateEvents: testLateEvents,
		abmtest.FaultModifiedNotAdded: func(t *testing.T) {
			s, m, _, c, _ := twoServers(t)
			set(t, s, abmtest.Fault{Kind: abmtest.FaultModifiedNotAdded})
			require.NoError(t, s.AddDevices(m, machines("A")...))
			require.NoError(t, s.Release("A"))
			assert.Equal(t, []string{"modified A", "deleted A"}, opsOf(c.news()))
		},
		abmtest.FaultMalformedDate: testMalformedDate,
		abmtest.FaultUnknownField: func(t *testing.T) {
			got := everywhere(t, abmtest.Fault{Kind: abmtest.FaultUnknownField, Serials: []string{"A"}}, "x_new_member")
			assert.Equal(t, [3]any{map[string]any{"nested": []any{1.0, nil}}, map[string]any{"nested": []any{1.0, nil}}, map[string]any{"nested": []any{1.0, nil}}}, got)
			got = everywhere(t, abmtest.Fault{Kind: abmtest.FaultUnknownField, Operation: "/devices", Field: "y", Value: json.RawMessage("7")}, "y")
			assert.Equal(t, [3]any{nil, nil, 7.0}, got)
		},
		abmtest.FaultUnknownFamily: func(t *testing.T) {
			assert.Equal(t, [3]any{"Watch", "Watch", "Watch"}, everywhere(t, abmtest.Fault{Kind: abmtest.FaultUnknownFamily}, "device_family"))
		},
		abmtest.FaultUnknownOS: func(t *testing.T) {
			assert.Equal(t, [3]any{"watchOS", "watchOS", "watchOS"}, everywhere(t, abmtest.Fault{Kind: abmtest.FaultUnknownOS}, "os"))
		},
		abmtest.FaultNoResponseStatus: func(t *testing.T) {
			assert.Equal(t, [3]any{nil, nil, "SUCCESS"}, everywhere(t, abmtest.Fault{Kind: abmtest.FaultNoResponseStatus, Serials: []string{"B"}}, "response_status"))
			assert.Equal(t, [3]any{}, everywhere(t, abmtest.Fault{Kind: abmtest.FaultNoResponseStatus}, "response_status"))
		},
		abmtest.FaultNonObjectDevice: func(t *testing.T) {
			s, _, _, c, _ := twoServers(t, "A")
			for want, value := range map[string]string{`"devices":[null,{`: "", `"devices":["A",{`: `"A"`, `"devices":[[7],{`: "[7]"} {
				set(t, s, abmtest.Fault{ID: "x", Kind: abmtest.FaultNonObjectDevice, Value: json.RawMessage(value)})
				assert.Contains(t, c.call("POST", "/server/devices", "{}").body, want)
			}
		},
	}
}

// everywhere returns a member of device A in fetch, sync and details while a fault is set.
func everywhere(t *testing.T, f abmtest.Fault, member string) (got [3]any) {
	t.Helper()
	s, m, _, c, _ := twoServers(t)
	require.NoError(t, s.AddDevices(m, machines("A")...))
	set(t, s, f)
	listed, _ := c.all("/server/devices", "", 0)
	synced := c.news()
	require.Len(t, listed, 1)
	require.Len(t, synced, 1)
	var details struct {
		Devices map[string]wire `json:"devices"`
	}
	c.call("POST", "/devices", `{"devices":["A"]}`).decode(t, &details)
	require.Equal(t, "A", details.Devices["A"].serial())
	return [3]any{listed[0][member], synced[0][member], details.Devices["A"][member]}
}

func testRepeatedCursor(t *testing.T) {
	s, m, _, c, _ := twoServers(t, "A")
	require.NoError(t, s.AddDevices(m, machines("B")...))
	set(t, s, abmtest.Fault{Kind: abmtest.FaultRepeatedCursor, Count: 2})
	first := c.page("/devices/sync", c.cursor, 0)
	assert.Equal(t, c.cursor, first.Cursor)
	assert.True(t, first.MoreToFollow)
	assert.Equal(t, []string{"added B"}, opsOf(first.Devices))
	assert.Equal(t, first, c.page("/devices/sync", c.cursor, 0))
	last := c.page("/devices/sync", c.cursor, 0)
	assert.False(t, last.MoreToFollow)
	assert.NotEqual(t, c.cursor, last.Cursor)

	set(t, s, abmtest.Fault{Kind: abmtest.FaultRepeatedCursor, Operation: "/server/devices"})
	first = c.page("/server/devices", "", 1)
	assert.NotEmpty(t, first.Cursor, "the first page has none to repeat")
	assert.Equal(t, first.Cursor, c.page("/server/devices", first.Cursor, 1).Cursor)
}

func testMalformedDate(t *testing.T) {
	for value, want := range map[string]any{"": "", `"yesterday"`: "yesterday", "12": 12.0, "null": nil, `{"a":1}`: map[string]any{"a": 1.0}} {
		f := abmtest.Fault{Kind: abmtest.FaultMalformedDate, Value: json.RawMessage(value)}
		assert.Equal(t, [3]any{nil, want, nil}, everywhere(t, f, "op_date"), value)
		f.Operation, f.Field = "/server/devices", "device_assigned_date"
		assert.Equal(t, [3]any{want, "2026-09-01T12:00:00Z", "2026-09-01T12:00:00Z"}, everywhere(t, f, "device_assigned_date"), value)
	}
	// What it was reported for.
	apple, m, c := nanodep(t)
	page, err := c.FetchDevices(t.Context(), "dep")
	require.NoError(t, err)
	require.NoError(t, apple.AddDevices(m, machines("A", "B")...))
	set(t, apple, abmtest.Fault{Kind: abmtest.FaultMalformedDate, Serials: []string{"B"}})
	_, err = c.SyncDevices(t.Context(), "dep", godep.WithCursor(page.Cursor))
	require.Error(t, err, "one bad date costs nanodep the page")
}

func testLateEvents(t *testing.T) {
	s, m, _, c, _ := twoServers(t)
	for _, serial := range []string{"A", "B", "C"} {
		require.NoError(t, s.AddDevices(m, machines(serial)...))
		c.clock.Advance(time.Second)
	}
	require.NoError(t, s.Assign(m, "A"))
	require.NoError(t, s.Release("B"))
	id := set(t, s, abmtest.Fault{Kind: abmtest.FaultLateEvents, Serials: []string{"A"}})
	p := c.page("/devices/sync", c.cursor, 3)
	assert.Equal(t, []string{"added B", "added C", "modified A"}, opsOf(p.Devices))
	require.True(t, p.MoreToFollow)
	p = c.page("/devices/sync", p.Cursor, 3)
	assert.Equal(t, []string{"added A", "deleted B"}, opsOf(p.Devices), "on the next page")
	assert.False(t, p.MoreToFollow)
	assert.Empty(t, c.page("/devices/sync", p.Cursor, 3).Devices)

	p = c.page("/devices/sync", c.cursor, 10)
	assert.Equal(t, []string{"added B", "added C", "modified A", "added A", "deleted B"}, opsOf(p.Devices), "on the same page")
	assert.Equal(t, "2026-09-01T12:00:00Z", p.Devices[3]["op_date"])

	// Nothing comes after the newer event: the late one does all the same, if need be on a page of its own.
	for _, limit := range []int{1, 10} {
		require.NoError(t, s.Assign(m, "A", "A"))
		cursor := p.Cursor
		var got []wire
		for p.MoreToFollow = true; p.MoreToFollow; got = append(got, p.Devices...) {
			p = c.page("/devices/sync", p.Cursor, limit)
		}
		assert.Equal(t, []string{"modified A", "modified A"}, opsOf(got), "limit %d", limit)
		_, p.Cursor = c.all("/devices/sync", cursor, 10)
	}

	// One at a time: pages of one device come to an end, too, and clearing the fault loses nothing.
	p = c.page("/devices/sync", c.cursor, 1)
	s.ClearFaults(id)
	got := p.Devices
	for p.MoreToFollow {
		p = c.page("/devices/sync", p.Cursor, 1)
		got = append(got, p.Devices...)
	}
	assert.Subset(t, opsOf(got), []string{"added A", "added B", "added C", "modified A", "deleted B"})
	assert.Len(t, got, 9)
}

// TestDisorderLosesNothing has a client that believes the newest op_date, as Apple demands, and expects that it ends
// with the truth whatever the order is in which it gets to know.
func TestDisorderLosesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable on purpose
			s, m, c := world(t, abmtest.WithSessionLifetime(1000*time.Hour))
			_, cursor := c.all("/server/devices", "", 0)
			for _, kind := range []abmtest.FaultKind{
				abmtest.FaultDuplicateEvents, abmtest.FaultReplayedEvents, abmtest.FaultReversedEvents, abmtest.FaultLateEvents,
				abmtest.FaultModifiedNotAdded,
			} {
				set(t, s, abmtest.Fault{Kind: kind, Probability: 0.5})
			}
			known, newest := map[string]string{}, map[string]string{}
			read := func(limit int) bool {
				p := c.page("/devices/sync", cursor, limit)
				for _, d := range p.Devices {
					if date, _ := d["op_date"].(string); date >= newest[d.serial()] {
						newest[d.serial()] = date
						known[d.serial()] = fmt.Sprint(d["op_type"] != "deleted")
					}
				}
				cursor = p.Cursor
				return p.MoreToFollow
			}
			for range 300 {
				c.clock.Advance(time.Second)
				serial := fmt.Sprintf("D%d", rng.IntN(8))
				switch rng.IntN(5) { // acts on devices that are not there fail; that is part of the game
				case 0:
					_ = s.AddDevices(m, machines(serial)...)
				case 1:
					_ = s.Assign(m, serial)
				case 2:
					_ = s.Release(serial)
				default:
					read(1 + rng.IntN(6))
				}
			}
			for read(1 + rng.IntN(6)) {
			}
			want := map[string]string{}
			for _, d := range s.Devices(0, 0) {
				want[d.SerialNumber] = fmt.Sprint(!d.Released)
			}
			assert.Equal(t, want, known)
		})
	}
}
