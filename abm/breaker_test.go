package abm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scripted answers each request with what answer says: a status, or 0 for no answer.
type scripted struct {
	calls  atomic.Int32
	answer func(r *http.Request) (status int, header http.Header)
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	return direct{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/session" {
			_, _ = w.Write([]byte(`{"auth_session_token":"s"}`))
			return
		}
		s.calls.Add(1)
		status, header := s.answer(r)
		for k, v := range header {
			w.Header()[k] = v
		}
		if status == 0 {
			panic(errDown)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"cursor":"c","server_uuid":"U","devices":{}}`))
	})}.orDown(r)
}

var errDown = errors.New("no answer")

func (d direct) orDown(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if p := recover(); p == errDown { //nolint:errorlint // it is the value itself
			resp, err = nil, errDown
		} else if p != nil {
			panic(p)
		}
	}()
	return d.RoundTrip(r)
}

func newScripted(t *testing.T, answer func(*http.Request) (int, http.Header), opts ...Option) (*scripted, *Client) {
	t.Helper()
	s := &scripted{answer: answer}
	c, err := NewClient(testToken(), append([]Option{WithBaseURL("https://apple.test"), WithTransport(s), WithTries(1, 1, 1)}, opts...)...)
	require.NoError(t, err)
	return s, c
}

func always(status int) func(*http.Request) (int, http.Header) {
	return func(*http.Request) (int, http.Header) { return status, nil }
}

// fetch and detail are calls of two operations.
func fetch(c *Client) error  { _, err := c.DeviceDetails(context.Background(), "S"); return err }
func detail(c *Client) error { _, err := c.AccountDetail(context.Background()); return err }

func TestServiceThatIsDownIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, status := range []int{0, 500, 503} {
		clock := newClock()
		s, c := newScripted(t, always(status), WithClock(clock.Now), WithCircuitBreaker(3, time.Minute))
		for _, call := range []func(*Client) error{fetch, detail, fetch} {
			err := call(c)
			require.Error(t, err)
			require.NotErrorIs(t, err, ErrHeldBack)
		}
		clock.Add(20 * time.Second)
		for range 5 {
			var held *HeldBackError
			_, err := c.AssignProfile(t.Context(), "P", "S") // another operation
			require.ErrorAs(t, err, &held)
			assert.Equal(t, opAssignProfile, held.Op)
			assert.Equal(t, 40*time.Second, held.RetryAfter)
			assert.Equal(t, clock.Now().Add(40*time.Second), held.RetryAt)
			assert.Equal(t, 40*time.Second, hint(errors.Join(errors.New("x"), err)))
			assert.Equal(t, 40*time.Second, hint(fmt.Errorf("x: %w", err)))
			assert.True(t, temporary(err))
			assert.True(t, blamesApple(err), "the cause is Apple's")
			assert.True(t, notSent(err))
		}
		assert.EqualValues(t, 3, s.calls.Load())

		clock.Add(40 * time.Second)
		require.NotErrorIs(t, fetch(c), ErrHeldBack, "one finds out")
		require.ErrorIs(t, fetch(c), ErrHeldBack)
		require.NotErrorIs(t, detail(c), ErrHeldBack, "and one of another operation")
		require.ErrorIs(t, detail(c), ErrHeldBack)
		assert.EqualValues(t, 5, s.calls.Load())

		s.answer = always(200)
		clock.Add(time.Minute)
		for range 3 {
			require.NoError(t, fetch(c))
			require.NoError(t, detail(c))
		}
		s.answer = always(status)
		require.NotErrorIs(t, fetch(c), ErrHeldBack, "counted anew")
		require.NotErrorIs(t, detail(c), ErrHeldBack)
	}
}

// What Apple says to one request says nothing about the service, and an answer ends a row of failures.
func TestRefusalsDoNotHoldBack(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	s, c := newScripted(t, func(*http.Request) (int, http.Header) {
		return []int{400, 429, 503, 404, 0, 403}[n.Add(1)%6], nil
	}, WithCircuitBreaker(3, time.Minute))
	for range 30 {
		require.NotErrorIs(t, fetch(c), ErrHeldBack)
		require.NotErrorIs(t, detail(c), ErrHeldBack)
	}
	assert.EqualValues(t, 60, s.calls.Load())
}

// One operation that fails holds back itself and no other.
func TestOneFailingOperation(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s, c := newScripted(t, func(r *http.Request) (int, http.Header) {
		if r.URL.Path == "/devices" {
			return 503, nil
		}
		return 200, nil
	}, WithClock(clock.Now), WithCircuitBreaker(3, time.Minute))
	for range 3 {
		require.NotErrorIs(t, fetch(c), ErrHeldBack)
	}
	require.ErrorIs(t, fetch(c), ErrHeldBack)
	for range 3 {
		require.NoError(t, detail(c))
		clock.Add(time.Minute)
		require.NotErrorIs(t, fetch(c), ErrHeldBack)
		require.ErrorIs(t, fetch(c), ErrHeldBack)
	}
	assert.EqualValues(t, 3+3+3, s.calls.Load())
}

// Where not even a connection is made, other operations need not be tried.
func TestDeadHostHoldsBackAll(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c, err := NewClient(testToken(), WithTries(1, 1, 1), WithCircuitBreaker(3, time.Minute), WithTransport(roundTrip(func(*http.Request) (*http.Response, error) {
		calls.Add(1)
		return nil, &net.OpError{Op: "dial", Err: errDown}
	})))
	require.NoError(t, err)
	for range 3 {
		require.NotErrorIs(t, fetch(c), ErrHeldBack)
	}
	require.ErrorIs(t, detail(c), ErrHeldBack)
	assert.EqualValues(t, 3, calls.Load())
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Exactly one call at a time finds out whether the service is back; one that is cancelled leaves the place to the next.
func TestOneProbeAtATime(t *testing.T) {
	t.Parallel()
	clock := newClock()
	entered, proceed := make(chan struct{}), make(chan struct{})
	s, c := newScripted(t, always(503), WithClock(clock.Now), WithCircuitBreaker(1, time.Minute))
	require.NotErrorIs(t, detail(c), ErrHeldBack)
	require.NotErrorIs(t, fetch(c), ErrHeldBack)
	require.ErrorIs(t, fetch(c), ErrHeldBack)
	clock.Add(time.Minute)
	s.answer = func(r *http.Request) (int, http.Header) {
		entered <- struct{}{}
		select {
		case <-proceed:
		case <-r.Context().Done():
			return 0, nil
		}
		return 200, nil
	}
	s.calls.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.AccountDetail(ctx)
		assert.ErrorIs(t, err, context.Canceled)
	})
	<-entered
	for range 10 {
		require.ErrorIs(t, fetch(c), ErrHeldBack)
		require.ErrorIs(t, detail(c), ErrHeldBack)
	}
	cancel()
	wg.Wait()
	wg.Go(func() { assert.NoError(t, fetch(c)) })
	<-entered
	require.ErrorIs(t, detail(c), ErrHeldBack)
	close(proceed)
	wg.Wait()
	go func() { <-entered }()
	require.NoError(t, detail(c))
	assert.EqualValues(t, 3, s.calls.Load())
}

// What was sent before a circuit opened, and is answered while one call finds out, says nothing: it neither lets another one
// through nor takes the place of the one that does.
func TestLateAnswerWhileOneFindsOut(t *testing.T) {
	t.Parallel()
	remove := func(c *Client) error { _, err := c.RemoveProfile(context.Background(), "S"); return err }
	for _, tt := range []struct {
		account bool
		others  []func(*Client) error // that fail
		late    int                   // status
	}{
		{true, []func(*Client) error{detail, fetch}, 503},
		{true, []func(*Client) error{detail, fetch}, 200},
		{false, []func(*Client) error{detail, detail}, 503},
		{false, []func(*Client) error{detail, detail}, 200},
	} {
		t.Run(fmt.Sprint(tt.account, tt.late), func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			entered, late, probe := make(chan struct{}), make(chan int), make(chan int)
			wait := func(on chan int) func(*http.Request) (int, http.Header) {
				return func(*http.Request) (int, http.Header) { entered <- struct{}{}; return <-on, nil }
			}
			s, c := newScripted(t, wait(late), WithClock(clock.Now), WithCircuitBreaker(2, time.Minute))
			var slow, finds sync.WaitGroup
			slow.Go(func() { assert.Equal(t, tt.late != 200, errors.Is(detail(c), ErrUnavailable)) })
			<-entered
			s.answer = always(503)
			for _, call := range tt.others {
				require.NotErrorIs(t, call(c), ErrHeldBack)
			}
			require.ErrorIs(t, detail(c), ErrHeldBack)
			clock.Add(time.Minute)
			s.answer = wait(probe)
			last := tt.others[1]
			finds.Go(func() { assert.NoError(t, last(c)) })
			<-entered
			late <- tt.late
			slow.Wait()
			s.answer = always(200)
			require.ErrorIs(t, last(c), ErrHeldBack)
			if tt.account {
				require.ErrorIs(t, remove(c), ErrHeldBack)
			}
			probe <- 200
			finds.Wait()
			require.NoError(t, last(c))
			require.NoError(t, remove(c))
		})
	}
}

// What Apple asks one call to wait holds back all of them.
func TestRetryAfterHoldsBackAll(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 503} {
		clock := newClock()
		wait := "3600"
		s, c := newScripted(t, func(*http.Request) (int, http.Header) {
			return status, http.Header{"Retry-After": {wait}}
		}, WithClock(clock.Now))
		require.NotErrorIs(t, fetch(c), ErrHeldBack)
		clock.Add(time.Minute)
		var held *HeldBackError
		require.ErrorAs(t, detail(c), &held)
		assert.Equal(t, 59*time.Minute, held.RetryAfter)
		assert.Equal(t, status == 429, errors.Is(held, ErrRateLimited))
		assert.EqualValues(t, 1, s.calls.Load())
		clock.Add(59 * time.Minute)
		wait = "0"
		require.NotErrorIs(t, detail(c), ErrHeldBack)
		require.NotErrorIs(t, fetch(c), ErrHeldBack)
	}
}

// A short wait is slept through, by calls that change something too: they were not sent.
func TestShortPauseIsSleptThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		s, c := newScripted(t, func(*http.Request) (int, http.Header) {
			if n.Add(1) == 1 {
				return 503, http.Header{"Retry-After": {"20"}}
			}
			return 200, nil
		}, WithTries(2, time.Millisecond, time.Minute))
		began := time.Now()
		_, err := c.AssignProfile(t.Context(), "P", "S")
		require.ErrorIs(t, err, ErrUnavailable, "it may have been carried out")
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { assert.NoError(t, fetch(c)) })
			wg.Go(func() {
				_, err := c.RemoveProfile(t.Context(), "S")
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, 20*time.Second, time.Since(began))
		assert.EqualValues(t, 11, s.calls.Load())
	})
}

func TestHeldBackErrorText(t *testing.T) {
	t.Parallel()
	e := &HeldBackError{Op: "X", RetryAt: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC), Err: newAPIError("Y", 503, nil, 0)}
	assert.Equal(t, "abm: X: held back until 2026-09-01T12:00:00Z after abm: Y: HTTP 503: service unavailable", e.Error())
	for _, o := range []Option{WithCircuitBreaker(0, time.Second), WithCircuitBreaker(1, 0)} {
		_, err := NewClient(testToken(), o)
		require.ErrorContains(t, err, "WithCircuitBreaker")
	}
}
