package abm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// replica returns what another process on the world's store would have.
func (w *world) replica(t testing.TB, store AccountsStore, opts ...Option) *Accounts {
	t.Helper()
	a, err := NewAccounts(store, w.sealer, append(append([]Option{}, w.opts...), opts...)...)
	require.NoError(t, err)
	return a
}

func (w *world) logins() int { return w.apple.Stats().Calls["GET /session"] }

// everywhere makes n calls at a time on each replica.
func everywhere(t *testing.T, replicas []*Accounts, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for _, r := range replicas {
		for range n {
			wg.Go(func() {
				c, err := r.Client(t.Context(), acme)
				if assert.NoError(t, err) {
					_, err = c.AccountDetail(t.Context())
					assert.NoError(t, err)
				}
			})
		}
	}
	wg.Wait()
}

// far is a network on which requests and answers take their time, and overtake each other.
type far struct{ next http.RoundTripper }

func (f far) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(rand.N(50 * time.Millisecond))
	resp, err := f.next.RoundTrip(r)
	time.Sleep(rand.N(50 * time.Millisecond))
	return resp, err
}

// distant returns n replicas, far from Apple and a little from their store. To be called in a synctest bubble.
func distant(t *testing.T, w *world, n int) []*Accounts {
	t.Helper()
	out := make([]*Accounts, n)
	for i := range out {
		out[i] = w.replica(t, &faultyStore{w.store, func(context.Context) error {
			time.Sleep(rand.N(5 * time.Millisecond))
			return nil
		}}, WithTransport(far{direct{w.apple}}))
	}
	return out
}

func TestReplicasShareOneSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 1, abmtest.WithSessionRotation(0), abmtest.WithSingleSession())
		replicas := distant(t, w, 3)
		before := w.logins()
		everywhere(t, replicas, 17)
		assert.Equal(t, 1, w.logins()-before)

		for round := range 5 {
			time.Sleep(time.Hour) // the session expires
			everywhere(t, replicas, 50)
			assert.Equal(t, 2+round, w.logins()-before)
		}
		everywhere(t, distant(t, w, 1), 5)
		assert.Equal(t, 6, w.logins()-before, "a new process finds the session")
	})
}

// Apple may replace the session with any answer. Whoever comes with the old one goes on with the new one.
func TestReplicasWithSessionThatIsReplacedAllTheTime(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]abmtest.Option{
		{abmtest.WithSessionRotation(1)}, {abmtest.WithSessionRotation(1), abmtest.WithSingleSession()}, {abmtest.WithSessionRotation(3)},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorldAt(t, nil, 1, opts...)
			replicas := distant(t, w, 3)
			before := w.logins()
			for range 20 { // one after the other: no replica has to sign in
				for _, r := range replicas {
					everywhere(t, []*Accounts{r}, 1)
				}
			}
			assert.Equal(t, 1, w.logins()-before)

			// Side by side, the session of most is over before they have heard of the next one.
			// Even with many at a time, few give up hope of a next one and sign in.
			for _, each := range []int{1, 5, 20} {
				const rounds = 10
				before, calls := w.logins(), rounds*each*len(replicas)
				for range rounds {
					everywhere(t, replicas, each)
				}
				t.Logf("%d sign-ins for %d calls", w.logins()-before, calls)
				limit := calls / 4
				if each == 1 {
					limit = 2
				}
				assert.LessOrEqual(t, w.logins()-before, limit)
			}
		})
	}
}

// faultyStore is a store whose sessions do not work, as fail says.
type faultyStore struct {
	*memory.Store
	fail func(ctx context.Context) error
}

func (s *faultyStore) GetServiceSession(ctx context.Context, account string) (storage.ServiceSession, error) {
	if err := s.fail(ctx); err != nil {
		return storage.ServiceSession{}, err
	}
	return s.Store.GetServiceSession(ctx, account)
}

func (s *faultyStore) PutServiceSession(ctx context.Context, v storage.ServiceSession) error {
	if err := s.fail(ctx); err != nil {
		return err
	}
	return s.Store.PutServiceSession(ctx, v)
}

func (s *faultyStore) AcquireLease(ctx context.Context, name, owner string, now time.Time, ttl time.Duration) (storage.Lease, error) {
	if err := s.fail(ctx); err != nil {
		return storage.Lease{}, err
	}
	return s.Store.AcquireLease(ctx, name, owner, now, ttl)
}

func TestStoreThatIsDownStopsNoCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, abmtest.WithSessionRotation(2))
	core, logs := observer.New(zap.WarnLevel)
	var down atomic.Bool
	down.Store(true)
	store := &faultyStore{w.store, func(context.Context) error {
		if down.Load() {
			return errors.New("connection refused")
		}
		return nil
	}}
	r := w.replica(t, store, WithLogger(zap.New(core)))
	before := w.logins()
	for range 4 {
		everywhere(t, []*Accounts{r}, 5)
		w.clock.Add(time.Hour)
	}
	assert.GreaterOrEqual(t, w.logins()-before, 4)
	assert.Len(t, logs.All(), 1, "said once")

	down.Store(false)
	everywhere(t, []*Accounts{r}, 1)
	before = w.logins()
	everywhere(t, []*Accounts{w.replica(t, w.store)}, 1)
	assert.Equal(t, before, w.logins(), "shared again")
	down.Store(true)
	w.clock.Add(time.Hour)
	everywhere(t, []*Accounts{r}, 1)
	assert.Len(t, logs.All(), 2)
}

func TestStoreThatHangsDelaysCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 1)
		for _, timeout := range []time.Duration{time.Minute, time.Second} { // also where that is less than the store's
			r := w.replica(t, &faultyStore{w.store, func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			}}, WithTimeout(timeout))
			began := time.Now()
			everywhere(t, []*Accounts{r}, 5)
			assert.LessOrEqual(t, time.Since(began), min(2*storeTimeout, timeout))
		}
	})
}

// A replica that died while it signed in is waited for no longer than its lease, even if its clock was ahead, and no longer
// than the caller wants.
func TestReplicaThatDiedSigningIn(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, 24 * time.Hour} {
		testReplicaThatDied(t, ahead)
	}
}

func testReplicaThatDied(t *testing.T, ahead time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 1)
		_, err := w.store.AcquireLease(t.Context(), "abm/session/"+acme, "dead", time.Now().Add(ahead), loginTTL)
		require.NoError(t, err)
		gets := 0
		r := w.replica(t, &faultyStore{w.store, func(context.Context) error { gets++; return nil }})
		c, err := r.Client(t.Context(), acme)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = c.AccountDetail(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		began := time.Now()
		_, err = c.AccountDetail(t.Context())
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(began), loginTTL+2*maxLoginWait)
		assert.Less(t, gets, 120, "does not spin")
	})
}

// tapped remembers the sessions that requests are sent with.
type tapped struct {
	next http.RoundTripper
	mu   sync.Mutex
	used []string
}

func (p *tapped) RoundTrip(r *http.Request) (*http.Response, error) {
	if s := r.Header.Get("X-ADM-Auth-Session"); s != "" {
		p.mu.Lock()
		p.used = append(p.used, s)
		p.mu.Unlock()
	}
	return p.next.RoundTrip(r)
}

func TestSessionBelongsToOneTokenAndService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, abmtest.WithSessionRotation(0))
	tap := &tapped{next: direct{w.apple}}
	r := w.replica(t, w.store, WithTransport(tap))
	everywhere(t, []*Accounts{r}, 1)
	rec, err := w.store.GetServiceSession(t.Context(), acme)
	require.NoError(t, err)
	old := tap.used[0]
	assert.False(t, bytes.Contains(rec.SealedSession, []byte(old)), "sealed")

	t.Run("base URL", func(t *testing.T) {
		tap.used = nil
		acct, err := w.store.GetAccount(t.Context(), acme)
		require.NoError(t, err)
		acct.BaseURL = "https://elsewhere.test"
		require.NoError(t, w.store.UpdateAccount(t.Context(), acct))
		everywhere(t, []*Accounts{w.replica(t, w.store, WithTransport(tap))}, 1)
		assert.NotContains(t, tap.used, old)
	})
	t.Run("token", func(t *testing.T) {
		require.NoError(t, w.server.UploadCertificate(testCertificate(t)))
		_, err := w.server.MintToken()
		require.NoError(t, err)
		c, err := newClient(tokenOf(w.server), r.s, r.s.baseURL)
		require.NoError(t, err)
		detail, err := c.AccountDetail(t.Context())
		require.NoError(t, err)
		_, err = r.storeToken(t.Context(), acme, importedToken{
			token: tokenOf(w.server), pair: storage.KeyPair{Account: acme, ID: "none"}, detail: detail, over: w.acct(t).SealedToken,
		}, ImportOptions{})
		require.NoError(t, err)
		tap.used = nil
		everywhere(t, []*Accounts{w.replica(t, w.store, WithTransport(tap))}, 1)
		require.NotEmpty(t, tap.used)
		assert.NotContains(t, tap.used, old)
	})
	t.Run("sealer", func(t *testing.T) {
		c, err := r.Client(t.Context(), acme)
		require.NoError(t, err)
		shared := c.sessions.shared
		h := &sharedSession{store: w.store, sealer: testSealer(t), s: shared.s, account: acme, digest: shared.digest}
		known, _, err := h.read(t.Context())
		require.NoError(t, err)
		assert.Empty(t, known.token, "does not open")
		assert.NotZero(t, known.version)
	})
	assert.NotEqual(t, sessionDigest(testToken(), "a"), sessionDigest(testToken(), "b"))
}

// A replica that comes too late with its session takes over the one that is stored, unless that is what it replaces.
func TestPublishRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c, err := w.replica(t, w.store).Client(t.Context(), acme)
	require.NoError(t, err)
	h := c.sessions.shared
	require.NotNil(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what Apple did is kept even if the caller has left
	assert.Equal(t, session{"s1", 1}, h.publish(ctx, session{"s1", 0}, ""))
	assert.Equal(t, session{"s2", 2}, h.publish(ctx, session{"s2", 0}, "s1"), "its own predecessor, stored meanwhile")
	assert.Equal(t, session{"s2", 2}, h.publish(ctx, session{"s9", 1}, "s1"), "another was faster")
	known, _, err := h.read(t.Context())
	require.NoError(t, err)
	assert.Equal(t, session{"s2", 2}, known)

	require.NoError(t, w.replica(t, w.store).Delete(t.Context(), acme))
	assert.Equal(t, session{"s3", 2}, h.publish(ctx, session{"s3", 2}, "s2"), "nowhere to store it")
}

// The first user of a session may take long. The others do not wait for it for ever.
func TestSlowFirstUseOfSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		var logins atomic.Int32
		h := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/session":
				_, _ = fmt.Fprintf(rw, `{"auth_session_token":"s%d"}`, logins.Add(1))
			case "/account":
				<-proceed
				_, _ = rw.Write([]byte(`{"server_uuid":"U"}`))
			default:
				emptyPage(rw, r)
			}
		})
		c, err := NewClient(testToken(), WithBaseURL("https://apple.test"), WithTransport(direct{h}))
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.AccountDetail(t.Context())
			assert.NoError(t, err)
		})
		synctest.Wait()
		began := time.Now()
		for range 5 {
			wg.Go(func() {
				_, err := c.SyncDevices(t.Context(), "c", 0)
				assert.NoError(t, err)
				assert.Equal(t, patience, time.Since(began))
			})
		}
		time.Sleep(10 * time.Second)
		close(proceed)
		wg.Wait()
		assert.EqualValues(t, 1, logins.Load())
	})
}

// openSealer seals nothing, so that a test can write what is inside.
type openSealer struct{}

func (openSealer) Seal(_ context.Context, b, _ []byte) ([]byte, error) { return b, nil }
func (openSealer) Open(_ context.Context, b, _ []byte) ([]byte, error) { return b, nil }

func FuzzStoredSession(f *testing.F) {
	for _, s := range []string{"", "abc", "a\r\nX-Other: b", "\x00", "é", string(bytes.Repeat([]byte("a"), maxSession+1))} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, inside []byte, ours bool) {
		w := newWorld(t, 0)
		c, err := w.replica(t, w.store).Client(t.Context(), acme)
		require.NoError(t, err)
		h := c.sessions.shared
		h.sealer = openSealer{}
		digest := h.digest
		digest[0] ^= map[bool]byte{true: 0, false: 1}[ours]
		rec := storage.ServiceSession{Account: acme, SealedSession: inside, TokenDigest: digest, UpdatedAt: w.clock.Now()}
		if w.store.PutServiceSession(t.Context(), rec) != nil {
			return
		}
		known, _, err := h.read(t.Context())
		require.NoError(t, err)
		if known.token != "" && (!ours || known.token != string(inside)) {
			t.Errorf("got %q", known.token)
		}
		before := w.logins()
		_, err = c.AccountDetail(t.Context())
		require.NoError(t, err, "whatever is stored, Apple decides")
		require.Equal(t, 1, w.logins()-before)
	})
}
