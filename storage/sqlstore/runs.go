package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// CommitRun implements storage.RunStore.
func (s *Store) CommitRun(ctx context.Context, c storage.RunChange) error {
	n, err := c.Normalize()
	if err != nil {
		return s.fail(ctx, "commit run", c.Run.ID, err)
	}
	return s.write(ctx, "commit run", c.Run.ID, n.Activities, func(t *tx) (bool, error) {
		if err := t.putRun(n.Run); err != nil {
			return false, err
		}
		if n.Enrollment != nil {
			if err := putVersioned(t, enrollments(), *n.Enrollment, n.Enrollment.Version); err != nil {
				return false, fmt.Errorf("enrollment: %w", err)
			}
		}
		tb := effects()
		_, err := t.each(s.d.insertNew(tb.name, tb.columns), len(n.Effects), func(i int) []any {
			return tb.fields(&n.Effects[i])
		})
		return true, err
	})
}

// putRun stores a run and ends its claim. A unique value that is taken is an error of the database in an update.
func (t *tx) putRun(r storage.Run) error {
	if r.Version == 0 {
		_, err := must(storage.ErrExists)(insert(t, runs().first(), r))
		return err
	}
	_, err := must(storage.ErrConflict)(update(t, runs(), r, "claimed_until = 0, "))
	return err
}

// GetRun implements storage.RunStore.
func (s *Store) GetRun(ctx context.Context, id string) (storage.Run, error) {
	return get(ctx, s, "get run", runs(), id)
}

// LiveRun implements storage.RunStore.
func (s *Store) LiveRun(ctx context.Context, enrollmentID string) (storage.Run, error) {
	var found []storage.Run
	err := ctx.Err()
	if storage.ValidKey(enrollmentID) {
		found, err = many(ctx, s, s.db, runs(), " WHERE enrollment_id = ? AND live = 1", enrollmentID)
	}
	if err == nil && len(found) == 0 {
		err = storage.ErrNotFound
	}
	if err != nil {
		return storage.Run{}, s.fail(ctx, "get live run of", enrollmentID, err)
	}
	return found[0], nil
}

// ClaimRuns implements storage.RunStore.
func (s *Store) ClaimRuns(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]storage.Run, error) {
	return claim(ctx, s, "claim runs", claiming[storage.Run]{
		table: runs(),
		due:   " WHERE live = 1 AND next_wake_at <= ? AND claimed_until <= ? ORDER BY next_wake_at, id LIMIT ?",
		take:  "UPDATE enrollkit_runs SET claimed_until = ? WHERE id = ?",
		id:    func(r *storage.Run) string { return r.ID },
	}, now, hold, limit)
}

// claiming says how records of one kind are claimed.
type claiming[T any] struct {
	table     table[T]
	due, take string
	id        func(*T) string
}

// claim returns records that are due and hides them. It first looks whether there are any without keeping others from
// writing, since most of the time there are none.
func claim[T any](ctx context.Context, s *Store, op string, c claiming[T], now time.Time, hold time.Duration, limit int) ([]T, error) {
	if hold <= 0 {
		return nil, s.fail(ctx, op, hold.String(), storage.ErrInvalid)
	}
	at, until := micros(now), micros(now.Add(hold))
	var out []T
	some, err := many(ctx, s, s.db, c.table, c.due, at, at, min(1, bound(limit)))
	if err != nil || len(some) == 0 {
		return nil, s.fail(ctx, op, hold.String(), err)
	}
	err = s.write(ctx, op, hold.String(), nil, func(t *tx) (bool, error) {
		var err error
		if out, err = many(ctx, s, t, c.table, c.due+s.d.skipLocked, at, at, bound(limit)); err != nil {
			return false, err
		}
		_, err = t.each(c.take, len(out), func(i int) []any { return []any{until, c.id(&out[i])} })
		return true, err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListRuns implements storage.RunStore.
func (s *Store) ListRuns(ctx context.Context, f storage.RunFilter, p storage.Page) ([]storage.Run, string, error) {
	l := listing{order: "id", page: p}
	l.equal("enrollment_id", f.EnrollmentID)
	l.equal("serial", f.Serial)
	l.equal("state", f.State)
	l.when(f.LiveOnly, "live = 1")
	out, next, err := list(ctx, s, runs(), l, text, func(r *storage.Run) string { return r.ID })
	return out, next, s.fail(ctx, "list runs of", f.EnrollmentID, err)
}
