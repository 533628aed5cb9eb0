package sqlstore

import (
	"context"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// CreateSession implements storage.SessionStore.
func (s *Store) CreateSession(ctx context.Context, es storage.EnrollmentSession, acts ...storage.Activity) error {
	n, err := es.Normalize()
	if err != nil {
		return s.fail(ctx, "create session", es.ID, err)
	}
	return s.write(ctx, "create session", es.ID, acts, func(t *tx) (bool, error) {
		return must(storage.ErrExists)(insert(t, sessions().first(), n))
	})
}

// GetSession implements storage.SessionStore.
func (s *Store) GetSession(ctx context.Context, id string) (storage.EnrollmentSession, error) {
	return get(ctx, s, "get session", sessions(), id)
}

// UpdateSession implements storage.SessionStore.
func (s *Store) UpdateSession(ctx context.Context, es storage.EnrollmentSession, acts ...storage.Activity) error {
	n, err := es.Normalize()
	if err != nil {
		return s.fail(ctx, "update session", es.ID, err)
	}
	return s.write(ctx, "update session", es.ID, acts, func(t *tx) (bool, error) {
		return replace(t, sessions(), n, n.ID)
	})
}

// replace updates a record: sql.ErrNoRows if there is none with the key, ErrConflict if it has another version.
func replace[T any](t *tx, tb table[T], v T, key ...string) (bool, error) {
	wrote, err := update(t, tb, v, "")
	if err != nil || wrote {
		return wrote, err
	}
	_, err = one(t.ctx, t.s, t, tb, key...)
	return must(storage.ErrConflict)(false, err)
}

// DeleteExpiredSessions implements storage.SessionStore.
func (s *Store) DeleteExpiredSessions(ctx context.Context, now time.Time, limit int) (int, error) {
	var deleted int64
	err := s.write(ctx, "delete expired sessions", "", nil, func(t *tx) (bool, error) {
		// The inner SELECT is a table of its own, since some databases do not read the table they delete from.
		n, err := t.exec("DELETE FROM enrollkit_sessions WHERE id IN (SELECT id FROM ("+
			"SELECT id FROM enrollkit_sessions WHERE expires_at < ? LIMIT ?) AS expired)", micros(now), bound(limit))
		deleted = n
		return n > 0, err
	})
	if err != nil {
		return 0, err
	}
	return int(deleted), nil
}
