package abmtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// clock is a time that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// client is a small MDM server: it knows how to ask and keeps its session.
type client struct {
	t       *testing.T
	handler http.Handler
	base    string
	creds   abmtest.Credentials
	session string
	version string
	clock   *clock
	nonces  int
}

// answer is what came back.
type answer struct {
	status int
	body   string
	header http.Header
}

func (a answer) decode(t *testing.T, v any) {
	t.Helper()
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.NoError(t, json.Unmarshal([]byte(a.body), v))
}

// world is a service with one entry, "Fleet", a client of it, and a clock.
func world(t *testing.T, opts ...abmtest.Option) (*abmtest.Service, *abmtest.MDMServer, *client) {
	t.Helper()
	clk := newClock()
	opts = append([]abmtest.Option{abmtest.WithClock(clk.Now), abmtest.WithSeed(1)}, opts...)
	s, err := abmtest.NewService(opts...)
	require.NoError(t, err)
	m, err := s.AddMDMServer("Fleet")
	require.NoError(t, err)
	return s, m, newTestClient(t, s, m, clk)
}

func newTestClient(t *testing.T, h http.Handler, m *abmtest.MDMServer, clk *clock) *client {
	t.Helper()
	return &client{t: t, handler: h, creds: m.Credentials(), version: "10", clock: clk}
}

// send makes one request as it is.
func (c *client) send(method, path, body string, header http.Header) answer {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.t.Context(), method, "http://apple.test"+c.base+path, strings.NewReader(body))
	r.Header = header
	return c.do(r)
}

func (c *client) do(r *http.Request) answer {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	data, err := io.ReadAll(w.Result().Body)
	require.NoError(c.t, err)
	return answer{w.Code, string(data), w.Result().Header}
}

func (c *client) header() http.Header {
	h := http.Header{}
	h.Set("User-Agent", "abmtest")
	h.Set("Content-Type", "application/json;charset=UTF8")
	if c.version != "" {
		h.Set("X-Server-Protocol-Version", c.version)
	}
	if c.session != "" {
		h.Set("X-ADM-Auth-Session", c.session)
	}
	return h
}

// open asks for a session.
func (c *client) open() answer {
	c.t.Helper()
	h := c.header()
	c.nonces++
	h.Set("Authorization", c.authorization(nil))
	a := c.send("GET", "/session", "", h)
	if a.status == http.StatusOK {
		var out struct {
			Token string `json:"auth_session_token"`
		}
		a.decode(c.t, &out)
		c.session = out.Token
	}
	return a
}

// call opens a session if there is none, and asks.
func (c *client) call(method, path, body string) answer {
	c.t.Helper()
	if c.session == "" {
		a := c.open()
		require.Equal(c.t, http.StatusOK, a.status, a.body)
	}
	a := c.send(method, path, body, c.header())
	if renewed := a.header.Get("X-ADM-Auth-Session"); renewed != "" {
		c.session = renewed
	}
	return a
}

// wire is a device as a client reads it.
type wire map[string]any

func (w wire) serial() string { s, _ := w["serial_number"].(string); return s }

type page struct {
	Cursor       string `json:"cursor"`
	Devices      []wire `json:"devices"`
	FetchedUntil string `json:"fetched_until"`
	MoreToFollow bool   `json:"more_to_follow"`
}

func (c *client) page(path, cursor string, limit int) page {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{"cursor": cursor, "limit": limit})
	require.NoError(c.t, err)
	var p page
	c.call("POST", path, string(body)).decode(c.t, &p)
	return p
}

// all follows more_to_follow to the end and returns all devices and the last cursor.
func (c *client) all(path, cursor string, limit int) ([]wire, string) {
	c.t.Helper()
	var out []wire
	for {
		p := c.page(path, cursor, limit)
		out = append(out, p.Devices...)
		cursor = p.Cursor
		if !p.MoreToFollow {
			return out, cursor
		}
		require.NotEmpty(c.t, p.Devices, "a page that says more must follow has devices")
	}
}

func serialsOf(devices []wire) []string {
	out := make([]string, len(devices))
	for i, d := range devices {
		out[i] = d.serial()
	}
	return out
}

// opsOf returns "op_type serial" of each device.
func opsOf(devices []wire) []string {
	out := make([]string, len(devices))
	for i, d := range devices {
		op, _ := d["op_type"].(string)
		out[i] = op + " " + d.serial()
	}
	return out
}

// machines returns plain Macs with these serial numbers.
func machines(serials ...string) []abmtest.Device {
	out := make([]abmtest.Device, len(serials))
	for i, s := range serials {
		out[i] = abmtest.Device{SerialNumber: s, Model: "MacBook Air", Family: "Mac", OS: "OSX"}
	}
	return out
}

const simpleProfile = `{"profile_name":"p","url":"https://mdm.example.org/enroll"}`

// define defines a profile and returns its identifier.
func (c *client) define(profile string) string {
	c.t.Helper()
	var out struct {
		UUID string `json:"profile_uuid"`
	}
	c.call("POST", "/profile", profile).decode(c.t, &out)
	require.Regexp(c.t, `^[0-9A-F]{32}$`, out.UUID)
	return out.UUID
}

type results struct {
	ProfileUUID string            `json:"profile_uuid"`
	Devices     map[string]string `json:"devices"`
	RetryAfter  *int64            `json:"retry_after_seconds"`
}

// devices makes one of the calls that report a word per device.
func (c *client) devices(method, path, profileUUID string, serials ...string) results {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{"profile_uuid": profileUUID, "devices": serials})
	require.NoError(c.t, err)
	var out results
	c.call(method, path, string(body)).decode(c.t, &out)
	return out
}
