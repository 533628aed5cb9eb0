package abm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// Limits of an explanation: its activities, and the accounts that are asked about an unknown serial.
const (
	maxActivities = 20
	maxAccounts   = storage.MaxPageSize
)

// Explain says why the device with a serial has the profile it has, or none, what happens next and when, for every account
// that knows it. A serial that no account knows is no error but VerdictUnknown, with what can be done about it.
//
// It reads the store, and asks the resolver about the device; it asks nothing of Apple and changes nothing. Records are read one
// after the other, so that of a device that is worked on at the time they may be of different moments. Activities are part of it
// if the store is a storage.ActivityStore.
func (e *Engine) Explain(ctx context.Context, serial string) (Explanation, error) {
	now := e.s.now()
	x := Explanation{Serial: serial, At: now.UTC()}
	devs, err := e.store.FindDevices(ctx, serial)
	if err != nil {
		return Explanation{}, fmt.Errorf("abm: explain: %w", err)
	}
	x.Account, x.AccountReason = choose(devs, now)
	accounts := make([]string, 0, len(devs))
	for i := range devs {
		accounts = append(accounts, devs[i].Account)
	}
	if len(devs) == 0 { // an account may want a profile for what it has not seen yet
		if accounts, err = e.plannedIn(ctx, serial); err != nil {
			return Explanation{}, fmt.Errorf("abm: explain: %w", err)
		}
	}
	for _, name := range accounts {
		f, err := e.facts(ctx, name, serial, now)
		if errors.Is(err, storage.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return Explanation{}, fmt.Errorf("abm: explain: %w", err)
		}
		f.current, f.reason = x.Account, x.AccountReason
		x.Accounts = append(x.Accounts, f.conclude())
	}
	slices.SortStableFunc(x.Accounts, func(a, b AccountExplanation) int { return rank(&a, x.Account) - rank(&b, x.Account) })
	if err := e.sumUp(ctx, &x); err != nil {
		return Explanation{}, fmt.Errorf("abm: explain: %w", err)
	}
	if x.Activities, err = e.activities(ctx, serial); err != nil {
		return Explanation{}, fmt.Errorf("abm: explain: %w", err)
	}
	return x, nil
}

// rank puts the account that has the device first, then those that do not know that it is gone.
func rank(x *AccountExplanation, current string) int {
	switch {
	case x.Account == current:
		return 0
	case x.Device != nil && x.Device.Present:
		return 1
	}
	return 2
}

// facts reads what is stored of a device in one account, and asks the resolver. It returns storage.ErrNotFound if there is
// no such account; other records may be missing.
func (e *Engine) facts(ctx context.Context, account, serial string, now time.Time) (*facts, error) {
	acct, err := e.store.GetAccount(ctx, account)
	if err != nil {
		return nil, err
	}
	f := e.accountFacts(acct, now)
	if f.cursor, _, err = found(e.store.GetCursor(ctx, account)); err != nil {
		return nil, err
	}
	if f.dev, f.seen, err = found(e.store.GetDevice(ctx, account, serial)); err != nil {
		return nil, err
	}
	if f.row, f.planned, err = found(e.store.GetAssignment(ctx, account, serial)); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		print string
		to    *storage.Profile
	}{{f.row.Profile, &f.wanted}, {f.row.Deferred, &f.deferred}} {
		if p.print == "" {
			continue
		}
		if *p.to, _, err = found(e.store.GetProfile(ctx, account, p.print)); err != nil {
			return nil, err
		}
	}
	if err := e.decided(ctx, f); err != nil {
		return nil, err
	}
	if f.dev.ProfileUUID != "" {
		all, err := e.store.ListProfiles(ctx, account)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(p storage.Profile) bool { return p.UUID == f.dev.ProfileUUID }); i >= 0 {
			f.shown = all[i]
		}
	}
	if f.seen && f.dev.Present() {
		f.ruling = e.rule(ctx, f.dev)
	}
	return f, ctx.Err()
}

// accountFacts returns what there is to know of an account beside its devices.
func (e *Engine) accountFacts(acct storage.Account, now time.Time) *facts {
	f := &facts{now: now, every: e.s.syncEvery, parkAt: e.s.maxFailed, acct: acct, detail: new(AccountDetail)}
	if d, err := ParseAccountDetail(acct.Detail); err == nil {
		f.detail = d
	}
	if u, err := parseBaseURL(e.accounts.baseURL(acct)); err == nil {
		f.host = u.Host
	}
	f.retryAt = e.accounts.heldUntil(acct)
	return f
}

// decided finds when and why it was decided what f's row wants, which may be nothing. It is not known if the store keeps no
// activities, or not so long.
func (e *Engine) decided(ctx context.Context, f *facts) error {
	store, ok := e.store.(storage.ActivityStore)
	if !ok || !f.planned {
		return nil
	}
	acts, _, err := store.ListActivities(ctx, storage.ActivityFilter{
		Account: f.row.Account, Serial: f.row.Serial, Kind: activity.ProfileWanted{}.Kind(), Newest: true,
	}, storage.Page{Limit: 1})
	if err != nil || len(acts) == 0 {
		return err
	}
	ev, err := activity.Parse(acts[0])
	if w, ok := ev.(*activity.ProfileWanted); err == nil && ok && w.Fingerprint == f.row.Profile {
		f.decided, f.at = *w, acts[0].At
	}
	return nil // one that cannot be read was written by another version
}

// found makes a record that is missing no error.
func found[T any](record T, err error) (T, bool, error) {
	if errors.Is(err, storage.ErrNotFound) {
		var none T
		return none, false, nil
	}
	return record, err == nil, err
}

// rule asks the resolver about one device.
func (e *Engine) rule(ctx context.Context, d storage.Device) *ruling {
	decision := decide(ctx, e.resolver, []storage.Device{d})[0]
	r := &ruling{why: decision.Reason, rollout: decision.Rollout, err: cmp.Or(decision.Err, decision.Rollout.check())}
	if rules, err := e.rules(); err == nil {
		r.rules = rules
	} else {
		r.err = cmp.Or(r.err, err)
	}
	if r.err == nil && decision.Profile != nil {
		r.name = decision.Profile.ProfileName
		r.print, _, r.err = encoded(decision.Profile)
	}
	return r
}

// plannedIn returns the accounts that have an assignment for a serial, of the first maxAccounts.
func (e *Engine) plannedIn(ctx context.Context, serial string) ([]string, error) {
	accts, _, err := e.store.ListAccounts(ctx, storage.Page{Limit: maxAccounts})
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range accts {
		_, ok, err := found(e.store.GetAssignment(ctx, accts[i].Name, serial))
		if err != nil {
			return nil, err
		}
		if ok {
			names = append(names, accts[i].Name)
		}
	}
	return names, nil
}

// sumUp gives x the verdict of the account that counts, or says what to do about an unknown serial.
func (e *Engine) sumUp(ctx context.Context, x *Explanation) error {
	if len(x.Accounts) > 0 {
		x.Verdict, x.Summary = x.Accounts[0].Verdict, x.Accounts[0].Summary
		if x.Account == "" {
			x.Do = slices.Clone(x.Accounts[0].Do)
		}
		return nil
	}
	x.Verdict, x.Summary = VerdictUnknown, "No account has ever shown the device."
	if upper := strings.ToUpper(strings.TrimSpace(x.Serial)); upper != x.Serial {
		devs, err := e.store.FindDevices(ctx, upper)
		if err != nil {
			return err
		}
		if len(devs) > 0 {
			x.Do = append(x.Do, fmt.Sprintf("Ask for %q: serial numbers are compared letter for letter.", upper))
			return nil
		}
	}
	x.Do = append(x.Do, "Check the serial number.")
	accts, next, err := e.store.ListAccounts(ctx, storage.Page{Limit: maxShownAccounts})
	switch {
	case err != nil:
		return err
	case len(accts) == 0:
		x.Do = append(x.Do, "Create an account and import its server token: there is none.")
		return nil
	}
	servers := make([]string, len(accts))
	for i := range accts {
		if why, mend := e.stalled(&accts[i], x.At); why != "" {
			x.Do = append(x.Do, fmt.Sprintf("Account %s may have it and not show it, as it is not synced now: %s. %s", accts[i].Name, why, mend))
		}
		servers[i] = accts[i].Name
		cur, _, err := found(e.store.GetCursor(ctx, accts[i].Name))
		if err != nil {
			return err
		}
		servers[i] += " (never synced)"
		if !cur.LastSyncAt.IsZero() {
			servers[i] = fmt.Sprintf("%s (synced %s)", accts[i].Name, at(cur.LastSyncAt, x.At))
		}
	}
	if next != "" {
		servers = append(servers, "others")
	}
	x.Do = append(x.Do, "Assign it in Apple's portal to the MDM server of one of the accounts "+strings.Join(servers, ", ")+
		"; the next sync after that shows it.")
	return nil
}

// stalled says why an account is not synced now, and what to do; "" if it is.
func (e *Engine) stalled(acct *storage.Account, now time.Time) (why, do string) {
	f := e.accountFacts(*acct, now)
	if why, do = heldUp(acct, f.detail, now); why != "" {
		return why, do
	}
	return f.unreachable()
}

// maxShownAccounts limits how many accounts a sentence names.
const maxShownAccounts = 20

func (e *Engine) activities(ctx context.Context, serial string) ([]ExplainedActivity, error) {
	store, ok := e.store.(storage.ActivityStore)
	if !ok || serial == "" { // without a serial the list would be everyone's
		return nil, nil
	}
	acts, _, err := store.ListActivities(ctx, storage.ActivityFilter{Serial: serial, Newest: true}, storage.Page{Limit: maxActivities})
	if err != nil {
		return nil, err
	}
	out := make([]ExplainedActivity, len(acts))
	for i, a := range acts {
		out[i] = ExplainedActivity{At: a.At, Kind: a.Kind, Actor: a.Actor, Account: a.Account}
		if json.Valid(a.Detail) {
			out[i].Detail = a.Detail
		}
	}
	return out, nil
}
