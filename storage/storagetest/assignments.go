package storagetest

import (
	"context"
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// commitAssignments stores assignments of one account.
func commitAssignments(t testing.TB, s storage.Store, account string, assignments ...storage.Assignment) {
	t.Helper()
	ok(t, s.CommitInventory(t.Context(), storage.InventoryChange{Account: account, Assignments: assignments}))
}

// RunAssignments checks storage.AssignmentStore.
func RunAssignments(t *testing.T, open Open) {
	values(t, open, record[storage.Assignment]{
		fresh:   func(t testing.TB) storage.Assignment { return newAssignment(t, 1, "acme", "s") },
		prepare: func(t testing.TB, s storage.Store, a storage.Assignment) { ensureAccount(t, s, a.Account) },
		put: func(ctx context.Context, s storage.Store, a storage.Assignment) error {
			return s.CommitInventory(ctx, storage.InventoryChange{Account: a.Account, Assignments: []storage.Assignment{a}})
		},
		get: func(ctx context.Context, s storage.Store, a storage.Assignment) (storage.Assignment, error) {
			return s.GetAssignment(ctx, a.Account, a.Serial)
		},
		stored: func(a *storage.Assignment) { a.Version = 1 },
		key:    []string{"Account", "Serial"}, refs: []string{"Profile", "Deferred", "State"},
	})
	pages(t, open, list[storage.Assignment]{
		put: func(t testing.TB, s storage.Store, key string) {
			ensureAccount(t, s, "acme")
			a := newAssignment(t, 1, "acme", key)
			found, err := s.GetAssignments(t.Context(), "acme", []string{key})
			ok(t, err)
			for _, old := range found {
				a.Version = old.Version
			}
			commitAssignments(t, s, "acme", a)
		},
		page: func(ctx context.Context, s storage.Store) pager[storage.Assignment] {
			return listAssignments(ctx, s, "acme")
		},
		other: func(ctx context.Context, s storage.Store) pager[storage.Assignment] {
			return func(p storage.Page) ([]storage.Assignment, string, error) {
				return s.ListAssignments(ctx, storage.AssignmentFilter{Account: "acme", State: "x"}, p)
			}
		},
		key: func(a storage.Assignment) string { return a.Serial },
	})
	readingAssignments(t, open)
	dueAssignments(t, open)
	countingAssignments(t, open)
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		withAccount(t, s, "acme")
		return map[string]func(context.Context) error{
			"GetAssignment":   func(ctx context.Context) error { _, err := s.GetAssignment(ctx, "acme", "s"); return err },
			"GetAssignments":  func(ctx context.Context) error { _, err := s.GetAssignments(ctx, "acme", []string{"s"}); return err },
			"DueAssignments":  func(ctx context.Context) error { _, err := s.DueAssignments(ctx, "acme", epoch(), 1); return err },
			"AssignmentStats": func(ctx context.Context) error { _, err := s.AssignmentStats(ctx, "acme"); return err },
			"ListAssignments": func(ctx context.Context) error { _, _, err := listPage(listAssignments(ctx, s, "acme")); return err },
		}
	})
}

func readingAssignments(t *testing.T, open Open) {
	sentence(t, open, "GetAssignments returns those that exist", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		a, b := newAssignment(t, 1, "acme", "a"), newAssignment(t, 2, "acme", "B")
		commitAssignments(t, s, "acme", a, b)
		a.Version, b.Version = 1, 1
		got, err := s.GetAssignments(ctx, "acme", []string{"z", "a", "B", "a", "", "\xff"})
		ok(t, err)
		equal(t, got, []storage.Assignment{b, a})
		got, err = s.GetAssignments(ctx, "acme", serials(storage.MaxBatch))
		ok(t, err)
		equal(t, len(got), 0)
		_, err = s.GetAssignments(ctx, "acme", serials(storage.MaxBatch+1))
		isErr(t, err, storage.ErrTooLarge)
	})
	sentence(t, open, "A missing assignment is ErrNotFound, even if the device exists", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		commitDevices(t, s, "acme", newDevice(t, 1, "acme", "s"))
		_, err := s.GetAssignment(t.Context(), "acme", "s")
		isErr(t, err, storage.ErrNotFound)
	})
	sentence(t, open, "ListAssignments narrows by state", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		var all []storage.Assignment
		for i, serial := range serials(6) {
			a := newAssignment(t, i+1, "acme", serial)
			a.State = []storage.AssignmentState{storage.AssignmentParked, "Parked"}[i%2]
			all = append(all, a)
		}
		commitAssignments(t, s, "acme", all...)
		for i := range all {
			all[i].Version = 1
		}
		f := storage.AssignmentFilter{Account: "acme", State: storage.AssignmentParked}
		equal(t, collect(t, 2, func(p storage.Page) ([]storage.Assignment, string, error) {
			return s.ListAssignments(ctx, f, p)
		}), []storage.Assignment{all[0], all[2], all[4]})
		_, _, err := s.ListAssignments(ctx, storage.AssignmentFilter{}, storage.Page{})
		isErr(t, err, storage.ErrInvalid)
	})
}

func dueAssignments(t *testing.T, open Open) {
	sentence(t, open, "DueAssignments returns the longest due first, then by serial", func(t *testing.T, s storage.Store) {
		ctx, now := t.Context(), epoch()
		withAccount(t, s, "acme")
		withAccount(t, s, "other")
		at := func(account, serial string, next time.Time) storage.Assignment {
			a := newAssignment(t, 1, account, serial)
			a.NextAttemptAt = next
			return a
		}
		commitAssignments(t, s, "acme",
			at("acme", "never", time.Time{}),
			at("acme", "later", now.Add(time.Microsecond)),
			at("acme", "now", now),
			at("acme", "b", now.Add(-time.Hour)),
			at("acme", "a", now.Add(-time.Hour)),
			at("acme", "Z", now.Add(-time.Hour)),
			at("acme", "first", time.Unix(0, 0)),
		)
		commitAssignments(t, s, "other", at("other", "x", now))
		want := []string{"first", "Z", "a", "b", "now"}
		for _, limit := range []int{-1, 0, 1, 3, 5, 100, storage.MaxBatch + 1} {
			due, err := s.DueAssignments(ctx, "acme", now, limit)
			ok(t, err)
			var got []string
			for _, a := range due {
				got = append(got, a.Serial)
			}
			equal(t, append([]string{}, got...), append([]string{}, want[:max(0, min(limit, len(want)))]...))
		}
		due, err := s.DueAssignments(ctx, "acme", now, 1)
		ok(t, err)
		full, err := s.GetAssignment(ctx, "acme", "first")
		ok(t, err)
		equal(t, due, []storage.Assignment{full})
	})
}

func countingAssignments(t *testing.T, open Open) {
	sentence(t, open, "AssignmentStats counts the assignments of an account", func(t *testing.T, s storage.Store) {
		ctx, now := t.Context(), epoch()
		withAccount(t, s, "acme")
		withAccount(t, s, "other")
		at := func(account, serial string, state storage.AssignmentState, next time.Time, throttles int, problem string) storage.Assignment {
			a := newAssignment(t, 1, account, serial)
			a.State, a.NextAttemptAt, a.Throttles, a.Problem = state, next, throttles, problem
			return a
		}
		commitAssignments(t, s, "acme",
			at("acme", "a", storage.AssignmentPending, now.Add(time.Hour), 1, ""),
			at("acme", "b", storage.AssignmentPending, now.Add(3*time.Hour), 2, ""),
			at("acme", "c", storage.AssignmentPending, now.Add(-time.Hour), 0, "why"),
			at("acme", "d", storage.AssignmentSatisfied, time.Time{}, 1, ""),
			at("acme", "e", "Pending", time.Time{}, 0, "why"),
			at("acme", "f", storage.AssignmentAssigned, now.Add(9*time.Hour), 0, ""),
		)
		commitAssignments(t, s, "other", at("other", "x", storage.AssignmentParked, time.Unix(0, 0), 1, "why"))
		got, err := s.AssignmentStats(ctx, "acme")
		ok(t, err)
		equal(t, got, storage.AssignmentStats{
			States: map[storage.AssignmentState]int{
				storage.AssignmentPending: 3, storage.AssignmentSatisfied: 1, "Pending": 1, storage.AssignmentAssigned: 1,
			},
			Blocked: 2, Throttled: 2, ThrottledUntil: now.Add(3 * time.Hour), FirstDueAt: now.Add(-time.Hour),
		})
		for _, account := range []string{"Acme", "", "\xff"} {
			got, err := s.AssignmentStats(ctx, account)
			ok(t, err)
			equal(t, got, storage.AssignmentStats{States: map[storage.AssignmentState]int{}})
		}
	})
}
