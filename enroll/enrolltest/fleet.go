package enrolltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrBadToken is what [Fleet.PushToken] returns for a token no device has: Apple's BadDeviceToken.
var ErrBadToken = errors.New("enrolltest: no device has this push token and magic")

// Fleet is a number of devices in one process, and the push service that reaches them. It is safe for concurrent use.
type Fleet struct {
	mu      sync.Mutex
	devices []*Device
	byUDID  map[string]*Device
}

// Result is how the boot of one device ended.
type Result struct {
	Device *Device
	// Err is what Boot returned.
	Err error
}

// NewFleet makes n devices; build makes the i-th. Devices of one DeviceCA share keys and cost little before they boot.
// A UDID that occurs twice is an error.
func NewFleet(n int, build func(i int) (*Device, error)) (*Fleet, error) {
	if n < 0 || build == nil {
		return nil, errors.New("enrolltest: new fleet: a number of devices and a builder are required")
	}
	f := &Fleet{byUDID: make(map[string]*Device, n)}
	for i := range n {
		d, err := build(i)
		if err != nil {
			return nil, fmt.Errorf("enrolltest: new fleet: device %d: %w", i, err)
		}
		if err := f.Add(d); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Add puts a device into the fleet. Devices added after Boot or Run began are not driven by it.
func (f *Fleet) Add(d *Device) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	udid := d.UDID()
	if f.byUDID[udid] != nil {
		return fmt.Errorf("enrolltest: fleet: UDID %s is taken", udid)
	}
	f.byUDID[udid] = d
	f.devices = append(f.devices, d)
	return nil
}

// Devices returns the devices in the order they were added.
func (f *Fleet) Devices() []*Device {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.devices)
}

// Boot boots all devices, at most parallel at a time (0: all at once), and returns how each ended, in their order.
// A device that waits for DeviceConfigured holds its place until it is released.
func (f *Fleet) Boot(ctx context.Context, parallel int) []Result {
	devices := f.Devices()
	if parallel <= 0 {
		parallel = max(1, len(devices))
	}
	results := make([]Result, len(devices))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, d := range devices {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			results[i] = Result{Device: d, Err: d.Boot(ctx)}
		})
	}
	wg.Wait()
	return results
}

// Run runs all enrolled devices until ctx ends, and returns its error. Devices that end earlier are left alone.
func (f *Fleet) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, d := range f.Devices() {
		if d.Enrolled() {
			wg.Go(func() { _ = d.Run(ctx) }) // why a device ended is seen by its observer
		}
	}
	<-ctx.Done()
	wg.Wait()
	return ctx.Err()
}

// Push wakes the device with this UDID and reports whether there is one.
func (f *Fleet) Push(udid string) bool {
	f.mu.Lock()
	d := f.byUDID[udid]
	f.mu.Unlock()
	if d == nil {
		return false
	}
	d.Push()
	return true
}

// PushToken wakes the device that announced this token and magic in its last TokenUpdate: what a server's push sender
// asks of APNs. It looks at every device. It returns [ErrBadToken] if none is meant.
func (f *Fleet) PushToken(token []byte, magic string) error {
	for _, d := range f.Devices() {
		if t, m := d.PushToken(); m != "" && m == magic && slices.Equal(t, token) {
			d.Push()
			return nil
		}
	}
	return ErrBadToken
}
