package enrolltest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Statuses of answers to commands.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/sending-mdm-commands-to-a-device
const (
	StatusIdle               = "Idle"
	StatusAcknowledged       = "Acknowledged"
	StatusError              = "Error"
	StatusCommandFormatError = "CommandFormatError"
	StatusNotNow             = "NotNow"
)

// ErrorItem is one element of the ErrorChain of an answer.
type ErrorItem struct {
	Code                 int    `plist:"ErrorCode"`
	Domain               string `plist:"ErrorDomain"`
	LocalizedDescription string `plist:"LocalizedDescription"`
	USEnglishDescription string `plist:"USEnglishDescription,omitempty"`
}

// Rule makes a device answer some commands otherwise than it would by itself. The device does not check that a real
// one could: iPhones and iPads, for instance, never answer NotNow to DeviceInformation or ProfileList.
type Rule struct {
	// RequestType selects the commands; empty means all.
	RequestType string
	// Match, if set, selects among them.
	Match func(Command) bool
	// Times is how many commands the rule applies to; 0 means all.
	Times int

	// Delay passes before the command is dealt with.
	Delay time.Duration
	// Status, if set, is answered instead of carrying the command out.
	Status string
	// ErrorChain goes with the Status Error.
	ErrorChain []ErrorItem
	// LoseConnection breaks the connection before the answer is sent. The device keeps the answer and sends it on its
	// next connection.
	LoseConnection bool

	used int
}

// NotNow returns a rule that puts off the next times commands of the type. times 0 does it always.
func NotNow(requestType string, times int) Rule {
	return Rule{RequestType: requestType, Times: times, Status: StatusNotNow}
}

// Fail returns a rule that answers the next times commands of the type with an error. times 0 does it always.
func Fail(requestType string, times int, chain ...ErrorItem) Rule {
	return Rule{RequestType: requestType, Times: times, Status: StatusError, ErrorChain: chain}
}

// Lose returns a rule that breaks the connection after each of the next times commands of the type was carried out.
func Lose(requestType string, times int) Rule {
	return Rule{RequestType: requestType, Times: times, LoseConnection: true}
}

// Delay returns a rule that lets d pass before commands of the type.
func Delay(requestType string, d time.Duration) Rule { return Rule{RequestType: requestType, Delay: d} }

// Script adds rules. The first rule that applies to a command and is not used up decides. It is safe to call while the
// device runs. It returns an error, and adds nothing, if a rule makes no sense.
func (d *Device) Script(rules ...Rule) error {
	for i, r := range rules {
		switch {
		case r.Times < 0 || r.Delay < 0:
			return fmt.Errorf("enrolltest: script: rule %d: negative number", i)
		case r.Status != "" && r.Status != StatusNotNow && r.Status != StatusError && r.Status != StatusCommandFormatError:
			return fmt.Errorf("enrolltest: script: rule %d: status %q", i, r.Status)
		case len(r.ErrorChain) > 0 && r.Status != StatusError:
			return fmt.Errorf("enrolltest: script: rule %d: an ErrorChain needs the status Error", i)
		case r.Status == "" && r.Delay == 0 && !r.LoseConnection:
			return fmt.Errorf("enrolltest: script: rule %d: nothing to do", i)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range rules {
		r.used = 0
		d.rules = append(d.rules, &r)
	}
	return nil
}

// ClearScript removes all rules.
func (d *Device) ClearScript() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rules = nil
}

// ruleFor returns the rule that decides about c, counted as used, or an empty one.
func (d *Device) ruleFor(c Command) Rule {
	d.mu.Lock()
	rules := append([]*Rule{}, d.rules...)
	d.mu.Unlock()
	for _, r := range rules { // Match is the host's code: it runs without the lock
		if r.RequestType != "" && r.RequestType != c.RequestType || r.Match != nil && !r.Match(c) {
			continue
		}
		d.mu.Lock()
		free := r.Times == 0 || r.used < r.Times
		if free {
			r.used++
		}
		d.mu.Unlock()
		if free {
			return *r
		}
	}
	return Rule{}
}

var errLost = errors.New("the connection was lost, as scripted")

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
