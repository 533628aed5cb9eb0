package abm

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// explainNow is the time of the tables.
var explainNow = time.Date(2026, 11, 24, 13, 0, 0, 0, time.UTC)

// someFacts returns the facts of a device that waits for a profile in a healthy account.
func someFacts() *facts {
	now := explainNow
	return &facts{
		now: now, every: time.Hour, parkAt: 10, detail: &AccountDetail{ServerName: "MDM", OrgName: "Acme"},
		acct: storage.Account{
			Name: acme, SealedToken: []byte{1}, TokenExpiresAt: now.Add(90 * 24 * time.Hour), Health: storage.HealthOK,
			HealthSince: now.Add(-time.Hour),
		},
		cursor: storage.Cursor{Account: acme, Version: 3, LastSyncAt: now.Add(-20 * time.Minute), Rules: "r1", RulesOrder: 5},
		dev:    storage.Device{Account: acme, Serial: "S1", FirstSeenAt: now.Add(-time.Hour), UpdatedAt: now}, seen: true,
		row: storage.Assignment{
			Account: acme, Serial: "S1", Profile: "aaaaaaaaaaaaaaaa", State: storage.AssignmentPending,
			NextAttemptAt: now.Add(2 * time.Hour), Version: 1,
		}, planned: true,
		wanted:  storage.Profile{Account: acme, Fingerprint: "aaaaaaaaaaaaaaaa", UUID: "UUID-A"},
		current: acme, reason: "No other account has had it.",
	}
}

// Each list is one dimension of what may be stored. The test goes through all combinations, and more than can come together; what
// was tried and what the rules say take turns in it.
var (
	explainStates = []storage.AssignmentState{
		storage.AssignmentPending, storage.AssignmentAssigning, storage.AssignmentAssigned, storage.AssignmentSatisfied,
		storage.AssignmentParked, storage.AssignmentGone, "", "of-the-future",
	}
	explainHealths = []storage.Health{
		storage.HealthNew, storage.HealthOK, storage.HealthExpiring, storage.HealthExpired, storage.HealthRejected,
		storage.HealthTermsNotSigned, storage.HealthUnreachable, "of-the-future",
	}
	explainWants = []func(*facts){
		func(*facts) {},
		func(f *facts) { f.row.Profile, f.wanted = "", storage.Profile{} },
		func(f *facts) { f.wanted = storage.Profile{} }, // not stored, or not defined
		func(f *facts) { f.row.Deferred = "dddddddddddddddd" },
		func(f *facts) { f.row.Profile, f.wanted, f.row.Deferred = "", storage.Profile{}, "dddddddddddddddd" },
		func(f *facts) { f.row, f.planned, f.wanted = storage.Assignment{}, false, storage.Profile{} },
	}
	explainPlaces = []func(*facts){
		func(*facts) {},
		func(f *facts) { f.current, f.reason = "other", "It was assigned to other last." },
		func(f *facts) { f.dev, f.seen, f.current = storage.Device{}, false, "" },
		func(f *facts) { f.dev.LeftAt, f.dev.LeftReason, f.current = f.now.Add(-time.Hour), leftDeleted, "" },
		func(f *facts) {
			f.dev.LeftAt, f.dev.LeftReason, f.current = f.now.Add(-time.Hour), "of-the-future", "other"
		},
	}
	explainShown = []func(*facts){
		func(*facts) {},
		func(f *facts) { f.dev.ProfileUUID, f.dev.ProfileStatus = "UUID-A", "pushed" },
		func(f *facts) { f.dev.ProfileUUID, f.dev.ProfileStatus = "UUID-X", "assigned" },
		func(f *facts) { // from an earlier stay in the account
			f.dev.ProfileUUID, f.dev.ProfileStatus, f.dev.ProfileAssignedAt = "UUID-A", "pushed", f.now.Add(-9*time.Hour)
			f.dev.AssignedAt = f.now.Add(-8 * time.Hour)
		},
		func(f *facts) { f.dev.ProfileUUID, f.dev.ProfileStatus = "UUID-A", "removed" },
		func(f *facts) { f.dev.ProfileUUID, f.dev.ProfileStatus = "", "empty" },
		func(f *facts) { f.dev.ProfileUUID, f.dev.ProfileStatus = "UUID-B", "of-the-future" },
	}
	explainTried = []func(*facts){
		func(*facts) {},
		func(f *facts) { f.row.NextAttemptAt = time.Time{} },
		func(f *facts) {
			f.row.NextAttemptAt = f.now.Add(-time.Minute)
			f.attempt("THROTTLED", "")
			f.row.Throttles = 2
		},
		func(f *facts) { f.attempt("FAILED", ""); f.row.Failures = 3 },
		func(f *facts) {
			f.attempt("", "abm: AssignProfile: HTTP 503")
			f.row.SatisfiedAt = f.now.Add(-time.Hour)
		},
		func(f *facts) {
			f.attempt("NEW_WORD_OF_APPLE", "")
			f.row.NextAttemptAt = time.Time{}
			f.row.Failures = 1
		},
	}
	explainProblems = []func(*facts){
		func(*facts) {},
		func(f *facts) { f.row.Problem, f.row.ProblemSince = "directory is\ndown", f.now.Add(-time.Hour) },
		func(f *facts) { f.row.Problem = "directory is down" },
	}
	explainRules = []func(*facts){
		func(*facts) {},
		func(f *facts) { f.ruling = &ruling{rules: Rules{ID: "r1", Order: 5}, print: f.row.Profile} },
		func(f *facts) {
			f.ruling = &ruling{rules: Rules{ID: "r2", Order: 6}, print: "bbbb", name: "B", why: "the lab"}
		},
		func(f *facts) { f.ruling = &ruling{rules: Rules{ID: "r0", Order: 4}, print: "bbbb", why: "the lab"} },
		func(f *facts) { f.ruling = &ruling{rules: Rules{ID: "r1", Order: 5}, print: "bbbb"} },
		func(f *facts) { f.ruling = &ruling{err: errors.New("directory is down")} },
		func(f *facts) {
			f.ruling = &ruling{rules: Rules{ID: "r1", Order: 5}, print: "dddddddddddddddd", rollout: &Rollout{Percent: 0}}
			f.decided, f.at = activity.ProfileWanted{Reason: "the lab"}, f.now.Add(-time.Hour)
		},
		func(f *facts) {
			f.ruling = &ruling{rules: Rules{ID: "r1", Order: 5}, print: f.row.Profile, rollout: &Rollout{Percent: 100, PerHour: 5}}
		},
	}
)

func (f *facts) attempt(result, cause string) {
	f.row.LastAttempt = storage.Attempt{At: f.now.Add(-3 * time.Hour), ProfileUUID: "UUID-A", Result: result, Error: cause}
}

// No combination of records gives an empty, broken or contradictory answer, and none leaves a device to nobody.
func TestConcludeEveryCombination(t *testing.T) {
	t.Parallel()
	n, good := 0, make(map[string]bool)
	for _, place := range explainPlaces {
		for _, state := range explainStates {
			for _, health := range explainHealths {
				for _, want := range explainWants {
					for _, shown := range explainShown {
						for _, problem := range explainProblems {
							f := someFacts()
							f.row.State, f.acct.Health = state, health
							if health == storage.HealthExpired {
								f.acct.TokenExpiresAt = f.now
							}
							tried := explainTried[n/len(explainTried)%len(explainTried)]
							for _, change := range []func(*facts){tried, problem, shown, want, place} {
								change(f)
							}
							explainRules[n%len(explainRules)](f)
							if !f.seen || !f.dev.Present() {
								f.ruling = nil // the engine does not ask
							}
							if n%7 == 0 {
								f.cursor = storage.Cursor{}
							}
							n++
							checkConclusion(t, f, good)
							if t.Failed() {
								t.Fatalf("%d: %+v", n, f)
							}
						}
					}
				}
			}
		}
	}
	assert.Greater(t, n, 30_000)
}

var broken = regexp.MustCompile(`0001-01-01|%!|  |\.\.|, \.|\(\)|""|\n|;\.|profile \.`)

// checkConclusion remembers good sentences: there are few, but many combinations.
func checkConclusion(t *testing.T, f *facts, good map[string]bool) {
	x := f.conclude()
	for _, s := range slices.Concat([]string{x.Summary, x.Next}, x.Why, x.Do) {
		s = strings.ReplaceAll(s, `family "" and model ""`, "nothing") // which is what the rules see
		if good[s] {
			continue
		}
		if s == "" || !strings.HasSuffix(s, ".") || s[0] >= 'a' && s[0] <= 'z' || broken.MatchString(s) {
			t.Errorf("bad sentence %q", s)
		}
		good[s] = true
	}
	here := f.seen && f.dev.Present()
	has := here && f.dev.ProfileUUID == "UUID-A" && f.dev.ProfileStatus == "pushed" && f.wanted.UUID == "UUID-A" && f.dev.AssignedAt.IsZero()
	elsewhere := here && f.current == "other"
	away := !here && f.seen || elsewhere
	settled := slices.Contains([]Verdict{VerdictSatisfied, VerdictNothingWanted, VerdictDeferred, VerdictLeft, VerdictMoved}, x.Verdict)
	held := len(f.acct.SealedToken) == 0 || slices.Contains(
		[]storage.Health{storage.HealthExpired, storage.HealthRejected, storage.HealthTermsNotSigned}, f.acct.Health)
	for _, c := range []struct {
		name string
		ok   bool
	}{
		{"a verdict", x.Verdict != ""},
		{"satisfied is shown", x.Verdict != VerdictSatisfied || has && f.row.State == storage.AssignmentSatisfied && !elsewhere},
		{"shown and satisfied is", !has || f.row.State != storage.AssignmentSatisfied || f.row.Profile == "" || f.row.Problem != "" || elsewhere || x.Verdict == VerdictSatisfied},
		{"a problem blocks", !here || elsewhere || (f.row.Problem != "") == (x.Verdict == VerdictBlocked)},
		{"left is left", !f.seen || f.dev.Present() || x.Verdict == VerdictLeft},
		{"elsewhere is moved", elsewhere == (x.Verdict == VerdictMoved)},
		{"nothing is scheduled for who is away", !away || x.NextAt.IsZero()},
		{"a dead account promises nothing", !held || x.NextAt.IsZero()},
		{"a dead account is mended first", !held || f.current == "other" || len(x.Do) > 0 && x.Held != "" && strings.Contains(x.Do[0], "portal")},
		{"held says why", held == (x.Held != "")},
		{"someone moves", settled || !x.NextAt.IsZero() || len(x.Do) > 0},
		{"parked asks for a person", x.Verdict != VerdictParked || slices.Contains(x.Do, doRetry)},
		{"a time is said", x.NextAt.IsZero() || strings.Contains(x.Next, x.NextAt.Format("2006-01-02 15:04 UTC")) || strings.Contains(x.Next, "planned anew")},
		{"no time is invented", x.NextAt.IsZero() || x.NextAt.Equal(f.row.NextAttemptAt) || x.NextAt.Equal(f.now)},
		{"no advice twice", len(slices.Compact(slices.Sorted(slices.Values(x.Do)))) == len(x.Do)},
		{"a reason", len(x.Why) > 0 || !here},
	} {
		if !c.ok {
			t.Errorf("%s: %+v", c.name, x)
		}
	}
}

func TestConcludeInWords(t *testing.T) {
	t.Parallel()
	const outage = "Nothing about the outage, unless it lasts: then check the network path from this machine to Apple, and Apple's system status."
	for name, tt := range map[string]struct {
		change        func(*facts)
		verdict       Verdict
		summary, next string
		do            []string
	}{
		"waiting": {func(*facts) {}, VerdictWaiting, "It waits for profile aaaaaaaaaaaa.",
			"Apple is asked to assign the profile: 2026-11-24 15:00 UTC (in 2 hours).", nil},
		"not defined yet": {func(f *facts) { f.wanted = storage.Profile{}; f.row.NextAttemptAt = f.now.Add(-90 * time.Second) }, VerdictWaiting,
			"It waits for profile aaaaaaaaaaaa.", "The profile is defined at Apple and then assigned: " +
				"as soon as an engine comes to it, due since 2026-11-24 12:58 UTC (90 seconds ago).", nil},
		"has it": {func(f *facts) {
			f.row.State, f.dev.ProfileUUID, f.dev.ProfileStatus = storage.AssignmentSatisfied, "UUID-A", "pushed"
		}, VerdictSatisfied, "It has the wanted profile aaaaaaaaaaaa.",
			"Nothing happens unless Apple's record of the device or the rules change.", nil},
		"throttled": {func(f *facts) { f.attempt("THROTTLED", ""); f.row.Throttles = 1 }, VerdictThrottled,
			"Apple throttles the device, so that profile aaaaaaaaaaaa has to wait.",
			"Apple is asked what it shows of the device, and to assign the profile if it does not show that: 2026-11-24 15:00 UTC (in 2 hours).", nil},
		"parked": {func(f *facts) {
			f.attempt("FAILED", "")
			f.row.State, f.row.Failures, f.row.NextAttemptAt = storage.AssignmentParked, 10, time.Time{}
		}, VerdictParked, "Profile aaaaaaaaaaaa was given up after 10 failures.", "Nothing happens until a person asks for another attempt.",
			[]string{"Find the cause of the failures.", doRetry}},
		"terms": {func(f *facts) { f.acct.Health = storage.HealthTermsNotSigned }, VerdictWaiting, "It waits for profile aaaaaaaaaaaa.",
			"Nothing, because Apple's terms are not accepted; once that is mended, Apple is asked to assign the profile.",
			[]string{"An administrator of Acme must sign in to Apple's portal and accept the new terms; the engine notices by itself."}},
		"expired by the clock": {func(f *facts) { f.acct.TokenExpiresAt = f.now }, VerdictWaiting, "It waits for profile aaaaaaaaaaaa.",
			"Nothing, because the server token has expired; once that is mended, Apple is asked to assign the profile.",
			[]string{`Download a new server token of MDM server "MDM" from Apple's portal and import it into account acme.`}},
		"expired by a clock that was wrong": {func(f *facts) { f.acct.Health = storage.HealthExpired }, VerdictWaiting,
			"It waits for profile aaaaaaaaaaaa.", "Apple is asked to assign the profile: 2026-11-24 15:00 UTC (in 2 hours).", nil},
		"unreachable": {func(f *facts) { f.acct.Health = storage.HealthUnreachable }, VerdictWaiting, "It waits for profile aaaaaaaaaaaa.",
			"Apple is asked to assign the profile: 2026-11-24 15:00 UTC (in 2 hours). " +
				"Apple has given no usable answer since 2026-11-24 12:00 UTC (60 minutes ago), and is tried again until it does, after pauses that grow to about an hour.", []string{outage}},
		"refused": {func(f *facts) {
			f.acct.Health, f.acct.HealthReason, f.host = storage.HealthUnreachable, "abm: SyncDevices: connection refused", "apple.test"
		}, VerdictWaiting, "It waits for profile aaaaaaaaaaaa.",
			"Apple is asked to assign the profile: 2026-11-24 15:00 UTC (in 2 hours). Apple has given no usable answer since " +
				"2026-11-24 12:00 UTC (60 minutes ago) (abm: SyncDevices: connection refused), and is tried again until it does, after pauses that grow to about an hour.",
			[]string{strings.Replace(outage, "to Apple,", "to apple.test,", 1)}},
		"held back": {func(f *facts) {
			f.acct.Health, f.retryAt = storage.HealthUnreachable, f.now.Add(5*time.Minute)
			f.row.State, f.dev.ProfileUUID, f.dev.ProfileStatus = storage.AssignmentSatisfied, "UUID-A", "pushed"
		}, VerdictSatisfied, "It has the wanted profile aaaaaaaaaaaa.",
			"Nothing happens unless Apple's record of the device or the rules change. Apple has given no usable answer since " +
				"2026-11-24 12:00 UTC (60 minutes ago); calls are held back until 2026-11-24 13:05 UTC (in 5 minutes), and are tried again after that.",
			[]string{outage}},
		"held back before a step has ended": {func(f *facts) { f.retryAt = f.now.Add(time.Hour) }, VerdictWaiting,
			"It waits for profile aaaaaaaaaaaa.", "Apple is asked to assign the profile: 2026-11-24 15:00 UTC (in 2 hours). Apple has asked for " +
				"calls to wait, or has not answered; calls are held back until 2026-11-24 14:00 UTC (in 60 minutes), and are tried again after that.",
			[]string{outage}},
		"left": {func(f *facts) { f.dev.LeftAt, f.dev.LeftReason, f.current = f.now.Add(-72*time.Hour), leftDeleted, "" }, VerdictLeft,
			"It has left account acme 2026-11-21 13:00 UTC (3 days ago): Apple's feed said that it was removed: released, or moved to another MDM server.",
			"Nothing happens in this account unless the device comes back to it.",
			[]string{`To manage it here, assign it in Apple's portal to MDM server "MDM" (account acme).`}},
		"rules have changed": {func(f *facts) {
			f.ruling = &ruling{rules: Rules{ID: "r2", Order: 5}, print: "bbbb", name: "Lab", why: "rule 2"}
		}, VerdictWaiting, "It waits for profile aaaaaaaaaaaa.", "The account is planned anew as soon as an engine comes to it.", nil},
		"rules are older": {func(f *facts) { f.ruling = &ruling{rules: Rules{ID: "r2", Order: 4}, print: "bbbb"} }, VerdictWaiting,
			"It waits for profile aaaaaaaaaaaa.", "Apple is asked to assign the profile: 2026-11-24 15:00 UTC (in 2 hours).", nil},
		"nobody syncs": {func(f *facts) { f.cursor.LastSyncAt = f.now.Add(-5 * time.Hour) }, VerdictWaiting, "It waits for profile aaaaaaaaaaaa.",
			"Apple is asked to assign the profile: 2026-11-24 15:00 UTC (in 2 hours).", []string{"See that an engine runs and comes to account acme."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := someFacts()
			tt.change(f)
			x := f.conclude()
			assert.Equal(t, tt.verdict, x.Verdict)
			assert.Equal(t, tt.summary, x.Summary)
			assert.Equal(t, tt.next, x.Next)
			assert.Equal(t, tt.do, x.Do)
		})
	}
}

// In a roll-out the headline says what a device waits for, and which profile is which though both have one name.
func TestConcludeRollout(t *testing.T) {
	t.Parallel()
	doc, err := testProfile("Macs").Canonical()
	require.NoError(t, err)
	const turn = "2026-11-24 15:00 UTC (in 2 hours)"
	f := someFacts()
	f.wanted.Document = doc
	f.ruling = &ruling{rules: Rules{ID: "r1", Order: 5}, print: f.row.Profile, name: "Macs", rollout: &Rollout{Percent: 50, PerHour: 5}}
	x := f.conclude()
	assert.Equal(t, `It waits for profile "Macs" until its turn by the pace of the roll-out, `+turn+".", x.Summary)
	assert.Contains(t, x.Why, "It waits for its turn in a roll-out to 5 devices an hour.")
	assert.Equal(t, "Apple is asked to assign the profile: "+turn+".", x.Next)

	f.shown = storage.Profile{Fingerprint: "ssssssssssssssss", UUID: "UUID-S", Document: doc}
	f.dev.ProfileUUID, f.dev.ProfileStatus = "UUID-S", "pushed"
	x = f.conclude()
	assert.Equal(t, `It waits for profile "Macs" aaaaaaaaaaaa until its turn by the pace of the roll-out, `+turn+".", x.Summary)
	assert.Contains(t, x.Why, `Apple shows profile "Macs" ssssssssssss: fetched by the device.`)

	f = someFacts()
	f.row.State, f.dev.ProfileUUID, f.dev.ProfileStatus = storage.AssignmentSatisfied, "UUID-A", "pushed"
	f.wanted.Document = doc
	f.row.Deferred, f.deferred = "dddddddddddddddd", storage.Profile{Fingerprint: "dddddddddddddddd", Document: doc}
	f.ruling = &ruling{rules: Rules{ID: "r1", Order: 5}, print: f.row.Deferred, name: "Macs", rollout: &Rollout{Percent: 0, PerHour: 5}}
	x = f.conclude()
	assert.Equal(t, VerdictSatisfied, x.Verdict)
	assert.Equal(t, `It keeps the earlier profile "Macs" aaaaaaaaaaaa until the roll-out reaches it.`, x.Summary)
	assert.Contains(t, x.Why, `The roll-out of profile "Macs" dddddddddddd (to 0 percent of the devices) has not come to it yet: until then it keeps its profile.`)
	assert.Equal(t, "Nothing happens before the roll-out comes to the device, or the rules change.", x.Next)

	f.row.Deferred, f.deferred = "", storage.Profile{} // the rules are newer than the plan
	f.ruling = &ruling{rules: Rules{ID: "r2", Order: 6}, print: "dddddddddddddddd", name: "Macs"}
	assert.Equal(t, `The rules want profile "Macs" dddddddddddd for it now, as they have changed since the account was planned.`, f.conclude().Rule.Note)
}

// A person learns why the rules leave a device alone, and what they see of it.
func TestConcludeLeftAlone(t *testing.T) {
	t.Parallel()
	const (
		add   = "If it shall have a profile, add a rule that applies to it."
		noFam = "If it shall have a profile, add a rule by its model or serial number: Apple's record names no family, " +
			"so no rule by family applies until Apple completes it."
	)
	nothing := func(why string) *ruling { return &ruling{rules: Rules{ID: "r1", Order: 5}, why: why} }
	for name, tt := range map[string]struct {
		family  string
		ruling  *ruling
		decided string
		summary string
		do      []string
	}{
		"no rule":         {"Mac", nothing(noRule), "", "No profile is wanted for it (no rule applies).", []string{add}},
		"no family":       {"", nothing(noRule), "", "No profile is wanted for it (no rule applies).", []string{noFam}},
		"a rule means it": {"Mac", nothing("the lab"), noRule, "No profile is wanted for it (the lab).", nil},
		"not known now":   {"Mac", &ruling{err: errors.New("x")}, "the lab", "No profile is wanted for it (the lab).", nil},
		"never known":     {"Mac", &ruling{err: errors.New("x")}, "", "No profile is wanted for it.", []string{add}},
		"wanted now":      {"Mac", &ruling{rules: Rules{ID: "r2", Order: 6}, print: "bbbb"}, "", "No profile is wanted for it.", nil},
	} {
		f := someFacts()
		f.row, f.wanted = storage.Assignment{Account: acme, Serial: "S1", State: storage.AssignmentSatisfied, Version: 1}, storage.Profile{}
		f.dev.Family, f.dev.Model, f.ruling, f.decided.Reason = tt.family, "iMac", tt.ruling, tt.decided
		x := f.conclude()
		assert.Equal(t, VerdictNothingWanted, x.Verdict, name)
		assert.Equal(t, tt.summary, x.Summary, name)
		assert.Contains(t, x.Why, `The rules see a device of family "`+tt.family+`" and model "iMac".`, name)
		assert.Equal(t, tt.do, x.Do, name)
	}
}

// The rules are asked again for a device that something keeps from being assigned: its own time says when, and no turn in a
// roll-out, and nobody need do anything for it.
func TestConcludeBlockedAsksAgain(t *testing.T) {
	t.Parallel()
	f := someFacts()
	f.row.Problem = "directory is down"
	f.ruling = &ruling{rules: Rules{ID: "r1", Order: 5}, print: "bbbb", name: "B"}
	x := f.conclude()
	assert.Contains(t, x.Why, `The rules want profile "B" for it now, which is noticed when they are asked again.`)
	assert.NotContains(t, x.Do, doPlan)
	assert.Equal(t, "The rules, and Apple if need be, are asked again: 2026-11-24 15:00 UTC (in 2 hours).", x.Next)

	turn := "It waits for its turn in a roll-out to 5 devices an hour."
	f.ruling = &ruling{rules: Rules{ID: "r1", Order: 5}, print: f.row.Profile, rollout: &Rollout{Percent: 100, PerHour: 5}}
	assert.NotContains(t, f.conclude().Why, turn)
	f.row.Problem = ""
	assert.Contains(t, f.conclude().Why, turn)
	f.row.Profile, f.ruling.print = "", "" // a rule that leaves devices alone
	assert.NotContains(t, f.conclude().Why, turn)
}

// What the engine does by itself is nothing for a person to do.
func TestConcludeDoesNotAskForWhatIsDone(t *testing.T) {
	t.Parallel()
	f := someFacts()
	f.row.State = storage.AssignmentSatisfied
	assert.Equal(t, []string{doPlan}, f.conclude().Do, "stale")
	f.ruling = &ruling{rules: Rules{ID: "r2", Order: 6}, print: "bbbb"}
	x := f.conclude()
	assert.Equal(t, "The account is planned anew as soon as an engine comes to it.", x.Next)
	assert.Empty(t, x.Do)
}

func TestConcludeSaysWhatAppleShows(t *testing.T) {
	t.Parallel()
	doc, err := testProfile("Old").Canonical()
	require.NoError(t, err)
	f := someFacts()
	f.dev.ProfileUUID, f.dev.ProfileStatus, f.dev.ProfileAssignedAt = "UUID-OLD", "assigned", f.now.Add(-49*time.Hour)
	f.shown = storage.Profile{Fingerprint: "cccc", UUID: "UUID-OLD", Document: doc}
	f.dev.MigrationDeadline = f.now.Add(50 * time.Hour)
	f.attempt("NEW_WORD", "line one\nline two "+strings.Repeat("é", 400))
	why := f.conclude().Why
	require.Len(t, why, 3)
	assert.Equal(t, `Apple shows profile "Old": assigned 2026-11-22 12:00 UTC (2 days ago), not yet fetched by the device.`, why[0])
	assert.Contains(t, why[1], "by 2026-11-26 15:00 UTC (in 2 days)")
	assert.Contains(t, why[2], "with the answer NEW_WORD: Apple refused a call that names this device with this word, which is not documented (line one line two")
	assert.Less(t, len(why[2]), 600)
	f.shown = storage.Profile{}
	assert.Contains(t, f.conclude().Why[0], "none of this account's here (UUID UUID-OLD)")
}

func TestMeaningsOfAllResults(t *testing.T) {
	t.Parallel()
	for _, r := range []string{
		string(ResultSuccess), string(ResultFailed), string(ResultNotAccessible), string(ResultThrottled), resultMissing, resultNotVerified, "",
	} {
		assert.Contains(t, meanings, r)
	}
	assert.Contains(t, meaning("DEVICE_ID_REQUIRED"), "device id required")
	for code := range codes {
		assert.NotContains(t, meaning(code), "not documented", code)
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"1 second": time.Second, "119 seconds": 119 * time.Second, "2 minutes": 2 * time.Minute, "47 hours": 47*time.Hour + 59*time.Minute,
		"2 days": 48 * time.Hour,
	} {
		assert.Equal(t, want, span(d))
	}
	assert.Equal(t, "2026-11-24 13:00 UTC (now)", at(explainNow, explainNow.Add(time.Millisecond)))
}
