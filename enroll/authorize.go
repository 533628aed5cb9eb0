package enroll

import (
	"context"
	"errors"
	"fmt"

	"github.com/enrollkit/enrollkit/storage"
)

// Candidate is a device that wants to enroll, as an [Authorizer] or a host's function sees it.
type Candidate struct {
	Device MachineInfo
	// SessionID is the id of its session.
	SessionID string
	// Records are the inventory records of the serial in all accounts, those that have left included.
	Records []storage.Device
	// Account is the account the device is in; of several, the one that was assigned last. Empty: in none.
	Account string
	// User is who signed in; nil before that, and where no sign-in is demanded.
	User *User
	// SignInAhead says that the user will be asked to sign in and has not yet: the authorizers are asked again then.
	SignInAhead bool
	// Web says that the device came in a web view.
	Web bool
}

// Verdict is the answer of an authorizer. Reason says why, in a few words and without secrets, also for a yes.
type Verdict struct {
	Allowed bool
	Reason  string
}

// Allow and Deny return verdicts.
func Allow(reason string) Verdict { return Verdict{Allowed: true, Reason: reason} }

// Deny returns the verdict that keeps a device out.
func Deny(reason string) Verdict { return Verdict{Reason: reason} }

// Authorizer decides whether a device may enroll. An error means that it cannot tell; the device is asked to try again.
type Authorizer interface {
	// Name is how activities call it, for example "inventory".
	Name() string
	Authorize(ctx context.Context, c Candidate) (Verdict, error)
}

type authorizerFunc struct {
	name string
	f    func(ctx context.Context, c Candidate) (Verdict, error)
}

func (a authorizerFunc) Name() string { return a.name }

func (a authorizerFunc) Authorize(ctx context.Context, c Candidate) (Verdict, error) {
	return a.f(ctx, c)
}

// AuthorizerFunc returns an Authorizer that is a function.
func AuthorizerFunc(name string, f func(ctx context.Context, c Candidate) (Verdict, error)) Authorizer {
	return authorizerFunc{name: name, f: f}
}

// InInventory returns the Authorizer a [Handler] always asks first: the serial must be in an account now.
func InInventory() Authorizer {
	return AuthorizerFunc("inventory", func(_ context.Context, c Candidate) (Verdict, error) {
		switch {
		case len(c.Records) == 0:
			return Deny("unknown_serial"), nil
		case c.Account == "":
			return Deny("left_account"), nil
		}
		return Allow("in account " + c.Account), nil
	})
}

// NotBlocked returns an Authorizer that refuses the devices for which blocked returns a reason. An empty reason lets
// the device pass.
func NotBlocked(blocked func(ctx context.Context, serial string) (reason string, err error)) Authorizer {
	return AuthorizerFunc("block_list", func(ctx context.Context, c Candidate) (Verdict, error) {
		reason, err := blocked(ctx, c.Device.Serial)
		switch {
		case err != nil:
			return Verdict{}, err
		case reason != "":
			return Deny(reason), nil
		}
		return Allow("not blocked"), nil
	})
}

// Authorizers asks several in order; the first no is the answer.
type Authorizers []Authorizer

// Authorize returns nil if all of them allow the device, a *[Refusal] by the first that does not, or the error of one
// that cannot tell.
func (as Authorizers) Authorize(ctx context.Context, c Candidate) error {
	for _, a := range as {
		v, err := a.Authorize(ctx, c)
		if err != nil {
			return fmt.Errorf("enroll: authorize: %s: %w", a.Name(), err)
		}
		if !v.Allowed {
			return &Refusal{By: a.Name(), Reason: v.Reason}
		}
	}
	return nil
}

// place fills in what the inventory knows of the candidate.
func (c *Candidate) place(ctx context.Context, devices storage.DeviceStore) error {
	records, err := devices.FindDevices(ctx, c.Device.Serial)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("enroll: find device: %w", err)
	}
	c.Records, c.Account = records, accountOf(records)
	return nil
}

// accountOf chooses among the accounts a serial is in. A device moves between accounts by being assigned anew, and
// the account it left may learn of it later.
func accountOf(records []storage.Device) string {
	var best *storage.Device
	for i := range records {
		d := &records[i]
		if d.Present() && (best == nil || d.AssignedAt.After(best.AssignedAt)) {
			best = d
		}
	}
	if best == nil {
		return ""
	}
	return best.Account
}
