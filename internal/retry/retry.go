// Package retry has the waits between tries of a service that may say itself how long to wait.
package retry

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Exponential returns jittered waits that double from first up to longest and never end.
func Exponential(now func() time.Time, first, longest time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first),
		backoff.WithMaxInterval(longest),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0),
		backoff.WithClockProvider(clock(now)),
	)
}

type clock func() time.Time

// Now implements backoff.Clock.
func (c clock) Now() time.Time { return c() }

// Hinted waits as long as the server asks for, if that is longer than its BackOff, and gives up if it asks for more than
// Longest, or if the wait would not end in the time that is left.
type Hinted struct {
	backoff.BackOff
	Hint    time.Duration
	Longest time.Duration
	Left    func() time.Duration // nil: no limit
}

// NextBackOff implements backoff.BackOff.
func (h *Hinted) NextBackOff() time.Duration {
	d := h.BackOff.NextBackOff()
	if d == backoff.Stop || h.Hint > h.Longest {
		return backoff.Stop
	}
	d = max(d, h.Hint)
	if h.Left != nil && d > h.Left() {
		return backoff.Stop
	}
	return d
}

// After returns how long the Retry-After header of an answer asks to wait, in seconds or until a date; 0 if it does not, and
// a day at most: a mistaken proxy must not stop a client for longer. A date is held against the Date of the answer, as now may
// be by a clock that is wrong.
func After(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	const longest = 24 * time.Hour
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(min(max(n, 0), int64(longest/time.Second))) * time.Second
	}
	until, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if sent, err := http.ParseTime(h.Get("Date")); err == nil {
		now = sent
	}
	return min(max(until.Sub(now), 0), longest)
}

// NotDialed reports whether err says that no connection was made, so that the server has not seen the request.
func NotDialed(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
