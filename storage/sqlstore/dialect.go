package sqlstore

import (
	"fmt"
	"strings"
)

// Dialect names a kind of SQL database.
type Dialect string

// Dialects.
const (
	// SQLite is SQLite 3.38 or newer.
	SQLite Dialect = "sqlite"
)

// dialect is all that differs between databases, apart from the migrations.
type dialect struct {
	name Dialect
	// lock is a statement that changes nothing and makes a transaction the only writer, for databases that cannot lock
	// rows; empty for others.
	lock string
	// forShare and forUpdate end a SELECT whose rows must not be changed before the transaction ends; skipLocked is
	// forUpdate without the rows others have.
	forShare, forUpdate, skipLocked string
	// inList is the condition, after a column, that it is an element of a JSON array of strings.
	inList string
	// insertNew returns an INSERT that affects no row if a unique value is taken.
	insertNew func(table string, columns []string) string
	// upsert returns an INSERT that replaces all other columns if the key is taken.
	upsert func(table string, columns []string, keys int) string
	// busy reports whether an error means that nothing was written because others were at work; unique whether a unique
	// value is taken.
	busy, unique func(err error) bool
}

// lookup returns the differences of one dialect.
func lookup(d Dialect) (dialect, error) {
	switch d {
	case SQLite:
		return sqlite(), nil
	default:
		return dialect{}, fmt.Errorf("sqlstore: unknown dialect %q", string(d))
	}
}

// insertInto returns an INSERT without an end.
func insertInto(table string, columns []string) string {
	marks := strings.Repeat("?, ", len(columns)-1) + "?"
	return "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES (" + marks + ")"
}
