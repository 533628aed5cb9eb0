package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// Store is a storage.Store on a SQL database. It is safe for use by many goroutines and processes.
type Store struct {
	db     *sql.DB
	d      dialect
	prefix string
	// writer is held by the goroutine that writes, if the database allows one only: waiting here is fair and costs
	// nothing, other than waiting in the database.
	writer chan struct{}
}

var _ storage.Store = (*Store)(nil)

// Option changes how a store works.
type Option func(*settings) error

type settings struct{ prefix string }

// WithPrefix makes the names of all tables and indexes begin with prefix: a lower-case letter, then up to 30 lower-case
// letters, digits and underscores. The default is "enrollkit_".
func WithPrefix(prefix string) Option {
	return func(s *settings) error {
		if !regexp.MustCompile(`^[a-z][a-z0-9_]{0,30}$`).MatchString(prefix) {
			return fmt.Errorf("sqlstore: WithPrefix: invalid prefix %q", prefix)
		}
		s.prefix = prefix
		return nil
	}
}

const defaultPrefix = "enrollkit_"

// New returns a store on db, whose tables [Migrate] has made. It does not talk to the database. The host keeps db and
// closes it when the store is no longer used.
func New(db *sql.DB, d Dialect, opts ...Option) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: New: db is nil")
	}
	differences, err := lookup(d)
	if err != nil {
		return nil, err
	}
	set := settings{prefix: defaultPrefix}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("sqlstore: New: nil option")
		}
		if err := opt(&set); err != nil {
			return nil, err
		}
	}
	s := &Store{db: db, d: differences, prefix: set.prefix}
	if s.d.lock != "" {
		s.writer = make(chan struct{}, 1)
	}
	return s, nil
}

// sql returns a statement with the prefix in place.
func (s *Store) sql(query string) string {
	if s.prefix == defaultPrefix {
		return query
	}
	return strings.ReplaceAll(query, defaultPrefix, s.prefix)
}

// fail is the one place where errors of the database become errors of the contract. It wraps them with the operation
// and the key.
func (s *Store) fail(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case ctx.Err() != nil: // drivers have words of their own for an interrupted statement
		err = ctx.Err()
	case errors.Is(err, sql.ErrNoRows):
		err = storage.ErrNotFound
	case s.d.unique(err):
		err = storage.ErrExists
	}
	return fmt.Errorf("sqlstore: %s %q: %w", op, key, err)
}

// tx is a transaction under way. It ends with the function it was handed to.
type tx struct {
	*sql.Tx
	ctx context.Context
	s   *Store
}

// exec runs a statement and returns how many rows it affected.
func (t *tx) exec(query string, args ...any) (int64, error) {
	result, err := t.ExecContext(t.ctx, t.s.sql(query), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// write stores in one transaction what fn writes and, if fn says that it wrote, the activities. fn may be called more
// than once, each time on a new transaction.
func (s *Store) write(ctx context.Context, op, key string, acts []storage.Activity, fn func(t *tx) (wrote bool, err error)) error {
	acts, err := storage.NormalizeActivities(acts)
	if err != nil {
		return s.fail(ctx, op, key, err)
	}
	return s.fail(ctx, op, key, s.retry(ctx, func() error {
		return s.transact(ctx, func(t *tx) error {
			wrote, err := fn(t)
			if err != nil || !wrote {
				return err
			}
			return t.insertActivities(acts)
		})
	}))
}

// transact runs fn in a transaction, as the only writer if the database demands one.
func (s *Store) transact(ctx context.Context, fn func(t *tx) error) error {
	if s.writer != nil {
		select {
		case s.writer <- struct{}{}:
			defer func() { <-s.writer }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	begun, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = begun.Rollback() }() // without effect after the commit
	t := &tx{Tx: begun, ctx: ctx, s: s}
	if s.d.lock != "" {
		if _, err := t.exec(s.d.lock); err != nil {
			return err
		}
	}
	if err := fn(t); err != nil {
		return err
	}
	return begun.Commit()
}

// Writes that find the database busy are tried again after firstWait, then twice that, and so on.
const (
	tries     = 6
	firstWait = 10 * time.Millisecond
)

func (s *Store) retry(ctx context.Context, fn func() error) error {
	for i := 0; ; i++ {
		err := fn()
		if err == nil || !s.d.busy(err) || i == tries-1 {
			return err
		}
		wait := time.NewTimer(firstWait << i)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		}
	}
}
