package storagetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// addEffects lets a run, new or not, decide on effects.
func addEffects(ctx context.Context, s storage.Store, run string, effects ...storage.Effect) error {
	r, err := s.GetRun(ctx, run)
	if errors.Is(err, storage.ErrNotFound) {
		r = storage.Run{ID: run, EnrollmentID: "e"}
		if storage.ValidKey("enrollment of " + run) {
			r.EnrollmentID = "enrollment of " + run
		}
	} else if err != nil {
		return err
	}
	return s.CommitRun(ctx, storage.RunChange{Run: r, Effects: effects})
}

// RunEffects checks storage.EffectStore.
func RunEffects(t *testing.T, open Open) {
	values(t, open, record[storage.Effect]{
		fresh: func(t testing.TB) storage.Effect { return newEffect(t, 1, "run", "id") },
		put: func(ctx context.Context, s storage.Store, e storage.Effect) error {
			return addEffects(ctx, s, e.RunID, e)
		},
		get: func(ctx context.Context, s storage.Store, e storage.Effect) (storage.Effect, error) {
			all, err := s.ListEffects(ctx, e.RunID)
			for _, got := range all {
				if got.ID == e.ID {
					return got, nil
				}
			}
			if err == nil {
				err = storage.ErrNotFound
			}
			return storage.Effect{}, err
		},
		stored: func(*storage.Effect) {},
		key:    []string{"ID"}, required: []string{"RunID"}, refs: []string{"Kind"}, needed: []string{"DueAt"},
	})
	addingEffects(t, open)
	claimingEffects(t, open)
	finishingEffects(t, open)
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		ok(t, addEffects(t.Context(), s, "r", newEffect(t, 1, "r", "id")))
		return map[string]func(context.Context) error{
			"ClaimEffects": func(ctx context.Context) error { _, err := s.ClaimEffects(ctx, late(), hold, 1); return err },
			"FinishEffect": func(ctx context.Context) error { return s.FinishEffect(ctx, "id") },
			"RetryEffect":  func(ctx context.Context) error { return s.RetryEffect(ctx, "id", epoch(), "x") },
			"ListEffects":  func(ctx context.Context) error { _, err := s.ListEffects(ctx, "r"); return err },
		}
	})
}

// due returns an effect that is due at a time.
func due(t testing.TB, run, id string, at time.Time) storage.Effect {
	e := newEffect(t, 1, run, id)
	e.DueAt = at
	return e
}

// claimEffects claims and checks which effects come.
func claimEffects(t testing.TB, s storage.Store, now time.Time, limit int, want ...string) []storage.Effect {
	t.Helper()
	effects, err := s.ClaimEffects(t.Context(), now, hold, limit)
	ok(t, err)
	var got []string
	for _, e := range effects {
		got = append(got, e.ID)
	}
	equal(t, got, want)
	return effects
}

func addingEffects(t *testing.T, open Open) {
	sentence(t, open, "An effect whose ID is there already changes nothing", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		first := newEffect(t, 1, "a", "id")
		ok(t, addEffects(ctx, s, "a", first, newEffect(t, 2, "a", "id")))
		ok(t, addEffects(ctx, s, "a", newEffect(t, 3, "a", "id"), newEffect(t, 4, "a", "other")))
		ok(t, addEffects(ctx, s, "b", newEffect(t, 5, "b", "id")))
		all, err := s.ListEffects(ctx, "a")
		ok(t, err)
		equal(t, all, []storage.Effect{first, newEffect(t, 4, "a", "other")})
		none, err := s.ListEffects(ctx, "b")
		ok(t, err)
		equal(t, len(none), 0)
	})
	sentence(t, open, "An effect without DueAt is ErrInvalid", func(t *testing.T, s storage.Store) {
		writesNothing(t, s, storage.ErrInvalid, func() error {
			return addEffects(t.Context(), s, "a", newEffect(t, 1, "a", "x"), due(t, "a", "id", time.Time{}))
		})
	})
	sentence(t, open, "ListEffects returns the unfinished effects of one run, by DueAt, then ID", func(t *testing.T, s storage.Store) {
		ctx, now := t.Context(), epoch()
		ok(t, addEffects(ctx, s, "a", due(t, "a", "c", now), due(t, "a", "b", now), due(t, "a", "B", now),
			due(t, "a", "later", now.Add(time.Microsecond)), due(t, "a", "sooner", now.Add(-time.Microsecond)),
			due(t, "a", "done", now)))
		ok(t, addEffects(ctx, s, "A", due(t, "A", "x", now)))
		ok(t, s.FinishEffect(ctx, "done"))
		claimEffects(t, s, now, 1, "sooner") // claimed ones are unfinished
		all, err := s.ListEffects(ctx, "a")
		ok(t, err)
		var got []string
		for _, e := range all {
			got = append(got, e.ID)
		}
		equal(t, got, []string{"sooner", "B", "b", "c", "later"})
	})
}

func claimingEffects(t *testing.T, open Open) {
	now := epoch()
	sentence(t, open, "ClaimEffects returns effects that are due, the longest due first, then by id", func(t *testing.T, s storage.Store) {
		ok(t, addEffects(t.Context(), s, "a", due(t, "a", "later", now.Add(time.Microsecond)), due(t, "a", "now", now),
			due(t, "a", "b", now.Add(-time.Hour)), due(t, "a", "a", now.Add(-time.Hour)), due(t, "a", "Z", now.Add(-time.Hour))))
		ok(t, addEffects(t.Context(), s, "b", due(t, "b", "first", time.Unix(0, 0))))
		claimEffects(t, s, now, 0)
		claimEffects(t, s, now, -1)
		claimEffects(t, s, now, 2, "first", "Z")
		claimEffects(t, s, now, storage.MaxBatch+1, "a", "b", "now")
	})
	sentence(t, open, "A claim hides an effect for hold and counts the attempt", func(t *testing.T, s storage.Store) {
		want := due(t, "a", "id", now)
		ok(t, addEffects(t.Context(), s, "a", want))
		for i := range 3 {
			claimed := now.Add(time.Duration(i) * hold)
			want.Attempts++
			equal(t, claimEffects(t, s, claimed, 1, "id"), []storage.Effect{want})
			claimEffects(t, s, claimed.Add(hold-time.Microsecond), 1)
			all, err := s.ListEffects(t.Context(), "a")
			ok(t, err)
			equal(t, all, []storage.Effect{want})
		}
	})
	sentence(t, open, "No two claims get the same effect", func(t *testing.T, s storage.Store) {
		var effects []storage.Effect
		for _, id := range serials(60) {
			effects = append(effects, due(t, "a", id, now))
		}
		ok(t, addEffects(t.Context(), s, "a", effects...))
		disjoint(t, len(effects), func() ([]string, error) {
			claimed, err := s.ClaimEffects(t.Context(), now, hold, 3)
			var ids []string
			for _, e := range claimed {
				ids = append(ids, e.ID)
			}
			return ids, err
		})
	})
	sentence(t, open, "Saving the run does not end the claim of its effects", func(t *testing.T, s storage.Store) {
		ok(t, addEffects(t.Context(), s, "a", due(t, "a", "id", now)))
		claimEffects(t, s, now, 1, "id")
		ok(t, addEffects(t.Context(), s, "a", due(t, "a", "id", now)))
		claimEffects(t, s, now, 1)
	})
}

func finishingEffects(t *testing.T, open Open) {
	now := epoch()
	sentence(t, open, "A finished effect does not come again and keeps its ID taken", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		ok(t, addEffects(ctx, s, "a", due(t, "a", "id", now)))
		claimEffects(t, s, now, 1, "id")
		ok(t, s.FinishEffect(ctx, "id"))
		ok(t, s.FinishEffect(ctx, "id"))
		ok(t, addEffects(ctx, s, "a", due(t, "a", "id", now), due(t, "a", "next", now)))
		claimEffects(t, s, late(), 10, "next")
		isErr(t, s.RetryEffect(ctx, "id", now, "x"), storage.ErrNotFound)
		all, err := s.ListEffects(ctx, "a")
		ok(t, err)
		equal(t, len(all), 1)
	})
	sentence(t, open, "Finishing a missing effect is no error and leaves its ID free", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		for _, id := range []string{"id", "", "\xff"} {
			ok(t, s.FinishEffect(ctx, id))
		}
		ok(t, addEffects(ctx, s, "a", due(t, "a", "id", now)))
		ok(t, s.FinishEffect(ctx, "ID"))
		claimEffects(t, s, now, 1, "id")
	})
	sentence(t, open, "RetryEffect makes the effect due again, ends its claim and keeps the error", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		e := due(t, "a", "id", now)
		ok(t, addEffects(ctx, s, "a", e))
		claimEffects(t, s, now, 1, "id")
		next := now.Add(time.Second + 999)
		ok(t, s.RetryEffect(ctx, "id", next.In(time.FixedZone("", 3600)), "bad \x00 😀"))
		e.Attempts, e.DueAt, e.LastError = e.Attempts+1, now.Add(time.Second), "bad \uFFFD 😀"
		all, err := s.ListEffects(ctx, "a")
		ok(t, err)
		equal(t, all, []storage.Effect{e})
		claimEffects(t, s, now, 1)
		e.Attempts++
		equal(t, claimEffects(t, s, next, 1, "id"), []storage.Effect{e})
	})
	sentence(t, open, "RetryEffect of a missing effect is ErrNotFound, at no time ErrInvalid", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		ok(t, addEffects(ctx, s, "a", due(t, "a", "id", now)))
		for _, id := range []string{"ID", "", "\xff"} {
			isErr(t, s.RetryEffect(ctx, id, now, ""), storage.ErrNotFound)
		}
		isErr(t, s.RetryEffect(ctx, "id", time.Time{}, ""), storage.ErrInvalid)
		claimEffects(t, s, now, 1, "id")
	})
}
