package memory

import (
	"context"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// CreateSession implements storage.SessionStore.
func (s *Store) CreateSession(ctx context.Context, es storage.EnrollmentSession, acts ...storage.Activity) error {
	n, err := es.Normalize()
	if err != nil {
		return fail("create session", es.ID, err)
	}
	return fail("create session", es.ID, s.write(ctx, acts, func() (bool, error) {
		if _, found := s.sessions[n.ID]; found {
			return false, storage.ErrExists
		}
		n = cloneSession(n)
		n.Version = 1
		s.sessions[n.ID] = n
		return true, nil
	}))
}

// GetSession implements storage.SessionStore.
func (s *Store) GetSession(ctx context.Context, id string) (storage.EnrollmentSession, error) {
	es, err := get(ctx, s, func() map[string]storage.EnrollmentSession { return s.sessions }, id, cloneSession)
	return es, fail("get session", id, err)
}

// UpdateSession implements storage.SessionStore.
func (s *Store) UpdateSession(ctx context.Context, es storage.EnrollmentSession, acts ...storage.Activity) error {
	n, err := es.Normalize()
	if err != nil {
		return fail("update session", es.ID, err)
	}
	return fail("update session", es.ID, s.write(ctx, acts, func() (bool, error) {
		old, found := s.sessions[n.ID]
		if !found {
			return false, storage.ErrNotFound
		}
		if old.Version != n.Version {
			return false, storage.ErrConflict
		}
		n = cloneSession(n)
		n.Version++
		s.sessions[n.ID] = n
		return true, nil
	}))
}

// DeleteExpiredSessions implements storage.SessionStore.
func (s *Store) DeleteExpiredSessions(ctx context.Context, now time.Time, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, fail("delete expired sessions", "", err)
	}
	defer s.mu.Unlock()
	now, limit = storage.Time(now), bound(limit)
	n := 0
	for id, es := range s.sessions {
		if n == limit {
			break
		}
		if !es.ExpiresAt.IsZero() && es.ExpiresAt.Before(now) {
			delete(s.sessions, id)
			n++
		}
	}
	return n, nil
}

func cloneSession(es storage.EnrollmentSession) storage.EnrollmentSession {
	es.User, es.SealedFlow = cloneDocument(es.User), cloneDocument(es.SealedFlow)
	return es
}
