package memory

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// GetNanoDEP implements storage.NanoDEPStore.
func (s *Store) GetNanoDEP(ctx context.Context, account string) (storage.NanoDEP, error) {
	v, err := get(ctx, s, func() map[string]storage.NanoDEP { return s.nanodep }, account, same[storage.NanoDEP])
	return v, fail("get nanodep state of", account, err)
}

// PutNanoDEP implements storage.NanoDEPStore.
func (s *Store) PutNanoDEP(ctx context.Context, v storage.NanoDEP) error {
	n, err := v.Normalize()
	if err != nil {
		return fail("put nanodep state of", v.Account, err)
	}
	return fail("put nanodep state of", v.Account, s.write(ctx, nil, func() (bool, error) {
		if err := s.checkState(n.Account, s.nanodep[n.Account].Version, n.Version); err != nil {
			return false, err
		}
		n.Version++
		s.nanodep[n.Account] = n
		return true, nil
	}))
}
