package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"
	"sync/atomic"

	"modernc.org/sqlite"
)

// fuse counts what is asked of a database and lets it die at one of these requests: from then on nothing works, as
// for a process that was killed. A commit dies after it has taken effect, everything else before.
type fuse struct {
	left  atomic.Int64 // requests until death; never reached if it begins at 0
	calls atomic.Int64
	blown chan struct{}
	once  sync.Once
}

var errDead = errors.New("the database is gone")

func newFuse(n int64) *fuse {
	f := &fuse{blown: make(chan struct{})}
	f.left.Store(n)
	return f
}

// burn counts a request and reports whether it is the last, or after it.
func (f *fuse) burn() (last, dead bool) {
	f.calls.Add(1)
	n := f.left.Add(-1)
	if n == 0 {
		f.once.Do(func() { close(f.blown) })
	}
	select {
	case <-f.blown:
		return n == 0, n != 0
	default:
		return false, false
	}
}

func (f *fuse) check() error {
	if last, dead := f.burn(); last || dead {
		return errDead
	}
	return nil
}

// fusedConnector opens connections that die with the fuse.
type fusedConnector struct {
	dsn  string
	fuse *fuse
}

func (c *fusedConnector) Driver() driver.Driver { return &sqlite.Driver{} }

func (c *fusedConnector) Connect(context.Context) (driver.Conn, error) {
	if err := c.fuse.check(); err != nil {
		return nil, err
	}
	conn, err := c.Driver().Open(c.dsn)
	if err != nil {
		return nil, err
	}
	return &fusedConn{Conn: conn, fuse: c.fuse}, nil
}

type fusedConn struct {
	driver.Conn
	fuse *fuse
}

func (c *fusedConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *fusedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &fusedStmt{Stmt: stmt, fuse: c.fuse}, nil
}

func (c *fusedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.fuse.check(); err != nil {
		return nil, err
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *fusedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.fuse.check(); err != nil {
		return nil, err
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *fusedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if err := c.fuse.check(); err != nil {
		return nil, err
	}
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &fusedTx{Tx: tx, fuse: c.fuse}, nil
}

type fusedStmt struct {
	driver.Stmt
	fuse *fuse
}

func (s *fusedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.fuse.check(); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s *fusedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.fuse.check(); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

type fusedTx struct {
	driver.Tx
	fuse *fuse
}

// Commit takes effect if it is the request the database dies at: the process that asked never learns it.
func (t *fusedTx) Commit() error {
	last, dead := t.fuse.burn()
	if dead {
		return errors.Join(errDead, t.Rollback())
	}
	if err := t.Tx.Commit(); err != nil || !last {
		return err
	}
	return errDead
}
