package abm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/internal/retry"
	"github.com/enrollkit/enrollkit/storage"
)

// Waits between attempts of an account that fails.
const (
	firstPause = 30 * time.Second
	maxPause   = time.Hour
)

// Run works on all accounts in the store until ctx ends, and returns ctx's error. Accounts are independent of each
// other: several are worked on at once (see [WithConcurrency]), and one that fails is tried again after growing pauses and
// beside the others, so that it delays none that works. Accounts that are created or deleted meanwhile are noticed within
// the poll interval.
func (e *Engine) Run(ctx context.Context) error {
	defer e.measure(ctx)()
	var wg sync.WaitGroup
	defer wg.Wait()
	watched := make(map[string]context.CancelFunc)
	defer func() {
		for _, cancel := range watched {
			cancel()
		}
	}()
	for {
		names, err := e.accountNames(ctx)
		if err != nil && ctx.Err() == nil {
			e.s.log.Error("cannot list accounts; trying again", zap.Error(err))
		}
		for name := range names {
			if watched[name] == nil {
				ctx, cancel := context.WithCancel(ctx)
				watched[name] = cancel
				wg.Go(func() { e.watch(ctx, name) })
			}
		}
		for name, cancel := range watched {
			if err == nil && !names[name] {
				cancel()
				delete(watched, name)
			}
		}
		if err := e.accounts.CheckExpiry(ctx); err != nil && ctx.Err() == nil {
			e.s.log.Error("cannot tell of tokens that expire; trying again", zap.Error(err))
		}
		if err := sleep(ctx, min(e.s.poll, checkEvery)); err != nil {
			return err
		}
	}
}

func (e *Engine) accountNames(ctx context.Context) (map[string]bool, error) {
	names := make(map[string]bool)
	for after := ""; ; {
		accts, next, err := e.store.ListAccounts(ctx, storage.Page{After: after, Limit: storage.MaxPageSize})
		if err != nil {
			return nil, err
		}
		for i := range accts {
			names[accts[i].Name] = true
		}
		if next == "" {
			return names, nil
		}
		after = next
	}
}

// watch does what is due for an account, whenever it is due.
func (e *Engine) watch(ctx context.Context, account string) {
	pause := &retry.Hinted{BackOff: retry.Exponential(e.s.now, firstPause, maxPause), Longest: 7 * 24 * time.Hour}
	pause.Reset()
	wake := e.gate(account).wake
	failed, first := false, true
	elsewhere := false // another replica had the lease when we looked last
	for ctx.Err() == nil {
		before, _ := e.store.GetAccount(ctx, account) // work reports a store that fails
		if first {
			first, failed = false, notWorking(&before)
		}
		next, err := e.work(ctx, account, failed)
		wait := min(next.Sub(e.s.now()), e.s.poll)
		switch {
		case err == nil:
			failed, elsewhere = false, false
			pause.Reset()
		case ctx.Err() != nil:
			return
		case errors.Is(err, storage.ErrLeaseHeld), errors.Is(err, storage.ErrLeaseLost):
			// Another engine is at it. Jitter keeps the waiting engines apart.
			wait = e.s.leaseTTL/4 + rand.N(e.s.leaseTTL/4)
			if !elsewhere {
				e.log(account).Info("another replica works on the account; waiting for its lease")
			}
			elsewhere = true
		case e.gone(ctx, account):
			wait = e.s.poll // until Run finds out too
		default:
			failed = true
			pause.Hint = hint(err)
			if wait = pause.NextBackOff(); wait == backoff.Stop {
				wait = maxPause
			}
			e.log(account).Warn("account failed; trying again", zap.Duration("in", wait), zap.Error(err))
		}
		if before.Name == "" {
			wait = min(wait, e.s.poll) // a renewed token would not be noticed
		}
		if e.rest(ctx, before, wait, wake) {
			failed = false // with the old token
			pause.Reset()
		}
	}
}

// gone reports whether the account was deleted, maybe while it was worked on.
func (e *Engine) gone(ctx context.Context, account string) bool {
	_, err := e.store.GetAccount(ctx, account)
	return errors.Is(err, storage.ErrNotFound)
}

// work does all that is due for an account, in the slow lane if its last work failed. It returns when something will be due
// next.
func (e *Engine) work(ctx context.Context, account string, slow bool) (time.Time, error) {
	for range 3 {
		due, err := e.due(ctx, account)
		if err != nil || !due.now {
			return due.next, err
		}
		leave, err := e.lanes.enter(ctx, slow)
		if err != nil {
			return time.Time{}, err
		}
		err = e.with(ctx, account, func(ctx context.Context, s *step) error { return s.all(ctx) })
		leave()
		if err != nil {
			return time.Time{}, err
		}
	}
	// Something stays due, such as the rules of a resolver that never names them the same.
	return e.s.now().Add(time.Second), nil
}

// agenda says what is due for an account, and when something is due next.
type agenda struct {
	sync, sweep, plan, assign, now bool
	next                           time.Time
}

// due looks at what is stored. It takes no lease, so that waiting engines do not disturb the one that works.
func (e *Engine) due(ctx context.Context, account string) (agenda, error) {
	now := e.s.now()
	g := agenda{next: now.Add(e.s.poll)}
	acct, err := e.store.GetAccount(ctx, account)
	if errors.Is(err, storage.ErrNotFound) || err == nil && len(acct.SealedToken) == 0 {
		return g, nil
	}
	if err != nil {
		return g, fmt.Errorf("abm: account %s: %w", account, err)
	}
	if !acct.TokenExpiresAt.After(now) {
		return g, e.accounts.noteHealth(ctx, account, acct.SealedToken, ErrTokenExpired)
	}
	cur, err := e.store.GetCursor(ctx, account)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return g, fmt.Errorf("abm: account %s: %w", account, err)
	}
	at := func(t time.Time) bool {
		if t.After(now) {
			g.next = earlier(g.next, t)
			return false
		}
		return true
	}
	g.sync = at(late(account, cur.LastSyncAt, e.s.syncEvery, now))
	if cur.Version > 0 && !cur.LastSyncAt.IsZero() {
		g.sweep = at(late(account, cur.LastSweepAt, e.s.sweepEvery, now))
		planAt, plan, err := e.planAt(&cur, now)
		if err != nil {
			return g, err
		}
		g.plan = plan && at(planAt)
	}
	first, err := e.store.DueAssignments(ctx, account, now.AddDate(100, 0, 0), 1)
	if err != nil {
		return g, fmt.Errorf("abm: account %s: %w", account, err)
	}
	g.assign = len(first) > 0 && at(first[0].NextAttemptAt)
	g.now = g.sync || g.sweep || g.plan || g.assign
	return g, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// all does what is due, in the order in which one thing makes another due. One that fails does not hold back the others,
// unless all calls would fail.
func (s *step) all(ctx context.Context) error {
	due, err := s.e.due(ctx, s.account)
	if err != nil {
		return err
	}
	var failed error
	for _, phase := range []struct {
		due bool
		do  func(context.Context) error
	}{
		{due.sync, func(ctx context.Context) error { return s.tell(ctx, "inventory synced", s.sync) }},
		{due.sweep, func(ctx context.Context) error { return s.tell(ctx, "inventory swept", s.sweep) }},
		{due.plan, func(ctx context.Context) error { _, err := s.replan(ctx); return err }},
		{true, s.assignDue},
	} {
		if !phase.due {
			continue
		}
		err := phase.do(ctx)
		failed = errors.Join(failed, err)
		if stops(err) {
			break
		}
	}
	return failed
}

// tell reads the inventory and logs what came of it, if there was anything to read.
func (s *step) tell(ctx context.Context, what string, read func(context.Context) (SyncResult, error)) error {
	res, err := read(ctx)
	if err == nil && res.Devices > 0 {
		s.log.Info(what, zap.Int("devices", res.Devices), zap.Int("changed", res.Changed), zap.Int("left", res.Left))
	}
	return err
}

// errStuck means that a batch of assignments is as due as it was before it was worked on: a fault of this package, which
// must not become a loop.
var errStuck = errors.New("abm: due assignments do not move")

// assignDue assigns until nothing is due.
func (s *step) assignDue(ctx context.Context) error {
	var last storage.Assignment
	for {
		res, err := s.assign(ctx)
		if err != nil || res.Due == 0 {
			return err
		}
		if s.head.Serial == last.Serial && s.head.Version == last.Version {
			return errStuck
		}
		last = s.head
		s.log.Info("assignments worked on", zap.Int("due", res.Due), zap.Int("assigned", res.Assigned),
			zap.Int("satisfied", res.Satisfied), zap.Int("failed", res.Failed), zap.Int("throttled", res.Throttled),
			zap.Int("gone", res.Gone))
		clear(s.profiles) // another process may have learnt or lost a profile
		clear(s.prints)
	}
}

// stops reports whether err says that all other calls of the step would fail as well.
func stops(err error) bool {
	for _, e := range []error{
		ErrUnauthorized, ErrForbidden, ErrAccessDenied, ErrTermsNotSigned, ErrTokenExpired, ErrNoToken, ErrOtherServer,
		storage.ErrLeaseLost, context.Canceled,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// blamesApple reports whether err is an answer of Apple, or the lack of one.
func blamesApple(err error) bool {
	_, answer := errors.AsType[*APIError](err)
	_, transport := errors.AsType[*TransportError](err)
	return answer || transport
}
