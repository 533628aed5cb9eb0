package storagetest

import (
	"context"
	"testing"

	"github.com/enrollkit/enrollkit/storage"
)

// RunServiceSessions checks storage.ServiceSessionStore.
func RunServiceSessions(t *testing.T, open Open) {
	perAccount(t, open, "PutServiceSession", state[storage.ServiceSession]{
		fresh: newServiceSession,
		put: func(ctx context.Context, s storage.Store, v storage.ServiceSession) error {
			return s.PutServiceSession(ctx, v)
		},
		get: func(ctx context.Context, s storage.Store, account string) (storage.ServiceSession, error) {
			return s.GetServiceSession(ctx, account)
		},
		account: func(v *storage.ServiceSession) *string { return &v.Account },
		version: func(v *storage.ServiceSession) *int64 { return &v.Version },
	})
}

// RunNanoDEP checks storage.NanoDEPStore.
func RunNanoDEP(t *testing.T, open Open) {
	perAccount(t, open, "PutNanoDEP", state[storage.NanoDEP]{
		fresh: newNanoDEP,
		put:   func(ctx context.Context, s storage.Store, v storage.NanoDEP) error { return s.PutNanoDEP(ctx, v) },
		get: func(ctx context.Context, s storage.Store, account string) (storage.NanoDEP, error) {
			return s.GetNanoDEP(ctx, account)
		},
		account: func(v *storage.NanoDEP) *string { return &v.Account },
		version: func(v *storage.NanoDEP) *int64 { return &v.Version },
		refs:    []string{"StagedKeyPairID"},
	})
}

// state says how a record that an account has one of is written and read.
type state[T any] struct {
	fresh   func(t testing.TB, n int, account string) T
	put     func(ctx context.Context, s storage.Store, v T) error
	get     func(ctx context.Context, s storage.Store, account string) (T, error)
	account func(*T) *string
	version func(*T) *int64
	refs    []string
}

// perAccount checks a store of records that an account has one of; name is its method that writes.
func perAccount[T any](t *testing.T, open Open, name string, k state[T]) {
	values(t, open, record[T]{
		fresh:   func(t testing.TB) T { return k.fresh(t, 1, "acme") },
		prepare: func(t testing.TB, s storage.Store, v T) { ensureAccount(t, s, *k.account(&v)) },
		put:     k.put,
		get: func(ctx context.Context, s storage.Store, v T) (T, error) {
			return k.get(ctx, s, *k.account(&v))
		},
		stored: func(v *T) { *k.version(v) = 1 },
		key:    []string{"Account"}, refs: k.refs,
	})
	sentence(t, open, name+" without the account is ErrNotFound", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		writesNothing(t, s, storage.ErrNotFound, func() error { return k.put(t.Context(), s, k.fresh(t, 1, "Acme")) })
	})
	sentence(t, open, name+" with another version is ErrConflict", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		v := k.fresh(t, 1, "acme")
		*k.version(&v) = 1
		writesNothing(t, s, storage.ErrConflict, func() error { return k.put(ctx, s, v) })
		ok(t, k.put(ctx, s, k.fresh(t, 1, "acme")))
		for _, version := range []int64{-1, 0, 2} {
			v := k.fresh(t, 2, "acme")
			*k.version(&v) = version
			writesNothing(t, s, storage.ErrConflict, func() error { return k.put(ctx, s, v) })
		}
		want := k.fresh(t, 2, "acme")
		*k.version(&want) = 1
		ok(t, k.put(ctx, s, want))
		*k.version(&want) = 2
		got, err := k.get(ctx, s, "acme")
		ok(t, err)
		equal(t, got, want)
	})
	sentence(t, open, "A missing one is ErrNotFound", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		ok(t, k.put(t.Context(), s, k.fresh(t, 1, "acme")))
		for _, account := range []string{"Acme", "", "\xff"} {
			_, err := k.get(t.Context(), s, account)
			isErr(t, err, storage.ErrNotFound)
		}
	})
	raises(t, open, name,
		func(t testing.TB, s storage.Store) { withAccount(t, s, "acme") },
		func(ctx context.Context, s storage.Store, version int64) error {
			v := k.fresh(t, 1, "acme")
			*k.version(&v) = version
			return k.put(ctx, s, v)
		},
		func(ctx context.Context, s storage.Store) (int64, error) {
			v, err := k.get(ctx, s, "acme")
			if *k.version(&v) == 0 {
				return 0, nil // there is none yet
			}
			return *k.version(&v), err
		})
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		withAccount(t, s, "acme")
		return map[string]func(context.Context) error{
			"Get": func(ctx context.Context) error { _, err := k.get(ctx, s, "acme"); return err },
			"Put": func(ctx context.Context) error { return k.put(ctx, s, k.fresh(t, 1, "acme")) },
		}
	})
}
