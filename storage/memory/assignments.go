package memory

import (
	"context"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// GetAssignment implements storage.AssignmentStore.
func (s *Store) GetAssignment(ctx context.Context, account, serial string) (storage.Assignment, error) {
	a, err := get(ctx, s, func() map[string]*storage.Assignment { return s.assignments[account] }, serial,
		of(same[storage.Assignment]))
	return a, fail("get assignment", serial, err)
}

// GetAssignments implements storage.AssignmentStore.
func (s *Store) GetAssignments(ctx context.Context, account string, serials []string) ([]storage.Assignment, error) {
	if err := storage.CheckBatch(len(serials)); err != nil {
		return nil, fail("get assignments of", account, err)
	}
	if err := s.lock(ctx); err != nil {
		return nil, fail("get assignments of", account, err)
	}
	defer s.mu.Unlock()
	return pick(s.assignments[account], serials, same[storage.Assignment]), nil
}

// DueAssignments implements storage.AssignmentStore.
func (s *Store) DueAssignments(ctx context.Context, account string, now time.Time, limit int) ([]storage.Assignment, error) {
	if err := s.lock(ctx); err != nil {
		return nil, fail("get due assignments of", account, err)
	}
	defer s.mu.Unlock()
	now = storage.Time(now)
	first := earliest{limit: bound(limit)}
	for serial, a := range s.assignments[account] {
		if !a.NextAttemptAt.IsZero() && !a.NextAttemptAt.After(now) {
			first.add(deadline{a.NextAttemptAt, serial})
		}
	}
	var due []storage.Assignment
	for _, serial := range first.keys() {
		due = append(due, *s.assignments[account][serial])
	}
	return due, nil
}

// ListAssignments implements storage.AssignmentStore.
func (s *Store) ListAssignments(ctx context.Context, f storage.AssignmentFilter, p storage.Page) (
	[]storage.Assignment, string, error,
) {
	if f.Account == "" {
		return nil, "", fail("list assignments of", "", storage.ErrInvalid)
	}
	if err := s.lock(ctx); err != nil {
		return nil, "", fail("list assignments of", f.Account, err)
	}
	defer s.mu.Unlock()
	l := listing[storage.Assignment]{
		name:   "assignments",
		filter: []string{f.Account, string(f.State)},
		match:  func(a *storage.Assignment) bool { return f.State == "" || a.State == f.State },
		clone:  same[storage.Assignment],
	}
	stored := s.assignments[f.Account]
	find := func(key string) *storage.Assignment { return stored[key] }
	assignments, next, err := page(l, find, keys(s.assignKeys, f.Account, stored), p)
	return assignments, next, fail("list assignments of", f.Account, err)
}

// AssignmentStats implements storage.AssignmentStore.
func (s *Store) AssignmentStats(ctx context.Context, account string) (storage.AssignmentStats, error) {
	if err := s.lock(ctx); err != nil {
		return storage.AssignmentStats{}, fail("count assignments of", account, err)
	}
	defer s.mu.Unlock()
	stats := storage.AssignmentStats{States: map[storage.AssignmentState]int{}}
	for _, a := range s.assignments[account] {
		stats.States[a.State]++
		if a.Problem != "" {
			stats.Blocked++
		}
		if a.NextAttemptAt.IsZero() {
			continue
		}
		if stats.FirstDueAt.IsZero() || a.NextAttemptAt.Before(stats.FirstDueAt) {
			stats.FirstDueAt = a.NextAttemptAt
		}
		if a.Throttles > 0 {
			stats.Throttled++
			if a.NextAttemptAt.After(stats.ThrottledUntil) {
				stats.ThrottledUntil = a.NextAttemptAt
			}
		}
	}
	return stats, nil
}
