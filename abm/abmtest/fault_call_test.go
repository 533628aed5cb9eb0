package abmtest_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/nanodep/godep"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// callFaultTests drive the faults that answer in place of the service.
func callFaultTests() map[abmtest.FaultKind]func(*testing.T) {
	return map[abmtest.FaultKind]func(*testing.T){
		abmtest.FaultUnauthorized: func(t *testing.T) {
			s, _, c := world(t)
			set(t, s, abmtest.Fault{Kind: abmtest.FaultUnauthorized, Count: 2})
			for range 2 {
				assert.Equal(t, "UNAUTHORIZED", c.call("GET", "/account", "").body)
				assert.Equal(t, 200, c.open().status, "a new session does not help")
			}
			assert.Equal(t, 200, c.call("GET", "/account", "").status)
			assert.Equal(t, 3, s.Stats().Logins)
		},
		abmtest.FaultForbidden: func(t *testing.T) {
			s, _, c := world(t)
			for want, f := range map[string]abmtest.Fault{
				`FORBIDDEN`:   {ID: "x", Kind: abmtest.FaultForbidden},
				`"FORBIDDEN"`: {ID: "x", Kind: abmtest.FaultForbidden, Body: `"FORBIDDEN"`},
			} {
				set(t, s, f)
				a := c.call("POST", "/devices/sync", "{}")
				assert.Equal(t, 403, a.status)
				assert.Equal(t, want, a.body)
				assert.Equal(t, "text/plain;Charset=UTF8", a.header.Get("Content-Type"))
				assert.Equal(t, "fault x: forbidden", a.header.Get("X-Abmtest-Reason"))
			}
		},
		abmtest.FaultTermsNotSigned: func(t *testing.T) {
			testTokenFault(t, abmtest.FaultTermsNotSigned, "403 T_C_NOT_SIGNED", "401 UNAUTHORIZED")
		},
		abmtest.FaultTokenExpired: func(t *testing.T) {
			testTokenFault(t, abmtest.FaultTokenExpired, "401 UNAUTHORIZED", "401 UNAUTHORIZED")
		},
		abmtest.FaultTokenRevoked: func(t *testing.T) { testTokenFault(t, abmtest.FaultTokenRevoked, "403 FORBIDDEN", "403 FORBIDDEN") },
		abmtest.FaultClockSkew: func(t *testing.T) {
			s, _, c := world(t)
			for skew, status := range map[time.Duration]int{0: 401, 10 * time.Minute: 200, -11 * time.Minute: 401, 11 * time.Minute: 401} {
				set(t, s, abmtest.Fault{ID: "x", Kind: abmtest.FaultClockSkew, Duration: skew})
				a := c.open()
				assert.Equal(t, status, a.status, "%v", skew)
				if status == 401 {
					assert.Contains(t, a.header.Get("X-Abmtest-Reason"), "oauth_timestamp")
				}
			}
			assert.Equal(t, 1, s.Stats().Logins)
			assert.Equal(t, 200, c.call("GET", "/account", "").status, "a session goes on")
		},
		abmtest.FaultTooManyRequests: func(t *testing.T) { testRetryAfter(t, abmtest.FaultTooManyRequests, 429) },
		abmtest.FaultUnavailable:     func(t *testing.T) { testRetryAfter(t, abmtest.FaultUnavailable, 503) },
		abmtest.FaultServerError:     testServerError,
		abmtest.FaultAnswer: func(t *testing.T) {
			s, _, c := world(t)
			set(t, s, abmtest.Fault{Kind: abmtest.FaultAnswer, Operation: "/os-beta-enrollment/tokens", Status: 403, Body: "APPLE_SEED_FOR_IT_TURNED_OFF"})
			set(t, s, abmtest.Fault{Kind: abmtest.FaultAnswer, Operation: "/account", Status: 200, Body: "{}"})
			a := c.call("GET", "/os-beta-enrollment/tokens", "")
			assert.Equal(t, []any{403, "APPLE_SEED_FOR_IT_TURNED_OFF"}, []any{a.status, a.body})
			a = c.call("GET", "/account", "")
			assert.Equal(t, []any{200, "{}", "application/json;charset=UTF8"}, []any{a.status, a.body, a.header.Get("Content-Type")})
		},
		abmtest.FaultRejectedSerial: func(t *testing.T) {
			s, m, c := world(t)
			require.NoError(t, s.AddDevices(m, machines("A", "B")...))
			id := c.define(simpleProfile)
			set(t, s, abmtest.Fault{Kind: abmtest.FaultRejectedSerial, Serials: []string{"B"}, Body: "SOMETHING_ODD"})
			a := c.call("PUT", "/profile/devices", `{"profile_uuid":"`+id+`","devices":["A","B"]}`)
			assert.Equal(t, []any{400, "SOMETHING_ODD"}, []any{a.status, a.body})
			assert.Equal(t, "SUCCESS", c.devices("POST", "/profile/devices", id, "A").Devices["A"])
			assert.Equal(t, "SUCCESS", c.devices("DELETE", "/profile/devices", id, "B").Devices["B"], "assignments only")
			assert.Equal(t, map[string]int{"A": 2, "B": 1}, s.Stats().AssignCalls, "also those that failed")
			assert.Equal(t, 2, s.Stats().Assigns)
		},
		abmtest.FaultExpiredCursor:   func(t *testing.T) { testCursorFault(t, abmtest.FaultExpiredCursor, godep.IsCursorExpired) },
		abmtest.FaultExhaustedCursor: func(t *testing.T) { testCursorFault(t, abmtest.FaultExhaustedCursor, godep.IsCursorExhausted) },
		abmtest.FaultInvalidCursor:   func(t *testing.T) { testCursorFault(t, abmtest.FaultInvalidCursor, godep.IsCursorInvalid) },
	}
}

func testTokenFault(t *testing.T, kind abmtest.FaultKind, session, others string) {
	s, _, c := world(t)
	require.Equal(t, 200, c.open().status)
	id := set(t, s, abmtest.Fault{Kind: kind})
	for call, want := range map[string]string{"GET /account": others, "GET /session": session} {
		method, path, _ := strings.Cut(call, " ")
		a := c.call(method, path, "")
		assert.Equal(t, want, strconv.Itoa(a.status)+" "+a.body, call)
	}
	s.ClearFaults(id)
	assert.Equal(t, 200, c.open().status)
	assert.Equal(t, 200, c.call("GET", "/account", "").status)
}

func testRetryAfter(t *testing.T, kind abmtest.FaultKind, status int) {
	s, _, c := world(t)
	require.Equal(t, 200, c.open().status)
	for want, f := range map[string]abmtest.Fault{
		"":                              {},
		"90":                            {RetryAfter: 89*time.Second + 1},
		"Tue, 01 Sep 2026 12:02:00 GMT": {RetryAfter: 2 * time.Minute, RetryAfterDate: true},
	} {
		f.ID, f.Kind, f.Count = "x", kind, 1
		set(t, s, f)
		a := c.call("GET", "/account", "")
		assert.Equal(t, status, a.status)
		assert.Equal(t, want, a.header.Get("Retry-After"))
		assert.NotEmpty(t, a.body)
	}
	assert.Equal(t, 200, c.call("GET", "/account", "").status)
	assert.Equal(t, map[int]int{200: 1, status: 3}, s.Stats().Statuses["GET /account"])
}

func testServerError(t *testing.T) {
	s, m, c := world(t)
	require.NoError(t, s.AddDevices(m, machines("A")...))
	id := c.define(simpleProfile)
	body := `{"profile_uuid":"` + id + `","devices":["A"]}`
	for _, applied := range []bool{false, true} {
		set(t, s, abmtest.Fault{Kind: abmtest.FaultServerError, Operation: "/profile/devices", Count: 1, Applied: applied})
		assert.Equal(t, 500, c.call("POST", "/profile/devices", body).status)
		d, err := s.Device("A")
		require.NoError(t, err)
		assert.Equal(t, applied, d.ProfileUUID == id, "whether it took effect")
	}
	assert.Equal(t, 2, s.AssignCalls("A"))
	assert.Equal(t, map[int]int{500: 2}, s.Stats().Statuses["POST /profile/devices"])
}

// testCursorFault asks with nanodep's client, which was written by others.
func testCursorFault(t *testing.T, kind abmtest.FaultKind, is func(error) bool) {
	apple, _, c := nanodep(t)
	page, err := c.FetchDevices(t.Context(), "dep")
	require.NoError(t, err)
	set(t, apple, abmtest.Fault{Kind: kind})
	for range 3 {
		_, err = c.SyncDevices(t.Context(), "dep", godep.WithCursor(page.Cursor))
		assert.True(t, is(err), "%v", err)
		_, err := c.FetchDevices(t.Context(), "dep")
		require.NoError(t, err, "a new start does not help")
	}
	apple.ClearFaults()
	set(t, apple, abmtest.Fault{Kind: kind, Operation: "/server/devices"})
	_, err = c.FetchDevices(t.Context(), "dep", godep.WithCursor(page.Cursor))
	assert.True(t, is(err), "%v", err)
	_, err = c.SyncDevices(t.Context(), "dep", godep.WithCursor(page.Cursor))
	require.NoError(t, err)
}
