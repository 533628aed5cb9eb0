package abm

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/enrollkit/enrollkit/internal/retry"
)

// retry calls f until it succeeds, fails for good, or has been tried often enough. It returns the last error.
func (c *Client) retry(ctx context.Context, k call, f func() error) error {
	waits := retry.Exponential(c.s.now, c.s.firstWait, c.s.maxWait)
	h := &retry.Hinted{BackOff: backoff.WithMaxRetries(waits, uint64(c.s.maxTries-1)), Longest: c.s.maxWait}
	if k.write {
		h.Left = func() time.Duration { return c.timeLeft(k) }
	}
	err := backoff.Retry(func() error {
		err := f()
		if err == nil {
			return nil
		}
		if !repeatable(k, err) {
			return backoff.Permanent(err)
		}
		h.Hint = hint(err)
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

// openFor is how long after its beginning the outcome of a call that changes something can be open: its last exchange begins
// within the timeout of one, and ends within another.
func (s *settings) openFor() time.Duration { return 2 * s.timeout }

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
	return errors.Is(err, ErrHeldBack) || retry.NotDialed(err)
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
