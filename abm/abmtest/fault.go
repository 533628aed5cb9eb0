package abmtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Fault is one way in which the service misbehaves, as Apple's was seen to. It is switched on by [Service.SetFault]
// and off by [Service.ClearFaults], while requests are served. Its JSON form, with durations as "1m30s", is what the
// admin handler takes.
//
// Kind says what happens; all else narrows it down, and the zero value of a field is no restriction. A kind refuses
// fields it has no use for; [FaultKinds] lists those it has.
type Fault struct {
	// ID names the fault, to clear or replace it. SetFault makes one up if it is empty.
	ID   string    `json:"id,omitempty"`
	Kind FaultKind `json:"kind"`

	// Server is the UUID or name of the MDM server entry that is affected.
	Server string `json:"server,omitempty"`
	// Operation is the call that is affected, such as "POST /devices/sync", or "/devices/sync" for all its methods.
	// Empty means those that the kind is about.
	Operation string `json:"operation,omitempty"`
	// Serials are the devices that are affected. Where a kind is about whole calls, it is those that name one of them.
	Serials []string `json:"serials,omitempty"`
	// ProfileUUID is the profile that is affected.
	ProfileUUID string `json:"profile_uuid,omitempty"`

	// Count ends the fault after it struck so often: calls or, if the kind is about devices, devices in calls.
	Count int `json:"count,omitempty"`
	// Probability from 0 to 1 lets the fault strike at random only, repeatable with [WithSeed]. 0 is always.
	Probability float64 `json:"probability,omitempty"`

	// Applied lets the call take effect although the client does not get to know.
	Applied bool `json:"applied,omitempty"`
	// Status and Body replace those of the kind. Apple's old simulator sends quoted bodies: `"FORBIDDEN"`.
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
	// RetryAfter is sent in the header of this name, in seconds or, with RetryAfterDate, as a date.
	RetryAfter     time.Duration `json:"retry_after,omitempty"`
	RetryAfterDate bool          `json:"retry_after_date,omitempty"`

	// Duration is how long a throttle lasts, a delay takes, or how far the clock is ahead (negative: behind).
	Duration time.Duration `json:"duration,omitempty"`
	// Jitter is the most that is added to Duration at random.
	Jitter time.Duration `json:"jitter,omitempty"`
	// Window is how soon another assignment of the same device is too soon.
	Window time.Duration `json:"window,omitempty"`

	// Field and Value replace the member of a device, and what it becomes, as JSON.
	Field string          `json:"field,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
	// Bytes is the size of an oversized body.
	Bytes int64 `json:"bytes,omitempty"`

	// Struck is how often the fault has struck. [Service.Faults] reports it; SetFault ignores it.
	Struck int `json:"struck,omitempty"`
}

// duration is a time.Duration that is text in JSON.
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}

// plainFault is a Fault without its methods, faultJSON the form in which it travels: the durations hide those of the
// embedded struct.
type (
	plainFault Fault
	faultJSON  struct {
		plainFault
		RetryAfter duration `json:"retry_after,omitempty"`
		Duration   duration `json:"duration,omitempty"`
		Jitter     duration `json:"jitter,omitempty"`
		Window     duration `json:"window,omitempty"`
	}
)

// MarshalJSON writes durations as text such as "1m30s".
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultJSON{
		plainFault(f), duration(f.RetryAfter), duration(f.Duration), duration(f.Jitter), duration(f.Window),
	})
}

// UnmarshalJSON is the inverse of MarshalJSON. It refuses members it does not know: a fault that is mistyped would
// otherwise strike too much.
func (f *Fault) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var in faultJSON
	if err := dec.Decode(&in); err != nil {
		return err
	}
	*f = Fault(in.plainFault)
	f.RetryAfter, f.Duration = time.Duration(in.RetryAfter), time.Duration(in.Duration)
	f.Jitter, f.Window = time.Duration(in.Jitter), time.Duration(in.Window)
	return nil
}

// given names the fields that are set and that not every kind has a use for.
func (f *Fault) given() []string {
	var out []string
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"operation", f.Operation != ""},
		{"serials", len(f.Serials) > 0},
		{"profile_uuid", f.ProfileUUID != ""},
		{"applied", f.Applied},
		{"status", f.Status != 0},
		{"body", f.Body != ""},
		{"retry_after", f.RetryAfter != 0 || f.RetryAfterDate},
		{"duration", f.Duration != 0},
		{"jitter", f.Jitter != 0},
		{"window", f.Window != 0},
		{"field", f.Field != ""},
		{"value", len(f.Value) > 0},
		{"bytes", f.Bytes != 0},
	} {
		if field.set {
			out = append(out, field.name)
		}
	}
	return out
}

// longestFault bounds the times of a fault, so that sums of them are times, too.
const longestFault = 10 * 365 * 24 * time.Hour

// check reports what is wrong with a fault of the kind that info describes.
func (f *Fault) check(info *FaultInfo) error {
	for _, name := range f.given() {
		if !slices.Contains(info.Fields, name) {
			return fmt.Errorf("%q has no use for %s", f.Kind, name)
		}
	}
	switch {
	case f.Count < 0 || f.RetryAfter < 0 || f.Jitter < 0 || f.Window < 0 || f.Bytes < 0:
		return errors.New("count, bytes and times must not be negative")
	case max(f.RetryAfter, f.Jitter, f.Window, f.Duration) > longestFault || f.Duration < -longestFault:
		return errors.New("times must not be longer than ten years")
	case f.Duration < 0 && f.Kind != FaultClockSkew:
		return errors.New("duration must not be negative")
	case f.RetryAfterDate && f.RetryAfter == 0:
		return errors.New("retry_after_date needs retry_after")
	case f.Probability < 0 || f.Probability > 1:
		return errors.New("probability must be 0 to 1")
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return errors.New("status must be 200 to 599")
	case len(f.Value) > 0 && !json.Valid(f.Value):
		return errors.New("value is not JSON")
	case info.needs != "" && !slices.Contains(f.given(), info.needs):
		return fmt.Errorf("%q needs %s", f.Kind, info.needs)
	}
	return nil
}

// fault is a Fault that is set.
type fault struct {
	Fault
	info    *FaultInfo
	server  *MDMServer      // nil: all
	ops     map[string]bool // "METHOD /path"; nil: all
	serials map[string]bool // nil: all
	cleared chan struct{}   // closed when it is cleared
}

// SetFault switches a fault on and returns its ID; one with the same ID is replaced. It stays listed, with the number
// of times it struck, until it is cleared. It returns ErrInvalid for a fault that makes no sense, and ErrUnknownServer.
func (s *Service) SetFault(f Fault) (string, error) {
	info := faultInfo(f.Kind)
	if info == nil {
		return "", fmt.Errorf("abmtest: set fault: unknown kind %q: %w", f.Kind, ErrInvalid)
	}
	if err := f.check(info); err != nil {
		return "", fmt.Errorf("abmtest: set fault: %w: %w", err, ErrInvalid)
	}
	set := &fault{Fault: f, info: info, cleared: make(chan struct{})}
	set.Serials, set.Value, set.Struck = slices.Clone(f.Serials), slices.Clone(f.Value), 0
	var err error
	if set.ops, err = s.faultOperations(f.Operation, info); err != nil {
		return "", err
	}
	if f.Server != "" {
		if set.server, err = s.MDMServer(f.Server); err != nil {
			return "", err
		}
	}
	if len(f.Serials) > 0 {
		set.serials = make(map[string]bool, len(f.Serials))
		for _, serial := range f.Serials {
			set.serials[serial] = true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := func(f *fault) bool { return f.ID == set.ID }
	for f.ID == "" && (set.ID == "" || slices.ContainsFunc(s.faults, taken)) {
		s.faultCount++
		set.ID = fmt.Sprintf("fault-%d", s.faultCount)
	}
	s.clearFaults([]string{set.ID})
	s.faults = append(s.faults, set)
	return set.ID, nil
}

// faultOperations returns the calls that a fault is about.
func (s *Service) faultOperations(operation string, info *FaultInfo) (map[string]bool, error) {
	wanted := info.Operations
	if operation != "" {
		method, path, both := strings.Cut(operation, " ")
		if !both {
			method, path = "", operation
		}
		wanted = nil
		for m := range s.routes[path] {
			if method == "" || m == method {
				wanted = append(wanted, m+" "+path)
			}
		}
		if len(wanted) == 0 {
			return nil, fmt.Errorf("abmtest: set fault: unknown operation %q: %w", operation, ErrInvalid)
		}
		for _, op := range wanted {
			if info.allowed != nil && !slices.Contains(info.allowed, op) {
				return nil, fmt.Errorf("abmtest: set fault: %q does not happen at %s: %w", info.Kind, op, ErrInvalid)
			}
		}
	}
	if wanted == nil {
		return nil, nil
	}
	ops := make(map[string]bool, len(wanted))
	for _, op := range wanted {
		ops[op] = true
	}
	return ops, nil
}

// ClearFaults switches faults off, all if no ID is given; an unknown ID is no error. Requests that a fault holds are
// let go and throttles that it began are over. What else it has done stays done.
func (s *Service) ClearFaults(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(ids) == 0 {
		for _, f := range s.faults {
			ids = append(ids, f.ID)
		}
	}
	s.clearFaults(ids)
}

// clearFaults is ClearFaults with the lock held.
func (s *Service) clearFaults(ids []string) {
	now := s.cfg.now().UTC()
	s.faults = slices.DeleteFunc(s.faults, func(f *fault) bool {
		if !slices.Contains(ids, f.ID) {
			return false
		}
		close(f.cleared)
		return true
	})
	for _, serial := range slices.Sorted(maps.Keys(s.forced)) {
		if cause := s.forced[serial].cause; cause != "" && slices.Contains(ids, cause) {
			s.endThrottle(serial, now)
		}
	}
}

// Faults returns the faults that are set, in the order in which they were.
func (s *Service) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Fault, len(s.faults))
	for i, f := range s.faults {
		out[i] = f.Fault
		out[i].Serials, out[i].Value = slices.Clone(f.Serials), slices.Clone(f.Value)
	}
	return out
}

// strike returns the first fault of a kind that happens now to one of the devices at m, in the call op; nil if none
// does. op is empty for what is no call. The caller holds the lock.
func (s *Service) strike(kind FaultKind, m *MDMServer, op string, serials ...string) *fault {
	for _, f := range s.faults {
		if f.Kind == kind && s.strikes(f, m, op, serials) {
			return f
		}
	}
	return nil
}

// strikes tells whether f happens now, and counts it.
func (s *Service) strikes(f *fault, m *MDMServer, op string, serials []string) bool {
	switch {
	case f.Count > 0 && f.Struck >= f.Count,
		f.server != nil && f.server != m,
		op != "" && f.ops != nil && !f.ops[op],
		f.serials != nil && !slices.ContainsFunc(serials, func(serial string) bool { return f.serials[serial] }),
		f.Probability > 0 && s.chance.Float64() >= f.Probability:
		return false
	}
	f.Struck++
	return true
}

// armed tells whether a fault of one of the classes is set, so that requests pay for nothing otherwise.
func (s *Service) armed(classes ...faultClass) bool {
	return slices.ContainsFunc(s.faults, func(f *fault) bool { return slices.Contains(classes, f.info.class) })
}
