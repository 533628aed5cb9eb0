package axm

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"
)

// retry calls f until it succeeds, fails for good, or has been tried often enough. It returns the last error.
func (c *Client) retry(ctx context.Context, k call, f func() error) error {
	waits := c.s.waits(c.s.firstWait, c.s.maxWait)
	h := &hinted{BackOff: backoff.WithMaxRetries(waits, uint64(c.s.maxTries-1)), longest: c.s.maxWait}
	err := backoff.RetryNotify(func() error {
		err := f()
		if err == nil {
			return nil
		}
		if !repeatable(k, err) {
			return backoff.Permanent(err)
		}
		h.hint = hint(err)
		return err
	}, backoff.WithContext(h, ctx), func(err error, wait time.Duration) {
		c.s.log.Info("trying again", zap.String("operation", k.op), zap.Duration("wait", wait), zap.Error(err))
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// waits returns jittered waits that double from first up to longest and never end.
func (s *settings) waits(first, longest time.Duration) *backoff.ExponentialBackOff {
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

// hinted waits as long as the server asks for, if that is longer, and gives up if it asks for more than longest.
type hinted struct {
	backoff.BackOff
	hint    time.Duration
	longest time.Duration
}

// NextBackOff implements backoff.BackOff.
func (h *hinted) NextBackOff() time.Duration {
	d := h.BackOff.NextBackOff()
	if d == backoff.Stop || h.hint > h.longest {
		return backoff.Stop
	}
	return max(d, h.hint)
}

// repeatable reports whether sending the same request again is safe and may help.
func repeatable(k call, err error) bool {
	return temporary(err) && (!k.write || notDone(err))
}

// notDone reports whether err says that Apple has not carried out the request.
func notDone(err error) bool {
	if errors.Is(err, ErrRateLimited) || errors.As(err, new(*TokenError)) {
		return true
	}
	if t, ok := errors.AsType[*TransportError](err); ok && t.Op == opToken {
		return true
	}
	// No connection was made.
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// hint returns how long the server asked to wait.
func hint(err error) time.Duration {
	if e, ok := errors.AsType[*APIError](err); ok {
		return e.RetryAfter
	}
	if e, ok := errors.AsType[*TokenError](err); ok {
		return e.RetryAfter
	}
	return 0
}
