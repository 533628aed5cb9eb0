package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"

	"github.com/enrollkit/enrollkit/internal/pagecursor"
	"github.com/enrollkit/enrollkit/storage"
)

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// selectFrom begins a SELECT of whole records.
func (tb table[T]) selectFrom() string {
	return "SELECT " + strings.Join(tb.columns, ", ") + " FROM " + tb.name
}

// many returns the records that a SELECT ending in tail finds.
func many[T any](ctx context.Context, s *Store, q querier, tb table[T], tail string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, s.sql(tb.selectFrom()+tail), args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	var out []T
	for rows.Next() {
		var v T
		if err := rows.Scan(tb.fields(&v)...); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// one returns the record with this key, or sql.ErrNoRows.
func one[T any](ctx context.Context, s *Store, q querier, tb table[T], key ...string) (T, error) {
	var v, zero T
	conditions, args := make([]string, len(key)), make([]any, len(key))
	for i, k := range key {
		if !storage.ValidKey(k) {
			return zero, sql.ErrNoRows
		}
		conditions[i], args[i] = tb.columns[i]+" = ?", k
	}
	query := tb.selectFrom() + " WHERE " + strings.Join(conditions, " AND ")
	if err := q.QueryRowContext(ctx, s.sql(query), args...).Scan(tb.fields(&v)...); err != nil {
		return zero, err
	}
	return v, nil
}

// get is one for the methods that return one record.
func get[T any](ctx context.Context, s *Store, op string, tb table[T], key ...string) (T, error) {
	v, err := one(ctx, s, s.db, tb, key...)
	return v, s.fail(ctx, op, key[len(key)-1], err)
}

// exists reports whether a SELECT finds a row.
func (t *tx) exists(query string, args ...any) (bool, error) {
	var n int
	err := t.QueryRowContext(t.ctx, t.s.sql(query), args...).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// insert stores a new record and reports whether it was new.
func insert[T any](t *tx, tb table[T], v T) (bool, error) {
	n, err := t.exec(t.s.d.insertNew(tb.name, tb.columns), tb.fields(&v)...)
	return n > 0, err
}

// updateSQL returns the UPDATE of a record that has a version.
func (tb table[T]) updateSQL(also string) string {
	last := len(tb.columns) - 1
	var b strings.Builder
	b.WriteString("UPDATE " + tb.name + " SET ")
	for _, column := range tb.columns[tb.keys:last] {
		b.WriteString(column + " = ?, ")
	}
	b.WriteString(also + "version = version + 1 WHERE ")
	for _, column := range tb.columns[:tb.keys] {
		b.WriteString(column + " = ? AND ")
	}
	return b.String() + "version = ?"
}

// updateArgs returns the arguments of updateSQL.
func (tb table[T]) updateArgs(v *T) []any {
	f := tb.fields(v)
	last := len(f) - 1
	args := append([]any{}, f[tb.keys:last]...)
	args = append(args, f[:tb.keys]...)
	return append(args, f[last])
}

// update replaces the record that has the version of v and reports whether there is one. also are further assignments.
func update[T any](t *tx, tb table[T], v T, also string) (bool, error) {
	n, err := t.exec(tb.updateSQL(also), tb.updateArgs(&v)...)
	return n > 0, err
}

// each runs one statement for every list of arguments. It returns the index of the first that affected no row, -1 if
// there is none.
func (t *tx) each(query string, n int, args func(i int) []any) (missed int, err error) {
	if n == 0 {
		return -1, nil
	}
	statement, err := t.PrepareContext(t.ctx, t.s.sql(query))
	if err != nil {
		return 0, err
	}
	defer func() { _ = statement.Close() }()
	missed = -1
	for i := range n {
		result, err := statement.ExecContext(t.ctx, args(i)...)
		if err != nil {
			return 0, err
		}
		affected, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		if affected == 0 && missed < 0 {
			missed = i
		}
	}
	return missed, nil
}

// jsonKeys returns the keys that a record can have as a JSON array, for a dialect's inList.
func jsonKeys(keys []string) (string, error) {
	valid := make([]string, 0, len(keys))
	for _, key := range keys {
		if storage.ValidKey(key) {
			valid = append(valid, key)
		}
	}
	b, err := json.Marshal(valid)
	return string(b), err
}

// filter is the condition of a list.
type filter struct {
	conditions []string
	args       []any
	values     []string // for the cursor
	nothing    bool     // no record can match
}

// equal narrows to the records whose column has this value, unless it is empty.
func (f *filter) equal(column, value string) {
	f.values = append(f.values, value)
	if value == "" {
		return
	}
	f.nothing = f.nothing || storage.Text(value) != value
	f.conditions, f.args = append(f.conditions, column+" = ?"), append(f.args, value)
}

// when narrows by a condition without arguments.
func (f *filter) when(on bool, condition string) {
	mark := ""
	if on {
		mark = "on"
		f.conditions = append(f.conditions, condition)
	}
	f.values = append(f.values, mark)
}

// listing is one page to be read: the column the list is ordered by, and the value that comes after p.After.
type listing struct {
	filter
	order      string
	descending bool
	page       storage.Page
}

// list returns one page of a table. after turns the key in a cursor into an argument, key makes it.
func list[T any](ctx context.Context, s *Store, tb table[T], l listing, after func(string) (any, error), key func(*T) string) (
	[]T, string, error,
) {
	if l.page.After != "" {
		last, ok := pagecursor.Decode(l.page.After, tb.name, l.values)
		if !ok {
			return nil, "", storage.ErrBadCursor
		}
		arg, err := after(last)
		if err != nil {
			return nil, "", storage.ErrBadCursor
		}
		comparison := " > ?"
		if l.descending {
			comparison = " < ?"
		}
		l.conditions, l.args = append(l.conditions, l.order+comparison), append(l.args, arg)
	}
	if l.nothing {
		return nil, "", nil
	}
	tail := ""
	if len(l.conditions) > 0 {
		tail = " WHERE " + strings.Join(l.conditions, " AND ")
	}
	tail += " ORDER BY " + l.order
	if l.descending {
		tail += " DESC"
	}
	size := l.page.Size()
	records, err := many(ctx, s, s.db, tb, tail+" LIMIT ?", append(l.args, size+1)...)
	if err != nil || len(records) <= size {
		return records, "", err
	}
	records = records[:size]
	return records, pagecursor.Encode(tb.name, l.values, key(&records[size-1])), nil
}

// text is the argument of a list that is ordered by text.
func text(s string) (any, error) {
	if !storage.ValidKey(s) {
		return nil, storage.ErrBadCursor
	}
	return s, nil
}

// bound returns how many records a limit lets through.
func bound(limit int) int { return max(0, min(limit, storage.MaxBatch)) }
