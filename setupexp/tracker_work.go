package setupexp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/internal/mdmcommand"
	"github.com/enrollkit/enrollkit/storage"
)

const (
	// claimHold is how long claimed work is hidden from other trackers: how late a crash makes it. It is well under the
	// time a plan may take, and work that takes longer is done twice, which is harmless.
	claimHold     = 20 * time.Second
	claimLimit    = 64
	parallel      = 8 // devices worked on at once
	dispatchTries = 4 // failed dispatches before the attempt is given up
	effectRetry   = time.Second
	slowestEffect = time.Minute
)

// Run does the tracker's work until ctx ends: timers that are due and effects of the outbox, its own at once and those
// of others within the poll interval. It returns ctx's error. Run it once in each process.
func (t *Tracker) Run(ctx context.Context) error {
	tick := time.NewTicker(t.settings.poll)
	defer tick.Stop()
	for {
		for ctx.Err() == nil {
			ticked, err := t.Tick(ctx)
			if err != nil && ctx.Err() == nil {
				t.settings.log.Error("setup timers: tried again at the next poll", zap.Error(err))
			}
			drained, err := t.Drain(ctx)
			if err != nil && ctx.Err() == nil {
				t.settings.log.Error("setup effects: tried again at the next poll", zap.Error(err))
			}
			if ticked+drained < claimLimit {
				break
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.kick:
		case <-tick.C:
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
		if _, err := t.observe(ctx, ev); err != nil {
			errs = append(errs, err) // the claim ends by itself
		}
	}
	return len(runs), errors.Join(errs...)
}

// Drain does due effects, and returns how many it took on. An effect that fails is done again later, by any tracker.
// Effects of one device are done in order.
func (t *Tracker) Drain(ctx context.Context) (int, error) {
	effects, err := t.store.ClaimEffects(ctx, t.settings.now(), claimHold, claimLimit)
	if err != nil {
		return 0, fmt.Errorf("setupexp: drain: %w", err)
	}
	var (
		order  []string
		byRun  = make(map[string][]storage.Effect)
		group  errgroup.Group
		mu     sync.Mutex
		failed []error
	)
	for _, e := range effects {
		if byRun[e.RunID] == nil {
			order = append(order, e.RunID)
		}
		byRun[e.RunID] = append(byRun[e.RunID], e)
	}
	group.SetLimit(parallel)
	for _, id := range order {
		group.Go(func() error {
			if err := t.drainRun(ctx, id, byRun[id]); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
			return nil
		})
	}
	_ = group.Wait() // never an error: they are in failed
	return len(effects), errors.Join(failed...)
}

// drainRun does the effects of one run, then wakes the device if there is something for it.
func (t *Tracker) drainRun(ctx context.Context, runID string, effects []storage.Effect) error {
	var errs []error
	device := "" // to be woken
	for i, e := range effects {
		enrollmentID, commanded, err := t.doStored(ctx, runID, e)
		if commanded {
			device = enrollmentID
		}
		if ctx.Err() != nil {
			t.handBack(ctx, effects[i:])
			return ctx.Err()
		}
		if err == nil {
			err = t.store.FinishEffect(ctx, e.ID)
		} else if again := t.store.RetryEffect(ctx, e.ID, t.settings.now().Add(retryAfter(e.Attempts)), err.Error()); again != nil {
			err = errors.Join(err, again) // it comes again when its claim ends
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("setupexp: effect %s: %w", e.ID, err))
		}
	}
	if device != "" {
		if err := t.commander.Push(ctx, device); err != nil {
			t.settings.log.Warn("push: repeated if the device stays silent", zap.Error(err))
		}
	}
	return errors.Join(errs...)
}

// doStored does an effect on its run as it is now: the effect before may have moved it.
func (t *Tracker) doStored(ctx context.Context, runID string, e storage.Effect) (enrollmentID string, commanded bool, err error) {
	run, err := t.store.GetRun(ctx, runID)
	if err != nil {
		return "", false, err
	}
	s, err := t.load(run)
	if err == nil {
		err = t.open(ctx, &s)
	}
	if err != nil {
		return "", false, err
	}
	commanded, err = t.do(ctx, &s, e)
	return run.EnrollmentID, commanded && err == nil, err
}

// handBack makes effects due again that this tracker claimed and does not do any more, so that nobody has to wait for
// the end of the claim.
func (t *Tracker) handBack(ctx context.Context, effects []storage.Effect) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, e := range effects {
		if err := t.store.RetryEffect(ctx, e.ID, t.settings.now(), "tracker stopped"); err != nil {
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

// do does one effect, and reports whether it put a command into the device's queue. What the run has left behind is
// not done any more.
func (t *Tracker) do(ctx context.Context, s *State, stored storage.Effect) (commanded bool, err error) {
	var e Effect
	if err := json.Unmarshal(stored.Document, &e); err != nil {
		return false, err
	}
	id := s.Subject.EnrollmentID
	switch e.Kind {
	case EffectPlan:
		return false, t.plan(ctx, s, stored)
	case EffectDispatch:
		return t.dispatch(ctx, s, e, stored.Attempts)
	case EffectCancel:
		i := s.index(e.Item)
		if i < 0 {
			return false, nil
		}
		if c, ok := t.executors[s.Plan.Items[i].Kind].(Canceller); ok {
			return false, c.Cancel(ctx, s.task(i, e))
		}
		return false, nil
	case EffectProbe:
		p, ok := t.executors[e.ItemKind].(Prober)
		if !ok || !s.State.Live() {
			return false, nil
		}
		return true, p.Probe(ctx, s.Subject, e.Command, s.itemsOf(e.ItemKind))
	case EffectRelease:
		if s.State != StateReleasing {
			return false, nil
		}
		cmd, err := mdmcommand.DeviceConfigured(e.Command)
		return true, enqueue(ctx, t.commander, id, e.Command, cmd, err)
	case EffectAskAwaiting:
		if !s.State.Live() {
			return false, nil
		}
		cmd, err := mdmcommand.DeviceInformation(e.Command, "AwaitingConfiguration")
		return true, enqueue(ctx, t.commander, id, e.Command, cmd, err)
	case EffectPush:
		return s.State.Live(), nil
	}
	return false, fmt.Errorf("unknown kind of effect %q", e.Kind)
}

func (s *State) task(i int, e Effect) Task {
	return Task{Subject: s.Subject, Item: s.Plan.Items[i], ExecutionID: e.Command, Attempt: e.Attempt}
}

// dispatch starts an attempt that is still wanted. When it cannot be started, the attempt fails.
func (t *Tracker) dispatch(ctx context.Context, s *State, e Effect, tries int) (bool, error) {
	i := s.index(e.Item)
	if i < 0 || !s.State.Live() || s.Items[i].State != ItemDispatched || s.Items[i].execution() != e.Command {
		return false, nil
	}
	it := s.Plan.Items[i]
	x := t.executors[it.Kind]
	err := fmt.Errorf("%w: no executor for kind %q", ErrPermanent, it.Kind)
	if x != nil {
		err = x.Dispatch(ctx, s.task(i, e))
	}
	if err == nil {
		return it.Capability == "", nil
	}
	if ctx.Err() != nil || !permanent(err) && tries < dispatchTries {
		return false, err
	}
	return false, t.Observe(ctx, Event{
		ID: "dispatch-failed:" + e.Command, EnrollmentID: s.Subject.EnrollmentID, Generation: s.Subject.Generation,
		Body: dispatchFailed{ExecutionID: e.Command, Error: err.Error(), Permanent: permanent(err)},
	})
}

// plan asks the planner while the run has no plan.
func (t *Tracker) plan(ctx context.Context, s *State, e storage.Effect) error {
	if s.Plan != nil || !s.State.Live() {
		return nil
	}
	p, err := t.planner.Plan(ctx, s.Subject)
	if err == nil && p == nil {
		p = &Plan{}
	}
	if err == nil {
		custom := make([]Kind, 0, len(t.executors))
		for k := range t.executors {
			custom = append(custom, k)
		}
		err = p.Validate(custom...)
	}
	if err != nil {
		if e.Attempts <= 1 { // once is enough to say so
			sub := s.Subject
			_ = t.store.AppendActivities(ctx, activity.New(t.settings.now(), activity.System, activity.SetupPlanFailed{
				On:    activity.On{Account: sub.Account, Serial: sub.Serial, EnrollmentID: sub.EnrollmentID},
				RunID: sub.RunID, Error: bounded(err.Error()),
			})) // lost: the error is in the outbox too
		}
		return err
	}
	plan := *p
	plan.Items = slices.Clone(p.Items)
	return t.Observe(ctx, Event{
		EnrollmentID: s.Subject.EnrollmentID, Generation: s.Subject.Generation, Body: PlanResolved{Plan: plan},
	})
}
