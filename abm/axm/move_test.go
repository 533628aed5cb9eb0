package axm

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

func states(results []MoveResult) map[string]MoveState {
	out := make(map[string]MoveState, len(results))
	for _, r := range results {
		out[r.Serial] = r.State
	}
	return out
}

const createActivity = "POST /v1/orgDeviceActivities"

// A few devices, looked at one by one, and many, looked up in the list of the server: devices that are there are not asked
// for, and the assignment is reported only when it shows, 15 seconds later.
func TestMove(t *testing.T) {
	for _, n := range []int{4, readEach + 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, time.Now, abmtest.WithAXMLag(15*time.Second), abmtest.WithAXMResultsURL("https://store.example.com"),
					abmtest.WithAXMPageLimits(10, 1000))
				elsewhere, nowhere, there := w.buy(w.other, n/2), w.buy(nil, n/2), w.buy(w.ours, 1)
				serials := append(append(append([]string{}, elsewhere...), there...), nowhere...)
				c := w.client(time.Now, WithBatch(7))
				ours := w.id(c, w.ours)
				results, err := c.Move(t.Context(), ours, append(serials, serials[0]))
				require.NoError(t, err)
				require.Len(t, results, len(serials), "a repeated serial counts once")
				for i, r := range results {
					assert.Equal(t, serials[i], r.Serial)
					require.NoError(t, r.Err)
					assert.Equal(t, w.ours.UUID(), w.serverOf(r.Serial))
					if r.Serial == there[0] {
						assert.Equal(t, MoveAlready, r.State)
						assert.Empty(t, r.ActivityID)
						continue
					}
					assert.Equal(t, MoveDone, r.State)
					assert.NotEmpty(t, r.ActivityID)
					require.NotNil(t, r.Result)
					assert.Equal(t, r.Serial, r.Result.Serial)
				}
				assert.Equal(t, (n+6)/7, w.count(createActivity))

				results, err = c.Move(t.Context(), ours, serials)
				require.NoError(t, err)
				for _, r := range results {
					assert.Equal(t, MoveAlready, r.State)
				}
				assert.Equal(t, (n+6)/7, w.count(createActivity), "nothing is asked for again")
			})
		})
	}
}

// Serial numbers that Apple does not take are found and hold back none of the others; devices that fail are named.
func TestMoveReportsEachDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now, abmtest.WithAXMUnassigned404())
		good := w.buy(w.other, 20)
		released, failing := w.buy(w.other, 1)[0], w.buy(w.other, 1)[0]
		require.NoError(t, w.apple.Release(released))
		w.api.FailDevice(failing, "INTERNAL_ERROR")
		c := w.client(time.Now)
		serials := append(append([]string{"NOSUCH", failing}, good...), released)
		results, err := c.Move(t.Context(), w.id(c, w.ours), serials)
		require.NoError(t, err)
		got := states(results)
		assert.Equal(t, MoveRefused, got["NOSUCH"])
		assert.Equal(t, MoveRefused, got[released])
		assert.Equal(t, MoveFailed, got[failing])
		for _, s := range good {
			assert.Equal(t, MoveDone, got[s])
			assert.Equal(t, w.ours.UUID(), w.serverOf(s))
		}
		require.ErrorIs(t, results[0].Err, ErrConflict)
		require.Error(t, results[1].Err)
		assert.Equal(t, "INTERNAL_ERROR", results[1].Result.Status)
	})
}

func TestMoveToNoServer(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	serials := w.buy(w.other, 3)
	c := w.client(clock.Now)
	results, err := c.Move(t.Context(), "00000000000000000000000000000000", serials)
	require.ErrorIs(t, err, ErrNotFound)
	for _, r := range results {
		assert.Equal(t, MoveNotAsked, r.State)
		require.ErrorIs(t, r.Err, ErrNotFound)
	}
	assert.Zero(t, w.count(createActivity))
	_, err = c.Move(t.Context(), "", serials)
	require.Error(t, err)
}

// The answer to an assignment gets lost. It is not asked for again, and found done.
func TestMoveAfterALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now, abmtest.WithAXMDuration(10*time.Second))
		serials := w.buy(w.other, 2)
		c := w.client(time.Now)
		ours := w.id(c, w.ours)
		lost := 0
		w.hook = func(r *http.Request) *http.Response {
			if r.Method == http.MethodPost && r.URL.Path == "/v1/orgDeviceActivities" {
				lost++
				_, err := inMemory{w.api}.RoundTrip(r)
				require.NoError(t, err)
				return &http.Response{StatusCode: 502, Header: http.Header{}, Body: http.NoBody, Request: r}
			}
			return nil
		}
		results, err := c.Move(t.Context(), ours, serials)
		require.NoError(t, err)
		assert.Equal(t, 1, lost)
		assert.Equal(t, map[string]MoveState{serials[0]: MoveDone, serials[1]: MoveDone}, states(results))
		assert.NoError(t, results[0].Err)
	})
}

// What does not show in time is said to be unconfirmed, and a later call finds it.
func TestMoveThatDoesNotShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now, abmtest.WithAXMLag(10*time.Minute))
		serials := w.buy(w.other, 1)
		c := w.client(time.Now, WithSettle(time.Minute))
		ours := w.id(c, w.ours)
		results, err := c.Move(t.Context(), ours, serials)
		require.NoError(t, err)
		assert.Equal(t, MoveUnconfirmed, results[0].State)
		require.Error(t, results[0].Err)
		time.Sleep(10 * time.Minute)
		results, err = c.Move(t.Context(), ours, serials)
		require.NoError(t, err)
		assert.Equal(t, MoveAlready, results[0].State)
	})
}

func TestMoveOfAnActivityThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now)
		serials := w.buy(w.other, 2)
		c := w.client(time.Now)
		require.NoError(t, w.api.EndNextActivity("FAILED"))
		results, err := c.Move(t.Context(), w.id(c, w.ours), serials)
		require.NoError(t, err)
		assert.Equal(t, map[string]MoveState{serials[0]: MoveFailed, serials[1]: MoveFailed}, states(results))
	})
}

// A caller that leaves gets what was done so far, and the reason it left for.
func TestMoveEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now, abmtest.WithAXMDuration(time.Hour))
		there, moving := w.buy(w.ours, 1), w.buy(w.other, 1)
		c := w.client(time.Now)
		ours := w.id(c, w.ours)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, assert.AnError)
		defer cancel()
		results, err := c.Move(ctx, ours, append(there, moving...))
		require.ErrorIs(t, err, assert.AnError)
		assert.Equal(t, map[string]MoveState{there[0]: MoveAlready, moving[0]: MoveUnconfirmed}, states(results))
		assert.NotEmpty(t, results[1].ActivityID)
		require.Error(t, results[1].Err)
	})
}

// If Apple refuses everything, the search for what it minds ends.
func TestMoveGivesUpTheSearch(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	serials := w.buy(w.other, 600)
	c := w.client(clock.Now)
	ours := w.id(c, w.ours)
	w.hook = func(r *http.Request) *http.Response {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/orgDeviceActivities" {
			return &http.Response{StatusCode: 409, Header: http.Header{}, Body: http.NoBody, Request: r}
		}
		return nil
	}
	results, err := c.Move(t.Context(), ours, serials)
	require.NoError(t, err)
	count := map[MoveState]int{}
	for _, r := range results {
		count[r.State]++
		require.ErrorIs(t, r.Err, ErrConflict)
	}
	assert.Positive(t, count[MoveRefused], "those that were refused alone")
	assert.Equal(t, 600-count[MoveRefused], count[MoveNotAsked], "of a group, nobody knows which")
	assert.Less(t, w.count(createActivity), maxRefusals+20)
}
