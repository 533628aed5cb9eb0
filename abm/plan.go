package abm

import (
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// Words of ours for storage.Attempt.Result, beside Apple's.
const (
	resultUnresolved  = "UNRESOLVED"   // the resolver failed; Error says how
	resultMissing     = "MISSING"      // Apple's answer does not name the serial
	resultNotVerified = "NOT_VERIFIED" // Apple said SUCCESS but does not show the profile
)

// desire is what is wanted for one device: a profile by fingerprint (empty: none) with Apple's UUID if it has one, or
// the reason why it cannot be told.
type desire struct {
	print string
	uuid  string
	err   error
}

// has reports whether Apple shows d with the profile. Status "removed" does not count, whatever the UUID says.
func has(d *storage.Device, uuid string) bool {
	s := ProfileStatus(d.ProfileStatus)
	return uuid != "" && d.ProfileUUID == uuid && (s == ProfileAssigned || s == ProfilePushed)
}

// plan returns the assignment that follows from what Apple shows of a device (d), what is wanted, and the assignment so
// far (old, zero if there is none); false if nothing changes. returned says that the device has come back to the
// account, which ends its history. plan decides only what shall happen; it never forgets a call whose outcome is open.
func plan(old storage.Assignment, d *storage.Device, want desire, returned bool, s *settings, now time.Time) (storage.Assignment, []activity.Event, bool) {
	a := old
	a.Account, a.Serial, a.UpdatedAt = d.Account, d.Serial, now
	on := activity.On{Account: d.Account, Serial: d.Serial}
	switch {
	case !d.Present():
		if old.Version == 0 || old.State == storage.AssignmentGone {
			return old, nil, false
		}
		gone(&a)
		return a, nil, true
	case want.err != nil:
		return planUnresolved(a, old, want.err, s, now)
	case want.print == "":
		if old.Version == 0 || old.Profile == "" && old.State == storage.AssignmentSatisfied {
			return old, nil, false
		}
		a.Profile, a.State, a.Failures = "", storage.AssignmentSatisfied, 0
		a.NextAttemptAt, a.SatisfiedAt = time.Time{}, now
		return a, wanted(on, old, a), true
	case want.print != old.Profile:
		a.Profile = want.print
		evs := append(wanted(on, old, a), start(&a, old, d, want, now)...)
		return a, evs, true
	}
	return planSame(a, old, d, want, returned, now)
}

// planSame plans a device for which the same profile is wanted as before.
func planSame(a, old storage.Assignment, d *storage.Device, want desire, returned bool, now time.Time) (storage.Assignment, []activity.Event, bool) {
	shown := has(d, want.uuid)
	switch {
	case returned, old.State == storage.AssignmentGone,
		old.State == storage.AssignmentPending && old.LastAttempt.Result == resultUnresolved:
		evs := start(&a, old, d, want, now)
		return a, evs, true
	case old.State == storage.AssignmentSatisfied:
		if shown {
			return old, nil, false
		}
		// Apple's feed may replay an old record: look before acting on it.
		a.State, a.NextAttemptAt = storage.AssignmentAssigned, now
		return a, nil, true
	case shown:
		return a, satisfy(&a, d, now), true
	}
	return old, nil, false
}

// start begins the way to a profile from the beginning.
func start(a *storage.Assignment, old storage.Assignment, d *storage.Device, want desire, now time.Time) []activity.Event {
	a.Failures, a.SatisfiedAt = 0, time.Time{}
	switch {
	case has(d, want.uuid):
		return satisfy(a, d, now)
	case old.State == storage.AssignmentAssigning:
		return nil // the outcome of a call is open
	}
	a.State, a.NextAttemptAt = storage.AssignmentPending, now
	if old.LastAttempt.Result == string(ResultThrottled) && old.NextAttemptAt.After(now) {
		a.NextAttemptAt = old.NextAttemptAt // Apple throttles the device, not the profile
	}
	return nil
}

// planUnresolved keeps what the device has and asks the resolver again later.
func planUnresolved(a, old storage.Assignment, err error, s *settings, now time.Time) (storage.Assignment, []activity.Event, bool) {
	waiting := old.LastAttempt.Result == resultUnresolved && old.NextAttemptAt.After(now)
	if waiting || old.State == storage.AssignmentAssigning {
		return old, nil, false
	}
	throttled := time.Time{}
	if old.LastAttempt.Result == string(ResultThrottled) {
		throttled = old.NextAttemptAt
	}
	a.State = storage.AssignmentPending
	a.Failures++
	a.LastAttempt = storage.Attempt{At: now, Result: resultUnresolved, Error: err.Error()}
	a.NextAttemptAt = now.Add(growing(a.Failures, time.Minute, time.Hour))
	if throttled.After(a.NextAttemptAt) {
		a.NextAttemptAt = throttled
	}
	return a, nil, true
}

func wanted(on activity.On, old, a storage.Assignment) []activity.Event {
	if old.Profile == a.Profile {
		return nil
	}
	return []activity.Event{activity.ProfileWanted{On: on, Fingerprint: a.Profile, From: old.Profile}}
}

// satisfy records that Apple shows what is wanted.
func satisfy(a *storage.Assignment, d *storage.Device, now time.Time) []activity.Event {
	a.State, a.NextAttemptAt, a.SatisfiedAt, a.Failures = storage.AssignmentSatisfied, time.Time{}, now, 0
	return []activity.Event{activity.ProfileVerified{
		On: activity.On{Account: d.Account, Serial: d.Serial}, ProfileUUID: d.ProfileUUID, ProfileStatus: d.ProfileStatus,
	}}
}

func gone(a *storage.Assignment) {
	a.State, a.NextAttemptAt, a.SatisfiedAt = storage.AssignmentGone, time.Time{}, time.Time{}
}

// growing returns first, doubled with each failure after the first, at most longest.
func growing(failures int, first, longest time.Duration) time.Duration {
	d := first
	for range min(failures, 40) - 1 {
		if d >= longest {
			break
		}
		d *= 2
	}
	return min(d, longest)
}
