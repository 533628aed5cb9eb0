// Package cli stands in for nanodep's package of this name when its programs are built with our storage.
package cli

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	nanodep "github.com/micromdm/nanodep/storage"
	_ "modernc.org/sqlite"

	"github.com/enrollkit/enrollkit/abm/depstore"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/sqlstore"
)

// Storage opens the SQLite database dsn, sealed with the keyset in the file options. The database stays open until the
// program ends, as do those of nanodep's own storages.
func Storage(storageName, dsn, options string) (nanodep.AllStorage, error) {
	if storageName != "enrollkit" {
		return nil, fmt.Errorf("unknown storage: %q", storageName)
	}
	keyset, err := os.ReadFile(options)
	if err != nil {
		return nil, err
	}
	sealer, err := storage.NewKeysetSealer(keyset)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", sqlstore.SQLiteDSN(dsn))
	if err != nil {
		return nil, err
	}
	if err := sqlstore.Migrate(context.Background(), db, sqlstore.SQLite); err != nil {
		return nil, err
	}
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return nil, err
	}
	return depstore.New(store, sealer)
}
