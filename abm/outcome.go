package abm

import (
	"errors"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// How long to wait after what.
const (
	firstFailureWait = 5 * time.Minute
	maxFailureWait   = 24 * time.Hour
	// throttleWait applies when Apple does not say how long. An hour was too short in the field, a day was not (observed).
	throttleWait = 24 * time.Hour
	maxThrottle  = 7 * 24 * time.Hour
)

// askWait returns how long to wait after the n-th time that Apple did not assign a profile. To clients of old protocols, and
// maybe not only to those, Apple says FAILED of a device that it throttles, and an hour is too short for those (observed): so
// after a few quick tries it is asked once a day.
func askWait(failures int) time.Duration {
	if failures > 3 {
		return maxFailureWait
	}
	return growing(failures, firstFailureWait, maxFailureWait)
}

// outcome records Apple's result for one serial, or a word of ours, and decides what comes next:
//
//	SUCCESS    look in a while whether Apple shows the profile
//	THROTTLED  wait as Apple says, longer each time; it is never parked, as Apple's throttle ends
//	others     wait longer each time, park after the settings' number of failures
func outcome(a *storage.Assignment, result string, hint time.Duration, cause string, s *settings, now time.Time) []activity.Event {
	a.LastAttempt.Result, a.LastAttempt.RetryAfter, a.LastAttempt.Error = result, hint, cause
	a.SatisfiedAt = zeroTime
	switch result {
	case string(ResultSuccess):
		a.State, a.NextAttemptAt, a.Throttles = storage.AssignmentAssigned, now.Add(s.verify), 0
		return []activity.Event{activity.ProfileAssigned{
			On: activity.On{Account: a.Account, Serial: a.Serial}, ProfileUUID: a.LastAttempt.ProfileUUID,
		}}
	case string(ResultThrottled):
		a.Throttles++
		wait := growing(a.Throttles, throttleWait, maxThrottle)
		if hint > 0 {
			wait = max(hint, growing(a.Throttles, firstFailureWait, maxThrottle))
		}
		a.State, a.NextAttemptAt = storage.AssignmentPending, now.Add(wait)
		return []activity.Event{assignFailed(a, result)}
	}
	a.State, a.Throttles = storage.AssignmentPending, 0
	return failed(a, result, cause, askWait(a.Failures+1), s, now)
}

// unseen counts a failed look at a device. What was tried and what came of it stays as it is; what keeps Apple from showing
// the device is its problem, also when it is parked.
func unseen(a *storage.Assignment, result, cause string, s *settings, now time.Time) []activity.Event {
	evs := block(a, errors.New(cause), now)
	evs = append(evs, failed(a, result, cause, growing(a.Failures+1, firstFailureWait, maxFailureWait), s, now)...)
	if a.State == storage.AssignmentParked {
		a.NextAttemptAt = zeroTime // there is nothing that could pass by itself
	}
	return evs
}

// failed counts a failure of a. Until it is parked its state stays, which says what to do next.
func failed(a *storage.Assignment, result, cause string, wait time.Duration, s *settings, now time.Time) []activity.Event {
	a.Failures++
	ev := assignFailed(a, result)
	ev.Error = cause
	if a.Failures < s.maxFailed {
		a.NextAttemptAt = now.Add(wait)
		ev.RetryAt = a.NextAttemptAt
		return []activity.Event{ev}
	}
	a.State = storage.AssignmentParked
	ev.RetryAt = zeroTime
	rest(a, now)
	return []activity.Event{ev, activity.AssignmentParked{
		On: activity.On{Account: a.Account, Serial: a.Serial}, Result: result, Failures: a.Failures,
	}}
}

func assignFailed(a *storage.Assignment, result string) activity.ProfileAssignFailed {
	return activity.ProfileAssignFailed{
		On: activity.On{Account: a.Account, Serial: a.Serial}, ProfileUUID: a.LastAttempt.ProfileUUID,
		Result: result, Failures: a.Failures, RetryAt: a.NextAttemptAt, Error: a.LastAttempt.Error,
	}
}
