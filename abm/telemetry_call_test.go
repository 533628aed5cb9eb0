package abm

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

// slow is a transport on which each exchange takes two seconds of the world's time. It keeps the names of the spans that
// its requests come in.
type slow struct {
	w     *world
	spans []string
}

func (s *slow) RoundTrip(r *http.Request) (*http.Response, error) {
	s.w.clock.Add(2 * time.Second)
	if span, ok := trace.SpanFromContext(r.Context()).(*recordedSpan); ok {
		s.spans = append(s.spans, span.name)
	}
	return direct{s.w.apple}.RoundTrip(r)
}

func TestCallsAreMeasured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	rec := newRecorder()
	e := w.engine(t, append(rec.options(), WithTransport(&slow{w: w}))...)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)

	// The first call signs in, which is part of it and a call as well.
	assert.Equal(t, map[string][]float64{
		"enrollkit.abm.call.duration{enrollkit.account.name=acme,enrollkit.operation=Session,http.response.status_code=200}":      {2},
		"enrollkit.abm.call.duration{enrollkit.account.name=acme,enrollkit.operation=FetchDevices,http.response.status_code=200}": {4},
		"enrollkit.abm.call.duration{enrollkit.account.name=acme,enrollkit.operation=SyncDevices,http.response.status_code=200}":  {2},
	}, rec.durations())
	assert.Equal(t, map[string]float64{
		"enrollkit.abm.sync.changes{enrollkit.account.name=acme,enrollkit.sync.kind=sync}": 5,
	}, rec.counters(), "no retry")
}

// How calls end: each has its error.type, and those that are repeated are counted.
func TestCallErrorsAreMeasured(t *testing.T) {
	t.Parallel()
	failing := func(err error) http.RoundTripper {
		return roundTripper(func(*http.Request) (*http.Response, error) { return nil, err })
	}
	answers := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/devices/sync" {
				return false
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	for _, tt := range []struct {
		name      string
		intercept func(http.ResponseWriter, *http.Request) bool
		transport http.RoundTripper
		word      string // the error.type
		status    string
		tries     int
		retries   float64
	}{
		{name: "code", intercept: answers(400, "EXPIRED_CURSOR"), word: "EXPIRED_CURSOR", status: "400", tries: 1},
		{name: "code of two meanings", intercept: answers(400, "NOT_FOUND"), word: "NOT_FOUND", status: "400", tries: 1},
		{name: "unknown code", intercept: answers(400, "C02SECRET"), word: "400", status: "400", tries: 1},
		{name: "code by chance", intercept: answers(503, "FORBIDDEN"), word: "503", status: "503", tries: 3, retries: 2},
		{name: "bad body", intercept: answers(200, "["), word: "bad_response", status: "200", tries: 3, retries: 2},
		{name: "no answer", transport: failing(errors.New("reset")), word: "transport", tries: 3, retries: 2},
		{name: "timeout", transport: failing(context.DeadlineExceeded), word: "timeout", tries: 3, retries: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			rec := newRecorder()
			opts := append(append([]Option{}, w.opts...), rec.options()...)
			if tt.transport != nil {
				session := direct{w.apple}
				opts = append(opts, WithTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.URL.Path == "/session" {
						return session.RoundTrip(r)
					}
					return tt.transport.RoundTrip(r)
				})))
			}
			w.apple.Intercept(tt.intercept)
			c, err := NewClient(tokenOf(w.server), opts...)
			require.NoError(t, err)
			_, err = c.SyncDevices(t.Context(), "cursor", 0)
			require.Error(t, err)

			attrs := "enrollkit.operation=SyncDevices,error.type=" + tt.word
			if tt.status != "" {
				attrs += ",http.response.status_code=" + tt.status
			}
			got := rec.durations()
			assert.Len(t, got["enrollkit.abm.call.duration{"+attrs+"}"], tt.tries, "%v", got)
			assert.Len(t, got, 2, "and the session")
			assert.InDelta(t, tt.retries, rec.counters()["enrollkit.abm.call.retries{enrollkit.operation=SyncDevices}"], 0)
			spans := rec.named("abm.SyncDevices")
			require.Len(t, spans, tt.tries)
			last := spans[tt.tries-1]
			assert.Equal(t, "Error "+tt.word, last.status)
			assert.Equal(t, tt.status, last.attrs["http.response.status_code"])
			if tt.retries > 0 {
				assert.Equal(t, "2", last.attrs["http.request.resend_count"])
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Signing in by its result is in the same histogram, and a call that could not sign in has no status of its own.
func TestSignInIsMeasured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	rec := newRecorder()
	token := tokenOf(w.server)
	token.AccessSecret = "another"
	c, err := NewClient(token, append(append([]Option{}, w.opts...), rec.options()...)...)
	require.NoError(t, err)
	_, err = c.AccountDetail(t.Context())
	require.ErrorIs(t, err, ErrUnauthorized)
	assert.Equal(t, map[string][]float64{
		"enrollkit.abm.call.duration{enrollkit.operation=Session,error.type=UNAUTHORIZED,http.response.status_code=401}": {0},
		"enrollkit.abm.call.duration{enrollkit.operation=AccountDetail,error.type=UNAUTHORIZED}":                         {0},
	}, rec.durations())
}

// A session that Apple refuses costs a sign-in inside the span of the call, and no retry.
func TestSpansOfCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	rec := newRecorder()
	carrier := &slow{w: w}
	c, err := NewClient(tokenOf(w.server), append(append(append([]Option{}, w.opts...), rec.options()...), WithTransport(carrier))...)
	require.NoError(t, err)
	_, err = c.AccountDetail(t.Context())
	require.NoError(t, err)
	w.clock.Add(24 * time.Hour) // the session ends
	_, err = c.AccountDetail(t.Context())
	require.NoError(t, err)

	require.Len(t, rec.spans, 4)
	for i, name := range []string{"abm.AccountDetail", "abm.Session", "abm.AccountDetail", "abm.Session"} {
		s := rec.spans[i]
		assert.Equal(t, name, s.name)
		assert.Equal(t, trace.SpanKindClient, s.kind)
		assert.True(t, s.ended)
		assert.Empty(t, s.status)
		assert.Equal(t, map[string]string{
			"enrollkit.operation": name[len("abm."):], "http.request.method": "GET", "http.response.status_code": "200",
		}, s.attrs)
	}
	assert.Empty(t, rec.spans[0].parent)
	assert.Equal(t, "abm.AccountDetail", rec.spans[1].parent)
	assert.Equal(t, []string{
		"abm.Session", "abm.AccountDetail", "abm.AccountDetail", "abm.Session", "abm.AccountDetail",
	}, carrier.spans, "what carries a request is inside its span")
	assert.Empty(t, rec.counters())
}
