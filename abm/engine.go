package abm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/storage"
)

// Store is what the engine needs of a store. storage.Store has all of it.
type Store interface {
	AccountsStore
	storage.DeviceStore
	storage.AssignmentStore
	storage.ProfileStore
	storage.Leaser
}

// Engine keeps the inventory of all accounts current and gives each device the profile that is wanted for it. It stores
// what Apple shows, what is wanted and what was tried, and removes the difference; it can be killed at any point and
// goes on from what is stored. Any number of engines may share one store: each account is worked on by one at a time.
//
// It is safe for concurrent use.
type Engine struct {
	s        settings
	store    Store
	resolver Resolver
	accounts *Accounts
	lanes    lanes

	mu    sync.Mutex
	gates map[string]*gate
}

// gate lets one goroutine of this engine at a time work on an account, and wakes the one that watches over it.
type gate struct {
	busy chan struct{} // holds a value while someone is inside
	wake chan struct{}

	// These are guarded by the engine's mutex.
	plan    lastPlan
	older   int64             // the order of the newer rules that were told of
	drifted map[string]string // by UUID: the keys that were told to differ
	foreign foreignLease
}

// New returns an engine. It does nothing until [Engine.Run] or one of the single steps is called.
// store, sealer and resolver are required.
func New(store Store, sealer storage.Sealer, resolver Resolver, opts ...Option) (*Engine, error) {
	if store == nil || sealer == nil || resolver == nil {
		return nil, errors.New("abm: New: store, sealer and resolver are required")
	}
	s, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	// A lease that its holder asks for again is extended with the same fence: two engines of one name would not be told
	// apart.
	if s.owner != "" {
		s.owner += "/"
	}
	s.owner += rand.Text()
	return &Engine{
		s: s, store: store, resolver: resolver,
		accounts: newAccounts(store, sealer, s),
		lanes:    newLanes(s.concurrency),
		gates:    make(map[string]*gate),
	}, nil
}

// Accounts returns the manager of accounts that the engine uses. A host that uses it too shares the engine's sessions at
// Apple.
func (e *Engine) Accounts() *Accounts { return e.accounts }

func (e *Engine) gate(account string) *gate {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.gates[account]
	if g == nil {
		g = &gate{busy: make(chan struct{}, 1), wake: make(chan struct{}, 1), drifted: make(map[string]string)}
		e.gates[account] = g
	}
	return g
}

// Wake makes a running engine look now whether there is something to do for an account.
func (e *Engine) Wake(account string) {
	select {
	case e.gate(account).wake <- struct{}{}:
	default: // it has been told already
	}
}

// SyncOnce reads what has changed at Apple since the last time, or the full list if there was none, and stores it with
// what is wanted for the changed devices. It returns storage.ErrLeaseHeld when another engine works on the account.
func (e *Engine) SyncOnce(ctx context.Context, account string) (SyncResult, error) {
	var res SyncResult
	err := e.with(ctx, account, func(ctx context.Context, s *step) (err error) {
		res, err = s.sync(ctx)
		return err
	})
	return res, err
}

// SyncNow is SyncOnce for people who wait: it waits for another engine to finish, and wakes the assignment of
// what has changed.
func (e *Engine) SyncNow(ctx context.Context, account string) (SyncResult, error) {
	for {
		res, err := e.SyncOnce(ctx, account)
		if !errors.Is(err, storage.ErrLeaseHeld) {
			e.Wake(account)
			return res, err
		}
		if err := sleep(ctx, e.s.leaseTTL/30); err != nil {
			return SyncResult{}, err
		}
	}
}

// SweepOnce reads the full list, applies the differences, and finds the devices that have left without a word.
// It returns storage.ErrLeaseHeld when another engine works on the account.
func (e *Engine) SweepOnce(ctx context.Context, account string) (SyncResult, error) {
	var res SyncResult
	err := e.with(ctx, account, func(ctx context.Context, s *step) (err error) {
		res, err = s.sweep(ctx)
		return err
	})
	return res, err
}

// PlanOnce asks the resolver for all devices of an account and stores what is wanted where it differs. It returns how many
// assignments changed, and storage.ErrLeaseHeld when another engine works on the account.
func (e *Engine) PlanOnce(ctx context.Context, account string) (int, error) {
	var n int
	err := e.with(ctx, account, func(ctx context.Context, s *step) (err error) {
		n, err = s.replan(ctx)
		return err
	})
	return n, err
}

// AssignOnce does one batch of what is due: looks at devices and assigns profiles. Nothing is due any more when the
// result's Due is 0. It returns storage.ErrLeaseHeld when another engine works on the account.
func (e *Engine) AssignOnce(ctx context.Context, account string) (AssignResult, error) {
	var res AssignResult
	err := e.with(ctx, account, func(ctx context.Context, s *step) (err error) {
		res, err = s.assign(ctx)
		return err
	})
	return res, err
}

// with runs f for an account while no one else works on it, and records how the account stands with Apple after it.
func (e *Engine) with(ctx context.Context, account string, f func(context.Context, *step) error) error {
	g := e.gate(account)
	select {
	case g.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g.busy }()

	held, err := e.lease(ctx, account)
	if err != nil {
		return err
	}
	defer held.release()
	acct, err := e.store.GetAccount(held.ctx, account)
	if err != nil {
		return fmt.Errorf("abm: account %s: %w", account, err)
	}
	s, err := e.step(held, acct)
	if err == nil {
		err = s.identify(held.ctx)
	}
	if err == nil {
		err = s.noteRules(held.ctx)
	}
	if err == nil {
		err = f(held.ctx, s)
		s.report()
	}
	if held.ctx.Err() != nil && err != nil {
		return context.Cause(held.ctx)
	}
	if err != nil || s.asked.Load() {
		if herr := e.accounts.noteHealth(held.ctx, account, acct.SealedToken, err); herr != nil && err == nil {
			return fmt.Errorf("abm: account %s: health: %w", account, herr)
		}
	}
	return err
}

// Retry makes assignments due at once, with a new count of failures: those that are parked, and those that wait. It
// returns how many that were. A device that Apple throttles may be throttled again for it.
func (e *Engine) Retry(ctx context.Context, account string, serials ...string) (int, error) {
	n := 0
	for len(serials) > 0 {
		batch := serials[:min(len(serials), MaxLimit)]
		serials = serials[len(batch):]
		rows, err := e.store.GetAssignments(ctx, account, batch)
		if err != nil {
			return n, fmt.Errorf("abm: retry: %w", err)
		}
		done, err := e.writeRows(ctx, e.store.CommitInventory, nil, rows, retryRow(e.s.now()))
		if err != nil {
			return n, fmt.Errorf("abm: retry: %w", err)
		}
		n += len(done)
	}
	e.Wake(account)
	return n, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (e *Engine) log(account string) *zap.Logger { return e.s.log.With(zap.String("account", account)) }
