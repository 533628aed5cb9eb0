package memory

import (
	"context"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// AcquireLease implements storage.Leaser.
func (s *Store) AcquireLease(ctx context.Context, name, owner string, now time.Time, ttl time.Duration) (storage.Lease, error) {
	if !storage.ValidKey(name) || !storage.ValidKey(owner) || ttl <= 0 {
		return storage.Lease{}, fail("acquire lease", name, storage.ErrInvalid)
	}
	if err := s.lock(ctx); err != nil {
		return storage.Lease{}, fail("acquire lease", name, err)
	}
	defer s.mu.Unlock()
	l := s.leases[name]
	if l.Owner != "" && l.Owner != owner && l.ExpiresAt.After(now) {
		return storage.Lease{}, fail("acquire lease", name, storage.ErrLeaseHeld)
	}
	if l.Owner != owner {
		l = storage.Lease{Name: name, Owner: owner, Token: l.Token + 1}
	}
	l.ExpiresAt = storage.Time(now.Add(ttl))
	s.leases[name] = l
	return l, nil
}

// GetLease implements storage.Leaser.
func (s *Store) GetLease(ctx context.Context, name string) (storage.Lease, error) {
	l, err := get(ctx, s, func() map[string]storage.Lease { return s.leases }, name, same[storage.Lease])
	if err == nil && l.Owner == "" {
		l, err = storage.Lease{}, storage.ErrNotFound
	}
	return l, fail("get lease", name, err)
}

// RenewLease implements storage.Leaser.
func (s *Store) RenewLease(ctx context.Context, l storage.Lease, now time.Time, ttl time.Duration) (storage.Lease, error) {
	if ttl <= 0 {
		return storage.Lease{}, fail("renew lease", l.Name, storage.ErrInvalid)
	}
	if err := s.lock(ctx); err != nil {
		return storage.Lease{}, fail("renew lease", l.Name, err)
	}
	defer s.mu.Unlock()
	if !s.holds(l) {
		return storage.Lease{}, fail("renew lease", l.Name, storage.ErrLeaseLost)
	}
	l.ExpiresAt = storage.Time(now.Add(ttl))
	s.leases[l.Name] = l
	return l, nil
}

// ReleaseLease implements storage.Leaser.
func (s *Store) ReleaseLease(ctx context.Context, l storage.Lease) error {
	if err := s.lock(ctx); err != nil {
		return fail("release lease", l.Name, err)
	}
	defer s.mu.Unlock()
	if s.holds(l) {
		s.leases[l.Name] = storage.Lease{Name: l.Name, Token: l.Token}
	}
	return nil
}

func (s *Store) holds(l storage.Lease) bool {
	stored, found := s.leases[l.Name]
	return found && stored.Owner != "" && stored.Owner == l.Owner && stored.Token == l.Token
}

// checkFence returns ErrLeaseLost if the fence is set and its lease has passed on. The caller holds the lock.
func (s *Store) checkFence(f storage.Fence) error {
	if f == (storage.Fence{}) {
		return nil
	}
	if l := s.leases[f.Name]; l.Owner == "" || l.Token != f.Token {
		return fail("lease", f.Name, storage.ErrLeaseLost)
	}
	return nil
}
