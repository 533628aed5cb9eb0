package axm

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const tokenCall = "POST /auth/oauth2/token"

func TestManyFirstCallsGetOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now)
		serial := w.buy(w.ours, 1)[0]
		w.hook = func(r *http.Request) *http.Response {
			if strings.HasPrefix(r.URL.Path, "/auth/") {
				time.Sleep(time.Second) // so that all wait
			}
			return nil
		}
		c := w.client(time.Now)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := c.OrgDevice(t.Context(), serial)
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, 1, w.count(tokenCall))
		assert.Equal(t, 50, w.count("GET /v1/orgDevices/"+serial))
	})
}

// One that leaves while it gets the token takes nobody with it, and one that waits can leave.
func TestWaitingForATokenEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now)
		serial := w.buy(w.ours, 1)[0]
		w.hook = func(r *http.Request) *http.Response {
			if strings.HasPrefix(r.URL.Path, "/auth/") {
				select {
				case <-time.After(10 * time.Second):
				case <-r.Context().Done():
				}
			}
			return nil
		}
		c := w.client(time.Now, WithTries(1, 1, 1)) // so that no second try makes good what the one that left has broken
		call := func(after, patience time.Duration) error {
			time.Sleep(after)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := c.OrgDevice(ctx, serial)
			return err
		}
		var wg sync.WaitGroup
		wg.Go(func() { assert.ErrorIs(t, call(0, time.Second), context.DeadlineExceeded) })
		wg.Go(func() { assert.ErrorIs(t, call(time.Millisecond, 2*time.Second), context.DeadlineExceeded) })
		wg.Go(func() { assert.NoError(t, call(2*time.Millisecond, time.Hour)) })
		wg.Wait()
	})
}

// A refusal counts for all that wait: Apple is not asked once for each of them.
func TestManyCallsGetOneRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now)
		w.hook = func(*http.Request) *http.Response {
			time.Sleep(time.Second) // so that all wait
			return nil
		}
		c := w.client(time.Now)
		require.NoError(t, w.api.RevokeAPIAccount(w.account.ClientID))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := c.OrgDevice(t.Context(), "S1")
				assert.ErrorIs(t, err, ErrCredentials)
			})
		}
		wg.Wait()
		assert.Equal(t, 1, w.count(tokenCall))
	})
}

func TestTokenIsReplacedBeforeItEnds(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	serial := w.buy(w.ours, 1)[0]
	c := w.client(clock.Now)
	for _, step := range []struct {
		pass time.Duration
		want int
	}{{0, 1}, {58 * time.Minute, 1}, {time.Minute, 2}, {time.Hour, 3}} {
		clock.Add(step.pass)
		_, err := c.OrgDevice(t.Context(), serial)
		require.NoError(t, err)
		assert.Equal(t, step.want, w.count(tokenCall), "after %s", step.pass)
	}
}

// A token that Apple revokes under way costs one more request, with the same body.
func TestRefusedTokenIsReplacedAndTheRequestRepeated(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	serials := w.buy(w.other, 2)
	c := w.client(clock.Now)
	ours := w.id(c, w.ours)
	var bodies []string
	w.hook = func(r *http.Request) *http.Response {
		if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v1/") {
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			bodies = append(bodies, string(body))
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		return nil
	}
	w.api.RevokeTokens()
	list, err := c.AssignDevices(t.Context(), ours, serials)
	require.NoError(t, err)
	assert.Len(t, list, 1)
	assert.Equal(t, 2, w.count(tokenCall))
	require.Len(t, bodies, 2)
	assert.Equal(t, bodies[0], bodies[1])
	assert.Contains(t, bodies[1], serials[1])
}

// A token that is refused when it is new is refused for good.
func TestRefusedNewTokenIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	calls := 0
	c, f := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.WriteHeader(http.StatusUnauthorized)
	}, WithTries(4, 1, 1))
	_, err := c.OrgDevice(t.Context(), "S1")
	require.ErrorIs(t, err, ErrUnauthorized)
	assert.Equal(t, 2, calls)
	assert.EqualValues(t, 2, f.tokens.Load())
}

// What the assertion says, and that each one is another.
func TestAssertion(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	creds := testCredentials(t)
	s, err := newSettings([]Option{WithClock(clock.Now), WithRandom(bytes.NewReader(make([]byte, 16)))})
	require.NoError(t, err)
	i, err := newIssuer(creds, "business.api", http.DefaultClient, s)
	require.NoError(t, err)
	a, err := i.assertion()
	require.NoError(t, err)
	parts := strings.Split(a, ".")
	require.Len(t, parts, 3)
	decode := func(part string) string {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		require.NoError(t, err)
		return string(raw)
	}
	assert.JSONEq(t, `{"alg":"ES256","kid":"key","typ":"JWT"}`, decode(parts[0]))
	assert.JSONEq(t, `{"iss":"BUSINESSAPI.test","sub":"BUSINESSAPI.test","aud":"https://account.apple.com/auth/oauth2/v2/token",
		"iat":1788264000,"exp":1788264600,"jti":"00000000000000000000000000000000"}`, decode(parts[1]))
	assert.Len(t, decode(parts[2]), 64)
	_, err = i.assertion()
	require.Error(t, err, "there is no randomness left")
}

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		status     int
		cause      error
		code, desc string
		temporary  bool
	}{
		{"refused", `{"error":"invalid_client","error_description":"bad ASSERTION","error_uri":"https://x"}`, 400, ErrCredentials, "invalid_client", "bad REDACTED", false},
		{"refused with 200", `{"error":"invalid_scope"}`, 200, ErrCredentials, "invalid_scope", "", false},
		{"code that is no word", `{"error":"a b"}`, 401, ErrCredentials, "", "", false},
		{"not JSON", `<html>ASSERTION`, 400, ErrCredentials, "", "", false},
		{"busy", `{}`, 429, ErrRateLimited, "", "", true},
		{"failing", `ASSERTION`, 503, ErrUnavailable, "", "", true},
		{"no token", `{}`, 200, ErrBadResponse, "", "", true},
		{"useless", `[ASSERTION`, 200, ErrBadResponse, "", "", true},
		{"redirect", ``, 302, ErrBadResponse, "", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var assertion string
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "account.apple.com", r.URL.Host, "and nowhere else")
				require.NoError(t, r.ParseForm())
				assertion = r.PostForm.Get("client_assertion")
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Retry-After", "7")
				w.Header().Set("Location", "https://elsewhere.example.com/")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, strings.ReplaceAll(tt.body, "ASSERTION", assertion))
			})
			c, err := New(testCredentials(t), WithTransport(inMemory{h}), WithTries(1, 1, 1))
			require.NoError(t, err)
			_, err = c.OrgDevice(t.Context(), "S1")
			tokenErr, ok := errors.AsType[*TokenError](err)
			require.True(t, ok, err)
			require.ErrorIs(t, err, tt.cause)
			assert.Equal(t, tt.code, tokenErr.Code)
			assert.Equal(t, tt.desc, tokenErr.Description)
			assert.Equal(t, tt.temporary, tokenErr.Temporary())
			if tt.cause != ErrBadResponse { //nolint:errorlint // it is the very value
				assert.Equal(t, 7*time.Second, tokenErr.RetryAfter)
			}
			whole, jsonErr := json.Marshal(tokenErr)
			require.NoError(t, jsonErr)
			assert.NotEmpty(t, assertion)
			assert.NotContains(t, err.Error()+string(whole), assertion)
			assert.NotContains(t, err.Error(), "REDACTED", "descriptions are not for logs")
		})
	}
}

// A write waits for a token as patiently as a read: it has not been sent.
func TestWritesWaitForTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	serials := w.buy(w.other, 1)
	broken := 2
	w.hook = func(r *http.Request) *http.Response {
		if broken > 0 && strings.HasPrefix(r.URL.Path, "/auth/") {
			broken--
			return &http.Response{StatusCode: 503, Header: http.Header{}, Body: http.NoBody, Request: r}
		}
		return nil
	}
	c := w.client(clock.Now, WithTries(3, time.Millisecond, time.Millisecond))
	_, err := c.CancelMDMMigration(t.Context(), serials)
	require.NoError(t, err)
	assert.Equal(t, 3, w.count(tokenCall))
	assert.Equal(t, 1, w.count("POST /v1/orgDeviceActivities"))
}

// A token endpoint that does not answer in time is not taken for an API that does not: nothing was sent, and a write goes on.
func TestWritesWaitForATokenEndpointThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now)
		serials := w.buy(w.other, 1)
		hangs := 3
		w.hook = func(r *http.Request) *http.Response {
			if hangs > 0 && strings.HasPrefix(r.URL.Path, "/auth/") {
				hangs--
				<-r.Context().Done()
			}
			return nil
		}
		c := w.client(time.Now, WithTimeout(time.Second), WithTries(2, time.Second, time.Second))
		_, err := c.CancelMDMMigration(t.Context(), serials)
		transportErr, ok := errors.AsType[*TransportError](err)
		require.True(t, ok, err)
		assert.Equal(t, "Token", transportErr.Op)
		assert.Equal(t, 2, w.count(tokenCall), "it was tried again")
		assert.Zero(t, w.count(createActivity))

		_, err = c.CancelMDMMigration(t.Context(), serials)
		require.NoError(t, err)
		assert.Equal(t, 1, w.count(createActivity))
	})
}

// The time limit is that of one exchange: getting a token takes nothing from the call that needs it.
func TestTimeoutIsOfOneExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now)
		serial := w.buy(w.ours, 1)[0]
		w.hook = func(*http.Request) *http.Response {
			time.Sleep(800 * time.Millisecond)
			return nil
		}
		c := w.client(time.Now, WithTimeout(time.Second), WithTries(1, 1, 1))
		began := time.Now()
		_, err := c.OrgDevice(t.Context(), serial)
		require.NoError(t, err)
		w.api.RevokeTokens()
		_, err = c.OrgDevice(t.Context(), serial)
		require.NoError(t, err)
		assert.Equal(t, 5*800*time.Millisecond, time.Since(began), "two tokens, three exchanges")
	})
}

func TestRevokedAccount(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	c := w.client(clock.Now)
	w.id(c, w.ours)
	require.NoError(t, w.api.RevokeAPIAccount(w.account.ClientID))
	_, err := c.MDMServer(t.Context(), "AB")
	require.ErrorIs(t, err, ErrCredentials)
}

// The API of the school has its own scope, and not all of the operations.
func TestSchool(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	var err error
	w.account, err = w.api.AddAPIAccount("SCHOOLAPI")
	require.NoError(t, err)
	c := w.client(clock.Now)
	id := w.id(c, w.ours)
	_, err = c.MDMServer(t.Context(), id)
	require.ErrorIs(t, err, ErrNotFound)
	wrong := w.client(clock.Now, WithScope("business.api"))
	_, err = wrong.OrgDevice(t.Context(), "S1")
	require.ErrorIs(t, err, ErrCredentials)
}
