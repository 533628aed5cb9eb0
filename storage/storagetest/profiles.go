package storagetest

import (
	"context"
	"testing"

	"github.com/enrollkit/enrollkit/storage"
)

// RunProfiles checks storage.ProfileStore.
func RunProfiles(t *testing.T, open Open) {
	values(t, open, record[storage.Profile]{
		fresh:   func(t testing.TB) storage.Profile { return newProfile(t, 1, "acme", "f") },
		prepare: func(t testing.TB, s storage.Store, p storage.Profile) { ensureAccount(t, s, p.Account) },
		put: func(ctx context.Context, s storage.Store, p storage.Profile) error {
			return s.PutProfile(ctx, storage.Fence{}, p)
		},
		get: func(ctx context.Context, s storage.Store, p storage.Profile) (storage.Profile, error) {
			return s.GetProfile(ctx, p.Account, p.Fingerprint)
		},
		stored: func(*storage.Profile) {},
		key:    []string{"Account", "Fingerprint"},
	})
	sentence(t, open, "PutProfile stores over what was there", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		ok(t, s.PutProfile(ctx, storage.Fence{}, newProfile(t, 1, "acme", "f")))
		want := newProfile(t, 2, "acme", "f")
		ok(t, s.PutProfile(ctx, storage.Fence{}, want, newActivity(t, 1)))
		after := snap(t, s)
		equal(t, after.Profiles, []storage.Profile{want})
		equal(t, len(after.Activities), 1)
		want = storage.Profile{Account: "acme", Fingerprint: "f"}
		ok(t, s.PutProfile(ctx, storage.Fence{}, want))
		equal(t, snap(t, s).Profiles, []storage.Profile{want})
	})
	sentence(t, open, "PutProfile without the account is ErrNotFound", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		writesNothing(t, s, storage.ErrNotFound, func() error {
			return s.PutProfile(t.Context(), storage.Fence{}, newProfile(t, 1, "Acme", "f"), newActivity(t, 1))
		})
	})
	sentence(t, open, "A fence that has passed on keeps PutProfile from writing", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		first := acquire(t, s, "a", epoch())
		ok(t, s.PutProfile(ctx, first.Fence(), newProfile(t, 1, "acme", "f")))
		refused := func(f storage.Fence) {
			t.Helper()
			writesNothing(t, s, storage.ErrLeaseLost, func() error {
				return s.PutProfile(ctx, f, newProfile(t, 2, "acme", "f"), newActivity(t, 1))
			})
		}
		second := acquire(t, s, "b", epoch().Add(hold))
		refused(first.Fence())
		want := newProfile(t, 3, "acme", "f")
		ok(t, s.PutProfile(ctx, second.Fence(), want))
		equal(t, snap(t, s).Profiles, []storage.Profile{want})
		ok(t, s.ReleaseLease(ctx, second))
		for _, f := range []storage.Fence{second.Fence(), {Name: "other", Token: 1}, {Name: "lease"}, {Name: "\xff", Token: 1}} {
			refused(f)
		}
		writesNothing(t, s, storage.ErrNotFound, func() error {
			return s.PutProfile(ctx, first.Fence(), newProfile(t, 1, "Acme", "f"))
		})
	})
	sentence(t, open, "Profiles are listed by fingerprint", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		withAccount(t, s, "other")
		ok(t, s.PutProfile(ctx, storage.Fence{}, newProfile(t, 1, "other", "x")))
		want := keysInOrder()
		for i := range want {
			ok(t, s.PutProfile(ctx, storage.Fence{}, newProfile(t, 1, "acme", want[(i*7)%len(want)])))
		}
		all, err := s.ListProfiles(ctx, "acme")
		ok(t, err)
		var got []string
		for _, p := range all {
			got = append(got, p.Fingerprint)
		}
		equal(t, got, want)
	})
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		withAccount(t, s, "acme")
		return map[string]func(context.Context) error{
			"GetProfile": func(ctx context.Context) error { _, err := s.GetProfile(ctx, "acme", "f"); return err },
			"PutProfile": func(ctx context.Context) error {
				return s.PutProfile(ctx, storage.Fence{}, newProfile(t, 1, "acme", "f"), newActivity(t, 1))
			},
			"ListProfiles": func(ctx context.Context) error { _, err := s.ListProfiles(ctx, "acme"); return err },
		}
	})
}
