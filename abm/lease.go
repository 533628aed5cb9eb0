package abm

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// lease takes the right to work on an account and keeps it until release is called. Every write carries its fence, so
// that an engine that slept through the end of its lease cannot write.
func (e *Engine) lease(ctx context.Context, account string) (held, error) {
	name := "abm/account/" + account
	l, err := e.store.AcquireLease(ctx, name, e.s.owner, e.s.now(), e.s.leaseTTL)
	if err != nil {
		return held{}, fmt.Errorf("abm: account %s: %w", account, err)
	}
	work, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.renew(work, cancel, l)
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

// renew extends l until ctx ends, and ends ctx when l is lost.
func (e *Engine) renew(ctx context.Context, cancel context.CancelCauseFunc, l storage.Lease) {
	t := time.NewTicker(e.s.leaseTTL / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		n, err := e.store.RenewLease(ctx, l, e.s.now(), e.s.leaseTTL)
		switch {
		case err == nil:
			l = n
		case errors.Is(err, storage.ErrLeaseLost), !e.s.now().Before(l.ExpiresAt):
			cancel(fmt.Errorf("abm: %w", storage.ErrLeaseLost))
			return
		}
	}
}
