package abm

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// refusing answers calls to paths that name one of the serials with HTTP 400.
func refusing(serials []string, paths ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(rw http.ResponseWriter, r *http.Request) bool {
		var in struct{ Devices []string }
		if !slices.Contains(paths, r.URL.Path) || json.Unmarshal(readBody(r), &in) != nil {
			return false
		}
		if !slices.ContainsFunc(in.Devices, func(s string) bool { return slices.Contains(serials, s) }) {
			return false
		}
		rw.WriteHeader(400)
		_, _ = rw.Write([]byte("SOMETHING_ODD"))
		return true
	}
}

func TestBisect(t *testing.T) {
	t.Parallel()
	odd := &APIError{Op: opDeviceDetails, StatusCode: 400, cause: ErrBadRequest}
	for _, tt := range []struct {
		bad, all int
		refused  int
	}{{0, 1000, 0}, {1, 1, 1}, {2, 1000, 2}, {1000, 1000, 8}} {
		t.Run(fmt.Sprint(tt.bad, " of ", tt.all), func(t *testing.T) {
			t.Parallel()
			serials := make([]string, tt.all)
			bad := make(map[string]bool)
			for i := range serials {
				serials[i] = fmt.Sprint("S", i)
				bad[serials[i]] = i < tt.bad
			}
			calls := 0
			done := make(map[string]bool)
			refused, left, err := bisect(serials, func(part []string) error {
				if slices.ContainsFunc(part, func(s string) bool { return bad[s] }) {
					calls++
					return odd
				}
				for _, s := range part {
					assert.False(t, done[s], "once only")
					done[s] = true
				}
				return nil
			})
			require.NoError(t, err)
			assert.LessOrEqual(t, calls, maxBisect)
			assert.GreaterOrEqual(t, len(refused), tt.refused)
			assert.Equal(t, tt.all, len(refused)+len(left)+len(done))
			for s := range refused {
				assert.True(t, bad[s])
			}
		})
	}
	down := errors.New("down")
	_, _, err := bisect([]string{"A"}, func([]string) error { return down })
	require.ErrorIs(t, err, down)
	_, _, err = bisect(nil, func([]string) error { return down })
	require.NoError(t, err)
}

// A serial that Apple refuses to be asked for in any way costs no other device anything.
func TestSerialRefusedEverywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 10, abmtest.WithSessionLifetime(100*time.Hour))
		bad := w.apple.Devices(0, 1)[0].SerialNumber
		w.apple.Intercept(refusing([]string{bad}, "/devices", "/profile/devices"))
		stop := startEngine(t, w.engine(t, WithMaxFailures(5)))
		time.Sleep(30 * time.Minute)
		require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(50)...))
		require.NoError(t, w.apple.Unassign(bad)) // and a sweep has to look at it
		time.Sleep(72 * time.Hour)
		synctest.Wait()
		stop()
		for _, a := range w.rows(t) {
			if a.Serial != bad {
				assert.Equal(t, storage.AssignmentSatisfied, a.State)
			}
		}
		assert.Len(t, w.rows(t), 60)
		assert.Equal(t, storage.HealthOK, w.health(t))
	})
}

func TestRefusedLookCountsAsFailure(t *testing.T) {
	t.Parallel()
	w, e, bad := synced(t, 10, WithMaxFailures(3))
	assignAll(t, e)
	w.clock.Add(time.Hour)
	w.apple.Intercept(refusing([]string{bad}, "/devices"))
	assignAll(t, e)
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentAssigned: 1, storage.AssignmentSatisfied: 9}, w.states(t))
	for range 5 {
		w.clock.Add(24 * time.Hour)
		assignAll(t, e)
	}
	a := w.row(t, bad)
	assert.Equal(t, storage.AssignmentParked, a.State)
	assert.Equal(t, 3, a.Failures)
	assert.Contains(t, a.Problem, "SOMETHING_ODD")
	assert.Empty(t, a.LastAttempt.Error, "a look is no attempt")
	assert.Equal(t, "SUCCESS", a.LastAttempt.Result)

	w.apple.Intercept(nil)
	_, err := e.Retry(t.Context(), acme, bad)
	require.NoError(t, err)
	assert.Equal(t, AssignResult{Due: 1, Looked: 1, Satisfied: 1}, assignAll(t, e))
}

// However many serials are refused, the others are not blamed and get their profile in the end.
func TestManyRefusedSerials(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 1000)
	var bad []string
	for i, d := range w.apple.Devices(0, 1000) {
		if i%33 == 0 {
			bad = append(bad, d.SerialNumber)
		}
	}
	w.apple.Intercept(refusing(bad, "/profile/devices"))
	for range 100 {
		assignAll(t, e)
		for _, a := range w.rows(t) {
			if a.Failures > 0 && !slices.Contains(bad, a.Serial) {
				t.Fatalf("%s is blamed: %+v", a.Serial, a)
			}
		}
		w.clock.Add(4 * time.Hour)
	}
	assert.Equal(t, map[storage.AssignmentState]int{
		storage.AssignmentParked: len(bad), storage.AssignmentSatisfied: 1000 - len(bad),
	}, w.states(t))
}
