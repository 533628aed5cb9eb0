package abm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// rowChange changes one assignment and says what happened; false leaves the assignment alone.
type rowChange func(a *storage.Assignment) ([]activity.Event, bool)

// writeRows is the engine's, under the lease.
func (s *step) writeRows(ctx context.Context, sights []sighting, rows []storage.Assignment, change rowChange) ([]storage.Assignment, error) {
	return s.e.writeRows(ctx, s.commit, sights, rows, change)
}

// writeRows applies change to assignments and stores them, with sights, in one transaction. Those that others have
// changed meanwhile are read and changed anew, so change must decide by what it is given. It returns what was
// written.
func (e *Engine) writeRows(
	ctx context.Context, commit func(context.Context, storage.InventoryChange) error,
	sights []sighting, rows []storage.Assignment, change rowChange,
) ([]storage.Assignment, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	account := rows[0].Account
	for range maxConflicts {
		c := storage.InventoryChange{Account: account}
		var evs []activity.Event
		for i := range sights {
			c.Devices = append(c.Devices, sights[i].row)
			evs = append(evs, sights[i].events...)
		}
		for _, a := range rows {
			more, ok := change(&a)
			if !ok {
				continue
			}
			if a.Problem == "" {
				a.ProblemSince = zeroTime
			}
			a.UpdatedAt = e.s.now()
			c.Assignments = append(c.Assignments, a)
			evs = append(evs, more...)
		}
		if len(c.Devices) == 0 && len(c.Assignments) == 0 {
			return nil, nil
		}
		for _, ev := range evs {
			c.Activities = append(c.Activities, activity.New(e.s.now(), activity.System, ev))
		}
		err := commit(ctx, c)
		if err == nil {
			for i := range c.Assignments {
				c.Assignments[i].Version++
			}
			return c.Assignments, nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return nil, fmt.Errorf("abm: store assignments: %w", err)
		}
		if rows, err = e.store.GetAssignments(ctx, account, serialsOf(rows)); err != nil {
			return nil, fmt.Errorf("abm: assignments: %w", err)
		}
	}
	return nil, fmt.Errorf("abm: store assignments: %w", storage.ErrConflict)
}

// bySerial returns rows by serial.
func bySerial(rows []storage.Assignment) map[string]storage.Assignment {
	m := make(map[string]storage.Assignment, len(rows))
	for _, r := range rows {
		m[r.Serial] = r
	}
	return m
}

func serialsOf(rows []storage.Assignment) []string {
	out := make([]string, len(rows))
	for i := range rows {
		out[i] = rows[i].Serial
	}
	return out
}

// retryRow makes an assignment due. One whose call is under way, and one that needs nothing, is left alone.
func retryRow(now time.Time) rowChange {
	return func(a *storage.Assignment) ([]activity.Event, bool) {
		switch a.State {
		case storage.AssignmentParked, storage.AssignmentPending, storage.AssignmentAssigned:
			if a.State == storage.AssignmentParked {
				a.State = storage.AssignmentPending
			}
			a.Failures, a.NextAttemptAt = 0, now
			return []activity.Event{activity.AssignmentRetried{On: activity.On{Account: a.Account, Serial: a.Serial}}}, true
		}
		return nil, false
	}
}
