package setupexp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// maxTries is how often a step is repeated when another process was faster.
const maxTries = 50

// Observe takes an event: it opens the run the event calls for, or moves the one there is, and stores all that follows
// in one transaction: the run, its activities, the work it decides on, and where the enrollment stands. An event that is
// observed twice, or belongs to an older generation, changes nothing. The enrollment has to be stored already;
// storage.ErrNotFound if it is not. After any error nothing is stored, and the event may be observed again.
func (t *Tracker) Observe(ctx context.Context, ev Event) error {
	if ev.EnrollmentID == "" || ev.Body == nil {
		return errors.New("setupexp: observe: event without enrollment id or body")
	}
	_, err := t.observe(ctx, ev)
	return err
}

// observe is Observe, and returns the run as the event left it; the zero State if there is none.
func (t *Tracker) observe(ctx context.Context, ev Event) (State, error) {
	for range maxTries {
		s, err := t.try(ctx, ev)
		if errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrExists) {
			if ctx.Err() != nil {
				return State{}, ctx.Err()
			}
			continue // somebody else was faster: look again
		}
		return s, err
	}
	return State{}, fmt.Errorf("setupexp: observe %s of %s: %w", ev.Body.EventKind(), ev.EnrollmentID, storage.ErrConflict)
}

// try takes the event once.
func (t *Tracker) try(ctx context.Context, ev Event) (State, error) {
	if now := t.settings.now(); ev.At.IsZero() || ev.At.After(now) {
		ev.At = now
	}
	enr, err := t.store.GetEnrollment(ctx, ev.EnrollmentID)
	if err != nil {
		return State{}, fmt.Errorf("setupexp: observe: %w", err)
	}
	if ev.Generation == 0 {
		ev.Generation = enr.Generation
	}
	if ev.Generation < enr.Generation {
		return State{}, t.recordIgnored(ctx, ev, "of an older generation")
	}
	run, err := t.store.LiveRun(ctx, ev.EnrollmentID)
	if err == nil && run.Generation < ev.Generation {
		// The device has enrolled anew; whether or not its Authenticate was seen, what was begun before is over.
		old := Event{EnrollmentID: ev.EnrollmentID, Generation: run.Generation, At: ev.At, Body: Authenticated{}}
		if _, err := t.step(ctx, run, enr, old, false); err != nil {
			return State{}, err
		}
		run, err = t.store.LiveRun(ctx, ev.EnrollmentID)
	}
	if errors.Is(err, storage.ErrNotFound) {
		run, err = t.store.GetRun(ctx, RunID(ev.EnrollmentID, ev.Generation))
		if errors.Is(err, storage.ErrNotFound) {
			return t.openRun(ctx, enr, ev)
		}
	}
	if err != nil {
		return State{}, fmt.Errorf("setupexp: observe: %w", err)
	}
	if _, again := ev.Body.(Authenticated); again && run.Generation == ev.Generation {
		return t.load(run) // the message that began this generation
	}
	return t.step(ctx, run, enr, ev, true)
}

// openRun opens the first run of a generation if the event calls for one.
func (t *Tracker) openRun(ctx context.Context, enr storage.Enrollment, ev Event) (State, error) {
	a, ok := ev.Body.(AwaitingSeen)
	switch {
	case !ok:
		if _, isAdmin := ev.Body.(Admin); isAdmin {
			return State{}, fmt.Errorf("%w: %s", ErrRunOver, ev.EnrollmentID)
		}
		return State{}, nil
	case a.Awaiting != storage.AwaitingTrue && (!t.settings.unheld || a.Source != "TokenUpdate"):
		return State{}, nil
	}
	sub := Subject{
		RunID: RunID(enr.ID, ev.Generation), EnrollmentID: enr.ID, Generation: ev.Generation,
		Account: enr.Account, Serial: enr.Serial, UDID: enr.UDID, Product: enr.Product, OSVersion: enr.OSVersion,
	}
	if json.Valid(enr.User) {
		sub.User = enr.User
	}
	run := storage.Run{
		ID: sub.RunID, EnrollmentID: enr.ID, Generation: ev.Generation, Account: enr.Account, Serial: enr.Serial,
		CreatedAt: ev.At,
	}
	return t.commit(ctx, run, enr, newState(sub, t.settings.limits), ev)
}

// step moves a stored run. Whether the enrollment may be moved with it is false for one of an older generation.
func (t *Tracker) step(ctx context.Context, run storage.Run, enr storage.Enrollment, ev Event, current bool) (State, error) {
	s, err := t.load(run)
	if err != nil {
		return State{}, err
	}
	if a, ok := ev.Body.(Admin); ok {
		if err := s.admissible(a); err != nil {
			return State{}, err
		}
	}
	if ev.Body, err = t.read(ctx, s, ev.Body); err != nil {
		return State{}, err
	}
	if !current {
		enr = storage.Enrollment{}
	}
	return t.commit(ctx, run, enr, s, ev)
}

// commit reduces and stores all that follows.
func (t *Tracker) commit(ctx context.Context, run storage.Run, enr storage.Enrollment, s State, ev Event) (State, error) {
	next, effects := Reduce(s, ev)
	change := storage.RunChange{}
	for i, e := range effects {
		if e.Kind == EffectNotify {
			change.Activities = append(change.Activities, activity.New(next.Now, e.Actor, e.Activity))
			continue
		}
		doc, err := json.Marshal(e)
		if err != nil {
			return State{}, fmt.Errorf("setupexp: effect %s: %w", e.ID, err)
		}
		// A microsecond between them keeps their order, and all of them are due.
		due := ev.At.Add(-time.Duration(len(effects)-i) * time.Microsecond)
		change.Effects = append(change.Effects, storage.Effect{
			ID: e.ID, RunID: s.Subject.RunID, Kind: string(e.Kind), Document: doc, DueAt: due, CreatedAt: ev.At,
		})
	}
	doc, err := t.encode(ctx, &next)
	if err != nil {
		return State{}, err
	}
	_, isTick := ev.Body.(Tick)
	if next.State == "" || !isTick && len(effects) == 0 && string(doc) == string(run.Document) {
		return next, nil // nothing has changed
	}
	if len(change.Effects) == 0 && string(doc) == string(run.Document) && !isTick {
		return next, t.store.AppendActivities(ctx, change.Activities...)
	}
	run.State, run.Live, run.Document = string(next.State), next.State.Live(), doc
	run.NextWakeAt, run.UpdatedAt = next.nextWake(), next.Now
	change.Run = run
	if moved, ok := moveEnrollment(enr, &next); ok {
		change.Enrollment = &moved
	}
	if err := t.store.CommitRun(ctx, change); err != nil {
		return State{}, fmt.Errorf("setupexp: run %s: %w", run.ID, err)
	}
	t.watchers.changed(run.ID)
	if len(change.Effects) > 0 {
		t.wake()
	}
	return next, nil
}

// moveEnrollment returns the enrollment as the run has it, and whether that is news.
func moveEnrollment(enr storage.Enrollment, s *State) (storage.Enrollment, bool) {
	if enr.ID == "" || enr.State == storage.EnrollmentUnenrolled || s.State == StateSuperseded {
		return enr, false
	}
	want := enr.State
	switch {
	case !s.ReleasedAt.IsZero():
		want = storage.EnrollmentReleased
	case !s.AppliedAt.IsZero():
		want = storage.EnrollmentProfilesApplied
	case enr.State == storage.EnrollmentReleased || enr.State == storage.EnrollmentProfilesApplied:
		want = storage.EnrollmentEnrolled // it waits after all
	}
	applied, released := storage.Time(s.AppliedAt), storage.Time(s.ReleasedAt)
	if want == enr.State && applied.Equal(enr.ProfilesAppliedAt) && released.Equal(enr.ReleasedAt) {
		return enr, false
	}
	enr.State, enr.ProfilesAppliedAt, enr.ReleasedAt, enr.UpdatedAt = want, applied, released, s.Now
	return enr, true
}

// read turns the answer of a query into what it shows.
func (t *Tracker) read(ctx context.Context, s State, body EventBody) (EventBody, error) {
	r, ok := body.(CommandResult)
	if !ok {
		return body, nil
	}
	for key, q := range s.Queries {
		for n := q.Number; n > max(0, q.Number-4); n-- {
			if s.queryID(key, n) != r.CommandUUID {
				continue
			}
			switch {
			case r.Status == StatusNotNow:
				return DeviceContact{Kind: "NotNow"}, nil // the question stays
			case r.Status != StatusAcknowledged:
				return queryAnswered{Key: key, Failed: true}, nil
			case key == queryAwaiting:
				return t.readAwaiting(r), nil
			}
			return t.readProbe(ctx, &s, Kind(key), r)
		}
	}
	return body, nil
}

func (t *Tracker) readAwaiting(r CommandResult) queryAnswered {
	awaiting, err := t.releaser.ReadAwaiting(r.Raw)
	if err != nil || awaiting == storage.AwaitingUnknown {
		return queryAnswered{Key: queryAwaiting, Failed: true}
	}
	return queryAnswered{Key: queryAwaiting, Awaiting: awaiting}
}

func (t *Tracker) readProbe(ctx context.Context, s *State, k Kind, r CommandResult) (EventBody, error) {
	p, ok := t.executors[k].(Prober)
	if !ok {
		return queryAnswered{Key: string(k), Failed: true}, nil
	}
	if err := t.open(ctx, s); err != nil {
		return nil, err
	}
	presence, err := p.Read(s.itemsOf(k), r.Raw)
	return queryAnswered{Key: string(k), Presence: presence, Failed: err != nil}, nil
}

// itemsOf returns the items of a kind.
func (s *State) itemsOf(k Kind) []Item {
	var items []Item
	if s.Plan != nil {
		for _, it := range s.Plan.Items {
			if it.Kind == k {
				items = append(items, it)
			}
		}
	}
	return items
}

// recordIgnored keeps that an event of another generation came.
func (t *Tracker) recordIgnored(ctx context.Context, ev Event, reason string) error {
	return t.store.AppendActivities(ctx, activity.New(ev.At, activity.System, activity.SetupEventIgnored{
		On:    activity.On{EnrollmentID: ev.EnrollmentID},
		RunID: RunID(ev.EnrollmentID, ev.Generation), Event: ev.Body.EventKind(), Reason: reason,
	}))
}
