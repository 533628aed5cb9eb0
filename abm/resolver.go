package abm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// Resolver decides which profile a device shall have. Its methods are called from several goroutines.
type Resolver interface {
	// Rules identifies the rules. When it changes, all devices are planned anew; until then a device is planned only when
	// Apple's record of it has changed.
	Rules() string
	// Resolve returns the profile for a device, or nil if it shall be left alone. It must answer the same for the same
	// device until Rules changes, and the profile must not be changed after it was returned. An error concerns this
	// device only: its last profile stays, and it is asked for again later.
	Resolve(ctx context.Context, d storage.Device) (*depprofile.Profile, error)
}

// StaticRules say by lists which device gets which profile. The first that applies wins: Serials, then Families, then
// Default. A nil profile means that the device is left alone.
type StaticRules struct {
	// Serials are by serial number.
	Serials map[string]*depprofile.Profile
	// Families are by Apple's device_family, such as "Mac".
	Families map[string]*depprofile.Profile
	Default  *depprofile.Profile
}

// StaticResolver is a Resolver over StaticRules.
type StaticResolver struct {
	rules StaticRules
	id    string
}

var _ Resolver = (*StaticResolver)(nil)

// NewStaticResolver returns a resolver over a copy of r. It fails if a profile is not valid.
func NewStaticResolver(r StaticRules) (*StaticResolver, error) {
	h := sha256.New()
	copies := make(map[*depprofile.Profile]*depprofile.Profile)
	add := func(kind, key string, p *depprofile.Profile) (*depprofile.Profile, error) {
		print := "none"
		if p != nil {
			if err := p.Validate(); err != nil {
				return nil, fmt.Errorf("abm: profile for %s %q: %w", kind, key, err)
			}
			f, err := p.Fingerprint()
			if err != nil {
				return nil, fmt.Errorf("abm: profile for %s %q: %w", kind, key, err)
			}
			print = f.String()
			if copies[p] == nil {
				copies[p] = p.Clone()
			}
		}
		_, _ = fmt.Fprintf(h, "%s %q %s\n", kind, key, print)
		return copies[p], nil
	}
	table := func(kind string, in map[string]*depprofile.Profile) (map[string]*depprofile.Profile, error) {
		out := make(map[string]*depprofile.Profile, len(in))
		for _, key := range slices.Sorted(maps.Keys(in)) {
			p, err := add(kind, key, in[key])
			if err != nil {
				return nil, err
			}
			out[key] = p
		}
		return out, nil
	}
	var s StaticResolver
	var err error
	if s.rules.Serials, err = table("serial", r.Serials); err != nil {
		return nil, err
	}
	if s.rules.Families, err = table("family", r.Families); err != nil {
		return nil, err
	}
	if s.rules.Default, err = add("default", "", r.Default); err != nil {
		return nil, err
	}
	s.id = hex.EncodeToString(h.Sum(nil))
	return &s, nil
}

// ForAll returns a resolver that gives every device the profile p.
func ForAll(p *depprofile.Profile) (*StaticResolver, error) {
	return NewStaticResolver(StaticRules{Default: p})
}

// Rules implements Resolver.
func (s *StaticResolver) Rules() string { return s.id }

// Resolve implements Resolver. It never fails.
func (s *StaticResolver) Resolve(_ context.Context, d storage.Device) (*depprofile.Profile, error) {
	if p, ok := s.rules.Serials[d.Serial]; ok {
		return p, nil
	}
	if p, ok := s.rules.Families[d.Family]; ok {
		return p, nil
	}
	return s.rules.Default, nil
}
