package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/examples/internal/sqlitedb"
)

// dryRun prints what the rules in a file would do.
func dryRun(ctx context.Context, db *sqlitedb.DB, c config, stdout io.Writer) error {
	rules, err := readRules(c.dryRun)
	if err != nil {
		return err
	}
	engine, err := abm.New(db, db.Sealer, rules)
	if err != nil {
		return err
	}
	opts := abm.DryRunOptions{Samples: c.samples}
	if c.samples == 0 {
		opts.Samples = -1
	}
	if c.account != "" {
		opts.Accounts = []string{c.account}
	}
	res, err := engine.DryRun(ctx, rules, opts)
	if err != nil {
		return err
	}
	if c.json {
		return json.NewEncoder(stdout).Encode(res)
	}
	_, err = io.WriteString(stdout, dryRunText(&res))
	return err
}

// dryRunText returns the result for people.
func dryRunText(res *abm.DryRunResult) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "ACCOUNT\tOUTCOME\tDEVICES\tAPPLE SHOWS\tWANTED\tREASON\tSERIALS")
	for _, g := range res.Groups {
		serials := strings.Join(g.Serials, " ")
		if len(g.Serials) > 0 && g.Devices > len(g.Serials) {
			serials += " ..."
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n",
			g.Account, outcomeText(&g), g.Devices, profileName(g.From), profileName(g.To), orDash(g.Reason), orDash(serials))
	}
	_ = t.Flush() // a Builder does not fail
	if res.Ungrouped > 0 {
		fmt.Fprintf(&b, "%d devices more, in too many groups to print\n", res.Ungrouped)
	}
	for i := range res.Accounts {
		b.WriteString(accountText(&res.Accounts[i]))
	}
	for _, p := range res.Profiles {
		what := "is defined already"
		if p.Define {
			what = "would be defined"
		}
		fmt.Fprintf(&b, "\nprofile %q (%.12s) of account %s %s; devices %d, to assign %d\n",
			p.Name, p.Fingerprint, p.Account, what, p.Devices, p.Assign)
		for _, w := range p.Warnings {
			fmt.Fprintf(&b, "  warning: %s\n", w)
		}
		for _, r := range p.Replaces {
			fmt.Fprintf(&b, "  instead of %q (%.12s), devices %d:\n", r.Name, r.Fingerprint, r.Devices)
			for _, c := range r.Changes {
				fmt.Fprintf(&b, "    %s\n", c)
			}
		}
	}
	return b.String()
}

// outcomeText tells devices that wait for their turn from those that have none while a roll-out goes no further.
func outcomeText(g *abm.DryRunGroup) string {
	switch {
	case g.Outcome == abm.OutcomeDeferred:
		return fmt.Sprintf("%s (not while it is %v percent)", g.Outcome, g.Percent)
	case g.Paced > 0:
		return fmt.Sprintf("%s (%d later, by pace)", g.Outcome, g.Paced)
	}
	return string(g.Outcome)
}

func accountText(a *abm.DryRunAccount) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\naccount %s: devices %d, to assign %d; calls to Apple at least %d to assign and %d to define\n", a.Account, a.Devices,
		a.Outcomes[abm.OutcomeAssign]+a.Outcomes[abm.OutcomeUnderway], a.AssignCalls, a.DefineCalls)
	if a.Throttled > 0 {
		fmt.Fprintf(&b, "  Apple throttles %d of them, which wait\n", a.Throttled)
	}
	if n := a.Outcomes[abm.OutcomeDeferred]; n > 0 {
		fmt.Fprintf(&b, "  a roll-out leaves out %d more: they keep what they have until its percentage is raised\n", n)
	}
	if !a.RolloutEndsAt.IsZero() {
		fmt.Fprintf(&b, "  the pace of the roll-out makes %d of them wait; begun now, the last one's turn is at %s", a.Paced, date(a.RolloutEndsAt))
		if a.Outcomes[abm.OutcomeDeferred] > 0 {
			b.WriteString(", without those that are left out")
		}
		b.WriteString("\n")
	}
	if a.Outranked {
		b.WriteString("  these rules would not be used: the account was planned with rules of a higher order\n")
	}
	if a.Held != "" {
		fmt.Fprintf(&b, "  nothing can be assigned now: %s\n", a.Held)
	}
	return b.String()
}

func profileName(p *abm.ExplainedProfile) string {
	switch {
	case p == nil:
		return "-"
	case p.Name != "":
		return fmt.Sprintf("%q", p.Name)
	case p.Fingerprint != "":
		return fmt.Sprintf("%.12s", p.Fingerprint)
	}
	return p.UUID
}
