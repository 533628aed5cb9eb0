package axm

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/internal/retry"
)

// retry calls f until it succeeds, fails for good, or has been tried often enough. It returns the last error.
func (c *Client) retry(ctx context.Context, k call, f func() error) error {
	waits := retry.Exponential(c.s.now, c.s.firstWait, c.s.maxWait)
	h := &retry.Hinted{BackOff: backoff.WithMaxRetries(waits, uint64(c.s.maxTries-1)), Longest: c.s.maxWait}
	err := backoff.RetryNotify(func() error {
		err := f()
		if err == nil {
			return nil
		}
		if !repeatable(k, err) {
			return backoff.Permanent(err)
		}
		h.Hint = hint(err)
		return err
	}, backoff.WithContext(h, ctx), func(err error, wait time.Duration) {
		c.s.log.Info("trying again", zap.String("operation", k.op), zap.Duration("wait", wait), zap.Error(err))
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
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
	return retry.NotDialed(err)
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
