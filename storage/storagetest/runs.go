package storagetest

import (
	"context"
	"errors"
	"testing"

	"github.com/enrollkit/enrollkit/storage"
)

// commitRun stores a run alone.
func commitRun(t testing.TB, s storage.Store, r storage.Run) {
	t.Helper()
	ok(t, s.CommitRun(t.Context(), storage.RunChange{Run: r}))
}

// RunRuns checks storage.RunStore.
func RunRuns(t *testing.T, open Open) {
	values(t, open, record[storage.Run]{
		fresh: func(t testing.TB) storage.Run { return newRun(t, 1, "id") },
		put: func(ctx context.Context, s storage.Store, r storage.Run) error {
			return s.CommitRun(ctx, storage.RunChange{Run: r, Activities: []storage.Activity{{Kind: "k"}}})
		},
		get: func(ctx context.Context, s storage.Store, r storage.Run) (storage.Run, error) {
			return s.GetRun(ctx, r.ID)
		},
		stored: func(r *storage.Run) { r.Version = 1 },
		key:    []string{"ID"}, required: []string{"EnrollmentID"}, refs: []string{"Account", "Serial", "State"},
	})
	pages(t, open, list[storage.Run]{
		put: func(t testing.TB, s storage.Store, key string) {
			r, err := s.GetRun(t.Context(), key)
			if errors.Is(err, storage.ErrNotFound) {
				r, err = newRun(t, 1, key), nil
			}
			ok(t, err)
			commitRun(t, s, r)
		},
		page: listRuns,
		other: func(ctx context.Context, s storage.Store) pager[storage.Run] {
			return func(p storage.Page) ([]storage.Run, string, error) {
				return s.ListRuns(ctx, storage.RunFilter{LiveOnly: true}, p)
			}
		},
		key: func(r storage.Run) string { return r.ID },
	})
	committingRuns(t, open)
	uniqueRuns(t, open)
	readingRuns(t, open)
	claimingRuns(t, open)
	raises(t, open, "CommitRun",
		func(t testing.TB, s storage.Store) { commitRun(t, s, newRun(t, 1, "id")) },
		func(ctx context.Context, s storage.Store, version int64) error {
			return s.CommitRun(ctx, storage.RunChange{Run: storage.Run{ID: "id", EnrollmentID: "e", Version: version}})
		},
		func(ctx context.Context, s storage.Store) (int64, error) {
			r, err := s.GetRun(ctx, "id")
			return r.Version, err
		})
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		commitRun(t, s, newRun(t, 1, "id"))
		return map[string]func(context.Context) error{
			"CommitRun": func(ctx context.Context) error { return s.CommitRun(ctx, runChange(t, 2, "b")) },
			"GetRun":    func(ctx context.Context) error { _, err := s.GetRun(ctx, "id"); return err },
			"LiveRun":   func(ctx context.Context) error { _, err := s.LiveRun(ctx, "enrollment of id"); return err },
			"ClaimRuns": func(ctx context.Context) error { _, err := s.ClaimRuns(ctx, late(), hold, 1); return err },
			"ListRuns":  func(ctx context.Context) error { _, _, err := listPage(listRuns(ctx, s)); return err },
		}
	})
}

// runChange returns a new run with everything a change can hold; the enrollment is new, too.
func runChange(t testing.TB, seed int, id string) storage.RunChange {
	t.Helper()
	e := newEnrollment(t, seed, "enrollment of "+id)
	return storage.RunChange{
		Run: newRun(t, seed, id), Enrollment: &e,
		Effects:    []storage.Effect{newEffect(t, seed, id, id+" a"), newEffect(t, seed+1, id, id+" b")},
		Activities: []storage.Activity{newActivity(t, seed), newActivity(t, seed+1)},
	}
}

func committingRuns(t *testing.T, open Open) {
	sentence(t, open, "CommitRun stores all of a change", func(t *testing.T, s storage.Store) {
		c := runChange(t, 1, "id")
		ok(t, s.CommitRun(t.Context(), c))
		got := snap(t, s)
		c.Run.Version, c.Enrollment.Version = 1, 1
		equal(t, got.Runs, []storage.Run{c.Run})
		equal(t, got.Enrollments, []storage.Enrollment{*c.Enrollment})
		equal(t, got.Effects, c.Effects)
		equal(t, len(got.Activities), 2)

		second := runChange(t, 9, "id")
		second.Run.Version, second.Enrollment.Version = 1, 1
		second.Effects = []storage.Effect{newEffect(t, 3, "id", "id c")}
		ok(t, s.CommitRun(t.Context(), second))
		got = snap(t, s)
		second.Run.Version, second.Enrollment.Version = 2, 2
		equal(t, got.Runs, []storage.Run{second.Run})
		equal(t, got.Enrollments, []storage.Enrollment{*second.Enrollment})
		equal(t, got.Effects, append(c.Effects, second.Effects...))
	})
	for name, c := range map[string]struct {
		spoil func(c *storage.RunChange)
		want  error
	}{
		"a run that was changed":            {func(c *storage.RunChange) { c.Run.Version = 2 }, storage.ErrConflict},
		"a run with a version below zero":   {func(c *storage.RunChange) { c.Run.Version = -1 }, storage.ErrConflict},
		"a run that is gone":                {func(c *storage.RunChange) { c.Run.ID, c.Effects = "gone", nil }, storage.ErrConflict},
		"a run that is there already":       {func(c *storage.RunChange) { c.Run.Version = 0 }, storage.ErrExists},
		"an enrollment that was changed":    {func(c *storage.RunChange) { c.Enrollment.Version = 2 }, storage.ErrConflict},
		"an enrollment that is new no more": {func(c *storage.RunChange) { c.Enrollment.Version = 0 }, storage.ErrConflict},
		"an enrollment that is gone":        {func(c *storage.RunChange) { c.Enrollment.ID = "gone" }, storage.ErrConflict},
		"an effect of another run":          {func(c *storage.RunChange) { c.Effects[1].RunID = "ID" }, storage.ErrInvalid},
		"an activity without a kind":        {func(c *storage.RunChange) { c.Activities[1].Kind = "" }, storage.ErrInvalid},
		"too many activities": {func(c *storage.RunChange) {
			for range storage.MaxBatch {
				c.Activities = append(c.Activities, storage.Activity{Kind: "k"})
			}
		}, storage.ErrTooLarge},
		"too many effects": {func(c *storage.RunChange) {
			for _, id := range serials(storage.MaxBatch) {
				c.Effects = append(c.Effects, storage.Effect{RunID: "id", ID: id, DueAt: epoch()})
			}
		}, storage.ErrTooLarge},
	} {
		sentence(t, open, "A change with one fault is refused and nothing is written: "+name,
			func(t *testing.T, s storage.Store) {
				ok(t, s.CommitRun(t.Context(), runChange(t, 1, "id")))
				change := runChange(t, 9, "id")
				change.Run.Version, change.Enrollment.Version = 1, 1
				change.Effects = append(change.Effects, newEffect(t, 3, "id", "id c"))
				c.spoil(&change)
				writesNothing(t, s, c.want, func() error { return s.CommitRun(t.Context(), change) })
			})
	}
}

func uniqueRuns(t *testing.T, open Open) {
	of := func(t testing.TB, id string, generation int64, live bool) storage.Run {
		r := newRun(t, 1, id)
		r.EnrollmentID, r.Generation, r.Live = "e", generation, live
		return r
	}
	refused := func(t *testing.T, s storage.Store, r storage.Run) {
		t.Helper()
		writesNothing(t, s, storage.ErrExists, func() error {
			c := storage.RunChange{Run: r, Activities: []storage.Activity{newActivity(t, 1)}}
			return s.CommitRun(t.Context(), c)
		})
	}
	sentence(t, open, "A second run of an enrollment and generation is ErrExists", func(t *testing.T, s storage.Store) {
		commitRun(t, s, of(t, "a", 1, false))
		refused(t, s, of(t, "b", 1, false))
		refused(t, s, of(t, "b", 1, true))
		commitRun(t, s, of(t, "b", 2, false))
		commitRun(t, s, of(t, "c", 0, false))
		moved := of(t, "b", 1, false)
		moved.Version = 1
		refused(t, s, moved)
		other := of(t, "d", 1, false)
		other.EnrollmentID = "E"
		commitRun(t, s, other)
	})
	sentence(t, open, "A second live run of an enrollment is ErrExists", func(t *testing.T, s storage.Store) {
		first := of(t, "a", 1, true)
		commitRun(t, s, first)
		refused(t, s, of(t, "b", 2, true))
		commitRun(t, s, of(t, "b", 2, false))
		awake := of(t, "b", 2, true)
		awake.Version = 1
		refused(t, s, awake)
		first.Version, first.Live = 1, false
		commitRun(t, s, first)
		commitRun(t, s, awake)
		other := of(t, "c", 1, true)
		other.EnrollmentID = "E"
		commitRun(t, s, other)
	})
	sentence(t, open, "Of many that start a live run exactly one wins", func(t *testing.T, s storage.Store) {
		ids := keysInOrder()
		oneWins(t, together(len(ids), func(i int) error {
			return s.CommitRun(t.Context(), storage.RunChange{
				Run: of(t, ids[i], int64(i), true), Activities: []storage.Activity{newActivity(t, 1)},
			})
		}), storage.ErrExists)
		got := snap(t, s)
		equal(t, []int{len(got.Runs), len(got.Activities)}, []int{1, 1})
	})
}

func readingRuns(t *testing.T, open Open) {
	sentence(t, open, "LiveRun returns the live run, ErrNotFound if there is none", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		over := newRun(t, 1, "over")
		over.EnrollmentID, over.Live = "e", false
		commitRun(t, s, over)
		_, err := s.LiveRun(ctx, "e")
		isErr(t, err, storage.ErrNotFound)
		live := newRun(t, 2, "live")
		live.EnrollmentID = "e"
		commitRun(t, s, live)
		got, err := s.LiveRun(ctx, "e")
		ok(t, err)
		live.Version = 1
		equal(t, got, live)
		for _, id := range []string{"E", "", "\xff"} {
			_, err = s.LiveRun(ctx, id)
			isErr(t, err, storage.ErrNotFound)
		}
	})
	sentence(t, open, "A missing run is ErrNotFound", func(t *testing.T, s storage.Store) {
		_, err := s.GetRun(t.Context(), "id")
		isErr(t, err, storage.ErrNotFound)
	})
	sentence(t, open, "ListRuns narrows by enrollment, serial, state and life", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		var all []storage.Run
		for i, id := range serials(16) {
			r := newRun(t, i+1, id)
			r.EnrollmentID = []string{"e", "E", "f", "F", "g", "G", "h", "H"}[i%8]
			r.Serial, r.State, r.Live = []string{"s", "S"}[i/2%2], []string{"x", "X"}[i/4%2], i < 8
			commitRun(t, s, r)
			r.Version = 1
			all = append(all, r)
		}
		for _, c := range []struct {
			f    storage.RunFilter
			want []int
		}{
			{storage.RunFilter{EnrollmentID: "e"}, []int{0, 8}},
			{storage.RunFilter{Serial: "S"}, []int{2, 3, 6, 7, 10, 11, 14, 15}},
			{storage.RunFilter{State: "x"}, []int{0, 1, 2, 3, 8, 9, 10, 11}},
			{storage.RunFilter{State: "x", Serial: "S", LiveOnly: true}, []int{2, 3}},
			{storage.RunFilter{EnrollmentID: "e", LiveOnly: true}, []int{0}},
			{storage.RunFilter{State: "\xff"}, nil},
		} {
			var want []storage.Run
			for _, i := range c.want {
				want = append(want, all[i])
			}
			equal(t, collect(t, 3, func(p storage.Page) ([]storage.Run, string, error) { return s.ListRuns(ctx, c.f, p) }), want)
		}
	})
}
