package memory

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// GetServiceSession implements storage.ServiceSessionStore.
func (s *Store) GetServiceSession(ctx context.Context, account string) (storage.ServiceSession, error) {
	v, err := get(ctx, s, func() map[string]storage.ServiceSession { return s.atApple }, account, cloneServiceSession)
	return v, fail("get service session of", account, err)
}

// PutServiceSession implements storage.ServiceSessionStore.
func (s *Store) PutServiceSession(ctx context.Context, v storage.ServiceSession) error {
	n, err := v.Normalize()
	if err != nil {
		return fail("put service session of", v.Account, err)
	}
	return fail("put service session of", v.Account, s.write(ctx, nil, func() (bool, error) {
		if err := s.checkState(n.Account, s.atApple[n.Account].Version, n.Version); err != nil {
			return false, err
		}
		n = cloneServiceSession(n)
		n.Version++
		s.atApple[n.Account] = n
		return true, nil
	}))
}

// checkState checks a write to a record that an account has one of. The caller holds the lock.
func (s *Store) checkState(account string, stored, version int64) error {
	if _, found := s.accounts[account]; !found {
		return storage.ErrNotFound
	}
	if stored != version {
		return storage.ErrConflict
	}
	return nil
}

func cloneServiceSession(v storage.ServiceSession) storage.ServiceSession {
	v.SealedSession = cloneDocument(v.SealedSession)
	return v
}
