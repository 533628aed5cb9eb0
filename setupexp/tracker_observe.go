package setupexp

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// maxTries is how often a step is repeated when another process was faster.
const maxTries = 50

// openTimeout is how long a message of a device waits for the sealer.
const openTimeout = 2 * time.Second

// Observe takes an event: it opens the run the event calls for, or moves the one there is, and stores all that follows
// in one transaction: the run, its activities, the work it decides on, and where the enrollment stands. An event that is
// observed twice, or belongs to an older generation, changes nothing. The enrollment has to be stored already;
// storage.ErrNotFound if it is not. After any error nothing is stored, and the event may be observed again.
func (t *Tracker) Observe(ctx context.Context, ev Event) error {
	if ev.EnrollmentID == "" || ev.Body == nil {
		return errors.New("setupexp: observe: event without enrollment id or body")
	}
	for range maxTries {
		err := t.try(ctx, ev)
		if !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrExists) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		} // somebody else was faster: look again
	}
	return fmt.Errorf("setupexp: observe %s of %s: %w", ev.Body.EventKind(), ev.EnrollmentID, storage.ErrConflict)
}

// try takes the event once.
func (t *Tracker) try(ctx context.Context, ev Event) error {
	if now := t.settings.now(); ev.At.IsZero() || ev.At.After(now) {
		ev.At = now
	}
	enr, err := t.store.GetEnrollment(ctx, ev.EnrollmentID)
	if err != nil {
		return fmt.Errorf("setupexp: observe: %w", err)
	}
	_, isTick := ev.Body.(Tick)
	switch {
	case ev.Generation == 0, isTick && ev.Generation < enr.Generation: // a run that nobody has superseded yet
		ev.Generation = enr.Generation
	case ev.Generation < enr.Generation:
		return t.recordIgnored(ctx, ev, "of an older generation")
	}
	run, err := t.store.LiveRun(ctx, ev.EnrollmentID)
	if err == nil && run.Generation < ev.Generation {
		// The device has enrolled anew; whether or not its Authenticate was seen, what was begun before is over.
		if err := t.supersede(ctx, run, ev.At); err != nil {
			return err
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
		return fmt.Errorf("setupexp: observe: %w", err)
	}
	_, again := ev.Body.(Authenticated) // the message that began this generation
	_, isAdmin := ev.Body.(Admin)
	switch {
	case again && run.Generation == ev.Generation:
		return nil
	case !run.Live && isAdmin:
		return fmt.Errorf("%w: %s", ErrRunOver, ev.EnrollmentID)
	case !run.Live && !mattersWhenOver(ev.Body):
		return nil
	}
	return t.step(ctx, run, enr, ev)
}

// mattersWhenOver reports whether an event can matter to a run that is over: by bringing it back, or as a late answer,
// which is recorded.
func mattersWhenOver(b EventBody) bool {
	switch b.(type) {
	case AwaitingSeen, CommandResult, AgentResult, AgentProgress:
		return true
	}
	return false
}

// openRun opens the first run of a generation if the event calls for one.
func (t *Tracker) openRun(ctx context.Context, enr storage.Enrollment, ev Event) error {
	a, ok := ev.Body.(AwaitingSeen)
	switch {
	case !ok:
		if _, isAdmin := ev.Body.(Admin); isAdmin {
			return fmt.Errorf("%w: %s", ErrRunOver, ev.EnrollmentID)
		}
		return nil
	case a.Awaiting != storage.AwaitingTrue && (!t.settings.unheld || a.Source != "TokenUpdate"):
		return nil
	}
	s, err := t.newRun(enr, ev.Generation)
	if err != nil {
		return err
	}
	run := storage.Run{
		ID: s.Subject.RunID, EnrollmentID: enr.ID, Generation: ev.Generation, Account: enr.Account, Serial: enr.Serial,
		CreatedAt: ev.At,
	}
	return t.commit(ctx, run, enr, s, ev)
}

// newRun returns the state of a new run.
func (t *Tracker) newRun(enr storage.Enrollment, generation int64) (State, error) {
	sub := Subject{
		RunID: RunID(enr.ID, generation), EnrollmentID: enr.ID, Generation: generation,
		Account: enr.Account, Serial: enr.Serial, UDID: enr.UDID, Product: enr.Product, OSVersion: enr.OSVersion,
	}
	if json.Valid(enr.User) {
		sub.User = enr.User
	}
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(t.settings.random, nonce); err != nil {
		return State{}, fmt.Errorf("setupexp: open run: %w", err)
	}
	s := newState(sub, t.settings.limits)
	s.Nonce = hex.EncodeToString(nonce)
	return s, nil
}

// step moves a stored run.
func (t *Tracker) step(ctx context.Context, run storage.Run, enr storage.Enrollment, ev Event) error {
	s, err := t.load(run)
	if err != nil {
		return t.unreadable(ctx, run, enr, ev, err)
	}
	if a, ok := ev.Body.(Admin); ok {
		if err := s.admissible(a); err != nil {
			return err
		}
	}
	ev.Body = t.read(ctx, s, ev.Body)
	return t.commit(ctx, run, enr, s, ev)
}

// commit reduces and stores all that follows, and what else is to be recorded.
func (t *Tracker) commit(
	ctx context.Context, run storage.Run, enr storage.Enrollment, s State, ev Event, record ...storage.Activity,
) error {
	next, effects := Reduce(s, withoutOutput(ev))
	next.keepOutput(ev.Body)
	next.forget()
	change := storage.RunChange{Activities: record}
	for i, e := range effects {
		if e.Kind == EffectNotify {
			change.Activities = append(change.Activities, activity.New(next.Now, e.Actor, e.Activity))
			continue
		}
		doc, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("setupexp: effect %s: %w", e.ID, err)
		}
		// A microsecond between them keeps their order, and all of them are due.
		due := ev.At.Add(-time.Duration(len(effects)-i) * time.Microsecond)
		change.Effects = append(change.Effects, storage.Effect{
			ID: e.ID, RunID: s.Subject.RunID, Kind: string(e.Kind), Document: doc, DueAt: due, CreatedAt: ev.At,
		})
	}
	doc, err := t.encode(ctx, &next)
	if err != nil {
		return err
	}
	_, isTick := ev.Body.(Tick)
	same := string(doc) == string(run.Document)
	switch {
	case next.State == "" || same && !isTick && len(effects) == 0:
		return nil // nothing has changed
	case same && !isTick && len(change.Effects) == 0:
		return t.store.AppendActivities(ctx, change.Activities...)
	}
	run.State, run.Live, run.Document = string(next.State), next.State.Live(), doc
	run.NextWakeAt, run.UpdatedAt = next.nextWake(), next.Now
	change.Run = run
	if moved, ok := moveEnrollment(enr, &next); ok {
		change.Enrollment = &moved
	}
	return t.save(ctx, change)
}

// save stores a change of a run.
func (t *Tracker) save(ctx context.Context, change storage.RunChange) error {
	if err := t.store.CommitRun(ctx, change); err != nil {
		return fmt.Errorf("setupexp: run %s: %w", change.Run.ID, err)
	}
	t.watchers.changed(change.Run.ID)
	if len(change.Effects) > 0 {
		t.wake()
	}
	return nil
}

// maxKeptOutput is how much of the end of a script's output a live run keeps, in bytes.
const maxKeptOutput = 1 << 10

// withoutOutput takes what a script printed out of its result: it may hold secrets, and what a step says about an item
// is recorded for good.
func withoutOutput(ev Event) Event {
	if r, ok := ev.Body.(AgentResult); ok {
		r.Output = ""
		ev.Body = r
	}
	return ev
}

// keepOutput keeps the end of what the current attempt of a script printed.
func (s *State) keepOutput(b EventBody) {
	r, ok := b.(AgentResult)
	if !ok {
		return
	}
	if i := s.byExecution(r.ExecutionID); i >= 0 && s.Items[i].execution() == r.ExecutionID {
		s.Items[i].Output = strings.ToValidUTF8(r.Output[max(0, len(r.Output)-maxKeptOutput):], "\uFFFD")
	}
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
func (t *Tracker) read(ctx context.Context, s State, body EventBody) EventBody {
	r, ok := body.(CommandResult)
	if !ok {
		return body
	}
	for key, q := range s.Queries {
		for n := q.Number; n > max(0, q.Number-4); n-- {
			if s.queryID(key, n) != r.CommandUUID {
				continue
			}
			switch {
			case r.Status == StatusNotNow:
				return DeviceContact{Kind: "NotNow"} // the question stays
			case r.Status != StatusAcknowledged:
				return queryAnswered{Key: key, Failed: true}
			case key == queryAwaiting:
				return t.readAwaiting(r)
			}
			return t.readProbe(ctx, &s, Kind(key), r)
		}
	}
	return body
}

func (t *Tracker) readAwaiting(r CommandResult) queryAnswered {
	awaiting, err := t.releaser.ReadAwaiting(r.Raw)
	if err != nil || awaiting == storage.AwaitingUnknown {
		return queryAnswered{Key: queryAwaiting, Failed: true}
	}
	return queryAnswered{Key: queryAwaiting, Awaiting: awaiting}
}

// readProbe reads what a look at the device showed. A look that cannot be read has failed, and comes again: no message
// of a device is turned down for it.
func (t *Tracker) readProbe(ctx context.Context, s *State, k Kind, r CommandResult) queryAnswered {
	p, ok := t.executors[k].(Prober)
	if !ok {
		return queryAnswered{Key: string(k), Failed: true}
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	err := t.open(ctx, s)
	var presence map[string]Presence
	if err == nil {
		presence, err = p.Read(s.itemsOf(k), r.Raw)
	}
	if err != nil {
		t.settings.log.Warn("setup: look at the device not read: it is taken again", zap.Error(err))
		return queryAnswered{Key: string(k), Failed: true}
	}
	return queryAnswered{Key: string(k), Presence: presence}
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
