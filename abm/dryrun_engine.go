package abm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// DryRun tells what the rules of r would do, without doing it: which devices would get which profile, and what that costs. It
// reads the store page by page and asks r about each page; it asks nothing of Apple and writes nothing, so it can be run at any
// time, and a million devices take no more memory than a thousand. While an engine works the pages are of different moments.
//
// What goes wrong in r for a device is the device's outcome. An error of the store ends the dry run.
func (e *Engine) DryRun(ctx context.Context, r Resolver, opts DryRunOptions) (DryRunResult, error) {
	if r == nil {
		return DryRunResult{}, errors.New("abm: DryRun: resolver is required")
	}
	rules, err := (&Engine{resolver: r}).rules()
	if err != nil {
		return DryRunResult{}, err
	}
	t := newTally(opts, DryRunResult{At: e.s.now().UTC(), Rules: rules.ID, Order: rules.Order})
	names, err := e.dryRunAccounts(ctx, opts.Accounts)
	if err != nil {
		return DryRunResult{}, fmt.Errorf("abm: dry run: %w", err)
	}
	for _, name := range names {
		if err := e.dryRunAccount(ctx, r, rules, name, t); err != nil {
			if errors.Is(err, storage.ErrNotFound) && len(opts.Accounts) == 0 {
				continue // deleted meanwhile
			}
			return DryRunResult{}, fmt.Errorf("abm: dry run of account %s: %w", name, err)
		}
	}
	return t.result(e.s.now().UTC()), nil
}

// dryRunAccounts returns the accounts by name, each once.
func (e *Engine) dryRunAccounts(ctx context.Context, wanted []string) ([]string, error) {
	all := make(map[string]bool, len(wanted))
	for _, name := range wanted {
		all[name] = true
	}
	if len(wanted) == 0 {
		var err error
		if all, err = e.accountNames(ctx); err != nil {
			return nil, err
		}
	}
	return sortedKeys(all), nil
}

func (e *Engine) dryRunAccount(ctx context.Context, r Resolver, rules Rules, name string, t *tally) error {
	acct, err := e.store.GetAccount(ctx, name)
	if err != nil {
		return err
	}
	cur, _, err := found(e.store.GetCursor(ctx, name))
	if err != nil {
		return err
	}
	stored, err := e.store.ListProfiles(ctx, name)
	if err != nil {
		return err
	}
	a := t.account(acct.Name, stored)
	detail := new(AccountDetail)
	if d, err := ParseAccountDetail(acct.Detail); err == nil {
		detail = d
	}
	if u, err := parseBaseURL(e.accounts.baseURL(acct)); err == nil {
		detail.basePath = u.Path
	}
	// A step that is given no lease: what it would write is refused, should it try.
	s := &step{e: e, account: name, detail: detail, rules: rules, profiles: make(map[string]storage.Profile)}
	if cur.Rules != "" && cur.Rules != rules.ID {
		s.respread, s.rolloutAt = true, e.s.now() // as replan does
	}
	a.limit = min(s.limit(http.MethodPost, "/profile/devices"), s.limit(http.MethodPost, "/devices"))
	why, _ := heldUp(&acct, detail, e.s.now())
	a.sum.Held = sentence(why)
	a.sum.Outranked = cur.Version > 0 && rules.Order < cur.RulesOrder
	return s.eachPage(ctx, func(devs []storage.Device) error {
		return s.dryRunPage(ctx, r, devs, a)
	})
}

// dryRunPage counts one page of devices. What it keeps is in the tally, which is bounded.
func (s *step) dryRunPage(ctx context.Context, r Resolver, devs []storage.Device, a *accountTally) error {
	if len(devs) == 0 {
		return nil
	}
	serials := make([]string, len(devs))
	for i := range devs {
		serials[i] = devs[i].Serial
	}
	rows, err := s.e.store.GetAssignments(ctx, s.account, serials)
	if err != nil {
		return err
	}
	old := make(map[string]storage.Assignment, len(rows))
	for _, row := range rows {
		old[row.Serial] = row
	}
	decisions := decide(ctx, r, devs)
	if err := ctx.Err(); err != nil {
		return err
	}
	// A host may make a new profile for each call, so that pointers mean nothing from one page to the next.
	prints := make(map[*depprofile.Profile]encodedProfile)
	for i := range devs {
		f, err := s.foresee(ctx, &devs[i], old[devs[i].Serial], &decisions[i], prints, a)
		if err != nil {
			return err
		}
		a.add(&devs[i], &decisions[i], f)
	}
	return nil
}

// encodedProfile is what encoded says of a profile.
type encodedProfile struct {
	print string
	err   error
}

// foreseen is what becomes of a device.
type foreseen struct {
	outcome   DryRunOutcome
	to        string // fingerprint of what the rules want
	err       error  // why they want nothing that can be had
	throttled bool
	turn      time.Time // in a roll-out by the hour; zero if it is in none
}

// foresee says what becomes of a device. It lets stage and plan decide, as the engine does.
func (s *step) foresee(
	ctx context.Context, d *storage.Device, old storage.Assignment, dec *Decision,
	prints map[*depprofile.Profile]encodedProfile, a *accountTally,
) (foreseen, error) {
	if err := cmp.Or(dec.Err, dec.Rollout.check()); err != nil {
		return foreseen{outcome: OutcomeUndecided, err: err}, nil
	}
	if dec.Profile == nil {
		return foreseen{outcome: OutcomeLeftAlone}, nil
	}
	p, ok := prints[dec.Profile]
	if !ok {
		p.print, _, p.err = encoded(dec.Profile)
		prints[dec.Profile] = p
	}
	if p.err != nil {
		return foreseen{outcome: OutcomeInvalid, err: p.err}, nil
	}
	want := desire{print: p.print, uuid: a.byPrint[p.print].UUID, respread: s.respread}
	if dec.Rollout != nil {
		var err error
		if want, err = s.stage(ctx, dec.Rollout, &sighting{row: *d}, &old, want); err != nil {
			return foreseen{}, err
		}
	}
	now := s.e.s.now()
	f := foreseen{to: p.print}
	row, _, changed := plan(old, d, want, false, now)
	switch {
	case want.deferred != "":
		f.outcome = OutcomeDeferred
		return f, nil
	case holds(&old, d, want.uuid):
		f.outcome = OutcomeSatisfied
		return f, nil
	case changed && row.Profile != old.Profile:
		f.outcome = OutcomeAssign
	case row.State == storage.AssignmentParked:
		f.outcome = OutcomeParked
		return f, nil
	default:
		f.outcome = OutcomeUnderway
	}
	f.throttled = row.LastAttempt.Result == string(ResultThrottled) && row.NextAttemptAt.After(now)
	if want.slot != nil && !f.throttled {
		f.turn = row.NextAttemptAt
	}
	return f, nil
}
