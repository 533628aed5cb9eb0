package abm

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// maxSkew is how far the clock of another replica may be ahead. What is stored from later than that was written with a
// clock that was wrong.
const maxSkew = time.Minute

// late returns when something that was done at last is due again: after the interval and up to a tenth of it, and at once
// if last cannot be. The jitter follows from what is stored, so that all engines agree on it.
func late(account string, last time.Time, interval time.Duration, now time.Time) time.Time {
	if last.IsZero() || last.After(now.Add(maxSkew)) {
		return time.Time{}
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d", account, last.UnixMicro())
	return last.Add(interval + time.Duration(h.Sum64()%1000)*interval/10000)
}

// rest waits until something may have changed: the time is over, or wake says so. It looks at each poll interval
// whether the account has got another token or place than the one that was worked with, which another process may have
// imported, and ends with true if so: a wait for the old token says nothing about the new one.
func (e *Engine) rest(ctx context.Context, with storage.Account, wait time.Duration, wake <-chan struct{}) (renewed bool) {
	for {
		t := time.NewTimer(max(min(wait, e.s.poll), 0))
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-wake:
			t.Stop()
			return false
		case <-t.C:
		}
		if wait -= e.s.poll; wait <= 0 {
			return false
		}
		acct, err := e.store.GetAccount(ctx, with.Name)
		if err == nil && (!bytes.Equal(acct.SealedToken, with.SealedToken) || acct.BaseURL != with.BaseURL) {
			return true
		}
	}
}
