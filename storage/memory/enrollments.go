package memory

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// GetEnrollment implements storage.EnrollmentStore.
func (s *Store) GetEnrollment(ctx context.Context, id string) (storage.Enrollment, error) {
	e, err := get(ctx, s, func() map[string]storage.Enrollment { return s.enrollments }, id, cloneEnrollment)
	return e, fail("get enrollment", id, err)
}

// PutEnrollment implements storage.EnrollmentStore.
func (s *Store) PutEnrollment(ctx context.Context, e storage.Enrollment, acts ...storage.Activity) error {
	n, err := e.Normalize()
	if err != nil {
		return fail("put enrollment", e.ID, err)
	}
	return fail("put enrollment", e.ID, s.write(ctx, acts, func() (bool, error) {
		if err := s.checkEnrollment(&n); err != nil {
			return false, err
		}
		s.applyEnrollment(n)
		return true, nil
	}))
}

func (s *Store) checkEnrollment(e *storage.Enrollment) error {
	if s.enrollments[e.ID].Version != e.Version {
		return storage.ErrConflict
	}
	return nil
}

func (s *Store) applyEnrollment(e storage.Enrollment) {
	e = cloneEnrollment(e)
	e.Version++
	s.enrollments[e.ID] = e
}

// ListEnrollments implements storage.EnrollmentStore.
func (s *Store) ListEnrollments(ctx context.Context, f storage.EnrollmentFilter, p storage.Page) (
	[]storage.Enrollment, string, error,
) {
	if err := s.lock(ctx); err != nil {
		return nil, "", fail("list enrollments of", f.Account, err)
	}
	defer s.mu.Unlock()
	l := listing[storage.Enrollment]{
		name:   "enrollments",
		filter: []string{f.Account, f.Serial, string(f.State)},
		match: func(e *storage.Enrollment) bool {
			return (f.Account == "" || e.Account == f.Account) && (f.Serial == "" || e.Serial == f.Serial) &&
				(f.State == "" || e.State == f.State)
		},
		clone: cloneEnrollment,
	}
	enrollments, next, err := page(l, values(s.enrollments), sortedKeys(s.enrollments), p)
	return enrollments, next, fail("list enrollments of", f.Account, err)
}

func cloneEnrollment(e storage.Enrollment) storage.Enrollment {
	e.User = cloneDocument(e.User)
	return e
}
