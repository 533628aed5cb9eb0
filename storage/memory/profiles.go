package memory

import (
	"cmp"
	"context"
	"slices"

	"github.com/enrollkit/enrollkit/storage"
)

// GetProfile implements storage.ProfileStore.
func (s *Store) GetProfile(ctx context.Context, account, fingerprint string) (storage.Profile, error) {
	p, err := get(ctx, s, func() map[pair]storage.Profile { return s.profiles }, pair{account, fingerprint}, cloneProfile)
	return p, fail("get profile", fingerprint, err)
}

// PutProfile implements storage.ProfileStore.
func (s *Store) PutProfile(ctx context.Context, f storage.Fence, p storage.Profile, acts ...storage.Activity) error {
	n, err := p.Normalize()
	if err != nil {
		return fail("put profile", p.Fingerprint, err)
	}
	return fail("put profile", p.Fingerprint, s.write(ctx, acts, func() (bool, error) {
		if _, found := s.accounts[n.Account]; !found {
			return false, storage.ErrNotFound
		}
		if err := s.checkFence(f); err != nil {
			return false, err
		}
		s.profiles[pair{n.Account, n.Fingerprint}] = cloneProfile(n)
		return true, nil
	}))
}

// ListProfiles implements storage.ProfileStore.
func (s *Store) ListProfiles(ctx context.Context, account string) ([]storage.Profile, error) {
	if err := s.lock(ctx); err != nil {
		return nil, fail("list profiles of", account, err)
	}
	defer s.mu.Unlock()
	var out []storage.Profile
	for key, p := range s.profiles {
		if key.account == account {
			out = append(out, cloneProfile(p))
		}
	}
	slices.SortFunc(out, func(a, b storage.Profile) int { return cmp.Compare(a.Fingerprint, b.Fingerprint) })
	return out, nil
}

func cloneProfile(p storage.Profile) storage.Profile {
	p.Document = cloneDocument(p.Document)
	return p
}
