package abm

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// What is held back is nobody's failure: assignments wait as long as the calls do, and are asked for then.
func TestHeldBackAssignmentsWait(t *testing.T) {
	t.Parallel()
	w, _, _ := synced(t, 5)
	e := w.engine(t, WithCircuitBreaker(2, time.Hour))
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	w.apple.Intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(503)
		return true
	})
	for range 2 {
		_, err = e.SyncOnce(t.Context(), acme)
		require.ErrorIs(t, err, ErrUnavailable)
		_, err = e.SweepOnce(t.Context(), acme)
		require.ErrorIs(t, err, ErrUnavailable)
	}
	require.ErrorIs(t, err, ErrHeldBack)
	w.clock.Add(20 * time.Minute)
	before := w.apple.Stats().Calls["POST /profile/devices"]
	_, err = e.AssignOnce(t.Context(), acme)
	require.ErrorIs(t, err, ErrHeldBack)
	assert.Equal(t, before, w.apple.Stats().Calls["POST /profile/devices"])
	assert.Equal(t, storage.HealthUnreachable, w.health(t))
	for _, a := range w.rows(t) {
		assert.Zero(t, a.Failures)
		assert.False(t, a.NextAttemptAt.Before(w.clock.Now().Add(40*time.Minute)), "%v", a)
	}
	w.apple.Intercept(nil)
	w.clock.Add(time.Hour)
	assert.Equal(t, 5, assignAll(t, e).Assigned)
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, storage.HealthOK, w.health(t))
}
