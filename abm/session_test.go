package abm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeApple is a small server with a scripted session endpoint, under a base path.
type fakeApple struct {
	logins  atomic.Int32
	session atomic.Value // the one that is accepted
	refuse  int          // status for requests with another
	handle  http.HandlerFunc

	onRefusal func(http.Header) // nil: nothing
	onLogin   http.HandlerFunc  // nil: a new session
}

func (f *fakeApple) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/proxy/acme/session":
		n := f.logins.Add(1)
		if f.onLogin != nil {
			f.onLogin(w, r)
			return
		}
		s := fmt.Sprintf("session-%d", n)
		f.session.Store(s)
		_, _ = fmt.Fprintf(w, `{"auth_session_token":%q}`, s)
	case r.Header.Get("X-ADM-Auth-Session") != f.session.Load():
		if f.onRefusal != nil {
			f.onRefusal(w.Header())
		}
		w.WriteHeader(f.refuse)
		_, _ = io.WriteString(w, map[int]string{401: "UNAUTHORIZED", 403: `"FORBIDDEN"`}[f.refuse])
	default:
		f.handle(w, r)
	}
}

func newFakeApple(t *testing.T, refuse int, h http.HandlerFunc, opts ...Option) (*fakeApple, *Client) {
	t.Helper()
	f := &fakeApple{refuse: refuse, handle: h}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	opts = append([]Option{WithBaseURL(srv.URL + "/proxy/acme"), WithTransport(tr), WithTries(3, time.Millisecond, 2*time.Millisecond)}, opts...)
	c, err := NewClient(testToken(), opts...)
	require.NoError(t, err)
	return f, c
}

func testToken() Token {
	return Token{ConsumerKey: "CK_1", ConsumerSecret: "CS_1", AccessToken: "AT_1", AccessSecret: "AS_1", ExpiresAt: time.Now().Add(time.Hour)}
}

func emptyPage(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"cursor":"c","devices":[]}`)
}

func TestOneSignInForManyRequests(t *testing.T) {
	t.Parallel()
	for _, refuse := range []int{401, 403} {
		f, c := newFakeApple(t, refuse, emptyPage)
		all := func() {
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					_, err := c.SyncDevices(t.Context(), "c", 0)
					assert.NoError(t, err)
				})
			}
			wg.Wait()
		}
		all()
		assert.EqualValues(t, 1, f.logins.Load())
		f.session.Store("expired at Apple")
		all()
		assert.EqualValues(t, 2, f.logins.Load())
	}
}

func TestSessionOfAnswerIsUsed(t *testing.T) {
	t.Parallel()
	var f *fakeApple
	f, c := newFakeApple(t, 401, func(w http.ResponseWriter, r *http.Request) {
		f.session.Store("rotated")
		w.Header().Set("X-ADM-Auth-Session", "rotated")
		w.WriteHeader(400) // any answer may carry one
		_, _ = io.WriteString(w, "EXPIRED_CURSOR")
	})
	for range 3 {
		_, err := c.SyncDevices(t.Context(), "c", 0)
		require.ErrorIs(t, err, ErrCursorExpired)
	}
	assert.EqualValues(t, 1, f.logins.Load())
}

// A session that comes with a refusal is none: taking it over would keep the client from signing in for good.
func TestSessionOfRefusalIsIgnored(t *testing.T) {
	t.Parallel()
	for _, refuse := range []int{401, 403} {
		var f *fakeApple
		var dead atomic.Int32
		f, c := newFakeApple(t, refuse, emptyPage)
		f.onRefusal = func(h http.Header) { h.Set("X-ADM-Auth-Session", fmt.Sprintf("dead-%d", dead.Add(1))) }
		for range 4 {
			_, err := c.SyncDevices(t.Context(), "c", 0)
			require.NoError(t, err)
			f.session.Store("expired at Apple")
		}
		assert.EqualValues(t, 4, f.logins.Load())
	}
}

// An answer to an old session that comes late says nothing about the one that has taken its place.
func TestLateAnswerKeepsNewSession(t *testing.T) {
	t.Parallel()
	entered, proceed := make(chan struct{}), make(chan struct{})
	var f *fakeApple
	f, c := newFakeApple(t, 401, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/proxy/acme/account" {
			close(entered)
			<-proceed
			w.Header().Set("X-ADM-Auth-Session", "of the old session")
			_, _ = io.WriteString(w, `{"server_uuid":"U"}`)
			return
		}
		emptyPage(w, r)
	})
	_, err := c.SyncDevices(t.Context(), "c", 0)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { _, err := c.AccountDetail(context.Background()); done <- err }()
	<-entered
	f.session.Store("expired at Apple")
	_, err = c.SyncDevices(t.Context(), "c", 0) // signs in again
	require.NoError(t, err)
	close(proceed)
	require.NoError(t, <-done)
	_, err = c.SyncDevices(t.Context(), "c", 0)
	require.NoError(t, err)
	assert.EqualValues(t, 2, f.logins.Load())
}

func TestRefusedTwiceIsAnError(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{401: ErrUnauthorized, 403: ErrForbidden} {
		var calls atomic.Int32
		var body atomic.Value
		f, c := newFakeApple(t, status, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			b, _ := io.ReadAll(r.Body)
			body.Store(string(b))
			w.WriteHeader(status)
			_, _ = io.WriteString(w, map[int]string{401: "UNAUTHORIZED", 403: "FORBIDDEN"}[status])
		})
		_, err := c.AssignProfile(t.Context(), "U", "S1")
		require.ErrorIs(t, err, want)
		assert.EqualValues(t, 2, calls.Load())
		assert.EqualValues(t, 2, f.logins.Load())
		assert.JSONEq(t, `{"profile_uuid":"U","devices":["S1"]}`, body.Load().(string), "the body is sent again")
	}
}

func TestForbiddenOfAnotherKindKeepsSession(t *testing.T) {
	t.Parallel()
	f, c := newFakeApple(t, 401, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(403)
		_, _ = io.WriteString(w, "T_C_NOT_SIGNED")
	})
	_, err := c.AccountDetail(t.Context())
	require.ErrorIs(t, err, ErrTermsNotSigned)
	assert.EqualValues(t, 1, f.logins.Load())
}

// A wait that is too long to sleep through is the caller's.
func TestLongRetryAfter(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	_, c := newFakeApple(t, 401, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(429)
	})
	_, err := c.SyncDevices(t.Context(), "c", 0)
	var apiErr *APIError
	require.ErrorAs(t, err, &apiErr)
	require.ErrorIs(t, err, ErrRateLimited)
	assert.True(t, apiErr.Temporary())
	assert.Equal(t, time.Hour, apiErr.RetryAfter)
	assert.EqualValues(t, 1, calls.Load())
}

// A call that changes something is not sent after the time in which its outcome can be open, by which another engine may
// look at what became of it. One that reads is.
func TestWriteIsNotSentLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/session" {
				_, _ = io.WriteString(w, `{"auth_session_token":"s"}`)
				return
			}
			calls.Add(1)
			w.Header().Set("Retry-After", "50")
			w.WriteHeader(429)
		})
		c, err := NewClient(testToken(), WithBaseURL("https://apple.test"), WithTransport(direct{h}), WithTimeout(time.Minute))
		require.NoError(t, err)
		began := time.Now()
		_, err = c.AssignProfile(t.Context(), "U", "S1")
		require.ErrorIs(t, err, ErrRateLimited)
		assert.EqualValues(t, 2, calls.Swap(0))
		assert.Equal(t, 50*time.Second, time.Since(began))
		_, err = c.SyncDevices(t.Context(), "c", 0)
		require.ErrorIs(t, err, ErrRateLimited)
		assert.EqualValues(t, 3, calls.Load(), "and was held back once")
	})
}

// The same holds where a renewed token takes over: it does not begin the time anew.
func TestWriteIsNotSentLateWithRenewedToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		answer := func(n int32, wait string) *Client {
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/session":
					_, _ = io.WriteString(w, `{"auth_session_token":"s"}`)
				case calls.Add(1) > n:
					http.Error(w, "ACCESS_DENIED", http.StatusForbidden)
				default:
					w.Header().Set("Retry-After", wait)
					w.WriteHeader(429)
				}
			})
			c, err := NewClient(testToken(), WithBaseURL("https://apple.test"), WithTransport(direct{h}), WithTimeout(time.Minute))
			require.NoError(t, err)
			return c
		}
		c, next := answer(1, "50"), answer(100, "20")
		c.successor = func(context.Context) *Client { return next }
		began := time.Now()
		_, err := c.AssignProfile(t.Context(), "U", "S1")
		require.ErrorIs(t, err, ErrRateLimited)
		assert.EqualValues(t, 3, calls.Load(), "at 0 s, and twice at 50 s")
		assert.Equal(t, 50*time.Second, time.Since(began))

		calls.Store(0)
		c = answer(0, "")
		c.successor = func(context.Context) *Client { time.Sleep(2 * time.Minute); return next } // a slow store
		_, err = c.AssignProfile(t.Context(), "U", "S1")
		require.ErrorIs(t, err, ErrAccessDenied)
		assert.EqualValues(t, 1, calls.Load())
		_, err = c.SyncDevices(t.Context(), "c", 0)
		require.NotErrorIs(t, err, ErrAccessDenied, "reading is never late")
	})
}

func TestWhatIsRepeated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		status   int
		sync     int32 // tries of a call that reads
		assign   int32 // tries of a call that writes
		temporal bool
	}{
		{"500", 500, 3, 1, true}, {"503", 503, 3, 1, true}, {"429", 429, 3, 3, true}, {"400", 400, 1, 1, false}, {"302", 302, 3, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			_, c := newFakeApple(t, 401, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				w.Header().Set("Location", "https://elsewhere.example/")
				w.WriteHeader(tt.status)
			})
			_, err := c.SyncDevices(t.Context(), "c", 0)
			require.Error(t, err)
			assert.Equal(t, tt.temporal, temporary(err))
			assert.Equal(t, tt.sync, calls.Swap(0))
			_, err = c.AssignProfile(t.Context(), "U", "S1")
			require.Error(t, err)
			assert.Equal(t, tt.assign, calls.Load())
		})
	}
}

func TestRecoversAfterFailures(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	_, c := newFakeApple(t, 401, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 3 {
			w.WriteHeader(502)
			return
		}
		emptyPage(w, r)
	})
	_, err := c.FetchDevices(t.Context(), "", 0)
	require.NoError(t, err)
}

func TestCallerThatGivesUpDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	entered, proceed := make(chan struct{}), make(chan struct{})
	var logins atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/session") {
			emptyPage(w, r)
			return
		}
		if logins.Add(1) == 1 {
			close(entered)
			select {
			case <-r.Context().Done():
			case <-proceed:
			}
			return
		}
		_, _ = io.WriteString(w, `{"auth_session_token":"s"}`)
	}))
	defer srv.Close()
	defer close(proceed)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	c, err := NewClient(testToken(), WithBaseURL(srv.URL), WithTransport(tr))
	require.NoError(t, err)

	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("of this caller alone")
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.FetchDevices(ctx, "", 0)
		assert.ErrorIs(t, err, why)
	})
	<-entered
	for range 5 {
		wg.Go(func() {
			_, err := c.FetchDevices(t.Context(), "", 0)
			assert.NoError(t, err)
		})
	}
	cancel(why)
	wg.Wait()
	assert.EqualValues(t, 2, logins.Load())
}
