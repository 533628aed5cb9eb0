package memory

import (
	"cmp"
	"context"
	"slices"

	"github.com/enrollkit/enrollkit/storage"
)

// CreateAccount implements storage.AccountStore.
func (s *Store) CreateAccount(ctx context.Context, a storage.Account, acts ...storage.Activity) error {
	return fail("create account", a.Name, s.putAccount(ctx, a, acts, func(_ storage.Account, found bool) error {
		if found {
			return storage.ErrExists
		}
		return nil
	}))
}

// UpdateAccount implements storage.AccountStore.
func (s *Store) UpdateAccount(ctx context.Context, a storage.Account, acts ...storage.Activity) error {
	return fail("update account", a.Name, s.putAccount(ctx, a, acts, func(old storage.Account, found bool) error {
		if !found {
			return storage.ErrNotFound
		}
		if old.Version != a.Version {
			return storage.ErrConflict
		}
		return nil
	}))
}

func (s *Store) putAccount(ctx context.Context, a storage.Account, acts []storage.Activity,
	check func(old storage.Account, found bool) error,
) error {
	n, err := a.Normalize()
	if err != nil {
		return err
	}
	return s.write(ctx, acts, func() (bool, error) {
		old, found := s.accounts[n.Name]
		if err := check(old, found); err != nil {
			return false, err
		}
		for name, other := range s.accounts {
			if n.ServerUUID != "" && other.ServerUUID == n.ServerUUID && name != n.Name {
				return false, storage.ErrExists
			}
		}
		n = cloneAccount(n)
		n.Version = old.Version + 1
		s.accounts[n.Name] = n
		return true, nil
	})
}

// GetAccount implements storage.AccountStore.
func (s *Store) GetAccount(ctx context.Context, name string) (storage.Account, error) {
	a, err := get(ctx, s, func() map[string]storage.Account { return s.accounts }, name, cloneAccount)
	return a, fail("get account", name, err)
}

// ListAccounts implements storage.AccountStore.
func (s *Store) ListAccounts(ctx context.Context, p storage.Page) ([]storage.Account, string, error) {
	if err := s.lock(ctx); err != nil {
		return nil, "", fail("list accounts", "", err)
	}
	defer s.mu.Unlock()
	l := listing[storage.Account]{name: "accounts", match: all[storage.Account], clone: cloneAccount}
	accounts, next, err := page(l, values(s.accounts), sortedKeys(s.accounts), p)
	return accounts, next, fail("list accounts", "", err)
}

// DeleteAccount implements storage.AccountStore.
func (s *Store) DeleteAccount(ctx context.Context, name string, acts ...storage.Activity) error {
	return fail("delete account", name, s.write(ctx, acts, func() (bool, error) {
		if _, found := s.accounts[name]; !found {
			return false, nil
		}
		delete(s.accounts, name)
		delete(s.cursors, name)
		delete(s.atApple, name)
		delete(s.nanodep, name)
		delete(s.devices, name)
		delete(s.assignments, name)
		s.deviceKeys.changed(name)
		s.assignKeys.changed(name)
		for key := range s.keyPairs {
			if key.account == name {
				delete(s.keyPairs, key)
			}
		}
		for key := range s.profiles {
			if key.account == name {
				delete(s.profiles, key)
			}
		}
		return true, nil
	}))
}

// CreateKeyPair implements storage.KeyPairStore.
func (s *Store) CreateKeyPair(ctx context.Context, k storage.KeyPair, acts ...storage.Activity) error {
	n, err := k.Normalize()
	if err != nil {
		return fail("create key pair", k.ID, err)
	}
	return fail("create key pair", k.ID, s.write(ctx, acts, func() (bool, error) {
		if _, found := s.accounts[n.Account]; !found {
			return false, storage.ErrNotFound
		}
		key := pair{n.Account, n.ID}
		if _, found := s.keyPairs[key]; found {
			return false, storage.ErrExists
		}
		s.keyPairs[key] = cloneKeyPair(n)
		return true, nil
	}))
}

// ListKeyPairs implements storage.KeyPairStore.
func (s *Store) ListKeyPairs(ctx context.Context, account string) ([]storage.KeyPair, error) {
	if err := s.lock(ctx); err != nil {
		return nil, fail("list key pairs of", account, err)
	}
	defer s.mu.Unlock()
	var out []storage.KeyPair
	for key, k := range s.keyPairs {
		if key.account == account {
			out = append(out, cloneKeyPair(k))
		}
	}
	slices.SortFunc(out, func(a, b storage.KeyPair) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// DeleteKeyPair implements storage.KeyPairStore.
func (s *Store) DeleteKeyPair(ctx context.Context, account, id string, acts ...storage.Activity) error {
	return fail("delete key pair", id, s.write(ctx, acts, func() (bool, error) {
		key := pair{account, id}
		if _, found := s.keyPairs[key]; !found {
			return false, nil
		}
		if s.accounts[account].KeyPairID == id {
			return false, storage.ErrConflict
		}
		delete(s.keyPairs, key)
		return true, nil
	}))
}

func cloneAccount(a storage.Account) storage.Account {
	a.SealedToken, a.Detail = cloneDocument(a.SealedToken), cloneDocument(a.Detail)
	return a
}

func cloneKeyPair(k storage.KeyPair) storage.KeyPair {
	k.Certificate, k.SealedKey = cloneDocument(k.Certificate), cloneDocument(k.SealedKey)
	return k
}
