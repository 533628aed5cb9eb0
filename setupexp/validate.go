package setupexp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// ErrInvalidPlan means that a plan breaks a rule. The error says which ones, all of them.
var ErrInvalidPlan = errors.New("setupexp: invalid plan")

// Bounds of a plan.
const (
	MaxItems    = 500
	MaxAttempts = 10

	minDeadline = time.Minute
	maxDeadline = 24 * time.Hour
	maxHold     = 7 * 24 * time.Hour
)

// Validate returns an error that is ErrInvalidPlan and names every broken rule, or nil. custom are the kinds the host
// brings executors for. The tracker validates what a Planner returns.
func (p *Plan) Validate(custom ...Kind) error {
	v := &validator{plan: p, custom: custom, index: make(map[string]int, len(p.Items))}
	v.limits()
	for i := range p.Items {
		v.item(i)
	}
	if len(v.problems) == 0 {
		v.graph()
	}
	if len(v.problems) == 0 {
		return nil
	}
	return errors.Join(append([]error{ErrInvalidPlan}, v.problems...)...)
}

type validator struct {
	plan     *Plan
	custom   []Kind
	index    map[string]int
	problems []error
}

func (v *validator) bad(format string, args ...any) {
	v.problems = append(v.problems, fmt.Errorf(format, args...))
}

func (v *validator) limits() {
	p := v.plan
	if len(p.Items) > MaxItems {
		v.bad("%d items, at most %d are allowed", len(p.Items), MaxItems)
	}
	if p.Deadline != 0 && (p.Deadline < minDeadline || p.Deadline > maxDeadline) {
		v.bad("deadline %v is not between %v and %v", p.Deadline, minDeadline, maxDeadline)
	}
	if p.Hold != 0 && (p.Hold < minDeadline || p.Hold > maxHold) {
		v.bad("hold %v is not between %v and %v", p.Hold, minDeadline, maxHold)
	}
	for lane, n := range p.Lanes {
		if n < 1 {
			v.bad("lane %q: capacity %d is not positive", lane, n)
		}
	}
}

var itemID = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`)

func (v *validator) item(i int) {
	it := &v.plan.Items[i]
	bad := func(format string, args ...any) { v.bad("item %q: "+format, append([]any{it.ID}, args...)...) }
	if !itemID.MatchString(it.ID) {
		bad("bad id")
	}
	if _, taken := v.index[it.ID]; taken {
		bad("id is used twice")
	}
	v.index[it.ID] = i
	if it.Title == "" {
		bad("no title")
	}
	if it.Lane == "" {
		bad("no lane")
	}
	if it.Timeout <= 0 || it.Timeout > maxDeadline {
		bad("timeout %v is not positive and at most %v", it.Timeout, maxDeadline)
	}
	if it.MaxAttempts < 1 || it.MaxAttempts > MaxAttempts {
		bad("%d attempts are not between 1 and %d", it.MaxAttempts, MaxAttempts)
	}
	if it.NotNow < 0 || it.NotNow > maxDeadline {
		bad("not-now limit %v is negative or more than %v", it.NotNow, maxDeadline)
	}
	if it.Weight < 0 || it.Weight > 1000 {
		bad("weight %d is not between 0 and 1000", it.Weight)
	}
	if !slices.Contains([]Class{Required, Blocking, Background}, it.Class) {
		bad("unknown class %q", it.Class)
	}
	if !slices.Contains([]Policy{"", PolicyContinue, PolicyHold, PolicyReleaseNow, PolicyCancelAll}, it.OnFailure) {
		bad("unknown failure policy %q", it.OnFailure)
	}
	if !slices.Contains([]Proof{ProofAcknowledged, ProofPresent, ProofAgent}, it.Proof) {
		bad("unknown proof %q", it.Proof)
	}
	if it.OnFailure == PolicyHold && it.Class != Required {
		bad("only a required item can hold the device")
	}
	if it.AwaitOnly && it.Class == Background {
		bad("works only while the device waits, so it cannot be left to the background")
	}
	if it.Agent && it.Capability != "" {
		bad("installs the agent, so it cannot need it")
	}
	if err := v.spec(it); err != nil {
		bad("%w", err)
	}
}

func (v *validator) spec(it *Item) error {
	switch it.Kind {
	case KindProfile:
		return checkSpec(it.Spec, func(s ProfileSpec) error {
			if len(s.Payload) == 0 || s.Identifier == "" {
				return errors.New("a profile needs its payload and identifier")
			}
			return nil
		})
	case KindPackage:
		return checkSpec(it.Spec, PackageSpec.validate)
	case KindScript:
		return checkSpec(it.Spec, func(s ScriptSpec) error {
			if len(s.Body) < 2 || s.Body[:2] != "#!" {
				return errors.New(`a script begins with "#!"`)
			}
			return nil
		})
	case KindAccount:
		return checkSpec(it.Spec, AccountSpec.validate)
	}
	if !slices.Contains(v.custom, it.Kind) {
		return fmt.Errorf("unknown kind %q", it.Kind)
	}
	return nil
}

func checkSpec[S any](raw json.RawMessage, check func(S) error) error {
	var s S
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("bad spec: %w", err)
	}
	return check(s)
}

func (s PackageSpec) validate() error {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return errors.New("a package needs an https URL")
	}
	if s.BundleID == "" {
		return errors.New("a package needs a bundle id")
	}
	if s.Size <= 0 || s.ChunkSize <= 0 {
		return errors.New("a package needs its size and chunk size")
	}
	if n := (s.Size + s.ChunkSize - 1) / s.ChunkSize; int64(len(s.SHA256)) != n {
		return fmt.Errorf("%d hashes, but %d bytes in chunks of %d have %d", len(s.SHA256), s.Size, s.ChunkSize, n)
	}
	for _, h := range s.SHA256 {
		if !hexDigest.MatchString(h) {
			return fmt.Errorf("hash %q is not 64 hexadecimal digits", h)
		}
	}
	return nil
}

var hexDigest = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

func (a AccountSpec) validate() error {
	var errs []error
	if a.Admin == nil && (a.SkipPrimary || a.PrimaryRegular) {
		errs = append(errs, errors.New("leaving out the user's account or making it a standard one needs an admin account"))
	}
	if a.Admin != nil && (a.Admin.ShortName == "" || len(a.Admin.PasswordHash) == 0) {
		errs = append(errs, errors.New("an admin account needs a short name and a password hash"))
	}
	if a.DontPrefill && (a.Lock || a.FullName != "" || a.UserName != "") {
		errs = append(errs, errors.New("the account pane cannot both be prefilled and not"))
	}
	if a.Lock && (a.FullName == "" || a.UserName == "") {
		errs = append(errs, errors.New("locking the account pane needs a full name and a user name"))
	}
	return errors.Join(errs...)
}

// graph checks the edges: they lead to items, in no circle, and from nothing a device waits for to something it does
// not wait for.
func (v *validator) graph() {
	agents := 0
	for _, it := range v.plan.Items {
		if it.Agent {
			agents++
		}
		for _, d := range it.After {
			j, ok := v.index[d.ID]
			switch {
			case !ok:
				v.bad("item %q: comes after unknown item %q", it.ID, d.ID)
			case it.Class != Background && v.plan.Items[j].Class == Background:
				v.bad("item %q: the device waits for it, but it comes after background item %q", it.ID, d.ID)
			}
		}
	}
	if agents > 1 {
		v.bad("%d items install the agent", agents)
	}
	if len(v.problems) > 0 {
		return
	}
	const open, done = 1, 2
	mark := make([]int, len(v.plan.Items))
	needsAgent := make([]bool, len(v.plan.Items)) // itself or through what it comes after
	var visit func(i int) bool
	visit = func(i int) bool {
		switch mark[i] {
		case open:
			return false
		case done:
			return true
		}
		mark[i] = open
		it := v.plan.Items[i]
		needsAgent[i] = it.Capability != ""
		for _, d := range it.After {
			j := v.index[d.ID]
			if !visit(j) {
				return false
			}
			needsAgent[i] = needsAgent[i] || needsAgent[j]
		}
		if it.Agent && needsAgent[i] {
			v.bad("item %q: installs the agent, but comes after items that need it", it.ID)
		}
		mark[i] = done
		return true
	}
	for i, it := range v.plan.Items {
		if !visit(i) {
			v.bad("item %q: comes after itself", it.ID)
			return
		}
	}
}
