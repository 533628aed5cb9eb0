package backendtest_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/sqlstore"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", sqlstore.SQLiteDSN(filepath.Join(t.TempDir(), "x.db")))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for name, try := range map[string]func() (*sqlstore.Store, error){
		"no database":     func() (*sqlstore.Store, error) { return sqlstore.New(nil, sqlstore.SQLite) },
		"unknown dialect": func() (*sqlstore.Store, error) { return sqlstore.New(db, "oracle") },
		"nil option":      func() (*sqlstore.Store, error) { return sqlstore.New(db, sqlstore.SQLite, nil) },
		"empty prefix":    func() (*sqlstore.Store, error) { return sqlstore.New(db, sqlstore.SQLite, sqlstore.WithPrefix("")) },
		"unsafe prefix": func() (*sqlstore.Store, error) {
			return sqlstore.New(db, sqlstore.SQLite, sqlstore.WithPrefix("a; DROP TABLE b"))
		},
	} {
		s, err := try()
		assert.Error(t, err, name)
		assert.Nil(t, s, name)
	}
	_, err = sqlstore.Migrations("oracle")
	assert.Error(t, err)
}

func TestConstructorDoesNotMigrate(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", sqlstore.SQLiteDSN(filepath.Join(t.TempDir(), "x.db")))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	s, err := sqlstore.New(db, sqlstore.SQLite)
	require.NoError(t, err)
	_, err = s.GetAccount(t.Context(), "acme")
	require.ErrorContains(t, err, "no such table")
	require.NotErrorIs(t, err, storage.ErrNotFound)
}

// Replicas that start together all migrate; one of them does the work.
func TestMigrateFromManyAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "enrollkit.db")
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, db := openSQLite(t, path)
			assert.NoError(t, s.AppendActivities(t.Context(), storage.Activity{Kind: "k"}))
			assert.NoError(t, db.Close())
		})
	}
	wg.Wait()
	s, db := openSQLite(t, path)
	defer func() { require.NoError(t, db.Close()) }()
	acts, _, err := s.ListActivities(t.Context(), storage.ActivityFilter{}, storage.Page{})
	require.NoError(t, err)
	assert.Len(t, acts, 6)
}

func TestMigrationsAreNumberedWithoutGaps(t *testing.T) {
	t.Parallel()
	files, err := sqlstore.Migrations(sqlstore.SQLite)
	require.NoError(t, err)
	names, err := fs.Glob(files, "*")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for i, name := range names {
		assert.Regexp(t, `^\d{4}_[a-z_]+\.sql$`, name)
		assert.Equal(t, i+1, int(name[3]-'0')+10*int(name[2]-'0'), name)
		text, err := fs.ReadFile(files, name)
		require.NoError(t, err)
		for _, word := range []string{"CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX "} {
			for _, rest := range strings.Split(string(text), word)[1:] {
				assert.True(t, strings.HasPrefix(rest, "enrollkit_"), "%s: %s%.30s", name, word, rest)
			}
		}
	}
}

// Two stores with prefixes of their own share a database and see nothing of each other.
func TestPrefixesKeepStoresApart(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "host.db")
	first, db1 := openSQLite(t, path, sqlstore.WithPrefix("one_"))
	second, db2 := openSQLite(t, path, sqlstore.WithPrefix("two_"))
	defer func() { require.NoError(t, errors.Join(db1.Close(), db2.Close())) }()
	require.NoError(t, first.CreateAccount(ctx, storage.Account{Name: "acme", ServerUUID: "u"}))
	_, err := second.GetAccount(ctx, "acme")
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.NoError(t, second.CreateAccount(ctx, storage.Account{Name: "acme", ServerUUID: "u"}))
	var strangers int
	row := db1.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%enrollkit%'")
	require.NoError(t, row.Scan(&strangers))
	assert.Zero(t, strangers)
}

func TestSQLiteDSNTakesAnyPath(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b.db", "100%.db", "a?b.db", "a#b.db", "ä😀.db", "a&b=c.db"} {
		path := filepath.Join(t.TempDir(), name)
		s, db := openSQLite(t, path)
		require.NoError(t, s.AppendActivities(t.Context(), storage.Activity{Kind: "k"}))
		assert.FileExists(t, path)
		for pragma, want := range map[string]string{"journal_mode": "wal", "busy_timeout": "10000", "synchronous": "2"} {
			var got string
			require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
			assert.Equal(t, want, got, pragma)
		}
		require.NoError(t, db.Close())
	}
}

// busyStore is a store whose connections do not wait for locks, and a connection that holds the lock.
func busyStore(t *testing.T) (s *sqlstore.Store, release func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "enrollkit.db")
	_, other := openSQLite(t, path)
	tx, err := other.BeginTx(t.Context(), nil) // immediate
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "DELETE FROM enrollkit_leases")
	require.NoError(t, err)
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(0)")
	require.NoError(t, err)
	s, err = sqlstore.New(db, sqlstore.SQLite)
	require.NoError(t, err)
	release = sync.OnceFunc(func() { require.NoError(t, tx.Rollback()) })
	t.Cleanup(func() {
		release()
		require.NoError(t, errors.Join(db.Close(), other.Close()))
	})
	return s, release
}

func TestBusyDatabaseIsTriedAgain(t *testing.T) {
	t.Parallel()
	s, release := busyStore(t)
	done := make(chan error, 1)
	go func() { done <- s.AppendActivities(t.Context(), storage.Activity{Kind: "k"}) }()
	timer := time.AfterFunc(30*time.Millisecond, release)
	defer timer.Stop()
	require.NoError(t, <-done)
}

func TestBusyDatabaseIsGivenUp(t *testing.T) {
	t.Parallel()
	s, _ := busyStore(t)
	err := s.AppendActivities(t.Context(), storage.Activity{Kind: "k"})
	require.ErrorContains(t, err, "database is locked")
	_, _, err = s.ListActivities(t.Context(), storage.ActivityFilter{}, storage.Page{})
	require.NoError(t, err, "readers do not wait for the writer")
}

func TestWaitingForTheDatabaseEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s, _ := busyStore(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := s.AppendActivities(ctx, storage.Activity{Kind: "k"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// A host's driver that was not told to begin with a write lock must not make transactions fail that others overtake.
func TestDeferredTransactionsWaitTheirTurn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "enrollkit.db")
	first, firstDB := openSQLite(t, path)
	defer func() { require.NoError(t, firstDB.Close()) }()
	require.NoError(t, first.CreateAccount(t.Context(), storage.Account{Name: "acme"}))
	var wg sync.WaitGroup
	var devices []storage.Device
	for i := range 500 { // enough for the transactions to meet
		devices = append(devices, storage.Device{Account: "acme", Serial: strconv.Itoa(i)})
	}
	for range 6 { // a store and a pool each, so that they meet in the database only
		wg.Go(func() {
			db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_txlock=deferred")
			if !assert.NoError(t, err) {
				return
			}
			defer func() { assert.NoError(t, db.Close()) }()
			s, err := sqlstore.New(db, sqlstore.SQLite)
			if !assert.NoError(t, err) {
				return
			}
			for range 10 {
				c := storage.InventoryChange{Account: "acme", Devices: devices}
				assert.NoError(t, s.CommitInventory(t.Context(), c)) // reads before it writes
			}
		})
	}
	wg.Wait()
}
