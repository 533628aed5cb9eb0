package abm

import (
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// Waits while Apple cannot be asked at all: as long as it has lasted, within these.
const (
	firstProblemWait = time.Minute
	maxProblemWait   = time.Hour
)

// A problem is what keeps Apple from being asked: the resolver does not say what is wanted, or the profile cannot be
// defined. It is kept beside what was tried and what came of it, and changes none of that: a throttled device stays
// throttled and a parked one parked, and the profile that was wanted last is still pursued.

// block records a problem. It leaves it to the caller to say when it is looked into again.
func block(a *storage.Assignment, cause error, now time.Time) []activity.Event {
	a.Problem = cause.Error()
	if !a.ProblemSince.IsZero() {
		return nil
	}
	a.ProblemSince = now
	return []activity.Event{activity.AssignmentBlocked{On: activity.On{Account: a.Account, Serial: a.Serial}, Problem: a.Problem}}
}

// problemWait returns how long to wait until the problem of a is looked into again.
func problemWait(a *storage.Assignment, now time.Time) time.Duration {
	return min(max(now.Sub(a.ProblemSince), firstProblemWait), maxProblemWait)
}

// unblock says that the problem is over. What waited for nothing else waits no more.
func unblock(a *storage.Assignment) {
	if a.Problem == "" {
		return
	}
	a.Problem, a.ProblemSince = "", zeroTime
	if idle(a) {
		a.NextAttemptAt = zeroTime
	}
}

// idle reports whether a has nothing to do for the profile it wants.
func idle(a *storage.Assignment) bool {
	switch a.State {
	case storage.AssignmentSatisfied, storage.AssignmentParked, storage.AssignmentGone:
		return true
	}
	return a.Profile == ""
}

// rest says that there is nothing to do, but to look into the problem if there is one.
func rest(a *storage.Assignment, now time.Time) {
	a.NextAttemptAt = zeroTime
	if a.Problem != "" {
		a.NextAttemptAt = now.Add(problemWait(a, now))
	}
}
