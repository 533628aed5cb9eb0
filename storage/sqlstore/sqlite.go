package sqlstore

import (
	"errors"
	"net/url"
	"path/filepath"
	"strings"
)

// SQLiteDSN returns the data source name under which the driver modernc.org/sqlite (registered as "sqlite") opens the
// file at path, creating it if there is none, with the settings the package documentation asks for.
//
// Driver: https://pkg.go.dev/modernc.org/sqlite#Driver.Open
func SQLiteDSN(path string) string {
	file := url.URL{Path: filepath.ToSlash(path)}
	return "file:" + file.EscapedPath() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
}

func sqlite() dialect {
	return dialect{
		name: SQLite,
		// A transaction that begins by reading cannot become a writer once another one has written: it would fail at
		// once, without waiting. One that begins with a write waits its turn. This holds whatever kind of BEGIN the
		// driver was told to use: https://www.sqlite.org/lang_transaction.html
		lock:   "DELETE FROM enrollkit_schema WHERE version < 0",
		inList: " IN (SELECT value FROM json_each(?))",
		insertNew: func(table string, columns []string) string {
			return insertInto(table, columns) + " ON CONFLICT DO NOTHING"
		},
		upsert: func(table string, columns []string, keys int) string {
			sets := make([]string, 0, len(columns))
			for _, c := range columns[keys:] {
				sets = append(sets, c+" = excluded."+c)
			}
			return insertInto(table, columns) + " ON CONFLICT (" + strings.Join(columns[:keys], ", ") + ") DO UPDATE SET " +
				strings.Join(sets, ", ")
		},
		busy: func(err error) bool {
			return sqliteCode(err, 5, "database is locked") || sqliteCode(err, 6, "table is locked")
		},
		unique: func(err error) bool { return sqliteCode(err, 19, "UNIQUE constraint failed") },
	}
}

// sqliteCode reports whether err carries the primary result code, the low byte of what modernc.org/sqlite's error gives
// as Code. Errors of other drivers are told by SQLite's own words for it.
//
// SQLite: https://www.sqlite.org/rescode.html
func sqliteCode(err error, code int, words string) bool {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code()&0xff == code
	}
	return err != nil && strings.Contains(err.Error(), words)
}
