package abm

import (
	"slices"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// view returns the records for programs to read, without a conclusion.
func (f *facts) view() AccountExplanation {
	x := AccountExplanation{
		Account: f.acct.Name,
		Health: ExplainedHealth{
			Health: f.acct.Health, Reason: f.acct.HealthReason, Since: f.acct.HealthSince,
			LastOKAt: f.acct.LastOKAt, RetryAt: f.retryAt, TokenExpiresAt: f.acct.TokenExpiresAt,
		},
		Inventory: ExplainedInventory{LastSyncAt: f.cursor.LastSyncAt, LastSweepAt: f.cursor.LastSweepAt, Late: f.late()},
	}
	if f.seen {
		x.Device = viewDevice(&f.dev, &f.shown)
	}
	if f.planned && f.row.Profile != "" {
		x.Wanted = viewProfile(f.row.Profile, &f.wanted)
	}
	if f.row.Deferred != "" {
		x.Deferred = viewProfile(f.row.Deferred, &f.deferred)
	}
	if f.planned {
		x.Assignment = viewAssignment(&f.row)
		x.Assignment.WantedSince, x.Assignment.WantedReason = f.at, f.decided.Reason
	}
	if r := f.ruling; r != nil {
		x.Rule = &ExplainedRule{Reason: r.why}
		switch {
		case r.err != nil:
			x.Rule.Error = r.err.Error()
		case r.print != "":
			x.Rule.Profile = &ExplainedProfile{Fingerprint: r.print, Name: r.name}
		}
	}
	return x
}

func viewDevice(d *storage.Device, shown *storage.Profile) *ExplainedDevice {
	v := &ExplainedDevice{
		Present: d.Present(), LeftAt: d.LeftAt, LeftReason: d.LeftReason, Model: d.Model, Family: d.Family, OS: d.OS,
		ProfileStatus: d.ProfileStatus, ProfileAssignedAt: d.ProfileAssignedAt, ProfilePushedAt: d.ProfilePushedAt,
		AssignedAt: d.AssignedAt, MigrationDeadline: d.MigrationDeadline, FirstSeenAt: d.FirstSeenAt, ChangedAt: d.UpdatedAt,
	}
	if d.ProfileUUID != "" {
		v.Profile = viewProfile(shown.Fingerprint, shown)
		v.Profile.UUID = d.ProfileUUID
	}
	return v
}

func viewProfile(print string, p *storage.Profile) *ExplainedProfile {
	return &ExplainedProfile{Fingerprint: print, Name: profileName(p.Document), UUID: p.UUID, DefinedAt: p.DefinedAt}
}

func viewAssignment(a *storage.Assignment) *ExplainedAssignment {
	v := &ExplainedAssignment{
		State: a.State, NextAttemptAt: a.NextAttemptAt, SatisfiedAt: a.SatisfiedAt, Failures: a.Failures, Throttles: a.Throttles,
		Problem: a.Problem, ProblemSince: a.ProblemSince,
	}
	if l := a.LastAttempt; !l.At.IsZero() {
		v.LastAttempt = &ExplainedAttempt{
			At: l.At, ProfileUUID: l.ProfileUUID, Result: l.Result, Meaning: meaning(l.Result), Error: l.Error,
			RetryAfterSeconds: int64(l.RetryAfter / time.Second),
		}
	}
	return v
}

// choose returns the account that has a device now, and how that is known. Apple has a device in one account at a time: of
// several that show it, the one it was assigned to last has it, and the others have not heard yet.
func choose(devs []storage.Device, now time.Time) (account, reason string) {
	devs = slices.Clone(devs)
	slices.SortFunc(devs, func(a, b storage.Device) int {
		if c := b.AssignedAt.Compare(a.AssignedAt); c != 0 {
			return c
		}
		return b.FirstSeenAt.Compare(a.FirstSeenAt)
	})
	var here []storage.Device
	for i := range devs {
		if devs[i].Present() {
			here = append(here, devs[i])
		}
	}
	switch {
	case len(here) > 1 && here[0].AssignedAt.Equal(here[1].AssignedAt):
		return here[0].Account, "Several accounts show it; " + here[0].Account + " is the last that came to know it."
	case len(here) > 1:
		return here[0].Account, "Several accounts show it; it was assigned to " + here[0].Account + " last, " + at(here[0].AssignedAt, now) + "."
	case len(here) == 1 && len(devs) > 1:
		return here[0].Account, "It has left all other accounts that have had it."
	case len(here) == 1:
		return here[0].Account, "No other account has had it."
	}
	return "", "No account has it now."
}
