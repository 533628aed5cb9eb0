package abm

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// String returns the explanation as WriteText writes it.
func (x Explanation) String() string {
	var b strings.Builder
	_ = x.WriteText(&b) // a Builder does not fail
	return b.String()
}

// WriteText writes the explanation for people, in short sentences.
func (x Explanation) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", clip(x.Serial), x.Summary)
	if x.Account != "" {
		fmt.Fprintf(&b, "  account: %s. %s\n", x.Account, x.AccountReason)
	} else if len(x.Accounts) > 0 {
		fmt.Fprintf(&b, "  account: none. %s\n", x.AccountReason)
	}
	if len(x.Accounts) == 0 {
		list(&b, "do", x.Do)
	}
	for i := range x.Accounts {
		x.Accounts[i].write(&b, x.At)
	}
	if len(x.Activities) > 0 {
		fmt.Fprintf(&b, "\nlast activities:\n")
	}
	for _, a := range x.Activities {
		line := fmt.Sprintf("  %s  %-24s %s", a.At.UTC().Format("2006-01-02 15:04:05"), a.Kind, clip(string(a.Detail)))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (x *AccountExplanation) write(b *strings.Builder, now time.Time) {
	fmt.Fprintf(b, "\naccount %s: %s\n", x.Account, x.Summary)
	list(b, "why", x.Why)
	fmt.Fprintf(b, "  next: %s\n", x.Next)
	list(b, "do", x.Do)
	if d := x.Device; d != nil {
		field(b, "device", fmt.Sprintf("model %q, family %q, OS %q", clip(d.Model), clip(d.Family), clip(d.OS)))
		field(b, "seen", "first "+at(d.FirstSeenAt, now)+", last change "+at(d.ChangedAt, now))
	}
	if p := x.Wanted; p != nil {
		field(b, "wanted", p.words())
	}
	if p := x.Deferred; p != nil {
		field(b, "deferred", p.words())
	}
	if r := x.Rule; r != nil {
		words := r.words()
		if a := x.Assignment; a != nil && r.Error != "" && a.WantedReason != "" {
			words = fmt.Sprintf("was %q when it was decided, %s; %s", clip(a.WantedReason), at(a.WantedSince, now), words)
		}
		field(b, "rule", words)
	}
	if a := x.Assignment; a != nil {
		field(b, "state", fmt.Sprintf("%s; failures %d, throttles %d", a.State, a.Failures, a.Throttles))
	}
	h := x.Health
	health := string(h.Health)
	if h.Reason != "" {
		health += " (" + clip(h.Reason) + ")"
	}
	if !h.Since.IsZero() {
		health += " since " + at(h.Since, now)
	}
	if !h.RetryAt.IsZero() {
		health += "; calls held back until " + at(h.RetryAt, now)
	}
	if !h.LastOKAt.IsZero() && h.Health != storage.HealthOK {
		health += "; last worked " + at(h.LastOKAt, now)
	}
	if !h.TokenExpiresAt.IsZero() {
		health += "; token ends " + at(h.TokenExpiresAt, now)
	}
	field(b, "health", health)
	synced := "never"
	if t := x.Inventory.LastSyncAt; !t.IsZero() {
		synced = at(t, now)
	}
	if t := x.Inventory.LastSweepAt; !t.IsZero() {
		synced += "; full list " + at(t, now)
	}
	field(b, "synced", synced)
}

func (p *ExplainedProfile) words() string {
	s := "fingerprint " + short(p.Fingerprint)
	if p.Name != "" {
		s = fmt.Sprintf("%q, %s", clip(p.Name), s)
	}
	if p.UUID == "" {
		return s + ", not defined at Apple yet"
	}
	return s + ", UUID " + p.UUID
}

func (r *ExplainedRule) words() string {
	switch {
	case r.Error != "":
		return "cannot be told now: " + clip(r.Error)
	case r.Profile == nil:
		return "leaves the device alone (" + clip(orWords(r.Reason, "no reason given")) + ")"
	}
	return fmt.Sprintf("%q, fingerprint %s (%s)", clip(r.Profile.Name), short(r.Profile.Fingerprint), clip(orWords(r.Reason, "no reason given")))
}

func list(b *strings.Builder, name string, lines []string) {
	for _, l := range lines {
		fmt.Fprintf(b, "  %s: %s\n", name, l)
	}
}

func field(b *strings.Builder, name, value string) {
	if value != "" {
		fmt.Fprintf(b, "  %s: %s\n", name, value)
	}
}
