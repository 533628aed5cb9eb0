package abm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// The whole way of a large account: read, assign, verify; then nothing more is asked of Apple.
func TestFullFlow(t *testing.T) {
	t.Parallel()
	const n = 3210
	w := newWorld(t, n)
	e := w.engine(t)

	res, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, SyncResult{Full: true, Pages: 5, Devices: n, Changed: n}, res)
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentPending: n}, w.states(t))

	got := assignAll(t, e)
	assert.Equal(t, AssignResult{Due: n, Asked: n, Assigned: n}, got)
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentAssigned: n}, w.states(t))

	w.clock.Add(11 * time.Minute)
	got = assignAll(t, e)
	assert.Equal(t, AssignResult{Due: n, Looked: n, Satisfied: n}, got)
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: n}, w.states(t))

	stats := w.apple.Stats()
	assert.Equal(t, 1, stats.Calls["POST /profile"])
	assert.Len(t, stats.AssignCalls, n)
	for serial, calls := range stats.AssignCalls {
		require.Equal(t, 1, calls, serial)
	}
	assert.LessOrEqual(t, stats.LargestBatch["POST /profile/devices"], 1000)

	kinds := w.kinds(t)
	assert.Equal(t, n, kinds["device_added"])
	assert.Equal(t, n, kinds["profile_wanted"])
	assert.Equal(t, n, kinds["profile_assigned"])
	assert.Equal(t, n, kinds["profile_verified"])

	// Apple's feed now tells of our own assignments, which changes nothing that is wanted.
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	sw, err := e.SweepOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Zero(t, sw.Changed, "a record differs between fetch, sync and details")
	assert.Zero(t, sw.Left)
	assert.Equal(t, AssignResult{}, assignAll(t, e))
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: n}, w.states(t))
	assert.Equal(t, storage.HealthOK, w.health(t))
}
