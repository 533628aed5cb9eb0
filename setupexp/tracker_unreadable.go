package setupexp

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// reasonUnreadable is the reason of runs that ended without being read.
const reasonUnreadable Reason = "unreadable"

// errForeign means that other code wrote a run, as during a deployment.
var errForeign = errors.New("setupexp: read run")

// foreignPatience is how long a run of other code is left to the replicas that can read it.
const foreignPatience = 15 * time.Minute

// supersede ends the run of an older generation. One that cannot be read ends all the same.
func (t *Tracker) supersede(ctx context.Context, run storage.Run, at time.Time) error {
	s, err := t.load(run)
	if err != nil {
		t.settings.log.Error("setup run not read: superseded", zap.String("run", run.ID), zap.Error(err))
		return t.endUnread(ctx, run, at, StateSuperseded, reasonAuthenticated)
	}
	// The enrollment is of the new generation: it is not moved.
	return t.commit(ctx, run, storage.Enrollment{}, s, Event{At: at, Body: Authenticated{}})
}

// endUnread ends a run by its row alone. Its document stays as it is.
func (t *Tracker) endUnread(
	ctx context.Context, run storage.Run, at time.Time, state RunState, reason Reason, record ...storage.Activity,
) error {
	run.State, run.Live, run.NextWakeAt, run.UpdatedAt = string(state), false, time.Time{}, at
	closed := activity.New(at, activity.System, activity.SetupClosed{
		On: onRun(run), RunID: run.ID, State: run.State, Reason: string(reason),
	})
	return t.save(ctx, storage.RunChange{Run: run, Activities: append(record, closed)})
}

// unreadable takes an event of a run whose document cannot be read: newer code wrote it before it was rolled back, or it
// is damaged. The device must neither wait for it nor be turned down because of it. A run that may hold its device is
// replaced by one that only releases it; others end. What other code wrote is left to the replicas that run that code,
// as long as they touch it: what the device says to this one meanwhile is lost, and they will ask it again.
func (t *Tracker) unreadable(ctx context.Context, run storage.Run, enr storage.Enrollment, ev Event, cause error) error {
	a, ok := ev.Body.(AwaitingSeen)
	waits := ok && a.Awaiting == storage.AwaitingTrue
	if !run.Live && !waits {
		return nil
	}
	if errors.Is(cause, errForeign) && ev.At.Sub(run.UpdatedAt) < foreignPatience {
		t.settings.log.Warn("setup run not read: left to other replicas", zap.String("run", run.ID), zap.Error(cause))
		return nil
	}
	t.settings.log.Error("setup run not read: given up", zap.String("run", run.ID), zap.Error(cause))
	lost := activity.New(ev.At, activity.System, activity.SetupRunUnreadable{
		On: onRun(run), RunID: run.ID, State: run.State, Error: bounded(cause.Error()),
	})
	state := RunState(run.State)
	if !waits && (state == StateReleased || state == StateFinishing) {
		return t.endUnread(ctx, run, ev.At, StateClosed, reasonUnreadable, lost)
	}
	s, err := t.newRun(enr, run.Generation)
	if err != nil {
		return err
	}
	s.Subject.Held = true
	s.State, s.Plan = StateRunning, &Plan{}
	s.OpenedAt, s.PlannedAt, s.Deadline = run.CreatedAt, ev.At, ev.At
	if err := t.commit(ctx, run, enr, s, Event{At: ev.At, Body: Tick{}}, lost); err != nil {
		return err
	}
	return t.try(ctx, ev) // the event itself
}

func onRun(run storage.Run) activity.On {
	return activity.On{Account: run.Account, Serial: run.Serial, EnrollmentID: run.EnrollmentID}
}
