package sqlstore

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// CreateAccount implements storage.AccountStore.
func (s *Store) CreateAccount(ctx context.Context, a storage.Account, acts ...storage.Activity) error {
	n, err := a.Normalize()
	if err != nil {
		return s.fail(ctx, "create account", a.Name, err)
	}
	return s.write(ctx, "create account", a.Name, acts, func(t *tx) (bool, error) {
		return must(storage.ErrExists)(insert(t, accounts().first(), n))
	})
}

// must turns "no row was affected" into an error.
func must(missed error) func(affected bool, err error) (bool, error) {
	return func(affected bool, err error) (bool, error) {
		if err == nil && !affected {
			err = missed
		}
		return affected, err
	}
}

// GetAccount implements storage.AccountStore.
func (s *Store) GetAccount(ctx context.Context, name string) (storage.Account, error) {
	return get(ctx, s, "get account", accounts(), name)
}

// UpdateAccount implements storage.AccountStore.
func (s *Store) UpdateAccount(ctx context.Context, a storage.Account, acts ...storage.Activity) error {
	n, err := a.Normalize()
	if err != nil {
		return s.fail(ctx, "update account", a.Name, err)
	}
	return s.write(ctx, "update account", a.Name, acts, func(t *tx) (bool, error) {
		return replace(t, accounts(), n, n.Name)
	})
}

// ListAccounts implements storage.AccountStore.
func (s *Store) ListAccounts(ctx context.Context, p storage.Page) ([]storage.Account, string, error) {
	out, next, err := list(ctx, s, accounts(), listing{order: "name", page: p}, text,
		func(a *storage.Account) string { return a.Name })
	return out, next, s.fail(ctx, "list accounts", "", err)
}

// DeleteAccount implements storage.AccountStore.
func (s *Store) DeleteAccount(ctx context.Context, name string, acts ...storage.Activity) error {
	if !storage.ValidKey(name) {
		return s.fail(ctx, "delete account", name, ctx.Err())
	}
	return s.write(ctx, "delete account", name, acts, func(t *tx) (bool, error) {
		n, err := t.exec("DELETE FROM enrollkit_accounts WHERE name = ?", name)
		if err != nil || n == 0 {
			return false, err
		}
		for _, query := range []string{
			"DELETE FROM enrollkit_key_pairs WHERE account = ?",
			"DELETE FROM enrollkit_service_sessions WHERE account = ?",
			"DELETE FROM enrollkit_nanodep WHERE account = ?",
			"DELETE FROM enrollkit_cursors WHERE account = ?",
			"DELETE FROM enrollkit_devices WHERE account = ?",
			"DELETE FROM enrollkit_assignments WHERE account = ?",
			"DELETE FROM enrollkit_profiles WHERE account = ?",
		} {
			if _, err := t.exec(query, name); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// needAccount returns ErrNotFound if there is no such account, and keeps it from being deleted before the transaction
// ends.
func (t *tx) needAccount(name string) error {
	_, err := must(storage.ErrNotFound)(t.exists("SELECT 1 FROM enrollkit_accounts WHERE name = ?"+t.s.d.forShare, name))
	return err
}

// CreateKeyPair implements storage.KeyPairStore.
func (s *Store) CreateKeyPair(ctx context.Context, k storage.KeyPair, acts ...storage.Activity) error {
	n, err := k.Normalize()
	if err != nil {
		return s.fail(ctx, "create key pair", k.ID, err)
	}
	return s.write(ctx, "create key pair", k.ID, acts, func(t *tx) (bool, error) {
		if err := t.needAccount(n.Account); err != nil {
			return false, err
		}
		return must(storage.ErrExists)(insert(t, keyPairs(), n))
	})
}

// ListKeyPairs implements storage.KeyPairStore.
func (s *Store) ListKeyPairs(ctx context.Context, account string) ([]storage.KeyPair, error) {
	if !storage.ValidKey(account) {
		return nil, s.fail(ctx, "list key pairs of", account, ctx.Err())
	}
	// An unset time comes before all others, in every database.
	out, err := many(ctx, s, s.db, keyPairs(), " WHERE account = ? ORDER BY created_at IS NOT NULL, created_at, id", account)
	return out, s.fail(ctx, "list key pairs of", account, err)
}

// DeleteKeyPair implements storage.KeyPairStore.
func (s *Store) DeleteKeyPair(ctx context.Context, account, id string, acts ...storage.Activity) error {
	if !storage.ValidKey(account) || !storage.ValidKey(id) {
		return s.fail(ctx, "delete key pair", id, ctx.Err())
	}
	return s.write(ctx, "delete key pair", id, acts, func(t *tx) (bool, error) {
		inUse, err := t.exists("SELECT 1 FROM enrollkit_accounts WHERE name = ? AND key_pair_id = ?"+t.s.d.forShare, account, id)
		if err != nil {
			return false, err
		}
		n, err := t.exec("DELETE FROM enrollkit_key_pairs WHERE account = ? AND id = ?", account, id)
		if err == nil && n > 0 && inUse {
			err = storage.ErrConflict
		}
		return n > 0, err
	})
}
