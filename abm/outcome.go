package abm

import (
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
	return failed(a, result, s, now)
}

// failed counts a failure of a. Until it is parked its state stays, which says what to do next.
func failed(a *storage.Assignment, result string, s *settings, now time.Time) []activity.Event {
	a.Failures++
	if a.Failures < s.maxFailed {
		a.NextAttemptAt = now.Add(growing(a.Failures, firstFailureWait, maxFailureWait))
		return []activity.Event{assignFailed(a, result)}
	}
	a.State = storage.AssignmentParked
	ev := assignFailed(a, result)
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
