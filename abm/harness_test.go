package abm

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

const acme = "acme"

// testClock is a clock that a test moves.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *testClock { return &testClock{now: time.Now().UTC().Truncate(time.Second)} }

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// direct hands requests to a handler without a network, so that tests can run in a synctest bubble.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	if r.URL.Scheme == "https" {
		r.TLS = new(tls.ConnectionState)
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// world is an account at a simulated Apple, with a store that knows its token.
type world struct {
	clock  *testClock
	apple  *abmtest.Service
	server *abmtest.MDMServer
	store  *memory.Store
	sealer storage.Sealer
	opts   []Option
}

func testSealer(t testing.TB) storage.Sealer {
	t.Helper()
	keys, err := storage.NewKeyset()
	require.NoError(t, err)
	s, err := storage.NewKeysetSealer(keys)
	require.NoError(t, err)
	return s
}

// newWorld makes an organization with n devices, all assigned to the server of the account.
func newWorld(t testing.TB, n int, opts ...abmtest.Option) *world {
	t.Helper()
	clock := newClock()
	return newWorldAt(t, clock, n, append([]abmtest.Option{abmtest.WithClock(clock.Now)}, opts...)...)
}

func newWorldAt(t testing.TB, clock *testClock, n int, opts ...abmtest.Option) *world {
	t.Helper()
	apple, err := abmtest.NewService(opts...)
	require.NoError(t, err)
	server, err := apple.AddMDMServer("MDM")
	require.NoError(t, err)
	require.NoError(t, apple.AddDevices(server, apple.RandomDevices(n)...))
	w := &world{clock: clock, apple: apple, server: server, store: memory.New(), sealer: testSealer(t)}
	w.opts = []Option{
		WithTransport(direct{apple}), WithBaseURL("https://apple.test"),
		WithTries(3, time.Millisecond, 5*time.Millisecond),
	}
	if clock != nil {
		w.opts = append(w.opts, WithClock(clock.Now))
	}
	accts, err := NewAccounts(w.store, w.sealer, w.opts...)
	require.NoError(t, err)
	w.account(t, accts, acme, server)
	return w
}

// account creates an account with a token of server, without the detour over a token file and its RSA key.
func (w *world) account(t testing.TB, accts *Accounts, name string, server *abmtest.MDMServer) {
	t.Helper()
	ctx := t.Context()
	_, err := accts.Create(ctx, name, "")
	require.NoError(t, err)
	token := tokenOf(server)
	c, err := newClient(token, accts.s, accts.s.baseURL)
	require.NoError(t, err)
	detail, err := c.AccountDetail(ctx)
	require.NoError(t, err)
	_, err = accts.storeToken(ctx, name, importedToken{token: token, pair: storage.KeyPair{Account: name, ID: "none"}, detail: detail}, ImportOptions{})
	require.NoError(t, err)
}

// renew mints a token at Apple, which voids the one in use, and takes it into use.
func (w *world) renew(t testing.TB, accts *Accounts) {
	t.Helper()
	require.NoError(t, w.server.UploadCertificate(testCertificate(t)))
	_, err := w.server.MintToken()
	require.NoError(t, err)
	token := tokenOf(w.server)
	c, err := newClient(token, accts.s, accts.s.baseURL)
	require.NoError(t, err)
	detail, err := c.AccountDetail(t.Context())
	require.NoError(t, err)
	_, err = accts.storeToken(t.Context(), acme, importedToken{
		token: token, pair: storage.KeyPair{Account: acme, ID: "new"}, detail: detail, over: w.acct(t).SealedToken,
	}, ImportOptions{})
	require.NoError(t, err)
}

func (w *world) acct(t testing.TB) storage.Account {
	t.Helper()
	a, err := w.store.GetAccount(t.Context(), acme)
	require.NoError(t, err)
	return a
}

func tokenOf(server *abmtest.MDMServer) Token {
	c := server.Credentials()
	return Token{
		ConsumerKey: c.ConsumerKey, ConsumerSecret: Secret(c.ConsumerSecret),
		AccessToken: Secret(c.AccessToken), AccessSecret: Secret(c.AccessSecret), ExpiresAt: c.AccessTokenExpiry,
	}
}

// engine returns an engine on the world's store that gives every device the default profile.
func (w *world) engine(t testing.TB, opts ...Option) *Engine {
	t.Helper()
	return w.engineOn(t, w.store, opts...)
}

func (w *world) engineOn(t testing.TB, store Store, opts ...Option) *Engine {
	t.Helper()
	e, err := New(store, w.sealer, forAll(t, "Standard"), append(append([]Option{}, w.opts...), opts...)...)
	require.NoError(t, err)
	return e
}

func forAll(t testing.TB, name string) *StaticResolver {
	t.Helper()
	r, err := ForAll(testProfile(name))
	require.NoError(t, err)
	return r
}

func testProfile(name string) *depprofile.Profile {
	p := depprofile.Default("https://mdm.example.com/mdm/sso")
	p.ProfileName = name
	return p
}

// assignAll runs AssignOnce until nothing is due and returns the sum.
func assignAll(t testing.TB, e *Engine) AssignResult {
	t.Helper()
	var sum AssignResult
	for {
		res, err := e.AssignOnce(t.Context(), acme)
		require.NoError(t, err)
		if res.Due == 0 {
			return sum
		}
		sum.Due += res.Due
		sum.Asked += res.Asked
		sum.Assigned += res.Assigned
		sum.Looked += res.Looked
		sum.Satisfied += res.Satisfied
		sum.Failed += res.Failed
		sum.Throttled += res.Throttled
		sum.Gone += res.Gone
		require.Less(t, sum.Due, 1_000_000, "does not come to an end")
	}
}

// rows returns all assignments of the account.
func (w *world) rows(t testing.TB) []storage.Assignment {
	t.Helper()
	var all []storage.Assignment
	for after := ""; ; {
		rows, next, err := w.store.ListAssignments(context.Background(), storage.AssignmentFilter{Account: acme},
			storage.Page{After: after, Limit: storage.MaxPageSize})
		require.NoError(t, err)
		all = append(all, rows...)
		if next == "" {
			return all
		}
		after = next
	}
}

// states counts assignments by state.
func (w *world) states(t testing.TB) map[storage.AssignmentState]int {
	t.Helper()
	m := make(map[storage.AssignmentState]int)
	for _, r := range w.rows(t) {
		m[r.State]++
	}
	return m
}

// kinds counts the account's activities by kind.
func (w *world) kinds(t testing.TB) map[string]int {
	t.Helper()
	m := make(map[string]int)
	for after := ""; ; {
		acts, next, err := w.store.ListActivities(context.Background(), storage.ActivityFilter{Account: acme},
			storage.Page{After: after, Limit: storage.MaxPageSize})
		require.NoError(t, err)
		for _, a := range acts {
			m[a.Kind]++
		}
		if next == "" {
			return m
		}
		after = next
	}
}

func (w *world) device(t testing.TB, serial string) storage.Device {
	t.Helper()
	d, err := w.store.GetDevice(t.Context(), acme, serial)
	require.NoError(t, err)
	return d
}

func (w *world) row(t testing.TB, serial string) storage.Assignment {
	t.Helper()
	a, err := w.store.GetAssignment(t.Context(), acme, serial)
	require.NoError(t, err)
	return a
}

func (w *world) health(t testing.TB) storage.Health {
	t.Helper()
	a, err := w.store.GetAccount(t.Context(), acme)
	require.NoError(t, err)
	return a.Health
}
