package setupexp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// TestRunReleasesWithoutWaitingForThePoll has Run in the time of a bubble.
func TestRunReleasesWithoutWaitingForThePoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &Plan{Items: []Item{simple("wifi")}}, WithClock(time.Now), WithPoll(time.Hour))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		began := time.Now()
		b.waits()
		synctest.Wait()
		b.ack(b.queue.of("InstallProfile")[0])
		synctest.Wait()
		require.Len(t, b.queue.of("DeviceConfigured"), 1)
		assert.Zero(t, time.Since(began))
		assert.Positive(t, b.queue.pushes)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

func TestRunFiresTimers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &Plan{Items: []Item{simple("wifi")}, Deadline: time.Minute}, WithClock(time.Now))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		b.waits()
		time.Sleep(62 * time.Second)
		synctest.Wait()
		assert.Equal(t, ReleaseDeadline, b.view().ReleaseReason)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

func TestAnEffectThatFailsComesAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.waits()
	b.queue.fail = errors.New("MDM server is down")
	for range 20 {
		_, err := b.Tick(t.Context())
		require.NoError(t, err)
		_, _ = b.Drain(t.Context())
		b.clock.add(time.Second)
	}
	assert.Empty(t, b.queue.of("DeviceConfigured"))
	b.queue.fail = nil
	b.clock.add(time.Minute)
	b.work()
	assert.NotEmpty(t, b.queue.of("DeviceConfigured"))
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for name, opt := range map[string]Option{
		"nil clock": WithClock(nil), "nil logger": WithLogger(nil), "nil random": WithRandom(nil),
		"nil keys": WithAgentKeys(nil), "poll": WithPoll(0), "executor": WithExecutor("x", nil), "releaser": WithReleaser(nil),
		"limits": WithLimits(Limits{Plan: -1}),
	} {
		_, err := New(b.store, b.planner, b.commander, b.sealer, opt)
		require.Error(t, err, name)
	}
	_, err := New(nil, b.planner, b.commander, b.sealer)
	require.Error(t, err)
	_, err = New(b.store, b.planner, b.commander, nil)
	require.Error(t, err)
	require.Error(t, b.Observe(t.Context(), Event{}))
	err = b.Observe(t.Context(), Event{EnrollmentID: "unknown", Body: Tick{}})
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.ErrorIs(t, b.Release(t.Context(), testDevice, "user:ada", "", true), ErrRunOver)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.Observe(ctx, Event{EnrollmentID: testDevice, Body: Tick{}}), context.Canceled)
}

func TestAdminActionsSayWhatIsNotPossible(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.work()
	ctx := t.Context()
	require.ErrorIs(t, b.Release(ctx, testDevice, "user:ada", "", false), ErrNotAllowed)
	require.ErrorIs(t, b.Skip(ctx, testDevice, "user:ada", "", "no"), ErrUnknownItem)
	require.ErrorIs(t, b.Extend(ctx, testDevice, "user:ada", -1), ErrNotAllowed)
	require.NoError(t, b.Extend(ctx, testDevice, "user:ada", time.Hour))
	require.NoError(t, b.Hold(ctx, testDevice, "user:ada", "wait for me"))
	assert.Equal(t, StateHeld, b.view().State)
	require.NoError(t, b.Retry(ctx, testDevice, "user:ada"))
	assert.Equal(t, StateRunning, b.view().State)
	require.NoError(t, b.Release(ctx, testDevice, "user:ada", "in a hurry", true))
	assert.Equal(t, ReleaseForcedAdmin, b.view().ReleaseReason)
	acts, _, err := b.store.ListActivities(ctx, storage.ActivityFilter{Kind: "setup_admin_action"}, storage.Page{})
	require.NoError(t, err)
	require.Len(t, acts, 4)
	assert.Equal(t, "user:ada", acts[3].Actor)
}
