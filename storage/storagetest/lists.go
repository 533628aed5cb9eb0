package storagetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/enrollkit/enrollkit/storage"
)

// pager reads one page of a list.
type pager[T any] func(p storage.Page) ([]T, string, error)

// collect reads a list to its end, in pages of at most limit records.
func collect[T any](t testing.TB, limit int, page pager[T]) []T {
	t.Helper()
	var all []T
	p := storage.Page{Limit: limit}
	for range 100_000 {
		records, next, err := page(p)
		ok(t, err)
		if len(records) > p.Size() {
			t.Fatalf("a page of %d records, wanted at most %d", len(records), p.Size())
		}
		all = append(all, records...)
		if next == "" {
			return all
		}
		p.After = next
	}
	t.Fatal("the list does not end")
	return nil
}

func listAccounts(ctx context.Context, s storage.Store) pager[storage.Account] {
	return func(p storage.Page) ([]storage.Account, string, error) { return s.ListAccounts(ctx, p) }
}

func listDevices(ctx context.Context, s storage.Store, account string) pager[storage.Device] {
	return func(p storage.Page) ([]storage.Device, string, error) {
		return s.ListDevices(ctx, storage.DeviceFilter{Account: account, IncludeLeft: true}, p)
	}
}

func listAssignments(ctx context.Context, s storage.Store, account string) pager[storage.Assignment] {
	return func(p storage.Page) ([]storage.Assignment, string, error) {
		return s.ListAssignments(ctx, storage.AssignmentFilter{Account: account}, p)
	}
}

func listEnrollments(ctx context.Context, s storage.Store) pager[storage.Enrollment] {
	return func(p storage.Page) ([]storage.Enrollment, string, error) {
		return s.ListEnrollments(ctx, storage.EnrollmentFilter{}, p)
	}
}

func listRuns(ctx context.Context, s storage.Store) pager[storage.Run] {
	return func(p storage.Page) ([]storage.Run, string, error) { return s.ListRuns(ctx, storage.RunFilter{}, p) }
}

func listActivities(ctx context.Context, s storage.Store) pager[storage.Activity] {
	return func(p storage.Page) ([]storage.Activity, string, error) {
		return s.ListActivities(ctx, storage.ActivityFilter{}, p)
	}
}

// list says how one list is read and filled.
type list[T any] struct {
	// put stores a record that the list shows under this key; again over the one that is there.
	put func(t testing.TB, s storage.Store, key string)
	// page reads a page, other one of the same list with another filter.
	page, other func(ctx context.Context, s storage.Store) pager[T]
	key         func(T) string
}

// keys in the order of their bytes, which is not that of a language, nor that of UTF-16.
func keysInOrder() []string {
	return []string{"A", "B", "Z", "_", "a", "a ", "aa", "b", "ä", "\uff5e", "😀"}
}

// pages checks the sentences about lists.
func pages[T any](t *testing.T, open Open, l list[T]) {
	t.Helper()
	read := func(t *testing.T, s storage.Store, limit int) []string {
		var keys []string
		for _, v := range collect(t, limit, l.page(t.Context(), s)) {
			keys = append(keys, l.key(v))
		}
		return keys
	}
	sentence(t, open, "A list is ordered byte for byte and shows each record once", func(t *testing.T, s storage.Store) {
		equal(t, read(t, s, 0), []string(nil))
		want := keysInOrder()
		for i := range want {
			l.put(t, s, want[(i*7)%len(want)]) // in another order
		}
		for _, limit := range []int{1, 2, 3, len(want), len(want) + 1, 0} {
			equal(t, read(t, s, limit), want)
		}
	})
	sentence(t, open, "A limit of 0 or less means DefaultPageSize", func(t *testing.T, s storage.Store) {
		for i := range storage.DefaultPageSize + 1 {
			l.put(t, s, fmt.Sprintf("%05d", i))
		}
		for _, limit := range []int{0, -1} {
			records, next, err := l.page(t.Context(), s)(storage.Page{Limit: limit})
			ok(t, err)
			if len(records) > storage.DefaultPageSize || next == "" {
				t.Fatalf("a page of %d records, next %q", len(records), next)
			}
		}
		equal(t, len(read(t, s, 0)), storage.DefaultPageSize+1)
	})
	sentence(t, open, "A record that exists during the whole listing appears once, whatever is written meanwhile",
		func(t *testing.T, s storage.Store) { l.underWrites(t, s) })
	sentence(t, open, "A cursor this list did not make is ErrBadCursor", func(t *testing.T, s storage.Store) {
		for _, key := range keysInOrder() {
			l.put(t, s, key)
		}
		_, next, err := l.page(t.Context(), s)(storage.Page{Limit: 1})
		ok(t, err)
		for _, after := range []string{"x", "AAAA", "\xff", "'; --", next[1:], next[:len(next)-1], next + "A", next + next} {
			_, _, err := l.page(t.Context(), s)(storage.Page{After: after})
			isErr(t, err, storage.ErrBadCursor)
		}
		_, _, err = l.other(t.Context(), s)(storage.Page{After: next})
		isErr(t, err, storage.ErrBadCursor)
	})
}

func (l *list[T]) underWrites(t *testing.T, s storage.Store) {
	var stay, seen []string
	for i := range 20 {
		stay = append(stay, fmt.Sprintf("k%02d", i))
		l.put(t, s, stay[i])
	}
	page, p := l.page(t.Context(), s), storage.Page{Limit: 3}
	for i := 0; ; i++ {
		records, next, err := page(p)
		ok(t, err)
		for _, v := range records {
			if key := l.key(v); slices.Contains(stay, key) {
				seen = append(seen, key)
			}
		}
		if p.After = next; next == "" {
			break
		}
		if i == 100 {
			t.Fatal("the list does not end")
		}
		if i < 8 {
			l.put(t, s, fmt.Sprintf("a%02d", i))           // before all
			l.put(t, s, fmt.Sprintf("k%02d.", i*2))        // among them
			l.put(t, s, fmt.Sprintf("z%02d", i))           // after all
			l.put(t, s, stay[(i*5)%len(stay)])             // over one of them
			l.put(t, s, stay[min(len(seen), len(stay)-1)]) // over the next one
		}
	}
	equal(t, seen, stay)
}
