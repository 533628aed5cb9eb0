package setupexp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// do does one effect, and reports whether it put a command into the device's queue. What the run has left behind is
// not done any more.
func (t *Tracker) do(ctx context.Context, s *State, stored storage.Effect) (commanded bool, err error) {
	var e Effect
	if err := json.Unmarshal(stored.Document, &e); err != nil {
		return false, err
	}
	live := s.State.Live()
	switch e.Kind {
	case EffectPlan:
		return false, t.plan(ctx, s, stored)
	case EffectDispatch:
		return t.dispatch(ctx, s, e)
	case EffectCancel:
		return false, t.cancel(ctx, s, e)
	case EffectProbe:
		return t.probe(ctx, s, e)
	case EffectRelease:
		if s.State != StateReleasing {
			return false, nil
		}
		return true, t.releaser.Release(ctx, s.Subject, e.Command)
	case EffectAskAwaiting:
		if !live || !s.asks(queryAwaiting, e.Command) {
			return false, nil
		}
		return true, t.givenUp(e, t.releaser.AskAwaiting(ctx, s.Subject, e.Command))
	case EffectPush:
		return live, nil
	}
	return false, fmt.Errorf("unknown kind of effect %q", e.Kind)
}

// givenUp returns err unless trying again would not help: then that is logged, and the effect is over.
func (t *Tracker) givenUp(e Effect, err error) error {
	if !permanent(err) {
		return err
	}
	t.settings.log.Error("setup effect given up", zap.String("effect", e.ID), zap.Error(err))
	return nil
}

func (s *State) task(i int, e Effect) Task {
	return Task{Subject: s.Subject, Item: s.Plan.Items[i], ExecutionID: e.Command, Attempt: e.Attempt}
}

// asks reports whether the run waits for the answer to this question and has asked no newer one.
func (s *State) asks(key, command string) bool {
	q := s.Queries[key]
	return q != nil && !q.Answered && s.queryID(key, q.Number) == command
}

// dispatch starts an attempt that is still wanted. What fails for now is tried again until the attempt's time is over;
// what can never work fails the attempt.
func (t *Tracker) dispatch(ctx context.Context, s *State, e Effect) (bool, error) {
	i := s.index(e.Item)
	if i < 0 || !s.State.Live() || s.Items[i].State != ItemDispatched || s.Items[i].execution() != e.Command {
		return false, nil
	}
	it := s.Plan.Items[i]
	err := fmt.Errorf("%w: no executor for kind %q", ErrPermanent, it.Kind)
	if x := t.executors[it.Kind]; x != nil {
		if err = t.open(ctx, s); err == nil {
			err = x.Dispatch(ctx, s.task(i, e))
		}
	}
	if err == nil {
		return it.Capability == "", nil
	}
	if !permanent(err) {
		return false, err
	}
	return false, t.Observe(ctx, Event{
		ID: "dispatch-failed:" + e.Command, EnrollmentID: s.Subject.EnrollmentID, Generation: s.Subject.Generation,
		Body: dispatchFailed{ExecutionID: e.Command, Error: err.Error(), Permanent: true},
	})
}

// cancel tells an executor that an attempt is over. It is told once when the run is over.
func (t *Tracker) cancel(ctx context.Context, s *State, e Effect) error {
	i := s.index(e.Item)
	if i < 0 {
		return nil
	}
	c, ok := t.executors[s.Plan.Items[i].Kind].(Canceller)
	if !ok {
		return nil
	}
	err := t.open(ctx, s)
	if err == nil {
		err = c.Cancel(ctx, s.task(i, e))
	}
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) && !s.State.Live() {
		err = errors.Join(ErrPermanent, err)
	}
	return t.givenUp(e, err)
}

// probe looks at the device, unless the look was answered or another one has taken its place. One that can never work
// stays unanswered; the time of the items that wait for it goes on.
func (t *Tracker) probe(ctx context.Context, s *State, e Effect) (bool, error) {
	p, ok := t.executors[e.ItemKind].(Prober)
	if !ok || !s.State.Live() || !s.asks(string(e.ItemKind), e.Command) {
		return false, nil
	}
	err := t.open(ctx, s)
	if err == nil {
		err = p.Probe(ctx, s.Subject, e.Command, s.itemsOf(e.ItemKind))
	}
	return err == nil, t.givenUp(e, err)
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout) // a plan that came late is a plan
	defer cancel()
	return t.Observe(ctx, Event{
		EnrollmentID: s.Subject.EnrollmentID, Generation: s.Subject.Generation, Body: PlanResolved{Plan: plan},
	})
}
