package setupexp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/enrollkit/enrollkit/storage"
)

// Task is one attempt of an item.
type Task struct {
	Subject Subject
	Item    Item
	// ExecutionID names the attempt. It is the UUID of its command, if it is one.
	ExecutionID string
	Attempt     int
}

// Executor does the items of one kind.
type Executor interface {
	// Dispatch starts an attempt. It may be called again for the same ExecutionID, also after it succeeded, and must
	// then change nothing. How the attempt goes comes as an Event that names the ExecutionID. An error that is
	// ErrPermanent fails the item; after any other one Dispatch is called again until the attempt's time is over. It has
	// to return when ctx ends, which is after 8 seconds at the latest.
	Dispatch(ctx context.Context, t Task) error
}

// Canceller is an Executor that can stop an attempt. It is told of attempts that are over for the run. After an error it
// is told again, unless the error is ErrPermanent or the run is over. The item has no Spec when the run is over: a run
// forgets them at its end.
type Canceller interface {
	Cancel(ctx context.Context, t Task) error
}

// Prober is an Executor that can look whether items are on the device.
type Prober interface {
	// Probe asks the device, by a command with this UUID. An error that is ErrPermanent means that this look fails; after
	// any other one Probe is called again while the look is wanted.
	Probe(ctx context.Context, s Subject, commandUUID string, items []Item) error
	// Read returns by item id what the answer to that command shows. Items it says nothing of are left out.
	Read(items []Item, raw []byte) (map[string]Presence, error)
}

// Releaser is how a device is let go at the end of its first setup, and asked whether it waits for that. The default is
// Apple's: DeviceConfigured, and DeviceInformation with AwaitingConfiguration.
type Releaser interface {
	// Release lets the device go, by a command with this UUID. It is called again after any error. The device's answer
	// comes as a CommandResult that names the UUID.
	Release(ctx context.Context, s Subject, commandUUID string) error
	// AskAwaiting asks the device whether it waits, by a command with this UUID.
	AskAwaiting(ctx context.Context, s Subject, commandUUID string) error
	// ReadAwaiting returns what the answer to that command says; AwaitingUnknown if it does not say.
	ReadAwaiting(raw []byte) (storage.Awaiting, error)
}

// ErrPermanent means that trying again would not help.
var ErrPermanent = errors.New("setupexp: permanent error")

// readSpec reads an item's spec. What does not fit its kind never will.
func readSpec[S any](it Item) (S, error) {
	var s S
	if err := json.Unmarshal(it.Spec, &s); err != nil {
		return s, fmt.Errorf("%w: spec of item %q: %w", ErrPermanent, it.ID, err)
	}
	return s, nil
}
