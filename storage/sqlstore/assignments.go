package sqlstore

import (
	"context"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// GetAssignment implements storage.AssignmentStore.
func (s *Store) GetAssignment(ctx context.Context, account, serial string) (storage.Assignment, error) {
	return get(ctx, s, "get assignment", assignments(), account, serial)
}

// GetAssignments implements storage.AssignmentStore.
func (s *Store) GetAssignments(ctx context.Context, account string, serials []string) ([]storage.Assignment, error) {
	out, err := bySerials(ctx, s, assignments(), account, serials)
	return out, s.fail(ctx, "get assignments of", account, err)
}

// DueAssignments implements storage.AssignmentStore.
func (s *Store) DueAssignments(ctx context.Context, account string, now time.Time, limit int) ([]storage.Assignment, error) {
	if !storage.ValidKey(account) {
		return nil, s.fail(ctx, "get due assignments of", account, ctx.Err())
	}
	out, err := many(ctx, s, s.db, assignments(),
		" WHERE account = ? AND next_attempt_at <= ? ORDER BY next_attempt_at, serial LIMIT ?", account, micros(now), bound(limit))
	return out, s.fail(ctx, "get due assignments of", account, err)
}

// ListAssignments implements storage.AssignmentStore.
func (s *Store) ListAssignments(ctx context.Context, f storage.AssignmentFilter, p storage.Page) (
	[]storage.Assignment, string, error,
) {
	if f.Account == "" {
		return nil, "", s.fail(ctx, "list assignments of", "", storage.ErrInvalid)
	}
	l := listing{order: "serial", page: p}
	l.equal("account", f.Account)
	l.equal("state", string(f.State))
	out, next, err := list(ctx, s, assignments(), l, text, func(a *storage.Assignment) string { return a.Serial })
	return out, next, s.fail(ctx, "list assignments of", f.Account, err)
}

// AssignmentStats implements storage.AssignmentStore.
func (s *Store) AssignmentStats(ctx context.Context, account string) (storage.AssignmentStats, error) {
	stats := storage.AssignmentStats{States: map[storage.AssignmentState]int{}}
	if !storage.ValidKey(account) {
		return stats, s.fail(ctx, "count assignments of", account, ctx.Err())
	}
	rows, err := many(ctx, s, s.db, assignmentCounts(), " WHERE account = ? GROUP BY state", account)
	if err != nil {
		return storage.AssignmentStats{}, s.fail(ctx, "count assignments of", account, err)
	}
	for _, r := range rows {
		stats.States[r.state] = r.all
		stats.Blocked += r.blocked
		stats.Throttled += r.throttled
		if r.throttledUntil.After(stats.ThrottledUntil) {
			stats.ThrottledUntil = r.throttledUntil
		}
		if stats.FirstDueAt.IsZero() || !r.firstDueAt.IsZero() && r.firstDueAt.Before(stats.FirstDueAt) {
			stats.FirstDueAt = r.firstDueAt
		}
	}
	return stats, nil
}

// assignmentCount is what AssignmentStats needs of the assignments in one state.
type assignmentCount struct {
	state                      storage.AssignmentState
	all, blocked, throttled    int
	throttledUntil, firstDueAt time.Time
}

func assignmentCounts() table[assignmentCount] {
	const throttledUntil = "CASE WHEN throttles > 0 THEN next_attempt_at END"
	return table[assignmentCount]{
		name: "enrollkit_assignments",
		columns: []string{
			"state", "COUNT(*)", "SUM(CASE WHEN problem <> '' THEN 1 ELSE 0 END)", "COUNT(" + throttledUntil + ")",
			"MAX(" + throttledUntil + ")", "MIN(next_attempt_at)",
		},
		fields: func(c *assignmentCount) []any {
			return []any{
				(*string)(&c.state), &c.all, &c.blocked, &c.throttled, at(&c.throttledUntil), at(&c.firstDueAt),
			}
		},
	}
}
