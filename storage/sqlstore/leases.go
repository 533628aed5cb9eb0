package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

func leases() table[storage.Lease] {
	return table[storage.Lease]{
		name:    "enrollkit_leases",
		columns: []string{"name", "owner", "token", "expires_at"},
		keys:    1,
		fields: func(l *storage.Lease) []any {
			return []any{&l.Name, &l.Owner, &l.Token, at(&l.ExpiresAt)}
		},
	}
}

// AcquireLease implements storage.Leaser.
func (s *Store) AcquireLease(ctx context.Context, name, owner string, now time.Time, ttl time.Duration) (storage.Lease, error) {
	if !storage.ValidKey(name) || !storage.ValidKey(owner) || ttl <= 0 {
		return storage.Lease{}, s.fail(ctx, "acquire lease", name, storage.ErrInvalid)
	}
	return s.setLease(ctx, "acquire lease", name, func(l storage.Lease) (storage.Lease, error) {
		if l.Owner != "" && l.Owner != owner && l.ExpiresAt.After(now) {
			return l, storage.ErrLeaseHeld
		}
		if l.Owner != owner {
			l.Owner = owner
			l.Token++
		}
		l.ExpiresAt = storage.Time(now.Add(ttl))
		return l, nil
	})
}

// GetLease implements storage.Leaser.
func (s *Store) GetLease(ctx context.Context, name string) (storage.Lease, error) {
	l, err := get(ctx, s, "get lease", leases(), name)
	if err == nil && l.Owner == "" {
		return storage.Lease{}, s.fail(ctx, "get lease", name, storage.ErrNotFound)
	}
	return l, err
}

// RenewLease implements storage.Leaser.
func (s *Store) RenewLease(ctx context.Context, l storage.Lease, now time.Time, ttl time.Duration) (storage.Lease, error) {
	if ttl <= 0 {
		return storage.Lease{}, s.fail(ctx, "renew lease", l.Name, storage.ErrInvalid)
	}
	if !storage.ValidKey(l.Name) {
		return storage.Lease{}, s.fail(ctx, "renew lease", l.Name, storage.ErrLeaseLost)
	}
	return s.setLease(ctx, "renew lease", l.Name, func(stored storage.Lease) (storage.Lease, error) {
		if stored.Owner == "" || stored.Owner != l.Owner || stored.Token != l.Token {
			return stored, storage.ErrLeaseLost
		}
		stored.ExpiresAt = storage.Time(now.Add(ttl))
		return stored, nil
	})
}

// setLease replaces a lease, which has neither owner nor token if it was never there, by what fn makes of it.
func (s *Store) setLease(ctx context.Context, op, name string, fn func(storage.Lease) (storage.Lease, error)) (storage.Lease, error) {
	var out storage.Lease
	err := s.write(ctx, op, name, nil, func(t *tx) (bool, error) {
		if _, err := insert(t, leases(), storage.Lease{Name: name}); err != nil {
			return false, err
		}
		found, err := many(ctx, s, t, leases(), " WHERE name = ?"+s.d.forUpdate, name)
		if err != nil {
			return false, err
		}
		if out, err = fn(found[0]); err != nil {
			return false, err
		}
		_, err = t.exec("UPDATE enrollkit_leases SET owner = ?, token = ?, expires_at = ? WHERE name = ?",
			out.Owner, out.Token, at(&out.ExpiresAt), name)
		return true, err
	})
	if err != nil {
		return storage.Lease{}, err
	}
	return out, nil
}

// ReleaseLease implements storage.Leaser.
func (s *Store) ReleaseLease(ctx context.Context, l storage.Lease) error {
	if !storage.ValidKey(l.Name) || !storage.ValidKey(l.Owner) {
		return s.fail(ctx, "release lease", l.Name, ctx.Err())
	}
	return s.write(ctx, "release lease", l.Name, nil, func(t *tx) (bool, error) {
		n, err := t.exec("UPDATE enrollkit_leases SET owner = '', expires_at = NULL WHERE name = ? AND owner = ? AND token = ?",
			l.Name, l.Owner, l.Token)
		return n > 0, err
	})
}

// checkFence returns ErrLeaseLost if the fence is set and its lease has passed on, and keeps the lease from passing on
// before the transaction ends.
func (t *tx) checkFence(f storage.Fence) error {
	if f == (storage.Fence{}) {
		return nil
	}
	if !storage.ValidKey(f.Name) {
		return storage.ErrLeaseLost
	}
	var token int64
	err := t.QueryRowContext(t.ctx, t.s.sql("SELECT token FROM enrollkit_leases WHERE name = ? AND owner <> ''"+t.s.d.forShare),
		f.Name).Scan(&token)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && token != f.Token) {
		return storage.ErrLeaseLost
	}
	return err
}
