package sqlstore

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// GetEnrollment implements storage.EnrollmentStore.
func (s *Store) GetEnrollment(ctx context.Context, id string) (storage.Enrollment, error) {
	return get(ctx, s, "get enrollment", enrollments(), id)
}

// PutEnrollment implements storage.EnrollmentStore.
func (s *Store) PutEnrollment(ctx context.Context, e storage.Enrollment, acts ...storage.Activity) error {
	n, err := e.Normalize()
	if err != nil {
		return s.fail(ctx, "put enrollment", e.ID, err)
	}
	return s.write(ctx, "put enrollment", e.ID, acts, func(t *tx) (bool, error) {
		err := putVersioned(t, enrollments(), n, n.Version)
		return err == nil, err
	})
}

// ListEnrollments implements storage.EnrollmentStore.
func (s *Store) ListEnrollments(ctx context.Context, f storage.EnrollmentFilter, p storage.Page) (
	[]storage.Enrollment, string, error,
) {
	l := listing{order: "id", page: p}
	l.equal("account", f.Account)
	l.equal("serial", f.Serial)
	l.equal("state", string(f.State))
	out, next, err := list(ctx, s, enrollments(), l, text, func(e *storage.Enrollment) string { return e.ID })
	return out, next, s.fail(ctx, "list enrollments of", f.Account, err)
}
