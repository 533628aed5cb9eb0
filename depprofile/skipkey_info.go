package depprofile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Platform is an operating system that knows skip keys. iOS includes iPadOS; watchOS knows none.
type Platform string

// The platforms with skip keys.
const (
	IOS      Platform = "iOS"      // iPhone, iPad, iPod touch
	MacOS    Platform = "macOS"    // Mac
	TVOS     Platform = "tvOS"     // Apple TV
	VisionOS Platform = "visionOS" // Apple Vision
)

// ErrPlatform means that a [Platform] is none of the constants of this package.
var ErrPlatform = errors.New("depprofile: unknown platform")

// ErrVersion means that an OS version is not one to four numbers with dots between, such as "15.4" or "10.12.4".
var ErrVersion = errors.New("depprofile: malformed OS version")

// Support says from which version on a platform honours a skip key. Deprecated and Removed are empty where
// Apple names no such version.
type Support struct {
	Platform   Platform
	Introduced string
	Deprecated string
	Removed    string
}

// since is the Support of a key that was never deprecated.
func since(p Platform, introduced string) Support {
	return Support{Platform: p, Introduced: introduced}
}

// SkipKeyInfo is what Apple documents of one skip key.
type SkipKeyInfo struct {
	Key SkipKey
	// Pane says what the key skips.
	Pane string
	// AlwaysSkippable is false if the pane may still appear; Note says when.
	AlwaysSkippable bool
	// Note is a remark on the key's effect or standing, or empty.
	Note string
	// Support has one entry for each platform that offers the key.
	Support []Support
}

// Info returns what is known of k. It reports false for a key Apple has not documented.
func (k SkipKey) Info() (SkipKeyInfo, bool) {
	i := slices.IndexFunc(skipKeyTable, func(e SkipKeyInfo) bool { return e.Key == k })
	if i < 0 {
		return SkipKeyInfo{}, false
	}
	return skipKeyTable[i].clone(), true
}

// AllSkipKeys returns every skip key Apple has documented, removed ones included, in alphabetical order.
func AllSkipKeys() []SkipKeyInfo {
	out := make([]SkipKeyInfo, len(skipKeyTable))
	for i, e := range skipKeyTable {
		out[i] = e.clone()
	}
	return out
}

// SkipKeys returns the keys that platform honours at osVersion, in alphabetical order: introduced by then and not
// yet removed. Deprecated keys are among them. It returns [ErrPlatform] or [ErrVersion] for arguments it cannot read.
//
// Which panes a device really shows depends on its hardware and region too; a key for a pane that is not there does no harm.
func SkipKeys(platform Platform, osVersion string) ([]SkipKey, error) {
	if !slices.Contains([]Platform{IOS, MacOS, TVOS, VisionOS}, platform) {
		return nil, fmt.Errorf("%w %q", ErrPlatform, platform)
	}
	v, err := parseVersion(osVersion)
	if err != nil {
		return nil, err
	}
	var keys []SkipKey
	for _, e := range skipKeyTable {
		if slices.ContainsFunc(e.Support, func(s Support) bool { return s.Platform == platform && s.offeredAt(v) }) {
			keys = append(keys, e.Key)
		}
	}
	return keys, nil
}

func (s Support) offeredAt(v version) bool {
	return !v.before(s.Introduced) && (s.Removed == "" || v.before(s.Removed))
}

// everywhere reports whether cond holds on each platform that offers the key.
func (e SkipKeyInfo) everywhere(cond func(Support) bool) bool {
	return !slices.ContainsFunc(e.Support, func(s Support) bool { return !cond(s) })
}

func (e SkipKeyInfo) clone() SkipKeyInfo {
	e.Support = slices.Clone(e.Support)
	return e
}

// version is an OS version; missing parts are zero, so that 15 equals 15.0.
type version [4]int

func parseVersion(s string) (version, error) {
	var v version
	parts := strings.Split(s, ".")
	if len(parts) > len(v) {
		return v, fmt.Errorf("%w %q", ErrVersion, s)
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return version{}, fmt.Errorf("%w %q", ErrVersion, s)
		}
		v[i] = int(n)
	}
	return v, nil
}

// before compares v with a version of the table, which a test keeps well-formed.
func (v version) before(table string) bool {
	t, err := parseVersion(table)
	return err == nil && slices.Compare(v[:], t[:]) < 0
}
