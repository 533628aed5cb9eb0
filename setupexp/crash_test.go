package setupexp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/enrollkit/enrollkit/storage"
)

var errCrash = errors.New("the process died")

// crashing is a store that fails its n-th writing call, before or after it took effect, and everything after it.
type crashing struct {
	Store
	mu    sync.Mutex
	left  int
	after bool
	dead  bool
}

func (c *crashing) write(do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errCrash
	}
	c.left--
	if c.left > 0 {
		return do()
	}
	c.dead = true
	if c.after {
		if err := do(); err != nil {
			return err
		}
	}
	return errCrash
}

func (c *crashing) CommitRun(ctx context.Context, ch storage.RunChange) error {
	return c.write(func() error { return c.Store.CommitRun(ctx, ch) })
}

func (c *crashing) FinishEffect(ctx context.Context, id string) error {
	return c.write(func() error { return c.Store.FinishEffect(ctx, id) })
}

func (c *crashing) RetryEffect(ctx context.Context, id string, at time.Time, lastErr string) error {
	return c.write(func() error { return c.Store.RetryEffect(ctx, id, at, lastErr) })
}

func (c *crashing) ClaimEffects(ctx context.Context, now time.Time, hold time.Duration, limit int) (e []storage.Effect, err error) {
	err = c.write(func() (err error) { e, err = c.Store.ClaimEffects(ctx, now, hold, limit); return err })
	return e, err
}

func (c *crashing) ClaimRuns(ctx context.Context, now time.Time, hold time.Duration, limit int) (r []storage.Run, err error) {
	err = c.write(func() (err error) { r, err = c.Store.ClaimRuns(ctx, now, hold, limit); return err })
	return r, err
}

// device answers the commands in a queue, as long as the tracker takes its answers, and keeps those it could not give.
type device struct {
	queue    *queue
	answered map[string]bool
}

func (d *device) answer(ctx context.Context, tr *Tracker) error {
	d.queue.mu.Lock()
	ids := append([]string{}, d.queue.ids...)
	d.queue.mu.Unlock()
	for _, id := range ids {
		if d.answered[id] {
			continue
		}
		ev := Event{ID: "result:" + id, EnrollmentID: testDevice, Body: CommandResult{CommandUUID: id, Status: StatusAcknowledged}}
		if err := tr.Observe(ctx, ev); err != nil {
			return err
		}
		d.answered[id] = true
	}
	return nil
}

// drive lets the tracker and the device work until the run is closed or something fails.
func drive(ctx context.Context, b *bench, tr *Tracker, d *device) error {
	wait := Event{ID: "token-update", EnrollmentID: testDevice, Body: AwaitingSeen{Awaiting: storage.AwaitingTrue, Source: "TokenUpdate"}}
	if err := tr.Observe(ctx, wait); err != nil {
		return err
	}
	for range 200 {
		if _, err := tr.Tick(ctx); err != nil {
			return err
		}
		if _, err := tr.Drain(ctx); err != nil {
			return err
		}
		if err := d.answer(ctx, tr); err != nil {
			return err
		}
		run, err := b.store.GetRun(ctx, RunID(testDevice, 1))
		if err == nil && RunState(run.State) == StateClosed {
			return nil
		}
		b.clock.add(5 * time.Second)
	}
	return errors.New("the run does not end")
}

func crashPlan() *Plan {
	dep := simple("b")
	dep.After = []Dependency{{ID: "a"}}
	return &Plan{Items: []Item{accountItem("acc"), simple("a"), dep, Package("app", "App", ProofAcknowledged, packageSpec())}}
}

// TestACrashAtAnyWriteLosesNothing stops a tracker at each of its writes in turn, before and after it took effect, and has
// another one go on.
func TestACrashAtAnyWriteLosesNothing(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			b := newBench(t, crashPlan())
			d := &device{queue: b.queue, answered: make(map[string]bool)}
			c := &crashing{Store: b.store, left: n, after: after}
			err := drive(t.Context(), b, b.tracker(c), d)
			if err == nil {
				require.Greater(t, n, 20, "the run has many writes")
				t.Logf("after=%v: %d writes", after, n-1)
				break
			}
			require.ErrorIs(t, err, errCrash)
			b.clock.add(claimHold + time.Second)
			require.NoError(t, drive(t.Context(), b, b.Tracker, d), "after=%v n=%d", after, n)
			checkOutcome(t, b, fmt.Sprintf("after=%v n=%d", after, n))
		}
	}
}

// checkOutcome: all is done, once.
func checkOutcome(t *testing.T, b *bench, msg string) {
	t.Helper()
	v := b.view()
	require.Equal(t, ReleaseComplete, v.ReleaseReason, msg)
	for _, it := range v.Items {
		require.Equal(t, ItemSucceeded, it.State, msg)
		require.Equal(t, 1, it.Attempt, msg)
	}
	require.Len(t, b.queue.of("DeviceConfigured"), 1, msg)
	require.Len(t, b.queue.of("InstallProfile"), 2, msg)
	require.Len(t, b.queue.of("AccountConfiguration"), 1, msg)
	require.Equal(t, storage.EnrollmentReleased, b.enrollment().State, msg)
	seen := map[string]int{}
	for _, k := range b.kinds() {
		seen[k]++
	}
	for _, once := range []string{"setup_started", "setup_planned", "setup_profiles_applied", "setup_release_decided", "setup_released", "setup_closed"} {
		require.Equal(t, 1, seen[once], "%s: %s", msg, once)
	}
}

// TestReplicasShareTheWork has several trackers on one store, all hearing every event at once.
func TestReplicasShareTheWork(t *testing.T) {
	t.Parallel()
	b := newBench(t, crashPlan())
	trackers := []*Tracker{b.Tracker, b.tracker(b.store), b.tracker(b.store)}
	all := func(do func(ctx context.Context, tr *Tracker) error) {
		t.Helper()
		g, ctx := errgroup.WithContext(t.Context())
		for _, tr := range trackers {
			g.Go(func() error { return do(ctx, tr) })
		}
		require.NoError(t, g.Wait())
	}
	all(func(ctx context.Context, tr *Tracker) error {
		return tr.Observe(ctx, Event{ID: "tu", EnrollmentID: testDevice, Body: AwaitingSeen{Awaiting: storage.AwaitingTrue}})
	})
	for range 30 {
		all(func(ctx context.Context, tr *Tracker) error {
			if _, err := tr.Tick(ctx); err != nil {
				return err
			}
			_, err := tr.Drain(ctx)
			return err
		})
		all(func(ctx context.Context, tr *Tracker) error {
			d := &device{queue: b.queue, answered: make(map[string]bool)} // each replica gets each answer
			return d.answer(ctx, tr)
		})
		b.clock.add(5 * time.Second)
	}
	checkOutcome(t, b, "replicas")
	assert.Equal(t, StateClosed, b.view().State)
}
