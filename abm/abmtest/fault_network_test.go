package abmtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// line is a client of a server that listens, with a session, and no more patience than a test wants.
type line struct {
	*abmtest.Server
	*client
	http *http.Client
}

func newLine(t *testing.T) *line {
	t.Helper()
	clk := newClock()
	apple := abmtest.New(t, abmtest.WithClock(clk.Now), abmtest.WithSeed(1), abmtest.WithSessionRotation(0))
	m, err := apple.AddMDMServer("Fleet")
	require.NoError(t, err)
	require.NoError(t, apple.AddDevices(m, machines("A", "B")...))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	l := &line{apple, newTestClient(t, apple.Service, m, clk), &http.Client{Transport: transport}}
	require.Equal(t, 200, l.open().status)
	return l
}

// ask makes a request over the network and reads the answer to its end.
func (l *line) ask(ctx context.Context, method, path, body string) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, l.URL+path, strings.NewReader(body))
	require.NoError(l.t, err)
	r.Header = l.header()
	resp, err := l.http.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer func() { assert.NoError(l.t, resp.Body.Close()) }()
	data, err := io.ReadAll(resp.Body)
	return resp, string(data), err
}

func (l *line) profileOf(serial string) string {
	d, err := l.Device(serial)
	require.NoError(l.t, err)
	return d.ProfileUUID
}

func networkFaultTests() map[abmtest.FaultKind]func(*testing.T) {
	return map[abmtest.FaultKind]func(*testing.T){
		abmtest.FaultHang:    testHang,
		abmtest.FaultReset:   testReset,
		abmtest.FaultLatency: testLatency,
		abmtest.FaultTruncated: func(t *testing.T) {
			l := newLine(t)
			set(t, l, abmtest.Fault{Kind: abmtest.FaultTruncated, Operation: "/server/devices"})
			resp, body, err := l.ask(t.Context(), "POST", "/server/devices", "{}")
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			assert.Equal(t, 200, resp.StatusCode)
			assert.Equal(t, resp.ContentLength/2, int64(len(body)))
			assert.True(t, strings.HasPrefix(body, `{"cursor":"`), body)
			l.ClearFaults()
			_, whole, err := l.ask(t.Context(), "POST", "/server/devices", "{}")
			require.NoError(t, err)
			assert.Len(t, whole, int(resp.ContentLength))
		},
		abmtest.FaultHTML: func(t *testing.T) {
			l := newLine(t)
			set(t, l, abmtest.Fault{Kind: abmtest.FaultHTML})
			resp, body, err := l.ask(t.Context(), "GET", "/account", "")
			require.NoError(t, err)
			assert.Equal(t, 200, resp.StatusCode)
			assert.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
			assert.True(t, strings.HasPrefix(body, "<!DOCTYPE html>"), body)
		},
		abmtest.FaultOversized: func(t *testing.T) {
			l := newLine(t)
			set(t, l, abmtest.Fault{ID: "x", Kind: abmtest.FaultOversized, Bytes: 100_000})
			_, body, err := l.ask(t.Context(), "POST", "/devices/sync", "{}")
			require.NoError(t, err)
			assert.Len(t, []byte(body), 100_000)
			assert.True(t, json.Valid([]byte(body)))

			set(t, l, abmtest.Fault{ID: "x", Kind: abmtest.FaultOversized})
			resp, err := l.http.Get(l.URL + "/session")
			require.NoError(t, err)
			n, err := io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.EqualValues(t, 64<<20, n)
		},
	}
}

func testHang(t *testing.T) {
	l := newLine(t)
	id := l.define(simpleProfile)
	body := `{"profile_uuid":"` + id + `","devices":["A"]}`
	arrived := make(chan struct{}, 1)
	l.Intercept(func(http.ResponseWriter, *http.Request) bool {
		arrived <- struct{}{}
		return false
	})
	// ended asks, does something once the request is there, and returns what became of the request.
	ended := func(ctx context.Context, f abmtest.Fault, then func()) error {
		f.ID, f.Kind = "x", abmtest.FaultHang
		set(t, l, f)
		done := make(chan error, 1)
		go func() {
			_, _, err := l.ask(ctx, "POST", "/profile/devices", body)
			done <- err
		}()
		<-arrived
		then()
		return <-done
	}
	// aborted waits until the service has noticed that n clients are gone.
	aborted := func(n int) {
		gone := func() bool { return l.Stats().Statuses["POST /profile/devices"][0] == n }
		require.Eventually(t, gone, 10*time.Second, time.Millisecond)
	}
	ctx, giveUp := context.WithCancel(t.Context())
	require.ErrorIs(t, ended(ctx, abmtest.Fault{Serials: []string{"A"}}, giveUp), context.Canceled)
	aborted(1)
	assert.Empty(t, l.profileOf("A"))
	assert.Equal(t, 1, l.AssignCalls("A"), "it was asked for")
	require.NoError(t, ended(t.Context(), abmtest.Fault{}, func() { l.ClearFaults() }))
	assert.Equal(t, id, l.profileOf("A"), "a request that is let go is served")

	require.ErrorIs(t, ended(t.Context(), abmtest.Fault{Applied: true}, func() { require.NoError(t, l.Close()) }), io.EOF)
	require.NoError(t, l.Close(), "twice")
	aborted(2)
	assert.Equal(t, 3, l.AssignCalls("A"))
}

func testReset(t *testing.T) {
	l := newLine(t)
	id := l.define(simpleProfile)
	for _, applied := range []bool{false, true} {
		set(t, l, abmtest.Fault{ID: "x", Kind: abmtest.FaultReset, Operation: "POST /profile/devices", Applied: applied})
		_, _, err := l.ask(t.Context(), "POST", "/profile/devices", `{"profile_uuid":"`+id+`","devices":["A"]}`)
		// Go's client may be told of the end before it is told of the reset.
		require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF), "%v", err)
		assert.Equal(t, applied, l.profileOf("A") == id)
	}
	assert.Equal(t, 2, l.AssignCalls("A"))
	assert.Equal(t, map[int]int{0: 2}, l.Stats().Statuses["POST /profile/devices"])

	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/profile/devices", strings.NewReader("{}"))
	require.NoError(t, err)
	r.Header = l.header()
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() { l.do(r) }, "without a network")
}

// testLatency runs without a network, so that the time is the bubble's.
func testLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, c := world(t)
		require.Equal(t, 200, c.open().status)
		took := func() time.Duration {
			start := time.Now()
			require.Equal(t, 200, c.call("GET", "/account", "").status)
			return time.Since(start)
		}
		set(t, s, abmtest.Fault{ID: "fixed", Kind: abmtest.FaultLatency, Duration: time.Second})
		assert.Equal(t, time.Second, took())
		set(t, s, abmtest.Fault{ID: "more", Kind: abmtest.FaultLatency, Duration: time.Second, Jitter: time.Second})
		seen := map[time.Duration]bool{}
		for range 20 {
			d := took()
			assert.GreaterOrEqual(t, d, 2*time.Second)
			assert.LessOrEqual(t, d, 3*time.Second)
			seen[d] = true
		}
		assert.Greater(t, len(seen), 10)
		set(t, s, abmtest.Fault{ID: "error", Kind: abmtest.FaultServerError})
		start := time.Now()
		assert.Equal(t, 500, c.call("GET", "/account", "").status)
		assert.GreaterOrEqual(t, time.Since(start), 2*time.Second, "they go together")

		s.ClearFaults()
		set(t, s, abmtest.Fault{ID: "long", Kind: abmtest.FaultLatency, Duration: 24 * time.Hour})
		start = time.Now()
		done := make(chan answer)
		go func() { done <- c.call("GET", "/account", "") }()
		synctest.Wait()
		s.ClearFaults("long")
		assert.Equal(t, 200, (<-done).status)
		assert.Zero(t, time.Since(start), "it ends with its fault")
	})
}
