package setupexp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// Release releases the device, by actor and for a reason, both recorded. Without force the device has to be ready or
// held, otherwise ErrNotAllowed; with it any device that is kept back is released, and what is unfinished goes on in the
// background. ErrRunOver: the device has no live run.
func (t *Tracker) Release(ctx context.Context, enrollmentID, actor, reason string, force bool) error {
	return t.admin(ctx, enrollmentID, Admin{Action: ActionRelease, Actor: actor, Reason: reason, Force: force})
}

// Retry tries the items again that have failed, or all that have when none are named. A held device goes on.
func (t *Tracker) Retry(ctx context.Context, enrollmentID, actor string, items ...string) error {
	return t.admin(ctx, enrollmentID, Admin{Action: ActionRetry, Actor: actor, Items: items})
}

// Skip goes on without the items: those that have not ended are skipped, those that have failed hold nobody.
func (t *Tracker) Skip(ctx context.Context, enrollmentID, actor, reason string, items ...string) error {
	return t.admin(ctx, enrollmentID, Admin{Action: ActionSkip, Actor: actor, Reason: reason, Items: items})
}

// Extend moves the deadline of the run, or of its hold, by at most 24 hours.
func (t *Tracker) Extend(ctx context.Context, enrollmentID, actor string, d time.Duration) error {
	return t.admin(ctx, enrollmentID, Admin{Action: ActionExtend, Actor: actor, Extend: d})
}

// Hold keeps the device until someone acts or the plan's hold time is over.
func (t *Tracker) Hold(ctx context.Context, enrollmentID, actor, reason string) error {
	return t.admin(ctx, enrollmentID, Admin{Action: ActionHold, Actor: actor, Reason: reason})
}

func (t *Tracker) admin(ctx context.Context, enrollmentID string, a Admin) error {
	return t.Observe(ctx, Event{EnrollmentID: enrollmentID, Body: a})
}

// Status returns the device's run: of the enrollment's current generation, live or over. It changes nothing.
// storage.ErrNotFound: there is none.
func (t *Tracker) Status(ctx context.Context, enrollmentID string) (View, error) {
	enr, err := t.store.GetEnrollment(ctx, enrollmentID)
	if err != nil {
		return View{}, fmt.Errorf("setupexp: status: %w", err)
	}
	v, err := t.viewOf(ctx, enrollmentID, enr.Generation)
	if errors.Is(err, storage.ErrNotFound) {
		return View{}, fmt.Errorf("setupexp: status: %w", err)
	}
	return v, err
}

func (t *Tracker) viewOf(ctx context.Context, enrollmentID string, generation int64) (View, error) {
	run, err := t.store.GetRun(ctx, RunID(enrollmentID, generation))
	if err != nil {
		return View{}, err
	}
	s, err := t.load(run)
	if err != nil {
		return View{}, err
	}
	return s.view(), nil
}
