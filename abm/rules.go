package abm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// Rule gives the devices it applies to a profile. A list that is empty does not narrow; of one that is not, one entry must
// be the device's, letter for letter. A rule without lists applies to all devices.
type Rule struct {
	// Name is what a decision gives as its reason. The default is the rule's place in the list.
	Name string
	// Accounts are names of accounts, Serials serial numbers.
	Accounts, Serials []string
	// Families are Apple's device_family, such as "Mac", Models Apple's model, such as "MacBook Air", AssetTags Apple's
	// asset_tag.
	Families, Models, AssetTags []string
	// Profile is what the devices shall have; nil if they shall be left alone.
	Profile *depprofile.Profile
	// Rollout brings Profile to them in stages; nil to all at once.
	Rollout *Rollout
}

// StaticRules are an ordered list of rules: the first that applies to a device decides. A device that none applies to is
// left alone.
type StaticRules struct {
	// Order is what [Rules] says of it.
	Order int64
	Rules []Rule
}

// StaticResolver is a [Resolver] over [StaticRules].
type StaticResolver struct {
	rules []staticRule
	id    Rules
}

var _ Resolver = (*StaticResolver)(nil)

// staticRule is a Rule in the form it is applied in. A set that is nil does not narrow.
type staticRule struct {
	accounts, serials, families, models, tags set
	decision                                  Decision
}

// noRule is the reason of a StaticResolver that leaves a device alone for want of a rule; Explain has advice about that.
const noRule = "no rule applies"

type set map[string]bool

func (s set) allows(v string) bool { return s == nil || s[v] }

// NewStaticResolver returns a resolver over a copy of r. It fails if a profile is not valid, or a list has an empty entry.
func NewStaticResolver(r StaticRules) (*StaticResolver, error) {
	s := &StaticResolver{}
	h := sha256.New()
	copies := make(map[*depprofile.Profile]*depprofile.Profile)
	for i, rule := range r.Rules {
		if rule.Name == "" {
			rule.Name = fmt.Sprintf("rule %d", i+1)
		}
		print := "none"
		if p := rule.Profile; p != nil {
			if err := p.Validate(); err != nil {
				return nil, fmt.Errorf("abm: profile of %s: %w", rule.Name, err)
			}
			f, err := p.Fingerprint()
			if err != nil {
				return nil, fmt.Errorf("abm: profile of %s: %w", rule.Name, err)
			}
			print = f.String()
			if copies[p] == nil {
				copies[p] = p.Clone()
			}
		}
		if err := rule.Rollout.check(); err != nil {
			return nil, fmt.Errorf("abm: %s: %w", rule.Name, err)
		}
		compiled := staticRule{decision: Decision{Profile: copies[rule.Profile], Reason: rule.Name}}
		_, _ = fmt.Fprintf(h, "rule %s\n", print)
		if r := rule.Rollout; r != nil {
			compiled.decision.Rollout = &Rollout{r.Percent, r.PerHour}
			_, _ = fmt.Fprintf(h, "roll-out %v %d\n", r.Percent, r.PerHour)
		}
		for _, list := range []struct {
			name string
			in   []string
			out  *set
		}{
			{"accounts", rule.Accounts, &compiled.accounts}, {"serials", rule.Serials, &compiled.serials},
			{"families", rule.Families, &compiled.families}, {"models", rule.Models, &compiled.models},
			{"asset tags", rule.AssetTags, &compiled.tags},
		} {
			if slices.Contains(list.in, "") {
				return nil, fmt.Errorf("abm: %s: an entry of the %s is empty", rule.Name, list.name)
			}
			sorted := slices.Compact(slices.Sorted(slices.Values(list.in)))
			_, _ = fmt.Fprintf(h, "%s %q\n", list.name, sorted)
			if len(sorted) > 0 {
				*list.out = make(set, len(sorted))
			}
			for _, v := range sorted {
				(*list.out)[v] = true
			}
		}
		s.rules = append(s.rules, compiled)
	}
	s.id = Rules{ID: hex.EncodeToString(h.Sum(nil)), Order: r.Order}
	return s, nil
}

// ForAll returns a resolver that gives every device the profile p.
func ForAll(p *depprofile.Profile) (*StaticResolver, error) {
	return NewStaticResolver(StaticRules{Rules: []Rule{{Name: "all devices", Profile: p}}})
}

// Rules implements Resolver. The ID is a hash of what the rules say; names of rules do not count.
func (s *StaticResolver) Rules() Rules { return s.id }

// Resolve implements Resolver. It never fails.
func (s *StaticResolver) Resolve(_ context.Context, devices []storage.Device) ([]Decision, error) {
	out := make([]Decision, len(devices))
	for i := range devices {
		out[i] = s.decide(&devices[i])
	}
	return out, nil
}

func (s *StaticResolver) decide(d *storage.Device) Decision {
	tag, read := "", false
	for i := range s.rules {
		r := &s.rules[i]
		if !r.accounts.allows(d.Account) || !r.serials.allows(d.Serial) || !r.families.allows(d.Family) || !r.models.allows(d.Model) {
			continue
		}
		if r.tags != nil && !read { // the record is read only if a rule asks for it
			read = true
			if rec, err := ParseDevice(d.Document); err == nil {
				tag = rec.AssetTag
			}
		}
		if r.tags.allows(tag) {
			return r.decision
		}
	}
	return Decision{Reason: noRule}
}
