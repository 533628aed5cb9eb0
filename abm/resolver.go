package abm

import (
	"context"
	"errors"
	"fmt"

	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// Resolver decides which profile each device shall have. Its methods are called from several goroutines.
//
// [StaticRules] are a Resolver over lists, [ForEach] makes one of a function that decides device by device. A host that looks
// things up elsewhere implements Resolver and looks up a whole batch at once.
type Resolver interface {
	// Rules identifies the rules. When they change, all devices are planned anew; until then a device is planned only when
	// Apple's record of it has changed.
	Rules() Rules
	// Resolve returns a decision for each of the devices, in the same order: at most [MaxLimit], all of one account. The
	// list is the resolver's during the call only. It must decide the same for the same device until Rules changes, and a
	// profile must not be changed after it was returned. An error, a panic and another number of decisions concern the
	// devices of this call only: their last profile stays, and they are asked for again later.
	Resolve(ctx context.Context, devices []storage.Device) ([]Decision, error)
}

// Rules identifies what a [Resolver] decides by, so that replicas with different rules come to one result.
type Rules struct {
	// ID names the rules. Two resolvers with the same ID must decide the same, and those with different IDs need not.
	ID string
	// Order tells newer rules from older ones, such as the number of a release or the time of a change. Replicas whose
	// Order is lower than that of the rules an account was planned with never plan it back: they leave each device the
	// profile that was wanted for it last, decide only for new ones, and leave all else to the newer replicas. So the
	// Order must rise for rules that shall win, those that go back to an earlier state included. Of several rules with one
	// Order those win that plan last, each of them at most once in a sync interval.
	Order int64
}

// ErrOlderRules means that newer rules than the resolver's have planned the account, so that they are not planned back.
var ErrOlderRules = errors.New("abm: newer rules have planned the account")

// Decision is what a [Resolver] decided for one device.
type Decision struct {
	// Profile is what the device shall have; nil if it shall be left alone.
	Profile *depprofile.Profile
	// Rollout brings Profile to the devices in stages; nil to all at once.
	Rollout *Rollout
	// Reason says in words what decided, such as the name of a rule. It is for people and changes nothing.
	Reason string
	// Err is why it could not be decided for this device: its last profile stays, and it is asked for again later.
	Err error
}

// EachResolver is a [Resolver] that decides device by device.
type EachResolver struct {
	rules  func() Rules
	decide func(context.Context, storage.Device) Decision
}

var _ Resolver = (*EachResolver)(nil)

// ForEach returns a resolver that calls decide for each device, for hosts that need to look up nothing. What is said of
// [Resolver] holds for both functions; a panic of decide concerns one device only.
func ForEach(rules func() Rules, decide func(context.Context, storage.Device) Decision) (*EachResolver, error) {
	if rules == nil || decide == nil {
		return nil, errors.New("abm: ForEach: nil function")
	}
	return &EachResolver{rules, decide}, nil
}

// Rules implements Resolver.
func (r *EachResolver) Rules() Rules { return r.rules() }

// Resolve implements Resolver. It fails only when ctx is done.
func (r *EachResolver) Resolve(ctx context.Context, devices []storage.Device) ([]Decision, error) {
	out := make([]Decision, len(devices))
	for i := range devices {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out[i] = r.one(ctx, devices[i])
	}
	return out, nil
}

func (r *EachResolver) one(ctx context.Context, d storage.Device) (dec Decision) {
	defer func() {
		if p := recover(); p != nil {
			dec = Decision{Err: panicked(p)}
		}
	}()
	return r.decide(ctx, d)
}

func panicked(p any) error { return fmt.Errorf("resolver panicked: %v", p) }
