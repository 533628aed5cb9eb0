// Package sqlstore is a storage backend on a SQL database that the host opens.
//
//	db, err := sql.Open("sqlite", sqlstore.SQLiteDSN("enrollkit.db")) // with import _ "modernc.org/sqlite"
//	...
//	err = sqlstore.Migrate(ctx, db, sqlstore.SQLite)
//	...
//	store, err := sqlstore.New(db, sqlstore.SQLite)
//
// The package imports no driver and never closes db. Tables carry a prefix ([WithPrefix]), so they may live in the
// host's own database.
//
// # SQLite
//
// Any number of goroutines and of processes on one machine may share a file; one of them writes at a time and the
// others wait. [SQLiteDSN] makes a name for modernc.org/sqlite with what that needs. A host that opens the database in
// another way, or with another driver, sets for every connection:
//
//   - busy_timeout: how long a connection waits for another one to finish its write, 10 seconds in SQLiteDSN. Writes
//     that still find the database busy are tried again a few times.
//   - journal_mode WAL: readers do not wait for the writer, nor the writer for them. It cannot be used on network file
//     systems.
//   - synchronous FULL: what was stored survives a power failure. With NORMAL it survives the end of the process, and a
//     power failure may undo the newest writes, each of them as a whole.
//
// A database in memory is not shared between the connections of a pool: use package memory instead.
package sqlstore
