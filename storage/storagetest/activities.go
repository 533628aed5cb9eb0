package storagetest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/enrollkit/enrollkit/storage"
)

// RunActivities checks storage.ActivityStore.
func RunActivities(t *testing.T, open Open) {
	values(t, open, record[storage.Activity]{
		fresh: func(t testing.TB) storage.Activity { return newActivity(t, 1) },
		put: func(ctx context.Context, s storage.Store, a storage.Activity) error {
			return s.AppendActivities(ctx, a)
		},
		get: func(ctx context.Context, s storage.Store, _ storage.Activity) (storage.Activity, error) {
			acts, _, err := s.ListActivities(ctx, storage.ActivityFilter{}, storage.Page{})
			if err != nil {
				return storage.Activity{}, err
			}
			if len(acts) != 1 {
				return storage.Activity{}, fmt.Errorf("%d activities instead of one", len(acts))
			}
			if acts[0].Seq <= 0 {
				return storage.Activity{}, fmt.Errorf("sequence number %d was not given by the store", acts[0].Seq)
			}
			acts[0].Seq = 0
			return acts[0], nil
		},
		stored:   func(a *storage.Activity) { a.Seq = 0 },
		required: []string{"Kind"}, refs: []string{"Account", "Serial", "EnrollmentID"},
	})
	appendingActivities(t, open)
	listingActivities(t, open)
	pagingActivities(t, open)
	watchingActivities(t, open)
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		ok(t, s.AppendActivities(t.Context(), newActivity(t, 1)))
		return map[string]func(context.Context) error{
			"AppendActivities": func(ctx context.Context) error { return s.AppendActivities(ctx, newActivity(t, 1)) },
			"ListActivities":   func(ctx context.Context) error { _, _, err := listPage(listActivities(ctx, s)); return err },
		}
	})
}

// numbered returns an activity that is told apart by its actor.
func numbered(i int) storage.Activity { return storage.Activity{Kind: "k", Actor: fmt.Sprint(i)} }

func actors(acts []storage.Activity) []string {
	var out []string
	for _, a := range acts {
		out = append(out, a.Actor)
	}
	return out
}

func appendingActivities(t *testing.T, open Open) {
	sentence(t, open, "Activities of one call keep their order and Seq grows", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		var want []string
		for i := range 4 {
			var acts []storage.Activity
			for j := range 25 {
				a := numbered(i*25 + j)
				a.Seq = 1_000_000 - int64(j) // ignored
				acts = append(acts, a)
				want = append(want, a.Actor)
			}
			ok(t, s.AppendActivities(ctx, acts...))
		}
		all := collect(t, 7, listActivities(ctx, s))
		equal(t, actors(all), want)
		for i := 1; i < len(all); i++ {
			if all[i].Seq <= all[i-1].Seq {
				t.Fatalf("sequence number %d follows %d", all[i].Seq, all[i-1].Seq)
			}
		}
	})
	sentence(t, open, "A batch holds MaxBatch activities and no more", func(t *testing.T, s storage.Store) {
		acts := make([]storage.Activity, storage.MaxBatch+1)
		for i := range acts {
			acts[i] = numbered(i)
		}
		ok(t, s.AppendActivities(t.Context(), acts[:storage.MaxBatch]...))
		writesNothing(t, s, storage.ErrTooLarge, func() error { return s.AppendActivities(t.Context(), acts...) })
	})
	sentence(t, open, "One invalid activity keeps all from being stored", func(t *testing.T, s storage.Store) {
		writesNothing(t, s, storage.ErrInvalid, func() error {
			return s.AppendActivities(t.Context(), numbered(1), storage.Activity{})
		})
		writesNothing(t, s, nil, func() error { return s.AppendActivities(t.Context()) })
	})
}

func listingActivities(t *testing.T, open Open) {
	sentence(t, open, "ListActivities narrows by account, serial, enrollment and kind, in both directions", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		for i := range 32 {
			a := numbered(i)
			a.Account, a.Serial = []string{"acme", "Acme"}[i&1], []string{"s", "S"}[i>>1&1]
			a.EnrollmentID, a.Kind = []string{"e", "E"}[i>>2&1], []string{"k", "K"}[i>>3&1]
			ok(t, s.AppendActivities(ctx, a))
		}
		all := collect(t, 0, listActivities(ctx, s))
		for _, f := range []storage.ActivityFilter{
			{}, {Account: "acme"}, {Serial: "S"}, {EnrollmentID: "e"}, {Kind: "K"}, {Account: "acme", Serial: "s"},
			{AfterSeq: all[9].Seq}, {AfterSeq: all[31].Seq}, {AfterSeq: -1}, {Account: "acme", AfterSeq: all[9].Seq},
			{Account: "Acme", Serial: "S", EnrollmentID: "E", Kind: "K"}, {Account: "ACME"}, {Serial: "\xff"},
		} {
			var want []storage.Activity
			for _, a := range all {
				if a.Seq > f.AfterSeq && (f.Account == "" || a.Account == f.Account) && (f.Serial == "" || a.Serial == f.Serial) &&
					(f.EnrollmentID == "" || a.EnrollmentID == f.EnrollmentID) && (f.Kind == "" || a.Kind == f.Kind) {
					want = append(want, a)
				}
			}
			page := func(p storage.Page) ([]storage.Activity, string, error) { return s.ListActivities(ctx, f, p) }
			for _, limit := range []int{1, 3, 0} {
				equal(t, collect(t, limit, page), want)
			}
			slices.Reverse(want)
			f.Newest = true
			for _, limit := range []int{1, 3, 0} {
				equal(t, collect(t, limit, page), want)
			}
		}
	})
}

func pagingActivities(t *testing.T, open Open) {
	sentence(t, open, "An activity appears once, whatever is stored meanwhile", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		for _, newest := range []bool{false, true} {
			account := fmt.Sprint(newest)
			var want, seen []string
			for i := range 20 {
				a := numbered(i)
				a.Account = account
				ok(t, s.AppendActivities(ctx, a))
				want = append(want, a.Actor)
			}
			if newest {
				slices.Reverse(want)
			}
			f, p := storage.ActivityFilter{Account: account, Newest: newest}, storage.Page{Limit: 3}
			for i := range 100 {
				acts, next, err := s.ListActivities(ctx, f, p)
				ok(t, err)
				seen = append(seen, actors(acts)...)
				if p.After = next; next == "" {
					break
				}
				if i < 10 {
					ok(t, s.AppendActivities(ctx, storage.Activity{Kind: "k", Actor: "late", Account: account}))
				}
			}
			equal(t, slices.DeleteFunc(seen, func(actor string) bool { return actor == "late" }), want)
		}
	})
	sentence(t, open, "A cursor this list did not make is ErrBadCursor", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		ok(t, s.AppendActivities(ctx, numbered(1), numbered(2), numbered(3)))
		_, next, err := s.ListActivities(ctx, storage.ActivityFilter{}, storage.Page{Limit: 1})
		ok(t, err)
		for _, after := range []string{"x", "2", "\xff", next[1:], next + "A"} {
			_, _, err := s.ListActivities(ctx, storage.ActivityFilter{}, storage.Page{After: after})
			isErr(t, err, storage.ErrBadCursor)
		}
		for _, f := range []storage.ActivityFilter{{Newest: true}, {Account: "a"}, {Kind: "k"}, {AfterSeq: 1}} {
			_, _, err := s.ListActivities(ctx, f, storage.Page{After: next})
			isErr(t, err, storage.ErrBadCursor)
		}
		ensureAccount(t, s, "a")
		ensureAccount(t, s, "b")
		_, next, err = s.ListAccounts(ctx, storage.Page{Limit: 1})
		ok(t, err)
		_, _, err = s.ListActivities(ctx, storage.ActivityFilter{}, storage.Page{After: next})
		isErr(t, err, storage.ErrBadCursor)
	})
}

// watchingActivities is what a reader who forwards activities relies on: what has been read once is never preceded by
// something new.
func watchingActivities(t *testing.T, open Open) {
	sentence(t, open, "None with a smaller Seq appears once an activity has been seen", func(t *testing.T, s storage.Store) {
		const writers, each = 6, 15
		ctx := t.Context()
		done := make(chan struct{})
		var errs []error
		go func() {
			defer close(done)
			errs = together(writers, func(w int) error {
				for i := range each {
					acts := []storage.Activity{numbered(w*1000 + i*10), numbered(w*1000 + i*10 + 1)}
					if err := s.AppendActivities(ctx, acts...); err != nil {
						return err
					}
				}
				return nil
			})
		}()
		var seen []string
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			now := actors(collect(t, 50, listActivities(ctx, s)))
			if len(now) < len(seen) || !slices.Equal(now[:len(seen)], seen) {
				t.Fatalf("\nread %v\nthen %v", seen, now)
			}
			seen = now
		}
		for _, err := range errs {
			ok(t, err)
		}
		equal(t, len(seen), 2*writers*each)
		for i := 0; i < len(seen); i += 2 { // those of one call stay together
			first, err := strconv.Atoi(seen[i])
			ok(t, err)
			equal(t, seen[i+1], strconv.Itoa(first+1))
		}
	})
}
