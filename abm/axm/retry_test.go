package axm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// Reads are repeated after what passes by itself; writes only when nothing was done.
func TestRepeats(t *testing.T) {
	read := func(ctx context.Context, c *Client) error { _, err := c.OrgDevice(ctx, "S1"); return err }
	write := func(ctx context.Context, c *Client) error { return c.DeleteMDMServer(ctx, "AB") }
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	reset := &net.OpError{Op: "read", Err: errors.New("reset")}
	tests := []struct {
		name   string
		call   func(context.Context, *Client) error
		status int
		err    error
		want   int
	}{
		{"read after 429", read, 429, nil, 3}, {"read after 503", read, 503, nil, 3}, {"read after 500", read, 500, nil, 3},
		{"read after 404", read, 404, nil, 1}, {"read after 409", read, 409, nil, 1}, {"read after a reset", read, 0, reset, 3},
		{"read of nonsense", read, 200, nil, 3},
		{"write after 429", write, 429, nil, 3}, {"write after 503", write, 503, nil, 1}, {"write after a reset", write, 0, reset, 1},
		{"write without a connection", write, 0, dial, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				f := &fakeApple{}
				rt := roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.URL.Host == "account.apple.com" {
						return inMemory{f}.RoundTrip(r)
					}
					calls++
					if tt.err != nil {
						return nil, tt.err
					}
					return &http.Response{StatusCode: tt.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("x")), Request: r}, nil
				})
				c, err := New(testCredentials(t), WithTransport(rt), WithTries(3, time.Second, time.Minute))
				require.NoError(t, err)
				require.Error(t, tt.call(t.Context(), c))
				assert.Equal(t, tt.want, calls)
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Apple's wait is kept; one that is too long is handed on.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now)
		serial := w.buy(w.ours, 1)[0]
		c := w.client(time.Now)
		w.api.Refuse(2, 429, 20*time.Second)
		began := time.Now()
		_, err := c.OrgDevice(t.Context(), serial)
		require.NoError(t, err)
		assert.Equal(t, 40*time.Second, time.Since(began))

		w.api.Refuse(1, 429, time.Hour)
		_, err = c.OrgDevice(t.Context(), serial)
		require.ErrorIs(t, err, ErrRateLimited)
		apiErr, ok := errors.AsType[*APIError](err)
		require.True(t, ok)
		assert.Equal(t, time.Hour, apiErr.RetryAfter)
		assert.True(t, apiErr.Temporary())
	})
}

// A redirect would carry the access token to wherever it points.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	calls := 0
	c, _ := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.Header().Set("Location", "https://elsewhere.api-business.apple.com/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	_, err := c.OrgDevice(t.Context(), "S1")
	require.ErrorIs(t, err, ErrBadResponse)
	require.ErrorIs(t, c.DeleteMDMServer(t.Context(), "AB"), ErrBadResponse)
	assert.Equal(t, 2, calls)
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	status, size := 200, int64(maxBody+1)
	f := new(fakeApple)
	rt := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "account.apple.com" {
			return inMemory{f}.RoundTrip(r)
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(io.LimitReader(spaces{}, size)), Request: r}, nil
	})
	c, err := New(testCredentials(t), WithTransport(rt), WithTries(1, 1, 1))
	require.NoError(t, err)
	_, err = c.OrgDevice(t.Context(), "S1")
	require.ErrorIs(t, err, ErrBadResponse)
	assert.Contains(t, err.Error(), "too large")
	status, size = 500, 4*maxErrorBody
	_, err = c.OrgDevice(t.Context(), "S1")
	apiErr, ok := errors.AsType[*APIError](err)
	require.True(t, ok)
	assert.Len(t, apiErr.Body, maxQuotedBody)
}

type spaces struct{}

var blank = bytes.Repeat([]byte(" "), 1<<16)

func (spaces) Read(p []byte) (int, error) {
	return copy(p, blank), nil
}

func TestErrorObjects(t *testing.T) {
	t.Parallel()
	got := errorDetails([]byte(`{"errors":[
		{"id":"e1","status":"409","code":"ENTITY_ERROR.X","title":"T","detail":"D","source":{"pointer":"/data"},"links":{}},
		{"code":5,"status":400,"source":{"parameter":"limit"}},
		{"code":"two words","source":{"parameter":{"parameter":"cursor"},"pointer":{"pointer":"/a"}}},
		"text",null,{"source":"x"}]}`))
	assert.Equal(t, []ErrorDetail{
		{ID: "e1", Status: "409", Code: "ENTITY_ERROR.X", Title: "T", Detail: "D", Pointer: "/data"},
		{Parameter: "limit"}, {Pointer: "/a", Parameter: "cursor"}, {},
	}, got)
	for _, body := range []string{"", "x", "[]", `{"errors":{}}`, `{"errors":[]}`, "null"} {
		assert.Nil(t, errorDetails([]byte(body)), body)
	}
	many := errorDetails([]byte(`{"errors":[` + strings.Repeat(`{"code":"A"},`, 500) + `{}]}`))
	assert.Len(t, many, maxDetails)
	err := newAPIError("Op", 409, []byte(`{"errors":[`+strings.Repeat(`{"code":"A","detail":"SERIAL"},`, 4)+`{}]}`), 0)
	assert.Equal(t, "axm: Op: HTTP 409 A A A and 2 more: conflict", err.Error())
}

func TestCauses(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{
		400: ErrBadRequest, 401: ErrUnauthorized, 403: ErrForbidden, 404: ErrNotFound, 406: ErrBadRequest, 409: ErrConflict,
		422: ErrBadRequest, 429: ErrRateLimited, 500: ErrUnavailable, 503: ErrUnavailable, 302: ErrBadResponse, 202: ErrBadResponse,
	} {
		assert.ErrorIs(t, newAPIError("Op", status, nil, 0), want, status)
	}
}

// Nothing secret is logged, whatever happens.
func TestLogsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.DebugLevel)
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	serials := w.buy(w.other, 1)
	var secrets []string
	w.hook = func(r *http.Request) *http.Response {
		secrets = append(secrets, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if strings.HasPrefix(r.URL.Path, "/auth/") {
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			r.Body = io.NopCloser(bytes.NewReader(body))
			form, err := url.ParseQuery(string(body))
			require.NoError(t, err)
			secrets = append(secrets, form.Get("client_assertion"))
		}
		return nil
	}
	c := w.client(clock.Now, WithLogger(zap.New(core)), WithTries(2, time.Millisecond, time.Millisecond))
	ours := w.id(c, w.ours)
	w.api.Refuse(1, 503, 0)
	w.id(c, w.ours)
	w.api.RevokeTokens()
	_, err := c.AssignDevices(t.Context(), ours, serials)
	require.NoError(t, err)
	require.NotEmpty(t, logs.All())
	require.NotEmpty(t, slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return !strings.HasPrefix(s, "ey") }), "assertions")
	for _, entry := range logs.All() {
		line := entry.Message
		for _, f := range entry.Context {
			line += " " + f.String
			if e, ok := f.Interface.(error); ok {
				line += e.Error()
			}
		}
		for _, s := range append(secrets, serials...) {
			if s != "" {
				assert.NotContains(t, line, s)
			}
		}
	}
}
