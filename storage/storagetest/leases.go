package storagetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// RunLeases checks storage.Leaser.
func RunLeases(t *testing.T, open Open) {
	takingLeases(t, open)
	renewingLeases(t, open)
	releasingLeases(t, open)
	contendingForLeases(t, open)
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		l, err := s.AcquireLease(t.Context(), "l", "a", epoch(), hold)
		ok(t, err)
		return map[string]func(context.Context) error{
			"AcquireLease": func(ctx context.Context) error { _, err := s.AcquireLease(ctx, "m", "a", epoch(), hold); return err },
			"GetLease":     func(ctx context.Context) error { _, err := s.GetLease(ctx, "l"); return err },
			"RenewLease":   func(ctx context.Context) error { _, err := s.RenewLease(ctx, l, epoch(), hold); return err },
			"ReleaseLease": func(ctx context.Context) error {
				err := s.ReleaseLease(ctx, l)
				_, renew := s.RenewLease(t.Context(), l, epoch(), hold)
				ok(t, renew) // nothing was written
				return err
			},
		}
	})
}

func acquire(t testing.TB, s storage.Store, owner string, now time.Time) storage.Lease {
	t.Helper()
	l, err := s.AcquireLease(t.Context(), "lease", owner, now, hold)
	ok(t, err)
	equal(t, []any{l.Name, l.Owner, l.ExpiresAt}, []any{"lease", owner, storage.Time(now.Add(hold))})
	if l.Token < 1 {
		t.Fatalf("token %d", l.Token)
	}
	return l
}

func held(t testing.TB, s storage.Store, owner string, now time.Time) {
	t.Helper()
	_, err := s.AcquireLease(t.Context(), "lease", owner, now, hold)
	isErr(t, err, storage.ErrLeaseHeld)
}

func lost(t testing.TB, s storage.Store, l storage.Lease, now time.Time) {
	t.Helper()
	_, err := s.RenewLease(t.Context(), l, now, hold)
	isErr(t, err, storage.ErrLeaseLost)
}

func larger(t testing.TB, next, previous storage.Lease) {
	t.Helper()
	if next.Token <= previous.Token {
		t.Fatalf("token %d follows %d", next.Token, previous.Token)
	}
}

func takingLeases(t *testing.T, open Open) {
	now := epoch().Add(999_999_999).In(time.FixedZone("", 3600))
	sentence(t, open, "A lease is held until it expires", func(t *testing.T, s storage.Store) {
		first := acquire(t, s, "a", now)
		held(t, s, "b", now)
		held(t, s, "A", now)
		held(t, s, "b", now.Add(hold-time.Microsecond))
		second := acquire(t, s, "b", now.Add(hold))
		larger(t, second, first)
		held(t, s, "a", now.Add(hold))
	})
	sentence(t, open, "A lease can be read as long as someone has it, expired or not", func(t *testing.T, s storage.Store) {
		missing := func() {
			t.Helper()
			for _, name := range []string{"lease", "", "\xff"} {
				_, err := s.GetLease(t.Context(), name)
				isErr(t, err, storage.ErrNotFound)
			}
		}
		missing()
		l := acquire(t, s, "a", epoch())
		got, err := s.GetLease(t.Context(), "lease")
		ok(t, err)
		equal(t, got, l)
		ok(t, s.ReleaseLease(t.Context(), l))
		missing()
	})
	sentence(t, open, "The owner gets its lease extended with the same token, expired or not", func(t *testing.T, s storage.Store) {
		first := acquire(t, s, "a", now)
		for _, later := range []time.Duration{time.Second, 10 * hold} {
			equal(t, acquire(t, s, "a", now.Add(later)).Token, first.Token)
			held(t, s, "b", now.Add(later+hold-time.Microsecond))
		}
	})
	sentence(t, open, "Leases of other names are other leases", func(t *testing.T, s storage.Store) {
		acquire(t, s, "a", now)
		for _, name := range []string{"Lease", "lease ", "other"} {
			_, err := s.AcquireLease(t.Context(), name, "b", now, hold)
			ok(t, err)
		}
		held(t, s, "b", now)
	})
	sentence(t, open, "A lease without name, owner or positive ttl is ErrInvalid", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		long := strings.Repeat("x", storage.MaxKey+1)
		for _, c := range []struct {
			name, owner string
			ttl         time.Duration
		}{{"", "a", hold}, {"l", "", hold}, {"l", "a", 0}, {"l", "a", -1}, {long, "a", hold}, {"l", long, hold}, {"\xff", "a", hold}, {"l", "a\x00", hold}} {
			_, err := s.AcquireLease(ctx, c.name, c.owner, now, c.ttl)
			isErr(t, err, storage.ErrInvalid)
		}
		l := acquire(t, s, "a", now)
		_, err := s.RenewLease(ctx, l, now, 0)
		isErr(t, err, storage.ErrInvalid)
	})
}

func renewingLeases(t *testing.T, open Open) {
	now := epoch()
	sentence(t, open, "A holder can renew, even if the lease has expired", func(t *testing.T, s storage.Store) {
		l := acquire(t, s, "a", now)
		later := now.Add(10*hold + 999)
		renewed, err := s.RenewLease(t.Context(), l, later, 2*hold)
		ok(t, err)
		want := l
		want.ExpiresAt = storage.Time(later.Add(2 * hold))
		equal(t, renewed, want)
		held(t, s, "b", later.Add(hold))
		acquire(t, s, "b", later.Add(2*hold))
		lost(t, s, l, later)
		lost(t, s, renewed, later)
	})
	sentence(t, open, "Renewing a lease that was never there is ErrLeaseLost", func(t *testing.T, s storage.Store) {
		l := acquire(t, s, "a", now)
		lost(t, s, storage.Lease{}, now)
		lost(t, s, storage.Lease{Name: "\xff", Owner: "a", Token: 1}, now)
		lost(t, s, storage.Lease{Name: "other", Owner: "a", Token: l.Token}, now)
		lost(t, s, storage.Lease{Name: "lease", Owner: "b", Token: l.Token}, now)
		lost(t, s, storage.Lease{Name: "lease", Owner: "a", Token: l.Token + 1}, now)
	})
}

func releasingLeases(t *testing.T, open Open) {
	now := epoch()
	sentence(t, open, "A released lease is free, and the next token is larger all the same", func(t *testing.T, s storage.Store) {
		first := acquire(t, s, "a", now)
		ok(t, s.ReleaseLease(t.Context(), first))
		ok(t, s.ReleaseLease(t.Context(), first))
		lost(t, s, first, now)
		second := acquire(t, s, "a", now)
		larger(t, second, first)
		ok(t, s.ReleaseLease(t.Context(), second))
		larger(t, acquire(t, s, "b", now), second)
	})
	sentence(t, open, "Releasing a lease that has passed on leaves it alone", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		first := acquire(t, s, "a", now)
		second := acquire(t, s, "b", now.Add(hold))
		for _, l := range []storage.Lease{
			first, {Name: "lease", Owner: "a", Token: second.Token}, {Name: "lease", Owner: "b", Token: first.Token},
			{}, {Name: "other", Owner: "b", Token: second.Token}, {Name: "\xff"},
		} {
			ok(t, s.ReleaseLease(ctx, l))
		}
		held(t, s, "a", now.Add(hold))
		_, err := s.RenewLease(ctx, second, now.Add(hold), hold)
		ok(t, err)
	})
}

func contendingForLeases(t *testing.T, open Open) {
	sentence(t, open, "Of many contenders exactly one gets the lease, round after round", func(t *testing.T, s storage.Store) {
		var last storage.Lease
		for round := range 10 {
			now := epoch().Add(time.Duration(round) * hold) // the last one has just expired
			var got [8]storage.Lease
			oneWins(t, together(len(got), func(i int) (err error) {
				owner := string(rune('a' + (i+round)%len(got)))
				if owner == last.Owner {
					owner = "z" // its owner would get it extended
				}
				got[i], err = s.AcquireLease(t.Context(), "lease", owner, now, hold)
				return err
			}), storage.ErrLeaseHeld)
			for _, l := range got {
				if l.Token != 0 {
					larger(t, l, last)
					last = l
					break
				}
			}
		}
	})
}
