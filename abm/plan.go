package abm

import (
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// Words of ours for storage.Attempt.Result, beside Apple's.
const (
	resultMissing     = "MISSING"      // Apple's answer does not name the serial
	resultNotVerified = "NOT_VERIFIED" // Apple said SUCCESS but does not show the profile
)

// desire is what is wanted for one device: a profile by fingerprint (empty: none) with Apple's UUID if it has one, or
// the reason why it cannot be told.
type desire struct {
	print  string
	uuid   string
	reason string // what decided, for people
	err    error

	// Of a staged roll-out: the profile that waits while the device keeps print; and for a device whose turn it is, the
	// rate and how to take the next slot.
	deferred string
	perHour  int
	slot     func(perHour int) time.Time
	respread bool // slots that were taken are taken anew, as the rules have changed
}

// has reports whether Apple shows d with the profile. Status "removed" does not count, whatever the UUID says.
func has(d *storage.Device, uuid string) bool {
	s := ProfileStatus(d.ProfileStatus)
	return uuid != "" && d.ProfileUUID == uuid && (s == ProfileAssigned || s == ProfilePushed)
}

// holds is has for the device's present stay in the account. A device that was removed and added again comes with the UUID
// of its old profile but cannot fetch it (observed); the profile counts once it was assigned after that.
func holds(a *storage.Assignment, d *storage.Device, uuid string) bool {
	if !has(d, uuid) {
		return false
	}
	old := !d.ProfileAssignedAt.IsZero() && d.ProfileAssignedAt.Before(d.AssignedAt)
	t := &a.LastAttempt
	return !old || t.Result == string(ResultSuccess) && t.ProfileUUID == uuid && t.At.After(d.AssignedAt)
}

// plan returns the assignment that follows from what Apple shows of a device (d), what is wanted, and the assignment so
// far (old, zero if there is none); false if nothing changes. returned says that the device has come back to the
// account, which ends its history. plan decides only what shall happen; it never forgets a call whose outcome is open.
func plan(old storage.Assignment, d *storage.Device, want desire, returned bool, now time.Time) (storage.Assignment, []activity.Event, bool) {
	old.Account, old.Serial = d.Account, d.Serial
	a := old
	var evs []activity.Event
	switch {
	case !d.Present():
		if old.Version > 0 && old.State != storage.AssignmentGone {
			gone(&a)
		}
	case want.err != nil:
		evs = planBlocked(&a, d, want, returned, now)
	default:
		unblock(&a)
		evs = append(planWanted(&a, d, want, returned, now), deferTo(&a, want.deferred)...)
	}
	if a == old {
		return old, nil, false
	}
	a.UpdatedAt = now
	return a, evs, true
}

// planWanted plans a device for which it is known what is wanted.
func planWanted(a *storage.Assignment, d *storage.Device, want desire, returned bool, now time.Time) []activity.Event {
	shown := holds(a, d, want.uuid)
	switch {
	case want.print == "":
		if a.Version == 0 || a.Profile == "" && a.State == storage.AssignmentSatisfied {
			return nil
		}
		evs := wanted(a, want)
		a.State, a.Failures, a.NextAttemptAt, a.SatisfiedAt = storage.AssignmentSatisfied, 0, zeroTime, now
		return evs
	case want.print != a.Profile:
		evs := append(wanted(a, want), start(a, d, want, now)...)
		takeSlot(a, want)
		return evs
	case returned, a.State == storage.AssignmentGone:
		return start(a, d, want, now)
	case a.State == storage.AssignmentSatisfied && !shown:
		// Apple's feed may replay an old record: look before acting on it.
		a.State, a.NextAttemptAt = storage.AssignmentAssigned, now
	case want.respread && a.State == storage.AssignmentPending && a.NextAttemptAt.After(now) && a.Failures+a.Throttles == 0:
		a.NextAttemptAt = now // its turn under the old rules means nothing any more
		takeSlot(a, want)
	case a.State != storage.AssignmentSatisfied && shown:
		return satisfy(a, d, now)
	}
	return nil
}

// planBlocked plans a device for which it cannot be told what is wanted: what was wanted last, whose UUID want has, stays.
func planBlocked(a *storage.Assignment, d *storage.Device, want desire, returned bool, now time.Time) []activity.Event {
	waiting := a.Problem != "" && a.NextAttemptAt.After(now)
	switch {
	case a.Version == 0:
		a.State = storage.AssignmentPending
	case returned, a.State == storage.AssignmentGone:
		start(a, d, desire{print: a.Profile, uuid: want.uuid}, now)
	case a.State == storage.AssignmentSatisfied && want.uuid != "" && !holds(a, d, want.uuid):
		a.State, a.NextAttemptAt = storage.AssignmentAssigned, now // look before acting on it
	case waiting:
		return nil
	}
	evs := block(a, want.err, now)
	if idle(a) && !a.NextAttemptAt.After(now) {
		a.NextAttemptAt = now.Add(problemWait(a, now))
	}
	return evs
}

// start begins the way to a profile from the beginning.
func start(a *storage.Assignment, d *storage.Device, want desire, now time.Time) []activity.Event {
	a.Failures, a.SatisfiedAt = 0, zeroTime
	switch {
	case holds(a, d, want.uuid):
		return satisfy(a, d, now)
	case a.State == storage.AssignmentAssigning:
		return nil // the outcome of a call is open
	}
	a.State = storage.AssignmentPending
	if a.LastAttempt.Result != string(ResultThrottled) || a.NextAttemptAt.Before(now) {
		a.NextAttemptAt = now // otherwise Apple throttles the device, not the profile
		if d.MigrationDeadline.After(now) {
			a.NextAttemptAt = now.Add(-migrationLead)
		}
	}
	return nil
}

// migrationLead puts a device whose migration waits for its profile before all others that are due: the longest due come
// first.
const migrationLead = time.Hour

// takeSlot has a device wait for its turn in a roll-out. A call whose outcome is open is looked into before that.
func takeSlot(a *storage.Assignment, want desire) {
	if want.slot == nil || a.State != storage.AssignmentPending {
		return
	}
	if at := want.slot(want.perHour); at.After(a.NextAttemptAt) {
		a.NextAttemptAt = at
	}
}

// deferTo notes the profile that a roll-out has not brought to the device yet; none if print is empty.
func deferTo(a *storage.Assignment, print string) []activity.Event {
	if a.Deferred == print {
		return nil
	}
	a.Deferred = print
	if print == "" {
		return nil
	}
	return []activity.Event{activity.ProfileDeferred{On: activity.On{Account: a.Account, Serial: a.Serial}, Fingerprint: print, Keeps: a.Profile}}
}

// wanted changes the profile that is wanted.
func wanted(a *storage.Assignment, want desire) []activity.Event {
	from := a.Profile
	if from == want.print {
		return nil
	}
	a.Profile = want.print
	return []activity.Event{activity.ProfileWanted{
		On: activity.On{Account: a.Account, Serial: a.Serial}, Fingerprint: want.print, From: from, Reason: want.reason,
	}}
}

// satisfy records that Apple shows what is wanted.
func satisfy(a *storage.Assignment, d *storage.Device, now time.Time) []activity.Event {
	a.State, a.SatisfiedAt, a.Failures, a.Throttles = storage.AssignmentSatisfied, now, 0, 0
	rest(a, now)
	return []activity.Event{activity.ProfileVerified{
		On: activity.On{Account: d.Account, Serial: d.Serial}, ProfileUUID: d.ProfileUUID, ProfileStatus: d.ProfileStatus,
	}}
}

func gone(a *storage.Assignment) {
	a.State, a.NextAttemptAt, a.SatisfiedAt = storage.AssignmentGone, zeroTime, zeroTime
	a.Problem, a.ProblemSince, a.Deferred = "", zeroTime, ""
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
