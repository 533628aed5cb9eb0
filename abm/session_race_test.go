package abm

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// together makes n calls at a time, and returns how many of them failed.
func together(t *testing.T, c *Client, n int) int {
	t.Helper()
	var failed atomic.Int32
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := c.AccountDetail(t.Context()); err != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	return int(failed.Load())
}

// A refusal that overtakes the answer with the next session is no reason to sign in, however often Apple replaces it.
func TestRefusalThatOvertakesTheNextSession(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]abmtest.Option{
		{abmtest.WithSessionRotation(1)}, {abmtest.WithSessionRotation(1), abmtest.WithSingleSession()}, {abmtest.WithSessionRotation(3)},
	} {
		for _, n := range []int{2, 5, 20} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorldAt(t, nil, 1, opts...)
				c, err := NewClient(tokenOf(w.server), WithBaseURL("https://apple.test"), WithTransport(far{direct{w.apple}}))
				require.NoError(t, err)
				before := w.logins()
				for range 10 {
					assert.Zero(t, together(t, c, n))
				}
				assert.Equal(t, 1, w.logins()-before)
			})
		}
	}
}

// Where Apple refuses every session, those who wait for a new one do not each get another.
func TestRefusedSessionIsRefusedForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logins atomic.Int32
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/session" {
				_, _ = fmt.Fprintf(w, `{"auth_session_token":"s%d"}`, logins.Add(1))
				return
			}
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "UNAUTHORIZED")
		})
		c, err := NewClient(testToken(), WithBaseURL("https://apple.test"), WithTransport(far{direct{h}}))
		require.NoError(t, err)
		for range 3 {
			assert.Equal(t, 50, together(t, c, 50))
		}
		assert.LessOrEqual(t, logins.Load(), int32(30), "of 150 calls")
	})
}
