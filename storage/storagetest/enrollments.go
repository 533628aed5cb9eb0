package storagetest

import (
	"context"
	"errors"
	"testing"

	"github.com/enrollkit/enrollkit/storage"
)

// RunEnrollments checks storage.EnrollmentStore.
func RunEnrollments(t *testing.T, open Open) {
	values(t, open, record[storage.Enrollment]{
		fresh: func(t testing.TB) storage.Enrollment { return newEnrollment(t, 1, "id") },
		put: func(ctx context.Context, s storage.Store, e storage.Enrollment) error {
			return s.PutEnrollment(ctx, e)
		},
		get: func(ctx context.Context, s storage.Store, e storage.Enrollment) (storage.Enrollment, error) {
			return s.GetEnrollment(ctx, e.ID)
		},
		stored: func(e *storage.Enrollment) { e.Version = 1 },
		key:    []string{"ID"},
		refs:   []string{"UDID", "Serial", "Account", "SessionID", "State", "Awaiting", "CertificateHash", "NextCertificateHash"},
	})
	pages(t, open, list[storage.Enrollment]{
		put: func(t testing.TB, s storage.Store, key string) {
			e, err := s.GetEnrollment(t.Context(), key)
			if errors.Is(err, storage.ErrNotFound) {
				e, err = newEnrollment(t, 1, key), nil
			}
			ok(t, err)
			ok(t, s.PutEnrollment(t.Context(), e))
		},
		page: listEnrollments,
		other: func(ctx context.Context, s storage.Store) pager[storage.Enrollment] {
			return func(p storage.Page) ([]storage.Enrollment, string, error) {
				return s.ListEnrollments(ctx, storage.EnrollmentFilter{Account: "x"}, p)
			}
		},
		key: func(e storage.Enrollment) string { return e.ID },
	})
	writingEnrollments(t, open)
	raises(t, open, "PutEnrollment",
		func(testing.TB, storage.Store) {},
		func(ctx context.Context, s storage.Store, version int64) error {
			return s.PutEnrollment(ctx, storage.Enrollment{ID: "id", Version: version})
		}, enrollmentVersion)
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		ok(t, s.PutEnrollment(t.Context(), newEnrollment(t, 1, "id")))
		return map[string]func(context.Context) error{
			"GetEnrollment": func(ctx context.Context) error { _, err := s.GetEnrollment(ctx, "id"); return err },
			"PutEnrollment": func(ctx context.Context) error {
				return s.PutEnrollment(ctx, newEnrollment(t, 1, "b"), newActivity(t, 1))
			},
			"ListEnrollments": func(ctx context.Context) error { _, _, err := listPage(listEnrollments(ctx, s)); return err },
		}
	})
}

// enrollmentVersion returns the version of the enrollment "id", 0 if there is none.
func enrollmentVersion(ctx context.Context, s storage.Store) (int64, error) {
	e, err := s.GetEnrollment(ctx, "id")
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	return e.Version, err
}

func writingEnrollments(t *testing.T, open Open) {
	sentence(t, open, "PutEnrollment replaces every field and raises the version by one", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		ok(t, s.PutEnrollment(ctx, newEnrollment(t, 1, "id")))
		want := newEnrollment(t, 2, "id")
		want.Version = 1
		ok(t, s.PutEnrollment(ctx, want, newActivity(t, 1)))
		want.Version = 2
		after := snap(t, s)
		equal(t, after.Enrollments, []storage.Enrollment{want})
		equal(t, len(after.Activities), 1)
		ok(t, s.PutEnrollment(ctx, storage.Enrollment{ID: "id", Version: 2}))
		equal(t, snap(t, s).Enrollments, []storage.Enrollment{{ID: "id", Version: 3}})
	})
	sentence(t, open, "A version that does not match is ErrConflict", func(t *testing.T, s storage.Store) {
		ok(t, s.PutEnrollment(t.Context(), newEnrollment(t, 1, "id")))
		for _, version := range []int64{-1, 0, 2} {
			e := newEnrollment(t, 2, "id")
			e.Version = version
			writesNothing(t, s, storage.ErrConflict, func() error { return s.PutEnrollment(t.Context(), e, newActivity(t, 1)) })
		}
		gone := newEnrollment(t, 2, "gone")
		gone.Version = 1
		writesNothing(t, s, storage.ErrConflict, func() error { return s.PutEnrollment(t.Context(), gone, newActivity(t, 1)) })
	})
	sentence(t, open, "A missing enrollment is ErrNotFound", func(t *testing.T, s storage.Store) {
		_, err := s.GetEnrollment(t.Context(), "id")
		isErr(t, err, storage.ErrNotFound)
	})
	sentence(t, open, "ListEnrollments narrows by account, serial and state", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		var all []storage.Enrollment
		for i, id := range serials(8) {
			e := newEnrollment(t, i+1, id)
			e.Account = []string{"acme", "Acme"}[i%2]
			e.Serial = []string{"s", "S"}[i/2%2]
			e.State = []storage.EnrollmentState{storage.EnrollmentEnrolled, "Enrolled"}[i/4%2]
			ok(t, s.PutEnrollment(ctx, e))
			e.Version = 1
			all = append(all, e)
		}
		for _, c := range []struct {
			f    storage.EnrollmentFilter
			want []int
		}{
			{storage.EnrollmentFilter{Account: "acme"}, []int{0, 2, 4, 6}},
			{storage.EnrollmentFilter{Serial: "S"}, []int{2, 3, 6, 7}},
			{storage.EnrollmentFilter{State: storage.EnrollmentEnrolled}, []int{0, 1, 2, 3}},
			{storage.EnrollmentFilter{Account: "Acme", Serial: "S", State: "Enrolled"}, []int{7}},
			{storage.EnrollmentFilter{Account: "ACME"}, nil},
			{storage.EnrollmentFilter{Serial: "\xff"}, nil},
		} {
			var want []storage.Enrollment
			for _, i := range c.want {
				want = append(want, all[i])
			}
			equal(t, collect(t, 3, func(p storage.Page) ([]storage.Enrollment, string, error) {
				return s.ListEnrollments(ctx, c.f, p)
			}), want)
		}
	})
}
