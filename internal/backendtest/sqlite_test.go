package backendtest_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
	"github.com/enrollkit/enrollkit/storage/sqlstore"
	"github.com/enrollkit/enrollkit/storage/storagetest"
)

// openSQLite opens the store in a file, which is made if there is none. The caller closes the database.
func openSQLite(tb testing.TB, path string, opts ...sqlstore.Option) (*sqlstore.Store, *sql.DB) {
	tb.Helper()
	db, err := sql.Open("sqlite", sqlstore.SQLiteDSN(path))
	require.NoError(tb, err)
	require.NoError(tb, sqlstore.Migrate(tb.Context(), db, sqlstore.SQLite, opts...))
	s, err := sqlstore.New(db, sqlstore.SQLite, opts...)
	require.NoError(tb, err)
	return s, db
}

// tempSQLite opens an empty store that is closed with the test.
func tempSQLite(tb testing.TB, opts ...sqlstore.Option) *sqlstore.Store {
	tb.Helper()
	s, db := openSQLite(tb, filepath.Join(tb.TempDir(), "enrollkit.db"), opts...)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	return s
}

func TestMemoryContract(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(testing.TB) storage.Store { return memory.New() })
}

func TestSQLiteContract(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(tb testing.TB) storage.Store { return tempSQLite(tb) })
}

func TestSQLiteReopen(t *testing.T) {
	t.Parallel()
	storagetest.RunReopen(t, func(tb testing.TB, dir string) (storage.Store, func()) {
		s, db := openSQLite(tb, filepath.Join(dir, "enrollkit.db"))
		return s, func() { require.NoError(tb, db.Close()) }
	})
}
