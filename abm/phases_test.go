package abm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// What fails at Apple fails alone: devices that are known get their profile, and are seen to have it.
func TestFailingPhaseHoldsBackNoOther(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/devices/sync", "/account", "/server/devices"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorldAt(t, nil, 0, abmtest.WithSessionLifetime(100*time.Hour))
				e := w.engine(t)
				stop := startEngine(t, e)
				time.Sleep(25*time.Hour + 30*time.Minute)
				stop()
				require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(50)...))
				_, err := e.SyncOnce(t.Context(), acme)
				require.NoError(t, err)
				time.Sleep(26 * time.Hour) // a sync and a sweep are due
				var calls atomic.Int32
				w.apple.Intercept(answer(path, &calls, 503, ""))
				stop = startEngine(t, e)
				time.Sleep(4 * time.Hour)
				synctest.Wait()
				stop()
				assert.NotZero(t, calls.Load())
				assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 50}, w.states(t))
				assert.Equal(t, storage.HealthUnreachable, w.health(t))
			})
		})
	}
}

// A look that fails does not hold back devices that need none.
func TestFailingLookHoldsBackNoAssignment(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 5)
	assignAll(t, e)
	require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(5)...))
	w.clock.Add(time.Hour)
	_, err := e.SyncOnce(t.Context(), acme) // which also shows the first five
	require.NoError(t, err)
	for _, a := range w.rows(t) {
		if a.State == storage.AssignmentSatisfied { // let them be looked at all the same
			a.State, a.NextAttemptAt = storage.AssignmentAssigned, w.clock.Now()
			require.NoError(t, w.store.CommitInventory(t.Context(), storage.InventoryChange{Account: acme, Assignments: []storage.Assignment{a}}))
		}
	}
	var calls atomic.Int32
	w.apple.Intercept(answer("/devices", &calls, 503, ""))
	res, err := e.AssignOnce(t.Context(), acme)
	require.ErrorIs(t, err, ErrUnavailable)
	assert.Equal(t, AssignResult{Due: 10, Asked: 5, Assigned: 5}, res)
	assert.Zero(t, assignAll(t, e).Due, "looked at again later")
	for _, a := range w.rows(t) {
		assert.Zero(t, a.Failures)
	}
}

// When all calls would fail, no other is made.
func TestRefusedTokenEndsStep(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 5)
	w.clock.Add(48 * time.Hour)
	var calls atomic.Int32
	w.apple.Intercept(answer("/devices/sync", &calls, 403, "T_C_NOT_SIGNED"))
	err := e.with(t.Context(), acme, func(ctx context.Context, s *step) error { return s.all(ctx) })
	require.ErrorIs(t, err, ErrTermsNotSigned)
	assert.EqualValues(t, 1, calls.Load())
	assert.Zero(t, w.apple.Stats().Calls["POST /profile"])
}

// A cursor that Apple repeats for days hides nothing, is told of, and does not lead to many calls.
func TestRepeatedCursorIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, nil, 5, abmtest.WithSessionLifetime(100*time.Hour))
		stop := startEngine(t, w.engine(t, WithSweepInterval(1000*time.Hour)))
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		cur, err := w.store.GetCursor(t.Context(), acme)
		require.NoError(t, err)
		var calls atomic.Int32
		w.apple.Intercept(answer("/devices/sync", &calls, 200, `{"cursor":"`+cur.Value+`","more_to_follow":true,"devices":[]}`))
		require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(50)...))
		fetched := w.apple.Stats().Calls["POST /server/devices"]
		time.Sleep(8 * 24 * time.Hour)
		synctest.Wait()
		assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 55}, w.states(t))
		resets := w.kinds(t)["cursor_reset"]
		assert.Equal(t, 6, resets, "after 4, 8, 16, 32, 64 and 128 readings")
		assert.Equal(t, resets, w.apple.Stats().Calls["POST /server/devices"]-fetched)
		acts, _, err := w.store.ListActivities(t.Context(), storage.ActivityFilter{Account: acme, Kind: "cursor_reset"}, storage.Page{})
		require.NoError(t, err)
		assert.Contains(t, string(acts[0].Detail), "CURSOR_LOOP")

		w.apple.Intercept(nil)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		stop()
		cur, err = w.store.GetCursor(t.Context(), acme)
		require.NoError(t, err)
		assert.Zero(t, cur.Loops)
	})
}

// A sweep is not held back by a cursor that Apple repeats.
func TestSweepGoesOnBesideRepeatedCursor(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 5)
	cur, err := w.store.GetCursor(t.Context(), acme)
	require.NoError(t, err)
	var calls atomic.Int32
	w.apple.Intercept(answer("/devices/sync", &calls, 200, `{"cursor":"`+cur.Value+`","more_to_follow":true,"devices":[]}`))
	require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(5)...))
	w.clock.Add(48 * time.Hour)
	err = e.with(t.Context(), acme, func(ctx context.Context, s *step) error { return s.all(ctx) })
	require.ErrorIs(t, err, ErrCursorLoop)
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentAssigned: 10}, w.states(t))
}

// commitCounter counts what is committed.
type commitCounter struct {
	Store
	commits atomic.Int32
}

func (c *commitCounter) CommitInventory(ctx context.Context, ch storage.InventoryChange) error {
	c.commits.Add(1)
	return c.Store.CommitInventory(ctx, ch)
}

// A cursor that someone else has written cannot be written by trying again.
func TestOutdatedCursorIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	w, _, _ := synced(t, 5)
	cc := &commitCounter{Store: w.store}
	e := w.engineOn(t, cc)
	err := e.with(t.Context(), acme, func(ctx context.Context, s *step) error {
		cur, err := s.cursor(ctx)
		require.NoError(t, err)
		require.NoError(t, w.store.CommitInventory(ctx, storage.InventoryChange{Account: acme, Cursor: &cur}))
		_, err = s.observe(ctx, nil, func(cur *storage.Cursor) { cur.Loops++ }, nil)
		return err
	})
	require.ErrorIs(t, err, storage.ErrConflict)
	assert.EqualValues(t, 1, cc.commits.Load())
}

func TestSyncIntervalIsShorterThanCursorsLive(t *testing.T) {
	t.Parallel()
	_, err := newSettings([]Option{WithSyncInterval(6*24*time.Hour + 1)})
	require.ErrorContains(t, err, "WithSyncInterval")
	s, err := newSettings([]Option{WithSyncInterval(6 * 24 * time.Hour)})
	require.NoError(t, err)
	now := time.Now()
	for i := range 2000 {
		last := now.Add(time.Duration(i) * time.Millisecond)
		require.Less(t, late(acme, last, s.syncEvery, now).Sub(last), 7*24*time.Hour)
	}
}

// What is set aside for a page follows from what was asked for, not from how small its first record is.
func TestPageCapacity(t *testing.T) {
	t.Parallel()
	body := `{"cursor":"c","devices":[{"serial_number":"A"},{"serial_number":"B","model":"` + strings.Repeat("x", 1<<20) + `"}]}`
	p, err := decodePage([]byte(body), 10)
	require.NoError(t, err)
	assert.Len(t, p.Devices, 2)
	assert.LessOrEqual(t, cap(p.Devices), 10)
	p, err = decodePage([]byte(body), 1)
	require.NoError(t, err)
	assert.Len(t, p.Devices, 2, "more than was asked for")
}

func TestCauseOfRefusedProfile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		op     string
		status int
		code   string
		want   error
	}{
		{opDefineProfile, 400, "", ErrProfileRefused},
		{opDefineProfile, 400, "MALFORMED_REQUEST_BODY", ErrProfileRefused},
		{opDefineProfile, 413, "", ErrProfileRefused},
		{opDefineProfile, 422, "X_Y", ErrProfileRefused},
		{opDefineProfile, 400, "USER_AGENT_INVALID", ErrBadRequest},
		{opDefineProfile, 403, "T_C_NOT_SIGNED", ErrTermsNotSigned},
		{opDefineProfile, 429, "", ErrRateLimited},
		{opAssignProfile, 400, "MALFORMED_REQUEST_BODY", ErrBadRequest},
		{opAssignProfile, 413, "", ErrBadRequest},
	} {
		err := newAPIError(tt.op, tt.status, []byte(tt.code), 0)
		assert.True(t, errors.Is(err, tt.want), fmt.Sprint(tt, err))
	}
}
