package abm

import (
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
	rules := r.Rules()
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
	s := &step{e: e, account: name, detail: detail}
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
	now := s.e.s.now()
	// A host may make a new profile for each call, so that pointers mean nothing from one page to the next.
	prints := make(map[*depprofile.Profile]encodedProfile)
	for i := range devs {
		a.add(&devs[i], old[devs[i].Serial], &decisions[i], prints, now)
	}
	return nil
}

// encodedProfile is what encoded says of a profile.
type encodedProfile struct {
	print string
	doc   []byte
	err   error
}

// foresee says what becomes of a device for which it is decided what is wanted. It lets plan decide, as the engine does.
func foresee(old storage.Assignment, d *storage.Device, want desire, now time.Time) (outcome DryRunOutcome, throttled bool) {
	a, _, changed := plan(old, d, want, false, now)
	switch {
	case want.print == "":
		return OutcomeLeftAlone, false
	case has(d, want.uuid):
		return OutcomeSatisfied, false
	case changed && a.Profile != old.Profile:
		outcome = OutcomeAssign
	case a.State == storage.AssignmentParked:
		return OutcomeParked, false
	default:
		outcome = OutcomeUnderway
	}
	return outcome, a.LastAttempt.Result == string(ResultThrottled) && a.NextAttemptAt.After(now)
}
