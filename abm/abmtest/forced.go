package abmtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// forcedResult is a result set by ForceAssignResult, or a throttle that a fault began.
type forcedResult struct {
	result string
	until  time.Time
	cause  string // ID of the fault
}

// Intercept sets a function that sees every request to a known endpoint before the service does. If it returns
// true it has answered, and the service does nothing. It may be called from several goroutines. A function that
// reads the body and returns false must put the body back. nil, as at first, lets everything through.
//
// It is for what no [Fault] does. What it answers is counted in [Stats].
func (s *Service) Intercept(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// ForceAssignResult makes every assignment of a profile to the device end with result, without effect, for d of the
// service's time. result is FAILED, NOT_ACCESSIBLE or THROTTLED; the serial number need not exist. THROTTLED is
// reported as the client's protocol version allows, and as observed at Apple hides the device from sync until it is
// over; then what happened to it in between shows up. SUCCESS ends a forced result at once; d is then ignored.
//
// It is short for a fault such as [FaultResultFailed] that ends by itself.
func (s *Service) ForceAssignResult(serial, result string, d time.Duration) error {
	switch {
	case serial == "":
		return fmt.Errorf("abmtest: force assign result: the serial number is empty: %w", ErrInvalid)
	case result == resultSuccess:
		d = 0
	case result != resultFailed && result != resultNotAccessible && result != resultThrottled:
		return fmt.Errorf("abmtest: force assign result: unknown result %q: %w", result, ErrInvalid)
	case d <= 0:
		return fmt.Errorf("abmtest: force assign result: %v is not positive: %w", d, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.now().UTC()
	s.endThrottles(now)
	if old := s.forced[serial]; old.result == resultThrottled && result != resultThrottled {
		s.endThrottle(serial, now)
	}
	delete(s.forced, serial)
	if d > 0 {
		s.forced[serial] = forcedResult{result: result, until: now.Add(d)}
	}
	return nil
}

// throttled tells whether a device is hidden from sync. The caller has called endThrottles.
func (s *Service) throttled(serial string) bool {
	return s.forced[serial].result == resultThrottled
}

// endThrottles drops the forced results whose time is over, in the order of the serial numbers, so that a seed gives
// the same logs. The caller holds the lock.
func (s *Service) endThrottles(now time.Time) {
	var over []string
	for serial, f := range s.forced {
		if !now.Before(f.until) {
			over = append(over, serial)
		}
	}
	slices.Sort(over)
	for _, serial := range over {
		s.endThrottle(serial, now)
	}
}

// endThrottle drops a forced result and lets the logs catch up with what happened to the device: operations kept
// back are logged, and where a sync has passed over the device its newest operation comes again. All are dated now,
// so that a log stays in chronological order.
func (s *Service) endThrottle(serial string, now time.Time) {
	delete(s.forced, serial)
	d, ok := s.devices[serial]
	if !ok {
		return
	}
	for _, op := range d.deferred {
		m := op.server
		op.date = now.Unix()
		m.append(op)
		delete(d.skipped, m)
	}
	for _, m := range s.servers { // not over the map, whose order changes
		if d.skipped[m] {
			op := m.log[d.newest(m)]
			op.date, op.next = now.Unix(), 0
			m.append(op)
		}
	}
	d.deferred, d.skipped = nil, nil
}
