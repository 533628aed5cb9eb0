package setupexp

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// turn has a tracker work for a while, in steps. Effects may fail.
func (b *bench) turn(steps int, step time.Duration) {
	b.t.Helper()
	for range steps {
		_, err := b.Tick(b.t.Context())
		require.NoError(b.t, err)
		b.clock.add(time.Millisecond)
		_, _ = b.Drain(b.t.Context())
		b.clock.add(step)
	}
}

// hanging is a Commander that hangs for the devices named.
type hanging struct {
	*queue
	devices map[string]bool
}

func (h hanging) Enqueue(ctx context.Context, id, uuid string, command []byte) error {
	if h.devices[id] {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.queue.Enqueue(ctx, id, uuid, command)
}

func (h hanging) Push(ctx context.Context, id string) error {
	if h.devices[id] {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.queue.Push(ctx, id)
}

func TestADeviceWhoseCommandsHangKeepsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &Plan{Items: []Item{simple("wifi"), simple("vpn")}}, WithClock(time.Now))
		h := hanging{b.queue, map[string]bool{"hangs": true}}
		b.commander, b.executors[KindProfile] = h, profiles{h}
		ids := []string{"hangs", "fine", "late"}
		for _, id := range ids {
			require.NoError(t, b.store.PutEnrollment(t.Context(), storage.Enrollment{
				ID: id, UDID: id, Serial: id, Generation: 1, State: storage.EnrollmentEnrolled, Product: "Mac15,3",
			}))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		waits := func(id string) {
			ev := Event{EnrollmentID: id, Body: AwaitingSeen{Awaiting: storage.AwaitingTrue, Source: "TokenUpdate"}}
			require.NoError(t, b.Observe(ctx, ev))
		}
		waits("hangs")
		synctest.Wait()
		began := time.Now()
		waits("fine")
		synctest.Wait()
		assert.Zero(t, time.Since(began))
		assert.Len(t, b.queue.of("InstallProfile"), 2, "the other device gets its profiles at once")
		time.Sleep(claimHold)
		waits("late")
		synctest.Wait()
		assert.Len(t, b.queue.of("InstallProfile"), 4, "also when the work on the first is tried again")
		began = time.Now()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		assert.LessOrEqual(t, time.Since(began), stopTimeout)
	})
}

func TestWorkThatHangsIsGivenUpBeforeItsClaimEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &Plan{Items: []Item{simple("a"), simple("b"), simple("c"), simple("d")}})
		b.waits()
		b.work1(t)
		h := hanging{b.queue, map[string]bool{testDevice: true}}
		b.commander, b.executors[KindProfile] = h, profiles{h}
		began := time.Now()
		_, err := b.Drain(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Less(t, time.Since(began), claimHold)
		left, err := b.store.ListEffects(t.Context(), RunID(testDevice, 1))
		require.NoError(t, err)
		require.Len(t, left, 4)
		handed := 0
		for _, e := range left {
			if e.LastError == "handed back" {
				handed++
			}
		}
		assert.Equal(t, 2, handed, "what there was no time for is due at once")
	})
}

// work1 has the plan made and nothing else.
func (b *bench) work1(t *testing.T) {
	t.Helper()
	b.clock.add(time.Millisecond)
	n, err := b.Drain(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.clock.add(time.Millisecond)
}

func TestAnOutageOfTheQueueFailsNothing(t *testing.T) {
	t.Parallel()
	hold := profileItem("mdm-required")
	hold.Class, hold.OnFailure = Required, PolicyHold
	b := newBench(t, &Plan{Items: []Item{simple("wifi"), accountItem("acct"), hold}})
	b.queue.fail = errors.New("the MDM server's database fails over")
	b.waits()
	b.turn(90, time.Second)
	for _, it := range b.view().Items {
		assert.Equal(t, ItemDispatched, it.State, it.ID)
		assert.Equal(t, 1, it.Attempt, it.ID)
	}
	b.queue.fail = nil
	b.turn(16, time.Second)
	assert.Len(t, b.queue.of("InstallProfile"), 2)
	assert.Len(t, b.queue.of("AccountConfiguration"), 1)
}

func TestClaimsThatCameToNothingCountForNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.work1(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 { // trackers that are stopped in their work
		groups, _, err := b.claim(t.Context(), parallel)
		require.NoError(t, err)
		for _, effects := range groups {
			require.ErrorIs(t, b.drainRun(ctx, effects), context.Canceled)
		}
		b.clock.add(time.Millisecond)
	}
	b.queue.fail = errors.New("down")
	b.turn(1, 0)
	assert.Equal(t, ItemDispatched, b.view().Items[0].State)
}

// canceller is an executor that cannot cancel.
type canceller struct {
	calls *int
	err   error
}

func (canceller) Dispatch(context.Context, Task) error { return nil }

func (c canceller) Cancel(context.Context, Task) error {
	*c.calls++
	return c.err
}

func TestACancelThatFailsIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		most int
	}{
		{"permanent", fmt.Errorf("%w: no", ErrPermanent), 1},
		{"run over", errors.New("no"), 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			it := Item{
				ID: "c", Kind: "custom", Title: "C", Class: Blocking, Lane: "x", Timeout: time.Minute, MaxAttempts: 1,
				Proof: ProofAcknowledged,
			}
			b := newBench(t, &Plan{Items: []Item{it}}, WithExecutor("custom", canceller{&calls, tt.err}))
			b.waits()
			b.turn(5, 30*time.Second)
			require.Equal(t, StateReleasing, b.view().State)
			b.ack(b.queue.of("DeviceConfigured")[0])
			b.turn(60, 30*time.Second)
			require.Equal(t, StateClosed, b.view().State)
			left, err := b.store.ListEffects(t.Context(), RunID(testDevice, 1))
			require.NoError(t, err)
			assert.Empty(t, left)
			assert.Positive(t, calls)
			assert.LessOrEqual(t, calls, tt.most)
		})
	}
}

// blind is an executor that cannot look.
type blind struct{}

func (blind) Dispatch(context.Context, Task) error { return nil }

func (blind) Probe(context.Context, Subject, string, []Item) error {
	return fmt.Errorf("%w: no eyes", ErrPermanent)
}

func (blind) Read([]Item, []byte) (map[string]Presence, error) { return nil, nil }

func TestAProbeThatCanNeverWorkIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{profileItem("wifi")}}, WithExecutor(KindProfile, blind{}))
	b.waits()
	b.turn(2, time.Second)
	run, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	s, err := b.load(run)
	require.NoError(t, err)
	b.ack(s.Items[0].execution())
	b.turn(1, time.Second)
	left, err := b.store.ListEffects(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	assert.Empty(t, left)
	b.turn(60, 10*time.Second)
	assert.Equal(t, ReleaseCompleteWithFailures, b.view().ReleaseReason, "the item's own time goes on")
}

func TestLooksThatWereOvertakenAreNotTaken(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{Package("app", "App", ProofPresent, packageSpec())}})
	b.waits()
	b.work()
	b.ack(b.queue.of("InstallEnterpriseApplication")[0])
	b.queue.fail = errors.New("down")
	b.turn(240, time.Second)
	b.queue.fail = nil
	b.turn(16, time.Second)
	assert.LessOrEqual(t, len(b.queue.of("InstalledApplicationList")), 2, "of all those that could not be asked")
}

// door is a Releaser of devices that are not Apple's.
type door struct {
	opened, asked []string
	fail          error
}

func (d *door) Release(_ context.Context, s Subject, commandUUID string) error {
	d.opened = append(d.opened, s.EnrollmentID+" "+commandUUID)
	return d.fail
}

func (d *door) AskAwaiting(_ context.Context, _ Subject, commandUUID string) error {
	d.asked = append(d.asked, commandUUID)
	return d.fail
}

func (d *door) ReadAwaiting(raw []byte) (storage.Awaiting, error) {
	if string(raw) == "gone" {
		return storage.AwaitingFalse, nil
	}
	return storage.AwaitingUnknown, nil
}

func TestAReleaserReleasesOtherDevices(t *testing.T) {
	t.Parallel()
	d := &door{}
	b := newBench(t, &Plan{}, WithReleaser(d))
	b.waits()
	b.work()
	require.Len(t, d.opened, 1)
	b.clock.add(91 * time.Second)
	b.work()
	require.Len(t, d.asked, 1)
	assert.Empty(t, b.queue.ids)
	answer := func(raw string) {
		b.observe(CommandResult{CommandUUID: d.asked[0], Status: StatusAcknowledged, Raw: []byte(raw)})
	}
	answer("who knows")
	assert.Equal(t, StateReleasing, b.view().State)
	answer("gone")
	assert.Equal(t, storage.EnrollmentReleased, b.enrollment().State)
}

func TestAReleaseIsNeverGivenUpByItsError(t *testing.T) {
	t.Parallel()
	d := &door{fail: fmt.Errorf("%w: no door", ErrPermanent)}
	b := newBench(t, &Plan{}, WithReleaser(d))
	b.waits()
	b.turn(80, time.Second)
	assert.Greater(t, len(d.opened), 4)
	d.fail = nil
	b.turn(20, time.Second)
	assert.Equal(t, StateReleasing, b.view().State)
	b.ack(d.opened[len(d.opened)-1][len(testDevice)+1:])
	assert.Equal(t, storage.EnrollmentReleased, b.enrollment().State)
}
