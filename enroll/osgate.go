package enroll

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// FailMode is what a gate does with a device it cannot judge or cannot send to update.
type FailMode int

// Fail modes. There is no default: a gate that silently lets everything pass, or bricks a class of devices, is a
// decision its owner has to make.
const (
	FailClosed FailMode = iota + 1 // refuse the device
	FailOpen                       // let it enroll
)

// OSMinimum is the oldest OS a device may enroll with, and what it has to install otherwise.
type OSMinimum struct {
	// Version is the minimum, for example "26.1". A device of the same version passes.
	Version string
	// Update is the version to install; empty means Version.
	Update string
	// Build asks for one particular build. Apple lets Update win if the two disagree.
	Build string
	// BetaDescription and BetaToken have the device join a beta program first; both or neither.
	BetaDescription, BetaToken string
	// Message is shown to the user.
	Message string
}

// validate returns why no device could obey the minimum.
func (m OSMinimum) validate() error {
	if _, err := parseVersion(m.Version); err != nil {
		return err
	}
	if m.Update != "" {
		switch diff, err := CompareVersions(m.Update, m.Version); {
		case err != nil:
			return err
		case diff < 0:
			return fmt.Errorf("enroll: a device with update %s would still be older than %s", m.Update, m.Version)
		}
	}
	if (m.BetaToken == "") != (m.BetaDescription == "") {
		return errors.New("enroll: a beta program needs its description and its token")
	}
	return nil
}

// Minimums says which minimum a device has.
type Minimums interface {
	// Minimum returns the minimum for a device; ok is false if there is none.
	Minimum(ctx context.Context, c Candidate) (minimum OSMinimum, ok bool, err error)
}

// MinimumFunc is a function that is Minimums. A minimum no device could obey counts as an error of it.
type MinimumFunc func(ctx context.Context, c Candidate) (minimum OSMinimum, ok bool, err error)

// Minimum implements Minimums.
func (f MinimumFunc) Minimum(ctx context.Context, c Candidate) (minimum OSMinimum, ok bool, err error) {
	return f(ctx, c)
}

type byFamily map[string]OSMinimum

// MinimumByFamily returns Minimums with one minimum per [MachineInfo.Family]; families not named have none.
// [NewOSGate] refuses versions that cannot be read and updates older than what they are to reach.
func MinimumByFamily(minimums map[string]OSMinimum) Minimums { return byFamily(maps.Clone(minimums)) }

// Minimum implements Minimums.
func (f byFamily) Minimum(_ context.Context, c Candidate) (minimum OSMinimum, ok bool, err error) {
	minimum, ok = f[c.Device.Family()]
	return minimum, ok, nil
}

// OSGate keeps devices out that run too old an OS, and has those update that can.
type OSGate struct {
	fail    FailMode
	minimum Minimums
}

// NewOSGate returns a gate. fail says what happens to a device whose version cannot be told or compared, for which
// minimum returns an error, or that is too old and cannot be told to update.
func NewOSGate(fail FailMode, minimum Minimums) (*OSGate, error) {
	switch {
	case fail != FailClosed && fail != FailOpen:
		return nil, errors.New("enroll: new OS gate: choose FailClosed or FailOpen")
	case minimum == nil:
		return nil, errors.New("enroll: new OS gate: no minimum")
	}
	fixed, _ := minimum.(byFamily)
	for family, m := range fixed {
		if err := m.validate(); err != nil {
			return nil, fmt.Errorf("enroll: new OS gate: %s: %w", family, err)
		}
	}
	return &OSGate{fail: fail, minimum: minimum}, nil
}

// OSDecision is what a gate says of one device.
type OSDecision struct {
	// Pass lets the device enroll.
	Pass bool
	// Update is what the device has to install first; nil if it passes or cannot be told to.
	Update *OSMinimum
	// Reason is a word for the activity; empty when there was nothing worth knowing.
	Reason string
	// To is the version demanded or missed.
	To string
}

// Check judges one device. It returns no error: what cannot be told is decided by the fail mode and named in Reason.
func (g *OSGate) Check(ctx context.Context, c Candidate) OSDecision {
	m, ok, err := g.minimum.Minimum(ctx, c)
	switch {
	case err != nil:
		return g.cannot("minimum_unknown", "")
	case !ok:
		return OSDecision{Pass: true}
	case m.validate() != nil:
		return g.cannot("minimum_invalid", m.Version)
	}
	if m.Update == "" {
		m.Update = m.Version
	}
	if c.Device.OSVersion == "" { // older than the versions that say it: iOS 17, macOS 14
		return g.tooOld(c, m)
	}
	diff, err := CompareVersions(c.Device.OSVersion, m.Version)
	if err != nil {
		return g.cannot("version_unreadable", m.Version)
	}
	if diff >= 0 {
		return OSDecision{Pass: true}
	}
	return g.tooOld(c, m)
}

// tooOld demands the update from a device that can be asked for it.
func (g *OSGate) tooOld(c Candidate, m OSMinimum) OSDecision {
	if !c.Device.CanRequestSoftwareUpdate {
		return g.cannot("cannot_request_update", m.Update)
	}
	return OSDecision{Update: &m, Reason: "below_minimum", To: m.Update}
}

func (g *OSGate) cannot(reason, to string) OSDecision {
	return OSDecision{Pass: g.fail == FailOpen, Reason: reason, To: to}
}

// CompareVersions compares dotted versions number by number: -1 if a is older, 0 if they are the same, 1 if a is newer.
// Missing numbers count as 0, so 26 and 26.0 are the same. Anything but numbers is an error.
func CompareVersions(a, b string) (int, error) {
	x, err := parseVersion(a)
	if err != nil {
		return 0, err
	}
	y, err := parseVersion(b)
	if err != nil {
		return 0, err
	}
	for i := range max(len(x), len(y)) {
		var n, m uint64
		if i < len(x) {
			n = x[i]
		}
		if i < len(y) {
			m = y[i]
		}
		switch {
		case n < m:
			return -1, nil
		case n > m:
			return 1, nil
		}
	}
	return 0, nil
}

func parseVersion(s string) ([]uint64, error) {
	parts := strings.Split(s, ".")
	out := make([]uint64, len(parts))
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("enroll: version %q is not dotted numbers", s)
		}
		out[i] = n
	}
	return out, nil
}

// updateDocument is the body of the 403 that makes a device update before it enrolls.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/errorcodesoftwareupdaterequired
type updateDocument struct {
	Code        string        `json:"code"`
	Description string        `json:"description,omitempty"`
	Message     string        `json:"message,omitempty"`
	Details     updateDetails `json:"details"`
}

type updateDetails struct {
	OSVersion          string       `json:"OSVersion"`
	BuildVersion       string       `json:"BuildVersion,omitempty"`
	RequireBetaProgram *betaProgram `json:"RequireBetaProgram,omitempty"`
}

type betaProgram struct {
	Description string `json:"Description"`
	Token       string `json:"Token"`
}

func (m OSMinimum) document() updateDocument {
	d := updateDocument{
		Code:        "com.apple.softwareupdate.required",
		Description: "The device runs an OS older than " + m.Version + ".",
		Message:     m.Message,
		Details:     updateDetails{OSVersion: m.Update, BuildVersion: m.Build},
	}
	if m.BetaToken != "" {
		d.Details.RequireBetaProgram = &betaProgram{Description: m.BetaDescription, Token: m.BetaToken}
	}
	return d
}
