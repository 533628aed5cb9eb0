package sqlstore

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// GetServiceSession implements storage.ServiceSessionStore.
func (s *Store) GetServiceSession(ctx context.Context, account string) (storage.ServiceSession, error) {
	return get(ctx, s, "get service session of", serviceSessions(), account)
}

// PutServiceSession implements storage.ServiceSessionStore.
func (s *Store) PutServiceSession(ctx context.Context, v storage.ServiceSession) error {
	n, err := v.Normalize()
	if err != nil {
		return s.fail(ctx, "put service session of", v.Account, err)
	}
	return s.write(ctx, "put service session of", v.Account, nil, func(t *tx) (bool, error) {
		if err := t.needAccount(n.Account); err != nil {
			return false, err
		}
		return true, putVersioned(t, serviceSessions(), n, n.Version)
	})
}
