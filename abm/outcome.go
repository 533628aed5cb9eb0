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
	on := activity.On{Account: a.Account, Serial: a.Serial}
	a.LastAttempt.Result, a.LastAttempt.RetryAfter, a.LastAttempt.Error = result, hint, cause
	a.UpdatedAt = now
	if result == string(ResultSuccess) {
		a.State, a.NextAttemptAt, a.SatisfiedAt = storage.AssignmentAssigned, now.Add(s.verify), time.Time{}
		return []activity.Event{activity.ProfileAssigned{On: on, ProfileUUID: a.LastAttempt.ProfileUUID}}
	}
	a.Failures++
	a.State, a.SatisfiedAt = storage.AssignmentPending, time.Time{}
	throttled := result == string(ResultThrottled)
	switch {
	case throttled && hint > 0:
		a.NextAttemptAt = now.Add(max(hint, growing(a.Failures, firstFailureWait, maxThrottle)))
	case throttled:
		a.NextAttemptAt = now.Add(growing(a.Failures, throttleWait, maxThrottle))
	case a.Failures >= s.maxFailed:
		a.State, a.NextAttemptAt = storage.AssignmentParked, time.Time{}
	default:
		a.NextAttemptAt = now.Add(growing(a.Failures, firstFailureWait, maxFailureWait))
	}
	evs := []activity.Event{activity.ProfileAssignFailed{
		On: on, ProfileUUID: a.LastAttempt.ProfileUUID, Result: result, Failures: a.Failures, RetryAt: a.NextAttemptAt, Error: cause,
	}}
	if a.State == storage.AssignmentParked {
		evs = append(evs, activity.AssignmentParked{On: on, Result: result, Failures: a.Failures})
	}
	return evs
}
