package abm

import (
	"fmt"

	"github.com/enrollkit/enrollkit/storage"
)

// because lists what led to the finding.
func (f *facts) because() []string {
	var why []string
	if f.row.Profile != "" && !f.at.IsZero() {
		why = append(why, fmt.Sprintf("%s is wanted since %s: %s", f.wantedName(), at(f.at, f.now), clip(orWords(f.decided.Reason, "no reason was given"))))
	}
	if f.seen && f.dev.Present() {
		why = append(why, f.shows())
		if f.row.Profile != "" && has(&f.dev, f.wanted.UUID) && !f.hasWanted() {
			why = append(why, "that was assigned before the device came back to the account: it cannot fetch it, and needs it assigned again")
		}
		if f.row.State != storage.AssignmentSatisfied && f.row.Profile != "" && f.hasWanted() {
			why = append(why, "that is the wanted profile already, which is noticed when the device is looked at")
		}
		if f.row.Profile != "" && f.row.Deferred != "" {
			why = append(why, "the roll-out of "+f.deferredName()+" has not come to it yet: until then it keeps its profile")
		}
		if f.paced() {
			why = append(why, fmt.Sprintf("it waits for its turn in a roll-out to %d devices an hour", f.ruling.rollout.PerHour))
		}
		if !f.dev.MigrationDeadline.IsZero() {
			why = append(why, "it is being migrated to this MDM server, which must happen by "+at(f.dev.MigrationDeadline, f.now)+
				"; it needs its profile before that")
		}
	}
	if l := f.row.LastAttempt; f.planned && !l.At.IsZero() {
		text := fmt.Sprintf("the last call to Apple for it was %s", at(l.At, f.now))
		if l.Result != "" {
			text += ", with the answer " + clip(l.Result)
		}
		text += ": " + meaning(l.Result)
		if l.Error != "" {
			text += " (" + clip(l.Error) + ")"
		}
		why = append(why, text)
	}
	if f.row.Problem != "" && !f.row.ProblemSince.IsZero() {
		why = append(why, "the problem began "+at(f.row.ProblemSince, f.now))
	}
	switch late := f.late(); {
	case f.cursor.LastSyncAt.IsZero():
		why = append(why, "the inventory of the account was never read to its end")
	case late:
		why = append(why, "what is known of it is old: the account was synced "+at(f.cursor.LastSyncAt, f.now))
	}
	return why
}

func (f *facts) late() bool { return f.now.Sub(f.cursor.LastSyncAt) > 2*f.every }

// shows says which profile Apple shows.
func (f *facts) shows() string {
	d := &f.dev
	if d.ProfileUUID == "" || ProfileStatus(d.ProfileStatus) == ProfileEmpty {
		return "Apple shows no profile for it"
	}
	what := fmt.Sprintf("a profile that is none of this account's here (UUID %s), assigned in the portal or by another program", clip(d.ProfileUUID))
	if f.shown.Fingerprint != "" {
		what = f.named(profileName(f.shown.Document), f.shown.Fingerprint)
	}
	status := "without a status"
	switch ProfileStatus(d.ProfileStatus) {
	case ProfileAssigned:
		status = "assigned" + f.since(d.ProfileAssignedAt) + ", not yet fetched by the device"
	case ProfilePushed:
		status = "fetched by the device" + f.since(d.ProfilePushedAt)
	case ProfileRemoved:
		status = "removed from the device"
	default:
		if d.ProfileStatus != "" {
			status = fmt.Sprintf("with the status %q", clip(d.ProfileStatus))
		}
	}
	return "Apple shows " + what + ": " + status
}

// compareRules says how what the rules want now differs from what is stored, whether the engine acts on that by itself,
// and what to do if it does not.
func (f *facts) compareRules() (note string, planAnew bool, do []string) {
	r := f.ruling
	if r == nil || r.err != nil || r.print == f.row.Profile || r.print == f.row.Deferred && r.leavesOut(f.dev.Serial) {
		return "", false, nil
	}
	want := "want nothing for it now"
	if r.print != "" {
		want = "want " + f.named(r.name, r.print) + " for it now"
	}
	if r.leavesOut(f.dev.Serial) {
		want += ", by a roll-out that has not come to it yet"
	}
	if r.why != "" {
		want += " (" + clip(r.why) + ")"
	}
	switch {
	case f.cursor.Version > 0 && r.rules.Order < f.cursor.RulesOrder:
		return "these rules " + want + ", but the account was planned with newer ones, which count", false, nil
	case f.row.Problem != "" && !f.row.NextAttemptAt.IsZero():
		return "the rules " + want + ", which is noticed when they are asked again", false, nil
	case f.cursor.Version == 0 || f.cursor.Rules == r.rules.ID && f.cursor.RulesOrder == r.rules.Order:
		return "the rules " + want + ", though they have not changed since the account was planned: what they look up has, " +
			"which is noticed when Apple's record or the rules change", false, []string{doPlan}
	}
	return "the rules " + want + ", as they have changed since the account was planned", !f.cursor.LastSyncAt.IsZero(), nil
}
