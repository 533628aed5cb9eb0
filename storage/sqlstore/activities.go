package sqlstore

import (
	"context"
	"strconv"

	"github.com/enrollkit/enrollkit/storage"
)

// AppendActivities implements storage.ActivityStore.
func (s *Store) AppendActivities(ctx context.Context, acts ...storage.Activity) error {
	return s.write(ctx, "append", "activities", acts, func(*tx) (bool, error) { return true, nil })
}

// insertActivities stores normalized activities.
func (t *tx) insertActivities(acts []storage.Activity) error {
	tb := activities()
	_, err := t.each(insertInto(tb.name, tb.columns[1:]), len(acts), func(i int) []any { return tb.fields(&acts[i])[1:] })
	return err
}

// ListActivities implements storage.ActivityStore.
func (s *Store) ListActivities(ctx context.Context, f storage.ActivityFilter, p storage.Page) (
	[]storage.Activity, string, error,
) {
	l := listing{order: "seq", descending: f.Newest, page: p}
	l.equal("account", f.Account)
	l.equal("serial", f.Serial)
	l.equal("enrollment_id", f.EnrollmentID)
	l.equal("kind", f.Kind)
	l.values = append(l.values, strconv.FormatBool(f.Newest), strconv.FormatInt(f.AfterSeq, 10))
	if f.AfterSeq != 0 {
		l.conditions, l.args = append(l.conditions, "seq > ?"), append(l.args, f.AfterSeq)
	}
	out, next, err := list(ctx, s, activities(), l,
		func(key string) (any, error) { return strconv.ParseInt(key, 10, 64) },
		func(a *storage.Activity) string { return strconv.FormatInt(a.Seq, 10) })
	return out, next, s.fail(ctx, "list", "activities", err)
}
