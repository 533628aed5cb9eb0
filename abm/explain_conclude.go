package abm

import (
	"fmt"
	"slices"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// facts are the records of one device in one account, and what the resolver said. What is concluded follows from them and
// from nothing else.
type facts struct {
	now     time.Time
	every   time.Duration // how often the account should be synced
	acct    storage.Account
	detail  *AccountDetail
	host    string         // of Apple's service
	retryAt time.Time      // until when calls are held back; zero if they are not, or it is not known
	cursor  storage.Cursor // Version 0: never read
	dev     storage.Device
	seen    bool // dev is one
	row     storage.Assignment
	planned bool // row is one
	// Profiles: what row wants and defers, without document if not stored, and what dev shows, without fingerprint if not ours.
	wanted, deferred, shown storage.Profile

	current string // the account that has the device now; empty if none has
	reason  string // how that is known
	parkAt  int    // failures until a device is parked
	ruling  *ruling

	decided activity.ProfileWanted // when row's profile was decided; zero if that is not known
	at      time.Time              // of decided
}

// ruling is what the resolver decided for the device.
type ruling struct {
	rules Rules
	print string // empty: left alone
	name  string
	why   string
	err   error
	// rollout brings the profile in stages; nil if it is for all.
	rollout *Rollout
}

// leavesOut reports whether the roll-out of r does not come to a device yet.
func (r *ruling) leavesOut(serial string) bool {
	return r != nil && r.err == nil && r.rollout != nil && r.print != "" && !r.rollout.covers(serial, r.print)
}

// finding is a conclusion before it is known when the engine acts on it.
type finding struct {
	verdict Verdict
	summary string
	why     []string
	// act is what the engine does at the row's NextAttemptAt; empty if it waits for something, which is then rest.
	act, rest string
	do        []string
}

// Phrases that several findings share.
const (
	actLook      = "Apple is asked what it shows of the device"
	actLookFirst = "Apple is asked what it shows of the device, and to assign the profile if it does not show that"
	restDeferred = "nothing happens before the roll-out comes to the device, or the rules change"
	restQuiet    = "nothing happens unless Apple's record of the device or the rules change"
	doPlan       = "Have the account planned anew (Engine.PlanOnce)."
	doRetry      = "Ask for another attempt (Engine.Retry)."
)

// find says how the device stands, whatever the account's health.
func (f *facts) find() finding {
	switch {
	case !f.seen && !f.planned:
		return finding{verdict: VerdictUnknown, summary: "account " + f.acct.Name + " does not know the device",
			rest: "nothing happens before Apple shows the device in this account", do: []string{f.assignHere()}}
	case !f.seen:
		return f.unseen()
	case !f.dev.Present():
		return f.left()
	case f.current != "" && f.current != f.acct.Name:
		return finding{verdict: VerdictMoved, summary: fmt.Sprintf("account %s has it now. %s", f.current, f.reason),
			rest: "this account finds out from Apple's feed, from its next sweep, or when it asks Apple for the device"}
	case f.row.Problem != "":
		return f.blocked()
	case f.row.Profile == "" && f.row.Deferred != "":
		return finding{verdict: VerdictDeferred, rest: restDeferred,
			summary: "the roll-out of " + f.deferredName() + " has not come to it yet"}
	case f.row.Profile == "":
		return f.leftAlone()
	}
	switch f.row.State {
	case storage.AssignmentSatisfied:
		return f.satisfied()
	case storage.AssignmentPending:
		return f.pending()
	case storage.AssignmentAssigning:
		return finding{verdict: VerdictAsking, act: actLookFirst, summary: fmt.Sprintf(
			"Apple is being asked to assign %s, or was and the outcome is unknown", f.wantedName())}
	case storage.AssignmentAssigned:
		return f.assigned()
	case storage.AssignmentParked:
		return finding{verdict: VerdictParked, rest: "nothing happens until a person asks for another attempt",
			summary: fmt.Sprintf("%s was given up after %s", f.wantedName(), count(f.row.Failures, "failure")),
			do:      []string{"Find the cause of the failures.", doRetry}}
	case storage.AssignmentGone:
		return finding{verdict: VerdictStale, rest: restQuiet, do: []string{doPlan},
			summary: "Apple did not know the device in this account when it was asked, but shows it there"}
	}
	return finding{verdict: VerdictUnscheduled, rest: restQuiet, do: []string{"Use a version of the program that knows this state."},
		summary: fmt.Sprintf("its assignment has a state that this version does not know: %s", orWords(clip(string(f.row.State)), "none"))}
}

// leftAlone says why nothing is wanted: as the rules say now or, if they cannot be asked, as they said when that was decided.
func (f *facts) leftAlone() finding {
	reason := f.decided.Reason
	if f.ruling != nil && f.ruling.err == nil && f.ruling.print == "" {
		reason = f.ruling.why
	}
	g := finding{verdict: VerdictNothingWanted, summary: "no profile is wanted for it", rest: restQuiet}
	if reason != "" {
		g.summary += " (" + clip(reason) + ")"
	}
	g.why = []string{fmt.Sprintf("the rules see a device of family %q and model %q", clip(f.dev.Family), clip(f.dev.Model))}
	if reason == noRule || reason == "" && (f.ruling == nil || f.ruling.print == "") { // else a rule means it
		g.do = []string{"If it shall have a profile, add a rule that applies to it."}
		if f.dev.Family == "" {
			g.do[0] = "If it shall have a profile, add a rule by its model or serial number: Apple's record names no family, " +
				"so no rule by family applies until Apple completes it."
		}
	}
	return g
}

func (f *facts) unseen() finding {
	if f.row.State == storage.AssignmentGone {
		return finding{verdict: VerdictLeft, summary: "it is not in account " + f.acct.Name + " any more",
			rest: "nothing happens in this account unless the device comes back to it", do: f.comeBack()}
	}
	return finding{verdict: VerdictUnseen, act: actLook,
		summary: "a profile is wanted for it, but the inventory of account " + f.acct.Name + " does not show it"}
}

func (f *facts) left() finding {
	how, ok := leftWords[f.dev.LeftReason]
	if !ok {
		how = "the reason is " + fmt.Sprintf("%q", clip(f.dev.LeftReason))
	}
	return finding{verdict: VerdictLeft,
		summary: fmt.Sprintf("it has left account %s %s: %s", f.acct.Name, at(f.dev.LeftAt, f.now), how),
		rest:    "nothing happens in this account unless the device comes back to it", do: f.comeBack()}
}

// comeBack is what to do about a device that is in no account.
func (f *facts) comeBack() []string {
	if f.current != "" {
		return nil
	}
	return []string{f.assignHere()}
}

func (f *facts) assignHere() string {
	return fmt.Sprintf("To manage it here, assign it in Apple's portal to %s.", f.server())
}

func (f *facts) server() string {
	if f.detail.ServerName == "" {
		return "the MDM server of account " + f.acct.Name
	}
	return fmt.Sprintf("MDM server %q (account %s)", clip(f.detail.ServerName), f.acct.Name)
}

func (f *facts) blocked() finding {
	g := finding{verdict: VerdictBlocked, act: "the rules, and Apple if need be, are asked again",
		summary: "something keeps Apple from being asked to assign a profile: " + clip(f.row.Problem),
		do:      []string{"If that lasts, mend what the problem names in the rules or the profile."}}
	switch {
	case f.row.Profile == "":
		g.why = append(g.why, "nothing was wanted before")
	case f.row.State == storage.AssignmentSatisfied:
		g.why = append(g.why, "what was wanted last was seen in place: "+f.wantedName())
	case f.row.State == storage.AssignmentParked:
		g.why = append(g.why, "what was wanted last was given up before: "+f.wantedName())
		g.do = append(g.do, doRetry)
	case f.row.State == storage.AssignmentGone:
		g.why = append(g.why, "what was wanted last is not pursued: "+f.wantedName())
	default:
		g.why = append(g.why, "what was wanted last is still pursued: "+f.wantedName())
	}
	if f.row.NextAttemptAt.IsZero() {
		g.do = append(g.do, doPlan)
	}
	return g
}

func (f *facts) satisfied() finding {
	switch {
	case f.hasWanted() && f.row.Deferred != "":
		return finding{verdict: VerdictSatisfied, rest: restDeferred,
			summary: "it keeps the earlier " + f.wantedName() + " until the roll-out reaches it"}
	case f.hasWanted():
		return finding{verdict: VerdictSatisfied, summary: "it has the wanted " + f.wantedName(), rest: restQuiet}
	}
	return finding{verdict: VerdictStale, rest: restQuiet, do: []string{doPlan}, summary: fmt.Sprintf(
		"Apple was seen to have %s%s, but its record shows something else now", f.wantedName(), f.since(f.row.SatisfiedAt))}
}

func (f *facts) pending() finding {
	g := finding{act: actLookFirst}
	switch {
	case f.row.NextAttemptAt.IsZero():
		g.verdict, g.summary = VerdictUnscheduled, "Apple shall be asked to assign "+f.wantedName()+", but no time is set"
		g.do = []string{doRetry}
	case f.row.LastAttempt.Result == string(ResultThrottled):
		g.verdict, g.summary = VerdictThrottled, "Apple throttles the device, so that "+f.wantedName()+" has to wait"
	case f.row.Failures > 0:
		g.verdict = VerdictFailing
		g.summary = fmt.Sprintf("Apple did not assign %s in %s; after %d it is given up",
			f.wantedName(), count(f.row.Failures, "attempt"), f.parkAt)
	case f.paced():
		g.verdict, g.summary = VerdictWaiting, fmt.Sprintf("it waits for %s until its turn by the pace of the roll-out, %s",
			f.wantedName(), at(f.row.NextAttemptAt, f.now))
	default:
		g.verdict, g.summary = VerdictWaiting, "it waits for "+f.wantedName()
	}
	if f.row.LastAttempt.At.IsZero() {
		g.act = "Apple is asked to assign the profile"
		if f.wanted.UUID == "" {
			g.act = "the profile is defined at Apple and then assigned"
		}
	}
	return g
}

// paced reports whether it is only the pace of a roll-out that the device waits for.
func (f *facts) paced() bool {
	r := f.ruling
	return r != nil && r.rollout != nil && r.rollout.PerHour > 0 && r.print == f.row.Profile && r.print != "" &&
		f.row.Problem == "" && f.row.State == storage.AssignmentPending && f.row.Failures+f.row.Throttles == 0 && f.row.NextAttemptAt.After(f.now)
}

func (f *facts) assigned() finding {
	if f.row.SatisfiedAt.IsZero() {
		return finding{verdict: VerdictVerifying, act: actLook, summary: "Apple has accepted " + f.wantedName() + ", which is not verified yet"}
	}
	return finding{verdict: VerdictVerifying, act: actLookFirst, summary: fmt.Sprintf(
		"Apple was seen to have %s%s, but its record has changed, which may be an old one", f.wantedName(), f.since(f.row.SatisfiedAt))}
}

func (f *facts) hasWanted() bool {
	return f.seen && f.dev.Present() && holds(&f.row, &f.dev, f.wanted.UUID)
}

func (f *facts) since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " " + at(t, f.now)
}

func (f *facts) wantedName() string { return f.named(profileName(f.wanted.Document), f.row.Profile) }

// deferredName is the profile that a roll-out has not brought yet, with how far that goes if the rules still say so.
func (f *facts) deferredName() string {
	name := f.named(profileName(f.deferred.Document), f.row.Deferred)
	if r := f.ruling; r.leavesOut(f.dev.Serial) && r.print == f.row.Deferred {
		name += fmt.Sprintf(" (to %v percent of the devices)", r.rollout.Percent)
	}
	return name
}

// named is a profile as sentences name it: with its short fingerprint if another one that they may be about has its name, as the
// old and the new one of a roll-out may.
func (f *facts) named(name, print string) string {
	if name == "" {
		return "profile " + short(print)
	}
	others := map[string]string{
		f.row.Profile: profileName(f.wanted.Document), f.row.Deferred: profileName(f.deferred.Document),
		f.shown.Fingerprint: profileName(f.shown.Document),
	}
	if f.ruling != nil {
		others[f.ruling.print] = f.ruling.name
	}
	quoted := fmt.Sprintf("profile %q", clip(name))
	for other, n := range others {
		if other != print && n == name {
			return quoted + " " + short(print)
		}
	}
	return quoted
}

// short is enough of a fingerprint to tell profiles apart.
func short(print string) string { return print[:min(len(print), 12)] }

// conclude adds to a finding what the account's health, the inventory's age and today's rules make of it.
func (f *facts) conclude() AccountExplanation {
	g := f.find()
	x := f.view()
	note, planAnew, mendRules := f.compareRules()
	if x.Rule != nil {
		x.Rule.Note = sentence(note)
	}
	x.Verdict, x.Summary = g.verdict, sentence(g.summary)
	for _, w := range append(g.why, f.because()...) {
		x.Why = append(x.Why, sentence(w))
	}
	if note != "" {
		x.Why = append(x.Why, sentence(note))
	}
	why, mend := heldUp(&f.acct, f.detail, f.now)
	x.Held = sentence(why)
	away := g.verdict == VerdictMoved || g.verdict == VerdictLeft && f.current != ""
	if mend != "" && !away {
		x.advise(mend) // first, as all else waits for it
	}
	g.do = append(g.do, mendRules...)
	if planAnew {
		g.do = slices.DeleteFunc(g.do, func(l string) bool { return l == doPlan }) // the engine does that by itself
	}
	x.advise(g.do...)
	f.next(&x, g, why, planAnew && !away)
	if outage, wait := f.unreachable(); outage != "" && why == "" && !away {
		x.Next += " " + sentence(outage)
		x.advise(wait)
	}
	if x.Inventory.Late && why == "" && f.acct.Health != storage.HealthUnreachable && !away {
		x.advise("See that an engine runs and comes to account " + f.acct.Name + ".")
	}
	return x
}

// advise adds what a person can do, once.
func (x *AccountExplanation) advise(lines ...string) {
	for _, l := range lines {
		if !slices.Contains(x.Do, l) {
			x.Do = append(x.Do, l)
		}
	}
}

// next says what happens next and when.
func (f *facts) next(x *AccountExplanation, g finding, held string, planAnew bool) {
	due := f.row.NextAttemptAt
	switch {
	case held != "" && (g.act != "" || planAnew):
		then := g.act
		if planAnew {
			then = "the account is planned anew"
		}
		x.Next = sentence(fmt.Sprintf("nothing, because %s; once that is mended, %s", held, orWords(then, restQuiet)))
	case planAnew:
		x.Next, x.NextAt = "The account is planned anew as soon as an engine comes to it.", f.now
	case g.act == "":
		x.Next = sentence(g.rest)
	case due.IsZero():
		x.Next = "Nothing is scheduled."
		if len(g.do) == 0 {
			x.advise(doPlan)
		}
	default:
		x.NextAt = due
		when := at(due, f.now)
		if !due.After(f.now) {
			when = "as soon as an engine comes to it, due since " + when
		}
		x.Next = sentence(g.act + ": " + when)
	}
}
