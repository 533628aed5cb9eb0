package axm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// inMemory carries requests to a handler without a network, so that it works in a synctest bubble.
type inMemory struct{ http.Handler }

func (h inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, in)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

type deadNetwork struct{}

func (deadNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route")
}

// testClock is a clock that stands still until it is moved.
type testClock struct{ at atomic.Int64 }

func newTestClock() *testClock {
	c := new(testClock)
	c.at.Store(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *testClock) Now() time.Time      { return time.Unix(0, c.at.Load()).UTC() }
func (c *testClock) Add(d time.Duration) { c.at.Add(int64(d)) }

func testKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func testCredentials(t testing.TB) Credentials {
	t.Helper()
	return Credentials{ClientID: "BUSINESSAPI.test", KeyID: "key", PrivateKey: testKey(t)}
}

// fakeApple grants every token and leaves the API to a handler.
type fakeApple struct {
	api    http.HandlerFunc
	tokens atomic.Int64
}

func (f *fakeApple) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Host == "account.apple.com" {
		n := f.tokens.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token-" + itoa(n), "token_type": "Bearer", "expires_in": 3600})
		return
	}
	f.api(w, r)
}

func itoa(n int64) string { return string(rune('0' + n%10)) }

func newFake(t testing.TB, api http.HandlerFunc, opts ...Option) (*Client, *fakeApple) {
	t.Helper()
	f := &fakeApple{api: api}
	opts = append([]Option{WithTransport(inMemory{f}), WithTries(1, time.Second, time.Second)}, opts...)
	c, err := New(testCredentials(t), opts...)
	require.NoError(t, err)
	return c, f
}

// world is a simulated organization with two MDM servers.
type world struct {
	t           *testing.T
	apple       *abmtest.Service
	api         *abmtest.AXM
	ours, other *abmtest.MDMServer
	account     abmtest.APIAccount

	mu       sync.Mutex
	requests []string // method and path of requests to the API
	bodies   map[string]int
	hook     func(*http.Request) *http.Response
}

// newWorld makes an organization whose clock is now, with n devices S000… at the other server.
func newWorld(t *testing.T, now func() time.Time, opts ...abmtest.AXMOption) *world {
	t.Helper()
	apple, err := abmtest.NewService(abmtest.WithClock(now), abmtest.WithSeed(7))
	require.NoError(t, err)
	api, err := abmtest.NewAXM(apple, opts...)
	require.NoError(t, err)
	w := &world{t: t, apple: apple, api: api, bodies: make(map[string]int)}
	w.ours, err = apple.AddMDMServer("Ours")
	require.NoError(t, err)
	w.other, err = apple.AddMDMServer("Other")
	require.NoError(t, err)
	w.account, err = api.AddAPIAccount("BUSINESSAPI")
	require.NoError(t, err)
	return w
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.requests = append(w.requests, r.Method+" "+r.URL.Path)
	hook := w.hook
	w.mu.Unlock()
	if hook != nil {
		if resp := hook(r); resp != nil {
			return resp, nil
		}
	}
	return inMemory{w.api}.RoundTrip(r)
}

func (w *world) count(request string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, r := range w.requests {
		if r == request {
			n++
		}
	}
	return n
}

func (w *world) credentials() Credentials {
	w.t.Helper()
	key, err := ParsePrivateKey(w.account.PrivateKey)
	require.NoError(w.t, err)
	return Credentials{ClientID: w.account.ClientID, KeyID: w.account.KeyID, PrivateKey: key}
}

func (w *world) client(now func() time.Time, opts ...Option) *Client {
	w.t.Helper()
	c, err := New(w.credentials(), append([]Option{WithTransport(w), WithClock(now)}, opts...)...)
	require.NoError(w.t, err)
	return c
}

// buy adds n devices to a server and returns their serial numbers.
func (w *world) buy(m *abmtest.MDMServer, n int) []string {
	w.t.Helper()
	devices := w.apple.RandomDevices(n)
	require.NoError(w.t, w.apple.AddDevices(m, devices...))
	serials := make([]string, n)
	for i := range devices {
		serials[i] = devices[i].SerialNumber
	}
	return serials
}

func (w *world) serverOf(serial string) string {
	w.t.Helper()
	d, err := w.apple.Device(serial)
	require.NoError(w.t, err)
	return d.ServerUUID
}

// id returns the id of a server in the API: whether it is the UUID without dashes is the simulator's guess, so it is read.
func (w *world) id(c *Client, m *abmtest.MDMServer) string {
	w.t.Helper()
	for s, err := range c.MDMServers(w.t.Context(), ListOptions{}) {
		require.NoError(w.t, err)
		if s.ServerName == m.Name() {
			return s.ID
		}
	}
	require.Fail(w.t, "no server "+m.Name())
	return ""
}

// collect reads a sequence to its end, or to its first error.
func collect[T any](seq func(func(T, error) bool)) ([]T, error) {
	var out []T
	for v, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

// testCertificate returns a certificate with an RSA key, as the device assignment service needs it.
func testCertificate(t testing.TB) *x509.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}
