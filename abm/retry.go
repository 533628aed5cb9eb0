package abm

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// retry calls f until it succeeds, fails for good, or has been tried often enough. It returns the last error.
func (c *Client) retry(ctx context.Context, k call, f func() error) error {
	exp := c.s.exponential(c.s.firstWait, c.s.maxWait)
	h := &hinted{BackOff: backoff.WithMaxRetries(exp, uint64(c.s.maxTries-1)), longest: c.s.maxWait}
	if k.write {
		h.left = func() time.Duration { return c.timeLeft(k) }
	}
	err := backoff.Retry(func() error {
		err := f()
		if err == nil {
			return nil
		}
		if !repeatable(k, err) {
			return backoff.Permanent(err)
		}
		h.hint = hint(err)
		return err
	}, backoff.WithContext(h, ctx))
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// timeLeft is how long a call that changes something may still be sent.
func (c *Client) timeLeft(k call) time.Duration {
	return c.s.openFor() - c.s.timeout - c.s.now().Sub(k.began)
}

// exponential returns jittered waits that double from first up to longest and never end.
func (s *settings) exponential(first, longest time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first),
		backoff.WithMaxInterval(longest),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0),
		backoff.WithClockProvider(clock(s.now)),
	)
}

type clock func() time.Time

// Now implements backoff.Clock.
func (c clock) Now() time.Time { return c() }

// openFor is how long after its beginning the outcome of a call that changes something can be open: its last exchange begins
// within the timeout of one, and ends within another.
func (s *settings) openFor() time.Duration { return 2 * s.timeout }

// hinted waits as long as the server asks for, if that is longer, and gives up if it asks for more than longest, or if
// the wait would not end in the time that is left.
type hinted struct {
	backoff.BackOff
	hint    time.Duration
	longest time.Duration
	left    func() time.Duration // nil: no limit
}

// NextBackOff implements backoff.BackOff.
func (h *hinted) NextBackOff() time.Duration {
	d := h.BackOff.NextBackOff()
	if d == backoff.Stop || h.hint > h.longest {
		return backoff.Stop
	}
	d = max(d, h.hint)
	if h.left != nil && d > h.left() {
		return backoff.Stop
	}
	return d
}

// repeatable reports whether sending the same request again is safe and may help. Where the service is down, it does not
// help to wait for it in every call.
func repeatable(k call, err error) bool {
	if e, ok := errors.AsType[*HeldBackError](err); ok {
		return !e.open
	}
	if errors.Is(err, ErrRateLimited) || notSent(err) {
		return true
	}
	if e, ok := errors.AsType[*APIError](err); ok && e.Op == opSession {
		return e.Temporary() // the request itself was never sent
	}
	return !k.write && temporary(err)
}

// notSent reports whether err says that the request was held back or no connection was made, so that Apple has not seen it.
func notSent(err error) bool {
	if errors.Is(err, ErrHeldBack) {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// hint returns how long the server asked to wait, or calls are held back, the longest if several errors say so.
func hint(err error) time.Duration {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var longest time.Duration
		for _, e := range joined.Unwrap() {
			longest = max(longest, hint(e))
		}
		return longest
	}
	if e, ok := errors.AsType[*HeldBackError](err); ok {
		return e.RetryAfter
	}
	if e, ok := errors.AsType[*APIError](err); ok {
		return e.RetryAfter
	}
	return 0
}
