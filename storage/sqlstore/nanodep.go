package sqlstore

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// GetNanoDEP implements storage.NanoDEPStore.
func (s *Store) GetNanoDEP(ctx context.Context, account string) (storage.NanoDEP, error) {
	return get(ctx, s, "get nanodep state of", nanodepStates(), account)
}

// PutNanoDEP implements storage.NanoDEPStore.
func (s *Store) PutNanoDEP(ctx context.Context, v storage.NanoDEP) error {
	n, err := v.Normalize()
	if err != nil {
		return s.fail(ctx, "put nanodep state of", v.Account, err)
	}
	return s.write(ctx, "put nanodep state of", v.Account, nil, func(t *tx) (bool, error) {
		if err := t.needAccount(n.Account); err != nil {
			return false, err
		}
		return true, putVersioned(t, nanodepStates(), n, n.Version)
	})
}
