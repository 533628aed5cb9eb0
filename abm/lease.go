package abm

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/storage"
)

// held is a lease with a context that ends when the lease is lost.
type held struct {
	ctx     context.Context
	fence   storage.Fence
	release func()
}

// cleanupTimeout limits what is done after a context has ended.
const cleanupTimeout = 10 * time.Second

// leaseName returns the name of an account's lease, which is a key in the store like the account's name, but longer.
func leaseName(account string) string { return leaseNameOf("abm/account", account) }

func leaseNameOf(kind, account string) string {
	if name := kind + "/" + account; len(name) <= storage.MaxKey {
		return name
	}
	sum := sha256.Sum256([]byte(account))
	return kind + "-sha256/" + hex.EncodeToString(sum[:])
}

// lease takes the right to work on an account and keeps it until release is called. What is written about devices,
// assignments, profiles and the cursor carries its fence, so that an engine that slept through the end of its lease
// cannot write it. Apple knows no fences: there, the context ends when the lease does, and the guard in it is asked
// before each sending of a call that changes something.
func (e *Engine) lease(ctx context.Context, account string) (held, error) {
	name := leaseName(account)
	l, err := e.store.AcquireLease(ctx, name, e.s.owner, e.s.now(), e.s.leaseTTL)
	if errors.Is(err, storage.ErrLeaseHeld) {
		l, err = e.takeOver(ctx, account, name, err)
	}
	if err != nil {
		return held{}, fmt.Errorf("abm: account %s: %w", account, err)
	}
	work, cancel := context.WithCancelCause(ctx)
	var expires atomic.Int64 // Unix nanoseconds
	expires.Store(l.ExpiresAt.UnixNano())
	work = withGuard(work, func() error {
		if e.s.now().UnixNano() >= expires.Load() {
			cancel(errLeaseOver)
			return errLeaseOver
		}
		return nil
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.renew(work, cancel, l, &expires)
	}()
	return held{ctx: work, fence: l.Fence(), release: func() {
		cancel(nil)
		<-done
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		// A lease that cannot be released expires.
		_ = e.store.ReleaseLease(ctx, l)
	}}, nil
}

// revokeLease takes the lease of an account from whoever has it: nothing can be written under it any more.
func revokeLease(ctx context.Context, store storage.Leaser, account string) error {
	name, err := leaseName(account), error(nil)
	for range maxConflicts {
		var l storage.Lease
		if l, err = store.GetLease(ctx, name); errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err == nil {
			l, err = store.AcquireLease(ctx, name, "revoke/"+rand.Text(), l.ExpiresAt, time.Second)
		}
		if err == nil {
			return store.ReleaseLease(ctx, l)
		}
		if !errors.Is(err, storage.ErrLeaseHeld) { // its holder has renewed it meanwhile
			break
		}
	}
	return err
}

// foreignLease is a lease of another engine, as it was seen first.
type foreignLease struct {
	lease storage.Lease
	since time.Time
}

// maxLeaseTTL is the longest that a lease may be asked for, by any engine.
const maxLeaseTTL = time.Hour

// takeOver takes a lease that ends later than any engine could have asked for, if it was not renewed for as long as the
// longest lease lasts: an engine whose clock was far ahead has taken it, and died. Without this nobody would work on the
// account until then. Neither the clocks nor the settings of other engines count, but for the suspicion: what counts is that
// the lease does not change.
// It returns held, the reason why there is a question, if the lease has to be respected.
func (e *Engine) takeOver(ctx context.Context, account, name string, held error) (storage.Lease, error) {
	l, err := e.store.GetLease(ctx, name)
	now := e.s.now()
	if err != nil || l.ExpiresAt.Sub(now) <= maxLeaseTTL+maxSkew {
		return storage.Lease{}, held
	}
	g := e.gate(account)
	e.mu.Lock()
	if g.foreign.lease != l || g.foreign.since.After(now) {
		g.foreign = foreignLease{lease: l, since: now}
	}
	waited := now.Sub(g.foreign.since)
	e.mu.Unlock()
	if waited < maxLeaseTTL {
		return storage.Lease{}, held
	}
	e.log(account).Warn("taking over a lease that nobody renews and that ends too late: was a clock wrong?",
		zap.String("owner", l.Owner), zap.Time("expires", l.ExpiresAt))
	if l, err = e.store.AcquireLease(ctx, name, e.s.owner, l.ExpiresAt, e.s.leaseTTL); err != nil {
		return storage.Lease{}, err
	}
	return e.store.RenewLease(ctx, l, now, e.s.leaseTTL)
}

// errLeaseOver is the cause of a context that ended because the lease did.
var errLeaseOver = fmt.Errorf("abm: %w", storage.ErrLeaseLost)

// renew extends l until ctx ends, and ends ctx when l is lost or has run out: another engine may have it then, whether
// or not the store still answers.
func (e *Engine) renew(ctx context.Context, cancel context.CancelCauseFunc, l storage.Lease, expires *atomic.Int64) {
	over := time.AfterFunc(l.ExpiresAt.Sub(e.s.now()), func() { cancel(errLeaseOver) })
	defer over.Stop()
	t := time.NewTicker(e.s.leaseTTL / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		n, err := e.renewOnce(ctx, l)
		switch {
		case err == nil:
			l = n
			expires.Store(l.ExpiresAt.UnixNano())
			over.Reset(l.ExpiresAt.Sub(e.s.now()))
		case errors.Is(err, storage.ErrLeaseLost):
			cancel(errLeaseOver)
			return
		}
	}
}

// renewOnce gives up on a store that hangs in time to ask it once more.
func (e *Engine) renewOnce(ctx context.Context, l storage.Lease) (storage.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, e.s.leaseTTL/3)
	defer cancel()
	return e.store.RenewLease(ctx, l, e.s.now(), e.s.leaseTTL)
}
