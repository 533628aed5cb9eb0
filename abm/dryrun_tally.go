package abm

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// Bounds of a dry run.
const (
	defaultSamples  = 5
	defaultGroups   = 1000
	maxReplaced     = 5   // profiles that one replaces
	maxInvalidKinds = 100 // profiles that are not valid
	maxComplaints   = 100 // of one of them
)

// tally counts the devices of a dry run. Its size is bounded by the options, however many devices, reasons and profiles come.
type tally struct {
	samples, maxGroups int
	out                DryRunResult
	accounts           []*accountTally
	groups             int // in all accounts
	profiles           int
	invalid            int
}

// accountTally is the part of a tally for one account.
type accountTally struct {
	t       *tally
	sum     DryRunAccount
	limit   int                        // devices in one call
	byUUID  map[string]storage.Profile // what is stored, by Apple's UUID
	byPrint map[string]storage.Profile
	groups  map[groupKey]*DryRunGroup
	wanted  map[string]*wantedTally
	invalid map[string]*DryRunInvalid // by name, reason and complaint
}

type groupKey struct {
	outcome          DryRunOutcome
	from, to, reason string // from is Apple's UUID, to a fingerprint
	percent          float64
}

// wantedTally is a profile that the rules want.
type wantedTally struct {
	DryRunProfile
	profile  *depprofile.Profile
	replaces map[string]int // devices by fingerprint
}

func newTally(opts DryRunOptions, out DryRunResult) *tally {
	t := &tally{samples: opts.Samples, maxGroups: opts.Groups, out: out}
	if t.samples == 0 {
		t.samples = defaultSamples
	}
	if t.maxGroups <= 0 {
		t.maxGroups = defaultGroups
	}
	t.out.Outcomes = make(map[DryRunOutcome]int)
	return t
}

func (t *tally) account(name string, stored []storage.Profile) *accountTally {
	a := &accountTally{
		t: t, sum: DryRunAccount{Account: name, Outcomes: make(map[DryRunOutcome]int)},
		byUUID: make(map[string]storage.Profile), byPrint: make(map[string]storage.Profile, len(stored)),
		groups: make(map[groupKey]*DryRunGroup), wanted: make(map[string]*wantedTally), invalid: make(map[string]*DryRunInvalid),
	}
	for _, p := range stored {
		a.byPrint[p.Fingerprint] = p
		if p.UUID != "" {
			a.byUUID[p.UUID] = p
		}
	}
	t.accounts = append(t.accounts, a)
	return a
}

// add counts one device.
func (a *accountTally) add(d *storage.Device, dec *Decision, f foreseen) {
	a.sum.Devices++
	k := groupKey{outcome: f.outcome, to: f.to, reason: clip(dec.Reason)}
	if s := ProfileStatus(d.ProfileStatus); s == ProfileAssigned || s == ProfilePushed {
		k.from = d.ProfileUUID
	}
	if f.outcome == OutcomeUndecided {
		k.reason = clip(f.err.Error())
	}
	if f.outcome == OutcomeDeferred {
		k.percent = dec.Rollout.Percent
	}
	paced := f.turn.After(a.t.out.At)
	a.group(k, d.Serial, dec.Profile, paced)
	switch {
	case f.outcome == OutcomeInvalid:
		a.refuse(d.Serial, dec, k.reason, f.err)
	case f.to != "":
		a.want(dec.Profile, k)
	}
	if f.throttled {
		a.sum.Throttled++
	}
	if paced {
		a.sum.Paced++
	}
	if f.turn.After(a.sum.RolloutEndsAt) {
		a.sum.RolloutEndsAt = f.turn
	}
}

// group counts a device for its account, and in its group while there is room for one.
func (a *accountTally) group(k groupKey, serial string, to *depprofile.Profile, paced bool) {
	a.sum.Outcomes[k.outcome]++
	a.t.out.Outcomes[k.outcome]++
	a.t.out.Devices++
	g := a.groups[k]
	if g == nil {
		if a.t.groups >= a.t.maxGroups {
			a.t.out.Ungrouped++
			return
		}
		a.t.groups++
		g = &DryRunGroup{Account: a.sum.Account, Outcome: k.outcome, Reason: k.reason, Percent: k.percent}
		if k.from != "" {
			p := a.byUUID[k.from]
			g.From = viewProfile(p.Fingerprint, &p)
			g.From.UUID = k.from
		}
		if to != nil && k.to != "" {
			g.To = &ExplainedProfile{Fingerprint: k.to, Name: to.ProfileName, UUID: a.byPrint[k.to].UUID}
		}
		a.groups[k] = g
	}
	g.Devices++
	if paced {
		g.Paced++
	}
	if len(g.Serials) < a.t.samples {
		g.Serials = append(g.Serials, serial)
	}
}

// want counts a device for the profile that it shall have.
func (a *accountTally) want(p *depprofile.Profile, k groupKey) {
	uuid := a.byPrint[k.to].UUID
	w := a.wanted[k.to]
	if w == nil {
		if a.t.profiles >= a.t.maxGroups {
			// Calls are counted by profile; this one costs its own.
			if k.outcome == OutcomeAssign || k.outcome == OutcomeUnderway {
				a.sum.AssignCalls++
				if uuid == "" {
					a.sum.DefineCalls++
				}
			}
			return
		}
		a.t.profiles++
		w = &wantedTally{profile: p.Clone(), replaces: make(map[string]int), DryRunProfile: DryRunProfile{
			Account: a.sum.Account, Fingerprint: k.to, Name: p.ProfileName,
		}}
		for _, warning := range p.Warnings() {
			w.Warnings = append(w.Warnings, warning.String())
		}
		a.wanted[k.to] = w
	}
	w.Devices++
	if k.outcome != OutcomeAssign && k.outcome != OutcomeUnderway {
		return
	}
	w.Assign++
	w.Define = uuid == ""
	if from := a.byUUID[k.from].Fingerprint; from != "" {
		w.replaces[from]++
	}
}

// refuse counts a device whose profile is not valid.
func (a *accountTally) refuse(serial string, dec *Decision, reason string, err error) {
	key := dec.Profile.ProfileName + "\x00" + reason + "\x00" + err.Error()
	v := a.invalid[key]
	if v == nil {
		if a.t.invalid >= maxInvalidKinds {
			return // the devices are counted by their outcome
		}
		a.t.invalid++
		v = &DryRunInvalid{Account: a.sum.Account, Name: clip(dec.Profile.ProfileName), Reason: reason, Errors: complaints(err)}
		a.invalid[key] = v
	}
	v.Devices++
	if len(v.Serials) < a.t.samples {
		v.Serials = append(v.Serials, serial)
	}
}

func complaints(err error) []string {
	var all depprofile.KeyErrors
	if !errors.As(err, &all) {
		return []string{clip(err.Error())}
	}
	var out []string
	for _, k := range all[:min(len(all), maxComplaints)] {
		out = append(out, k.Error())
	}
	return out
}

// result sums up.
func (t *tally) result(until time.Time) DryRunResult {
	out := t.out
	out.Until = until
	for _, a := range t.accounts {
		out.Accounts = append(out.Accounts, a.close())
		groups := slices.Collect(maps.Values(a.groups))
		slices.SortFunc(groups, func(x, y *DryRunGroup) int {
			return cmp.Or(cmp.Compare(y.Devices, x.Devices), cmp.Compare(x.Outcome, y.Outcome), cmp.Compare(x.Reason, y.Reason),
				cmp.Compare(x.Percent, y.Percent),
				cmp.Compare(uuidOf(x.From), uuidOf(y.From)), cmp.Compare(printIn(x.To), printIn(y.To)))
		})
		for _, g := range groups {
			out.Groups = append(out.Groups, *g)
		}
		for _, print := range sortedKeys(a.wanted) {
			out.Profiles = append(out.Profiles, a.wanted[print].close(a.byPrint))
		}
		for _, key := range sortedKeys(a.invalid) {
			out.Invalid = append(out.Invalid, *a.invalid[key])
		}
	}
	return out
}

func uuidOf(p *ExplainedProfile) string {
	if p == nil {
		return ""
	}
	return p.UUID
}

func printIn(p *ExplainedProfile) string {
	if p == nil {
		return ""
	}
	return p.Fingerprint
}

// close adds what the calls to Apple come to.
func (a *accountTally) close() DryRunAccount {
	for _, w := range a.wanted {
		if w.Assign > 0 && w.Define {
			a.sum.DefineCalls++
		}
		a.sum.AssignCalls += (w.Assign + a.limit - 1) / a.limit
	}
	return a.sum
}

// close compares the profile with those that it replaces.
func (w *wantedTally) close(stored map[string]storage.Profile) DryRunProfile {
	p := w.DryRunProfile
	prints := sortedKeys(w.replaces)
	slices.SortStableFunc(prints, func(x, y string) int { return cmp.Compare(w.replaces[y], w.replaces[x]) })
	for _, print := range prints[:min(len(prints), maxReplaced)] {
		old, err := depprofile.Parse(stored[print].Document)
		if err != nil {
			continue // nothing to compare with
		}
		p.Replaces = append(p.Replaces, DryRunReplaced{
			Fingerprint: print, Name: old.ProfileName, Devices: w.replaces[print], Changes: depprofile.Diff(old, w.profile),
		})
	}
	return p
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
