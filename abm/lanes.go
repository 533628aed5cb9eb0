package abm

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// slowLane is how many accounts that do not work are worked on at once.
const slowLane = 2

// lanes limit how many accounts are worked on at once, first come, first served. Accounts whose last work failed have a lane of
// their own: however many of them hang, the others do not wait for them.
type lanes struct{ main, slow chan struct{} }

func newLanes(n int) lanes {
	return lanes{main: make(chan struct{}, n), slow: make(chan struct{}, slowLane)}
}

// enter waits for a place. The function that is returned gives it back.
func (l lanes) enter(ctx context.Context, slow bool) (leave func(), err error) {
	lane := l.main
	if slow {
		lane = l.slow
	}
	select {
	case lane <- struct{}{}: // those that wait to send are served in the order they came
		return func() { <-lane }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// notWorking reports whether the last that was heard of an account is that it does not work.
func notWorking(acct *storage.Account) bool {
	switch acct.Health {
	case storage.HealthUnreachable, storage.HealthRejected, storage.HealthTermsNotSigned, storage.HealthExpired:
		return true
	}
	return false
}
