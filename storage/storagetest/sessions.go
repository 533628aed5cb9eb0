package storagetest

import (
	"context"
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// RunSessions checks storage.SessionStore.
func RunSessions(t *testing.T, open Open) {
	values(t, open, record[storage.EnrollmentSession]{
		fresh: func(t testing.TB) storage.EnrollmentSession { return newSession(t, 1, "id") },
		put: func(ctx context.Context, s storage.Store, es storage.EnrollmentSession) error {
			return s.CreateSession(ctx, es)
		},
		get: func(ctx context.Context, s storage.Store, es storage.EnrollmentSession) (storage.EnrollmentSession, error) {
			return s.GetSession(ctx, es.ID)
		},
		stored: func(es *storage.EnrollmentSession) { es.Version = 1 },
		key:    []string{"ID"}, refs: []string{"Account", "Serial", "UDID", "State"},
	})
	writingSessions(t, open)
	expiringSessions(t, open)
	raises(t, open, "UpdateSession",
		func(t testing.TB, s storage.Store) { ok(t, s.CreateSession(t.Context(), newSession(t, 1, "id"))) },
		func(ctx context.Context, s storage.Store, version int64) error {
			return s.UpdateSession(ctx, storage.EnrollmentSession{ID: "id", Version: version})
		},
		func(ctx context.Context, s storage.Store) (int64, error) {
			es, err := s.GetSession(ctx, "id")
			return es.Version, err
		})
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		ok(t, s.CreateSession(t.Context(), newSession(t, 1, "id")))
		return map[string]func(context.Context) error{
			"CreateSession": func(ctx context.Context) error { return s.CreateSession(ctx, newSession(t, 2, "b"), newActivity(t, 1)) },
			"GetSession":    func(ctx context.Context) error { _, err := s.GetSession(ctx, "id"); return err },
			"UpdateSession": func(ctx context.Context) error {
				return s.UpdateSession(ctx, storage.EnrollmentSession{ID: "id", Version: 1}, newActivity(t, 1))
			},
			"DeleteExpiredSessions": func(ctx context.Context) error {
				_, err := s.DeleteExpiredSessions(ctx, epoch().AddDate(100, 0, 0), 10)
				return err
			},
		}
	})
}

func writingSessions(t *testing.T, open Open) {
	get := func(t *testing.T, s storage.Store) storage.EnrollmentSession {
		t.Helper()
		es, err := s.GetSession(t.Context(), "id")
		ok(t, err)
		return es
	}
	sentence(t, open, "Creating over a taken ID is ErrExists", func(t *testing.T, s storage.Store) {
		ok(t, s.CreateSession(t.Context(), newSession(t, 1, "id"), newActivity(t, 1)))
		before := get(t, s)
		writesNothing(t, s, storage.ErrExists, func() error {
			return s.CreateSession(t.Context(), newSession(t, 2, "id"), newActivity(t, 2))
		})
		equal(t, get(t, s), before)
	})
	sentence(t, open, "Updating replaces every field and raises the version by one", func(t *testing.T, s storage.Store) {
		ok(t, s.CreateSession(t.Context(), newSession(t, 1, "id")))
		want := newSession(t, 2, "id")
		want.Version = 1
		ok(t, s.UpdateSession(t.Context(), want, newActivity(t, 1)))
		want.Version = 2
		equal(t, get(t, s), want)
		equal(t, len(snap(t, s).Activities), 1)
		ok(t, s.UpdateSession(t.Context(), storage.EnrollmentSession{ID: "id", Version: 2}))
		equal(t, get(t, s), storage.EnrollmentSession{ID: "id", Version: 3})
	})
	sentence(t, open, "Updating with another version is ErrConflict", func(t *testing.T, s storage.Store) {
		ok(t, s.CreateSession(t.Context(), newSession(t, 1, "id")))
		before := get(t, s)
		for _, version := range []int64{-1, 0, 2} {
			es := newSession(t, 2, "id")
			es.Version = version
			writesNothing(t, s, storage.ErrConflict, func() error { return s.UpdateSession(t.Context(), es, newActivity(t, 1)) })
			equal(t, get(t, s), before)
		}
	})
	sentence(t, open, "A missing session is ErrNotFound", func(t *testing.T, s storage.Store) {
		_, err := s.GetSession(t.Context(), "id")
		isErr(t, err, storage.ErrNotFound)
		writesNothing(t, s, storage.ErrNotFound, func() error {
			return s.UpdateSession(t.Context(), newSession(t, 2, "id"), newActivity(t, 1))
		})
	})
}

func expiringSessions(t *testing.T, open Open) {
	now := epoch()
	create := func(t *testing.T, s storage.Store, id string, expires time.Time) {
		t.Helper()
		es := newSession(t, 1, id)
		es.ExpiresAt = expires
		ok(t, s.CreateSession(t.Context(), es))
	}
	sentence(t, open, "DeleteExpiredSessions removes those whose ExpiresAt is before now", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		create(t, s, "never", time.Time{})
		create(t, s, "now", now)
		create(t, s, "later", now.Add(time.Microsecond))
		for _, id := range []string{"a", "b", "c", "d"} {
			create(t, s, id, now.Add(-time.Microsecond))
		}
		for _, step := range []struct{ limit, want int }{{0, 0}, {-1, 0}, {3, 3}, {storage.MaxBatch + 1, 1}, {3, 0}} {
			n, err := s.DeleteExpiredSessions(ctx, now, step.limit)
			ok(t, err)
			equal(t, n, step.want)
		}
		for _, id := range []string{"never", "now", "later"} {
			_, err := s.GetSession(ctx, id)
			ok(t, err)
		}
		_, err := s.GetSession(ctx, "a")
		isErr(t, err, storage.ErrNotFound)
	})
	sentence(t, open, "Each expired session is removed once", func(t *testing.T, s storage.Store) {
		for _, id := range serials(40) {
			create(t, s, id, now.Add(-time.Hour))
		}
		var removed [4]int
		for _, err := range together(len(removed), func(i int) error {
			for {
				n, err := s.DeleteExpiredSessions(t.Context(), now, 7)
				if n == 0 || err != nil {
					return err
				}
				removed[i] += n
			}
		}) {
			ok(t, err)
		}
		equal(t, removed[0]+removed[1]+removed[2]+removed[3], 40)
	})
	sentence(t, open, "A session is there until it is removed, expired or not", func(t *testing.T, s storage.Store) {
		create(t, s, "id", time.Unix(1, 0))
		_, err := s.GetSession(t.Context(), "id")
		ok(t, err)
	})
}
