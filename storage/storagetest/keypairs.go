package storagetest

import (
	"context"
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// RunKeyPairs checks storage.KeyPairStore.
func RunKeyPairs(t *testing.T, open Open) {
	values(t, open, record[storage.KeyPair]{
		fresh:   func(t testing.TB) storage.KeyPair { return newKeyPair(t, 1, "acme", "k") },
		prepare: func(t testing.TB, s storage.Store, k storage.KeyPair) { ensureAccount(t, s, k.Account) },
		put: func(ctx context.Context, s storage.Store, k storage.KeyPair) error {
			return s.CreateKeyPair(ctx, k)
		},
		get: func(ctx context.Context, s storage.Store, k storage.KeyPair) (storage.KeyPair, error) {
			all, err := s.ListKeyPairs(ctx, k.Account)
			for _, got := range all {
				if got.ID == k.ID {
					return got, nil
				}
			}
			if err == nil {
				err = storage.ErrNotFound
			}
			return storage.KeyPair{}, err
		},
		stored: func(*storage.KeyPair) {},
		key:    []string{"Account", "ID"},
	})
	sentence(t, open, "Creating over a taken key pair is ErrExists", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		ok(t, s.CreateKeyPair(t.Context(), newKeyPair(t, 1, "acme", "k"), newActivity(t, 1)))
		writesNothing(t, s, storage.ErrExists, func() error {
			return s.CreateKeyPair(t.Context(), newKeyPair(t, 2, "acme", "k"), newActivity(t, 1))
		})
	})
	sentence(t, open, "Creating without the account is ErrNotFound", func(t *testing.T, s storage.Store) {
		writesNothing(t, s, storage.ErrNotFound, func() error {
			return s.CreateKeyPair(t.Context(), newKeyPair(t, 1, "acme", "k"), newActivity(t, 1))
		})
	})
	sentence(t, open, "Key pairs are listed the oldest first", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		withAccount(t, s, "other")
		ok(t, s.CreateKeyPair(ctx, newKeyPair(t, 1, "other", "x")))
		for i, id := range []string{"c", "a", "d", "b"} {
			k := newKeyPair(t, 1, "acme", id)
			k.CreatedAt = epoch().Add(time.Duration(i/2) * time.Microsecond) // two of each age
			ok(t, s.CreateKeyPair(ctx, k))
		}
		all, err := s.ListKeyPairs(ctx, "acme")
		ok(t, err)
		var ids []string
		for _, k := range all {
			ids = append(ids, k.ID)
		}
		equal(t, ids, []string{"a", "c", "b", "d"})
		none, err := s.ListKeyPairs(ctx, "nobody")
		ok(t, err)
		equal(t, len(none), 0)
	})
	deletingKeyPairs(t, open)
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		withAccount(t, s, "acme")
		ok(t, s.CreateKeyPair(t.Context(), newKeyPair(t, 1, "acme", "k")))
		return map[string]func(context.Context) error{
			"CreateKeyPair": func(ctx context.Context) error { return s.CreateKeyPair(ctx, newKeyPair(t, 1, "acme", "l")) },
			"ListKeyPairs":  func(ctx context.Context) error { _, err := s.ListKeyPairs(ctx, "acme"); return err },
			"DeleteKeyPair": func(ctx context.Context) error { return s.DeleteKeyPair(ctx, "acme", "k", newActivity(t, 1)) },
		}
	})
}

func deletingKeyPairs(t *testing.T, open Open) {
	sentence(t, open, "Deleting the key pair in use is ErrConflict", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		a := newAccount(t, 1, "acme")
		a.KeyPairID = "k"
		ok(t, s.CreateAccount(ctx, a))
		ok(t, s.CreateKeyPair(ctx, newKeyPair(t, 1, "acme", "k")))
		ok(t, s.CreateKeyPair(ctx, newKeyPair(t, 1, "acme", "K")))
		writesNothing(t, s, storage.ErrConflict, func() error { return s.DeleteKeyPair(ctx, "acme", "k", newActivity(t, 1)) })
		ok(t, s.DeleteKeyPair(ctx, "acme", "K", newActivity(t, 1)))
		after := snap(t, s)
		equal(t, len(after.KeyPairs), 1)
		equal(t, len(after.Activities), 1)
	})
	sentence(t, open, "Deleting a missing key pair is no error and writes nothing", func(t *testing.T, s storage.Store) {
		a := newAccount(t, 1, "acme")
		a.KeyPairID = "gone"
		ok(t, s.CreateAccount(t.Context(), a))
		ok(t, s.CreateKeyPair(t.Context(), newKeyPair(t, 1, "acme", "k")))
		for _, key := range [][2]string{{"acme", "K"}, {"acme", "gone"}, {"other", "k"}} {
			writesNothing(t, s, nil, func() error { return s.DeleteKeyPair(t.Context(), key[0], key[1], newActivity(t, 1)) })
		}
	})
}
