package abm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Defaults of [WithCircuitBreaker].
const (
	defaultMaxFailures = 5
	defaultCoolDown    = 30 * time.Second
)

// probeWait is how long to wait while another call finds out whether the service works again.
const probeWait = time.Second

// ErrHeldBack means that a call was not sent, as Apple has asked to wait or does not answer; see [HeldBackError].
var ErrHeldBack = errors.New("abm: call held back")

// HeldBackError means that a call was not sent: Apple has asked for all calls of the account to wait, or a number of calls
// in a row has failed for want of a working service. It is also the error that was the cause, such as [ErrUnavailable] or
// [*TransportError].
type HeldBackError struct {
	// Op is the operation, such as "SyncDevices".
	Op string
	// RetryAt is when it may be tried again, RetryAfter how long that was away.
	RetryAt    time.Time
	RetryAfter time.Duration
	// Err is why. It is of an earlier call.
	Err error

	open bool // and not merely asked to wait
}

// Error implements error.
func (e *HeldBackError) Error() string {
	return fmt.Sprintf("abm: %s: held back until %s after %v", e.Op, e.RetryAt.UTC().Format(time.RFC3339), e.Err)
}

// Unwrap returns the cause.
func (e *HeldBackError) Unwrap() error { return e.Err }

// Is reports that this is [ErrHeldBack].
func (*HeldBackError) Is(target error) bool { return target == ErrHeldBack }

// Temporary reports that the same call may succeed later.
func (*HeldBackError) Temporary() bool { return true }

// WithCircuitBreaker sets after how many failures in a row that mean that the service is down (no answer, HTTP 5xx) all
// calls of an account fail at once with a [*HeldBackError], and for how long; only those of one operation where nothing
// else has failed. Then one call at a time is let through, until one is answered. The default is 5 and half a minute.
func WithCircuitBreaker(failures int, coolDown time.Duration) Option {
	return func(s *settings) error {
		if failures < 1 || coolDown <= 0 {
			return errors.New("abm: WithCircuitBreaker: want at least one failure and a positive duration")
		}
		s.breakAfter, s.coolDown = failures, coolDown
		return nil
	}
}

// breaker is the one place that decides whether a call of an account may be sent now. It is own code because the
// library for this, gobreaker, takes no clock and knows no Retry-After.
//
// Each operation has a circuit of its own beside that of the account. Apple fails at times in one of them only: it must not
// hold back the others, neither by its failures nor by being the one that finds out, each time, whether all is well again.
type breaker struct {
	now      func() time.Time
	max      int // failures in a row that open a circuit
	coolDown time.Duration

	mu          sync.Mutex
	pausedUntil time.Time // as Apple has asked
	pausedBy    error
	account     circuit
	ops         map[string]*circuit
	only        string // the one operation that the account's failures in a row are of; empty if it is not one
}

// circuit counts the failures in a row of something. It is closed, open until its time has come, and then half-open:
// one at a time may find out.
type circuit struct {
	failures int
	until    time.Time
	cause    error // nil: closed
	probing  bool
	round    int // grows when it opens or closes: what was sent in an earlier round says nothing
}

// pass is the right to send that one circuit gives.
type pass struct {
	round int
	probe bool
}

// ticket is the right to send once.
type ticket struct {
	op           string
	account, own pass
}

// holds returns until when c holds calls back; zero if it does not.
func (c *circuit) holds(now time.Time) time.Time {
	switch {
	case c.cause == nil:
		return time.Time{}
	case now.Before(c.until):
		return c.until
	case c.probing:
		return now.Add(probeWait)
	}
	return time.Time{}
}

func (c *circuit) enter() pass {
	c.probing = c.cause != nil
	return pass{round: c.round, probe: c.probing}
}

func (c *circuit) open(until time.Time, cause error) {
	c.until, c.cause, c.probing = until, cause, false
	c.round++
}

func (c *circuit) close() {
	if c.failures = 0; c.cause != nil {
		c.open(time.Time{}, nil)
	}
}

// admit returns the right to send, or a *HeldBackError. What came of it goes to done.
func (b *breaker) admit(op string) (ticket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if now.Before(b.pausedUntil) {
		return ticket{}, &HeldBackError{Op: op, RetryAt: b.pausedUntil, RetryAfter: b.pausedUntil.Sub(now), Err: b.pausedBy}
	}
	own := b.ops[op]
	if own == nil {
		if b.ops == nil {
			b.ops = make(map[string]*circuit)
		}
		own = new(circuit)
		b.ops[op] = own
	}
	for _, c := range []*circuit{own, &b.account} {
		if until := c.holds(now); !until.IsZero() {
			return ticket{}, &HeldBackError{Op: op, RetryAt: until, RetryAfter: until.Sub(now), Err: c.cause, open: true}
		}
	}
	return ticket{op: op, own: own.enter(), account: b.account.enter()}, nil
}

// heldUntil returns until when all calls are held back; zero if they are not. Those of one operation alone do not count.
func (b *breaker) heldUntil() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if now.Before(b.pausedUntil) {
		return b.pausedUntil
	}
	if b.account.cause != nil && now.Before(b.account.until) {
		return b.account.until
	}
	return time.Time{}
}

// done takes what came of a ticket. That a caller has left, or such, says nothing.
func (b *breaker) done(t ticket, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	until := b.now().Add(b.coolDown)
	if asked := b.now().Add(asksToWait(err)); asked.After(b.pausedUntil) && asksToWait(err) > 0 {
		b.pausedUntil, b.pausedBy = asked, err
	}
	down, up := serviceDown(err), err == nil || answered(err) && !serviceDown(err)
	if own := b.ops[t.op]; own.round == t.own.round {
		own.probing = false
		switch {
		case up:
			own.close()
		case down:
			if own.failures++; own.failures >= b.max || t.own.probe || t.account.probe {
				own.open(until, err)
			}
		}
	}
	if b.account.round != t.account.round {
		return
	}
	b.account.probing = false
	switch {
	case up:
		b.account.close()
	case down && !t.account.probe: // a probe that failed holds back its operation, and another may try
		if b.account.failures++; b.account.failures == 1 {
			b.only = t.op
		}
		if b.only != t.op || hostDown(err) {
			b.only = ""
		}
		if b.account.failures >= b.max && b.only == "" {
			b.account.open(until, err)
		}
	}
}

// asksToWait returns how long Apple wants no calls of the account; 0 if it does not say.
func asksToWait(err error) time.Duration {
	e, ok := errors.AsType[*APIError](err)
	if !ok || e.StatusCode != http.StatusTooManyRequests && e.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	return e.RetryAfter
}

// serviceDown reports whether err means that the service cannot serve the account, whatever is asked of it.
func serviceDown(err error) bool {
	_, lost := errors.AsType[*TransportError](err)
	return lost && !ctxError(err) || errors.Is(err, ErrUnavailable)
}

// hostDown reports whether err means that any other call would have failed too: it failed on the way to its operation.
func hostDown(err error) bool {
	e, ok := errors.AsType[*APIError](err)
	return ok && e.Op == opSession || notSent(err)
}

func answered(err error) bool {
	_, ok := errors.AsType[*APIError](err)
	return ok
}

// guarded makes one HTTP exchange if the account's calls are not held back.
func (c *Client) guarded(ctx context.Context, k call, in []byte) error {
	t, err := c.breaker.admit(k.op)
	if err != nil {
		return err
	}
	err = c.once(ctx, k, in)
	c.breaker.done(t, err)
	return err
}
