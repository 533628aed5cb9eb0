package enroll

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/internal/plist"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

const (
	topic  = "com.apple.mgmt.External.11111111-2222-3333-4444-555555555555"
	serial = "C02XK1JDJGH5"
	udid   = "00008140-0011223344556677"
)

// clock is a clock a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// challenges counts what it issues.
type challenges struct{ n atomic.Int64 }

func (c *challenges) IssueChallenge(context.Context, Candidate) (string, error) {
	return fmt.Sprintf("challenge-%d", c.n.Add(1)), nil
}

// deviceCA is the authority of all fixtures; keys take long to make.
var deviceCA = sync.OnceValues(func() (*enrolltest.DeviceCA, error) { return enrolltest.NewDeviceCA() })

// fixture is a handler with what it needs, behind a real HTTPS server.
type fixture struct {
	t       testing.TB
	store   *memory.Store
	keys    *SessionKeys
	ca      *enrolltest.DeviceCA
	device  *enrolltest.Identity
	clock   *clock
	issuer  *challenges
	handler *Handler
	server  *httptest.Server
	profile ProfileSettings
}

const base = "/mdm/sso"

// newFixture has one device in account acme. build is called once the URL of the server is known.
func newFixture(t testing.TB, options func(f *fixture) []Option) *fixture {
	t.Helper()
	f := &fixture{
		t: t, store: memory.New(), keys: newKeys(t, 1), issuer: &challenges{},
		clock: &clock{now: time.Now().UTC().Truncate(time.Microsecond)},
	}
	var err error
	f.ca, err = deviceCA()
	require.NoError(t, err)
	f.device, err = f.ca.Issue("device", time.Now())
	require.NoError(t, err)
	ctx := context.Background()
	require.NoError(t, f.store.CreateAccount(ctx, storage.Account{Name: "acme"}))
	require.NoError(t, f.store.CommitInventory(ctx, storage.InventoryChange{Account: "acme", Devices: []storage.Device{
		{Account: "acme", Serial: serial, Family: "iPhone", AssignedAt: f.clock.Now()},
		{Account: "acme", Serial: "LEFT", LeftAt: f.clock.Now(), LeftReason: "gone"},
	}}))
	mux := http.NewServeMux()
	f.server = httptest.NewTLSServer(mux)
	t.Cleanup(f.server.Close)
	scep, err := NewSCEP(SCEPSettings{URL: f.server.URL + "/scep", Name: "CA", CAFingerprint: []byte{1, 2}}, f.issuer)
	require.NoError(t, err)
	f.profile = ProfileSettings{
		Identifier: "org.example.mdm", DisplayName: "Example MDM", Organization: "Example", Topic: topic,
		ServerURL: f.server.URL + "/mdm?site=1", CheckInURL: f.server.URL + "/checkin",
	}
	opts := []Option{WithDeviceCAs(f.ca.Certificate()), WithClock(f.clock.Now)}
	if options != nil {
		opts = append(opts, options(f)...)
	}
	f.handler, err = New(f.server.URL+base, f.store, f.keys, f.profile, scep, opts...)
	require.NoError(t, err)
	mux.Handle(base, f.handler)
	mux.Handle(base+"/", f.handler)
	return f
}

// sign returns the signed MachineInfo of the fixture's device, changed by edit.
func (f *fixture) sign(edit func(map[string]any)) []byte {
	f.t.Helper()
	info := fullInfo()
	if edit != nil {
		edit(info)
	}
	raw, err := plist.Marshal(info)
	require.NoError(f.t, err)
	signed, err := f.device.Sign(raw, enrolltest.ChainDeviceCA)
	require.NoError(f.t, err)
	return signed
}

// response is an HTTP answer, read to its end.
type response struct {
	status int
	header http.Header
	body   []byte
}

func (f *fixture) do(c *http.Client, method, url string, body []byte, header map[string]string) response {
	f.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, bytes.NewReader(body))
	require.NoError(f.t, err)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := c.Do(req)
	require.NoError(f.t, err)
	defer func() { require.NoError(f.t, resp.Body.Close()) }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(f.t, err)
	return response{resp.StatusCode, resp.Header, b}
}

// post sends what a device POSTs to url.
func (f *fixture) post(body []byte) response {
	f.t.Helper()
	return f.do(f.server.Client(), http.MethodPost, f.server.URL+base, body, nil)
}

// browser is a web view: it keeps cookies and, if asked to, does not follow redirects.
func (f *fixture) browser(follow bool) *http.Client {
	f.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(f.t, err)
	c := *f.server.Client()
	c.Jar = jar
	if !follow {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return &c
}

// open is the first request of a web view.
func (f *fixture) open(c *http.Client, signed []byte) response {
	f.t.Helper()
	return f.do(c, http.MethodGet, f.server.URL+base, nil,
		map[string]string{headerDeviceInfo: base64.StdEncoding.EncodeToString(signed)})
}

func (f *fixture) get(c *http.Client, url string) response {
	f.t.Helper()
	return f.do(c, http.MethodGet, url, nil, nil)
}

// session returns the session of the fixture's device.
func (f *fixture) session() (storage.EnrollmentSession, error) {
	id, _ := f.keys.device(serial, udid, "")
	return f.store.GetSession(context.Background(), id)
}

// acts returns the kinds of all activities, and the events.
func (f *fixture) acts() (kinds []string, events []activity.Event) {
	f.t.Helper()
	list, _, err := f.store.ListActivities(context.Background(), storage.ActivityFilter{}, storage.Page{})
	require.NoError(f.t, err)
	for _, a := range list {
		e, err := activity.Parse(a)
		require.NoError(f.t, err)
		kinds, events = append(kinds, a.Kind), append(events, e)
	}
	return kinds, events
}
