package sqlstore

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// GetProfile implements storage.ProfileStore.
func (s *Store) GetProfile(ctx context.Context, account, fingerprint string) (storage.Profile, error) {
	return get(ctx, s, "get profile", profiles(), account, fingerprint)
}

// PutProfile implements storage.ProfileStore.
func (s *Store) PutProfile(ctx context.Context, f storage.Fence, p storage.Profile, acts ...storage.Activity) error {
	n, err := p.Normalize()
	if err != nil {
		return s.fail(ctx, "put profile", p.Fingerprint, err)
	}
	return s.write(ctx, "put profile", p.Fingerprint, acts, func(t *tx) (bool, error) {
		if err := t.needAccount(n.Account); err != nil {
			return false, err
		}
		if err := t.checkFence(f); err != nil {
			return false, err
		}
		tb := profiles()
		_, err := t.exec(s.d.upsert(tb.name, tb.columns, tb.keys), tb.fields(&n)...)
		return true, err
	})
}

// ListProfiles implements storage.ProfileStore.
func (s *Store) ListProfiles(ctx context.Context, account string) ([]storage.Profile, error) {
	if !storage.ValidKey(account) {
		return nil, s.fail(ctx, "list profiles of", account, ctx.Err())
	}
	out, err := many(ctx, s, s.db, profiles(), " WHERE account = ? ORDER BY fingerprint", account)
	return out, s.fail(ctx, "list profiles of", account, err)
}
