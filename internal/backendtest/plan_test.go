package backendtest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/sqlstore"
)

// recorder opens connections that note the queries they are asked.
type recorder struct {
	inner   driver.Driver
	dsn     string
	mu      sync.Mutex
	queries []string
}

func (r *recorder) Connect(context.Context) (driver.Conn, error) {
	c, err := r.inner.Open(r.dsn)
	return &recordedConn{c, r}, err
}

// drain returns what was noted since the last call.
func (r *recorder) drain() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.queries
	r.queries = nil
	return out
}

type recordedConn struct {
	driver.Conn
	r *recorder
}

func (c *recordedConn) note(query string) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.r.queries = append(c.r.queries, query)
}

func (c *recordedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.note(query)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *recordedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.note(query)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *recordedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

func (r *recorder) Driver() driver.Driver { return r.inner }

// The plans of the queries that run often, or over large tables, name an index and need no sorting.
func TestSQLiteQueriesUseIndexes(t *testing.T) {
	t.Parallel()
	r := &recorder{inner: &sqlite.Driver{}, dsn: sqlstore.SQLiteDSN(filepath.Join(t.TempDir(), "enrollkit.db"))}
	db := sql.OpenDB(r)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
	s, err := sqlstore.New(db, sqlstore.SQLite)
	require.NoError(t, err)

	ctx, p := t.Context(), storage.Page{}
	for name, ask := range map[string]func() error{
		"DueAssignments": func() error { _, err := s.DueAssignments(ctx, "acme", start, 10); return err },
		"ClaimRuns":      func() error { _, err := s.ClaimRuns(ctx, start, time.Hour, 10); return err },
		"ClaimEffects":   func() error { _, err := s.ClaimEffects(ctx, start, time.Hour, 10); return err },
		"ListEffects":    func() error { _, err := s.ListEffects(ctx, "r"); return err },
		"LiveRun":        func() error { _, err := s.LiveRun(ctx, "e"); return ignoreMissing(err) },
		"DeviceDigests":  func() error { _, err := s.DeviceDigests(ctx, "acme", []string{"s"}); return err },
		"FindDevices":    func() error { _, err := s.FindDevices(ctx, "s"); return err },
		"ListSerials": func() error {
			_, _, err := s.ListSerials(ctx, storage.DeviceFilter{Account: "acme"}, p)
			return err
		},
		"AssignmentStats": func() error { _, err := s.AssignmentStats(ctx, "acme"); return err },
		"CountDevices":    func() error { _, _, err := s.CountDevices(ctx, "acme"); return err },
		"ListDevices": func() error {
			_, _, err := s.ListDevices(ctx, storage.DeviceFilter{Account: "acme"}, p)
			return err
		},
		"ListAssignments by state": func() error {
			_, _, err := s.ListAssignments(ctx, storage.AssignmentFilter{Account: "acme", State: "x"}, p)
			return err
		},
		"ListEnrollments by serial": func() error {
			_, _, err := s.ListEnrollments(ctx, storage.EnrollmentFilter{Serial: "s"}, p)
			return err
		},
		"ListEnrollments by account": func() error {
			_, _, err := s.ListEnrollments(ctx, storage.EnrollmentFilter{Account: "acme"}, p)
			return err
		},
		"ListRuns by serial": func() error { _, _, err := s.ListRuns(ctx, storage.RunFilter{Serial: "s"}, p); return err },
		"ListActivities by account": func() error {
			_, _, err := s.ListActivities(ctx, storage.ActivityFilter{Account: "acme", Newest: true}, p)
			return err
		},
		"ListActivities by serial": func() error {
			_, _, err := s.ListActivities(ctx, storage.ActivityFilter{Serial: "s"}, p)
			return err
		},
		"ListActivities by enrollment": func() error {
			_, _, err := s.ListActivities(ctx, storage.ActivityFilter{EnrollmentID: "e"}, p)
			return err
		},
		"ListActivities after Seq": func() error {
			_, _, err := s.ListActivities(ctx, storage.ActivityFilter{AfterSeq: 5}, p)
			return err
		},
		"DeleteExpiredSessions": func() error { _, err := s.DeleteExpiredSessions(ctx, start, 10); return err },
	} {
		r.drain()
		require.NoError(t, ask(), name)
		asked := 0
		for _, query := range r.drain() {
			if strings.Contains(query, "enrollkit_schema") {
				continue
			}
			asked++
			for _, step := range plan(t, db, query) {
				assert.NotRegexp(t, `SCAN enrollkit_|TEMP B-TREE`, step, "%s: %s", name, query)
			}
		}
		assert.NotZero(t, asked, name)
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

// plan returns the steps of a query plan.
func plan(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	args := make([]any, strings.Count(query, "?"))
	for i := range args {
		args[i] = "1"
	}
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, steps)
	return steps
}
