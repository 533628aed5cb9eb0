package setupexp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/enrollkit/enrollkit/storage"
)

const (
	// claimHold is how long claimed work is hidden from other trackers: how late a crash makes it. Work is given up well
	// before: claimWork is the time for all effects of a run that were claimed together, effectTimeout for one of them,
	// planTimeout for a plan.
	claimHold     = 20 * time.Second
	claimWork     = 15 * time.Second
	effectTimeout = 8 * time.Second
	planTimeout   = 14 * time.Second
	claimLimit    = 64
	parallel      = 32 // runs whose effects are done at once, in one process
	effectRetry   = time.Second
	slowestEffect = 15 * time.Second
)

// Run does the tracker's work until ctx ends: timers that are due and effects of the outbox, its own at once and those
// of others within the poll interval. It returns ctx's error once everything it began has stopped. Run it once in each
// process.
//
// A planner, commander or executor that hangs delays the effects of its device, by the time given to each effect, and
// neither timers nor other devices as long as 32 do not hang at once. They have to return when their context ends.
func (t *Tracker) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { return t.tickAlways(ctx) })
	group.Go(func() error { return t.drainAlways(ctx) })
	return group.Wait()
}

func (t *Tracker) tickAlways(ctx context.Context) error {
	poll := time.NewTicker(t.settings.poll)
	defer poll.Stop()
	for {
		ticked, err := t.Tick(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			t.settings.log.Error("setup timers: tried again at the next poll", zap.Error(err))
		}
		if ticked == claimLimit && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
}

// drainAlways claims as many effects as there are slots free, so that what is claimed is begun at once.
func (t *Tracker) drainAlways(ctx context.Context) error {
	poll := time.NewTicker(t.settings.poll)
	defer poll.Stop()
	slots := make(chan struct{}, parallel)
	var working sync.WaitGroup
	defer working.Wait()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case slots <- struct{}{}:
		}
		free := cap(slots) - len(slots) + 1 // more by now, but nobody else takes any
		<-slots
		groups, claimed, err := t.claim(ctx, free)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			t.settings.log.Error("setup effects: tried again at the next poll", zap.Error(err))
		}
		for _, effects := range groups {
			slots <- struct{}{}
			working.Go(func() {
				defer func() { <-slots }()
				if err := t.drainRun(ctx, effects); err != nil && ctx.Err() == nil {
					t.settings.log.Error("setup effects: tried again later", zap.Error(err))
				}
			})
		}
		if claimed == free {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.kick:
		case <-poll.C:
		}
	}
}

// Tick gives due runs the time, and returns how many. Hosts need it only where Run does not run, as in tests.
func (t *Tracker) Tick(ctx context.Context) (int, error) {
	now := t.settings.now()
	runs, err := t.store.ClaimRuns(ctx, now, claimHold, claimLimit)
	if err != nil {
		return 0, fmt.Errorf("setupexp: tick: %w", err)
	}
	var errs []error
	for _, run := range runs {
		ev := Event{EnrollmentID: run.EnrollmentID, Generation: run.Generation, At: now, Body: Tick{}}
		if err := t.Observe(ctx, ev); err != nil {
			errs = append(errs, err) // the claim ends by itself
		}
	}
	return len(runs), errors.Join(errs...)
}

// Drain does due effects, and returns how many it took on. An effect that fails is done again later, by any tracker.
// Hosts need it only where Run does not run, as in tests.
func (t *Tracker) Drain(ctx context.Context) (int, error) {
	groups, claimed, err := t.claim(ctx, parallel)
	if err != nil {
		return 0, err
	}
	var (
		working sync.WaitGroup
		failed  = make([]error, len(groups))
	)
	for i, effects := range groups {
		working.Go(func() { failed[i] = t.drainRun(ctx, effects) })
	}
	working.Wait()
	return claimed, errors.Join(failed...)
}

// claim claims effects, and returns them by run.
func (t *Tracker) claim(ctx context.Context, limit int) (groups [][]storage.Effect, claimed int, err error) {
	effects, err := t.store.ClaimEffects(ctx, t.settings.now(), claimHold, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("setupexp: drain: %w", err)
	}
	place := make(map[string]int)
	for _, e := range effects {
		i, ok := place[e.RunID]
		if !ok {
			i = len(groups)
			place[e.RunID] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], e)
	}
	return groups, len(effects), nil
}

// drainRun does effects of one run that were claimed together, then wakes the device if there is something for it.
// They are done in order, but one that fails keeps back none after it, and another claim may bring the run's next ones
// meanwhile. Nothing depends on their order: each is checked against the run as it is when it is done.
func (t *Tracker) drainRun(ctx context.Context, effects []storage.Effect) error {
	work, cancel := context.WithTimeout(ctx, claimWork)
	defer cancel()
	var errs []error
	device := "" // to be woken
	for i, e := range effects {
		if work.Err() != nil {
			t.handBack(ctx, effects[i:])
			errs = append(errs, ctx.Err())
			break
		}
		enrollmentID, commanded, err := t.doStored(work, e)
		if commanded {
			device = enrollmentID
		}
		if ctx.Err() != nil {
			t.handBack(ctx, effects[i:])
			errs = append(errs, ctx.Err())
			break
		}
		if err = t.settle(ctx, e, err); err != nil {
			errs = append(errs, fmt.Errorf("setupexp: effect %s: %w", e.ID, err))
		}
	}
	if device != "" {
		t.push(ctx, device)
	}
	return errors.Join(errs...)
}

// settle stores that an effect is done, or when it is done again.
func (t *Tracker) settle(ctx context.Context, e storage.Effect, err error) error {
	if err == nil {
		return t.store.FinishEffect(ctx, e.ID)
	}
	if again := t.store.RetryEffect(ctx, e.ID, t.settings.now().Add(retryAfter(e.Attempts)), err.Error()); again != nil {
		return errors.Join(err, again) // it comes again when its claim ends
	}
	return err
}

// push wakes a device, also when the tracker is being stopped: the command is in its queue already.
func (t *Tracker) push(ctx context.Context, enrollmentID string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := t.commander.Push(ctx, enrollmentID); err != nil {
		t.settings.log.Warn("push: repeated if the device stays silent", zap.Error(err))
	}
}

// doStored does an effect on its run as it is now: the effect before may have moved it.
func (t *Tracker) doStored(ctx context.Context, e storage.Effect) (enrollmentID string, commanded bool, err error) {
	timeout := effectTimeout
	if EffectKind(e.Kind) == EffectPlan {
		timeout = planTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	run, err := t.store.GetRun(ctx, e.RunID)
	if err != nil {
		return "", false, err
	}
	s, err := t.load(run)
	if err != nil {
		return "", false, err
	}
	commanded, err = t.do(ctx, &s, e)
	return run.EnrollmentID, commanded && err == nil, err
}

// stopTimeout is for what has to be said to the store or the device although the tracker is being stopped.
const stopTimeout = 5 * time.Second

// handBack makes effects due again that this tracker claimed and does not do any more, so that nobody has to wait for
// the end of the claim.
func (t *Tracker) handBack(ctx context.Context, effects []storage.Effect) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	for _, e := range effects {
		if err := t.store.RetryEffect(ctx, e.ID, t.settings.now(), "handed back"); err != nil {
			return // they come again when their claim ends
		}
	}
}

func retryAfter(attempts int) time.Duration {
	d := effectRetry
	for range min(attempts-1, 10) {
		d = min(2*d, slowestEffect)
	}
	return d
}
