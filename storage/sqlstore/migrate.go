package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the migrations of a dialect, for hosts that run them with a tool of their own: one file a step,
// named by a number of four digits and a word, to be run in that order and each once. Every name in them begins with
// "enrollkit_"; a host with another prefix puts it in its place. The table enrollkit_schema is made by [Migrate] and has
// to be made by the host otherwise:
//
//	CREATE TABLE enrollkit_schema (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)
func Migrations(d Dialect) (fs.FS, error) {
	if _, err := lookup(d); err != nil {
		return nil, err
	}
	return fs.Sub(migrations, "migrations/"+string(d))
}

// Migrate brings the tables to the state this version of the package needs. It keeps what is there, does nothing if
// nothing is to be done, and may be called by several processes at once. Steps only go forward; tables that a newer
// version of the package has made are left as they are.
func Migrate(ctx context.Context, db *sql.DB, d Dialect, opts ...Option) error {
	s, err := New(db, d, opts...)
	if err != nil {
		return err
	}
	files, err := Migrations(d)
	if err != nil {
		return err
	}
	steps, err := fs.Glob(files, "*.sql") // sorted
	if err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	const schema = "CREATE TABLE IF NOT EXISTS enrollkit_schema (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)"
	err = s.retry(ctx, func() error {
		if _, err := db.ExecContext(ctx, s.sql(schema)); err != nil {
			return err
		}
		return s.transact(ctx, func(t *tx) error { return t.migrate(files, steps) })
	})
	return s.fail(ctx, "migrate", string(d), err)
}

func (t *tx) migrate(files fs.FS, steps []string) error {
	var done int64
	row := t.QueryRowContext(t.ctx, t.s.sql("SELECT COALESCE(MAX(version), 0) FROM enrollkit_schema"))
	if err := row.Scan(&done); err != nil {
		return err
	}
	for _, name := range steps {
		number, err := strconv.ParseInt(name[:4], 10, 64)
		if err != nil {
			return fmt.Errorf("step %s: %w", name, err)
		}
		if number <= done {
			continue
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		for _, statement := range statements(string(text)) {
			if _, err := t.ExecContext(t.ctx, t.s.sql(statement)); err != nil {
				return fmt.Errorf("step %s: %w", name, err)
			}
		}
		if _, err := t.exec("INSERT INTO enrollkit_schema (version, name) VALUES (?, ?)", number, name); err != nil {
			return fmt.Errorf("step %s: %w", name, err)
		}
	}
	return nil
}

// statements splits a file at the semicolons that end a line.
func statements(text string) []string {
	var out []string
	for statement := range strings.SplitSeq(text, ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			out = append(out, statement)
		}
	}
	return out
}
