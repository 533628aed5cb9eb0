// Package sqlitedb opens the SQLite database and the keyset that the examples keep in one folder.
package sqlitedb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver

	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/sqlstore"
)

// Names of the files in the folder.
const (
	Database = "enrollkit.db"
	Keyset   = "keyset.json"
)

// DB is an open database. Close it when the store is no longer used.
type DB struct {
	*sqlstore.Store
	Sealer storage.Sealer
	db     *sql.DB
}

// Create opens the database in a folder, and makes the folder, the database and the keyset if they are missing.
func Create(ctx context.Context, dir string) (*DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, Keyset)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		keyset, err := storage.NewKeyset()
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, keyset, 0o600); err != nil {
			return nil, err
		}
	}
	return open(ctx, dir)
}

// Open opens a database that exists.
func Open(ctx context.Context, dir string) (*DB, error) {
	if _, err := os.Stat(filepath.Join(dir, Database)); err != nil {
		return nil, fmt.Errorf("no database in %s: %w", dir, err)
	}
	return open(ctx, dir)
}

func open(ctx context.Context, dir string) (*DB, error) {
	keyset, err := os.ReadFile(filepath.Join(dir, Keyset))
	if err != nil {
		return nil, err
	}
	sealer, err := storage.NewKeysetSealer(keyset)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", sqlstore.SQLiteDSN(filepath.Join(dir, Database)))
	if err != nil {
		return nil, err
	}
	if err := sqlstore.Migrate(ctx, db, sqlstore.SQLite); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &DB{Store: store, Sealer: sealer, db: db}, nil
}

// Close closes the database.
func (d *DB) Close() error { return d.db.Close() }
