package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/examples/internal/idp"
)

// fleet is the devices that are booted, with the people who use them and the agents on them.
type fleet struct {
	*enrolltest.Fleet
	users  []idp.User
	client *http.Client // of the agents
	dir    string

	agents sync.WaitGroup
	mu     sync.Mutex
	failed map[string]error // by serial: what went wrong on the device
}

// osVersions are given to devices in turn; the last is too old to enroll and has to be updated first.
var osVersions = []string{"26.1", "26.1", "26.0", "26.1", "18.6"}

// kinds are the families that can be booted.
var kinds = map[string]enrolltest.Kind{"Mac": enrolltest.Mac, "iPhone": enrolltest.IPhone, "iPad": enrolltest.IPad}

// newFleet makes the first n of Apple's devices that can be booted. ctx bounds the agents.
func newFleet(ctx context.Context, n int, a *apple, ca *enrolltest.DeviceCA, client *http.Client, dir string) (*fleet, error) {
	var bootable []abmtest.Device
	for _, d := range a.devices {
		if _, ok := kinds[d.Family]; ok && len(bootable) < n {
			bootable = append(bootable, d)
		}
	}
	if len(bootable) < n {
		return nil, fmt.Errorf("only %d of the devices are Macs, iPhones and iPads: too few to boot %d", len(bootable), n)
	}
	f := &fleet{client: client, dir: dir, failed: map[string]error{}}
	var err error
	f.Fleet, err = enrolltest.NewFleet(n, func(i int) (*enrolltest.Device, error) {
		user := idp.User{
			Username: fmt.Sprintf("user%02d", i+1), Password: randomText(),
			Name: fmt.Sprintf("Example User %d", i+1), Email: fmt.Sprintf("user%02d@example.com", i+1),
		}
		f.users = append(f.users, user)
		return enrolltest.New(kinds[bootable[i].Family], ca, enrolltest.ActivationFunc(a.activation),
			enrolltest.WithSerial(bootable[i].SerialNumber), enrolltest.WithUser(user.Username, user.Password),
			enrolltest.WithOS(osVersions[i%len(osVersions)], ""), enrolltest.WithPollInterval(2*time.Second),
			enrolltest.WithOnPackageInstalled(func(_ context.Context, d *enrolltest.Device, p enrolltest.Package) {
				if p.Identifier == agentID {
					f.agents.Go(func() { f.runAgent(ctx, d) })
				}
			}))
	})
	return f, err
}

// runAgent does what the agent's installer starts.
func (f *fleet) runAgent(ctx context.Context, d *enrolltest.Device) {
	a, err := newAgent(d, f.client, f.dir)
	if err == nil {
		err = a.run(ctx)
	}
	f.fail(d, err)
}

// boot switches all devices on, one every pace, and returns when the last has left Setup Assistant. Released devices
// go on answering pushes until ctx ends.
func (f *fleet) boot(ctx context.Context, pace time.Duration) {
	var booting sync.WaitGroup
	for _, d := range f.Devices() {
		booting.Go(func() { f.fail(d, d.Boot(ctx)) })
		select {
		case <-ctx.Done():
		case <-time.After(pace):
		}
	}
	booting.Wait()
	f.agents.Wait()
}

func (f *fleet) fail(d *enrolltest.Device, err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed[d.Serial()] = errors.Join(f.failed[d.Serial()], err)
}

// failures says what went wrong on which device.
func (f *fleet) failures() map[string]error {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]error, len(f.failed))
	for serial, err := range f.failed {
		out[serial] = err
	}
	return out
}
