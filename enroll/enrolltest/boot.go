package enrolltest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxUpdates bounds the OS updates of one Boot: a server that always wants another one is an error.
const maxUpdates = 3

// Boot switches the device on and goes through Setup Assistant: activation, sign-in, OS update, enrollment, and the
// wait for DeviceConfigured. It returns nil once the user's desktop (or home screen) is there, managed or not, and all
// answers and package installs of this time are done.
//
// It returns a [*SetupError] where the user would see an error, and can be called again then, as the user can try
// again; [ErrUnenrolled] or [ErrErased] if the server does that to the device; ctx's error when ctx ends. A device
// that was enrolled and waiting goes on waiting: it sends TokenUpdate again and asks for commands. Boot on a device
// that is past Setup Assistant does nothing.
//
// There is no time limit on the wait but ctx: real devices were observed to wait for ever.
func (d *Device) Boot(ctx context.Context) error {
	done, err := d.drive()
	if err != nil {
		return err
	}
	defer done()
	if d.State() == StateDesktop {
		return nil
	}
	d.clearGone()
	if e := d.enrollment(); e != nil {
		if d.Awaiting() {
			d.enter(StateAwaiting)
			if err := d.tokenUpdate(ctx, e, true); err != nil {
				return d.connectionError(err)
			}
		}
		return d.hold(ctx)
	}
	if err := d.setup(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("enrolltest: boot: %w", ctx.Err())
		}
		d.enter(StateFailed)
		return err
	}
	return d.hold(ctx)
}

// setup runs until the device is enrolled, or knows that it will not be.
func (d *Device) setup(ctx context.Context) error {
	for range maxUpdates + 1 {
		d.enter(StateActivating)
		rec, managed, err := d.activate(ctx)
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.st.record = rec
		d.mu.Unlock()
		if !managed {
			d.emit(Event{Kind: EventActivation, Detail: "none"})
			return nil
		}
		detail := "url"
		if rec.ConfigurationWebURL != "" {
			detail = "configuration_web_url"
		}
		d.emit(Event{Kind: EventActivation, Detail: detail})
		d.trust(rec.anchors, nil)
		raw, err := d.fetchProfile(ctx, rec)
		var update *updateRequired
		if errors.As(err, &update) {
			if err := d.updateTo(ctx, update.want); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		return d.install(ctx, raw, rec.awaits(d.kind))
	}
	return &SetupError{Step: StepUpdate, Code: codeUpdateRequired,
		Err: fmt.Errorf("%w: the server demands another one after %d updates", ErrUpdate, maxUpdates)}
}

// updateTo installs an OS update; the device restarts into Setup Assistant afterwards.
func (d *Device) updateTo(ctx context.Context, want SoftwareUpdate) error {
	d.emit(Event{Kind: EventUpdateRequired, Detail: want.OSVersion})
	d.enter(StateUpdating)
	if d.set.update != nil {
		if err := d.set.update(ctx, d.Info(), want); err != nil {
			return &SetupError{Step: StepUpdate, Code: codeUpdateRequired, Err: fmt.Errorf("%w: %w", ErrUpdate, err)}
		}
	}
	d.mu.Lock()
	d.st.info.OSVersion, d.st.info.Build = want.OSVersion, want.BuildVersion
	if want.BuildVersion == "" {
		d.st.info.Build = d.kind.inventBuild(want.OSVersion)
	}
	d.st.info.SupplementalBuildVersion, d.st.info.SupplementalOSVersionExtra = "", ""
	d.mu.Unlock()
	d.emit(Event{Kind: EventUpdated, Detail: want.OSVersion})
	return nil
}

// install installs the enrollment profile Setup Assistant has got.
func (d *Device) install(ctx context.Context, raw []byte, awaiting bool) error {
	d.enter(StateEnrolling)
	p, err := parseProfile(raw)
	if err != nil {
		return &SetupError{Step: StepProfile, Err: err}
	}
	p.Managed = true
	d.emit(Event{Kind: EventProfile, Detail: p.Identifier})
	if err := d.enroll(ctx, p, awaiting); err != nil {
		return err
	}
	d.mu.Lock()
	d.st.awaiting = awaiting
	d.mu.Unlock()
	if awaiting {
		d.enter(StateAwaiting)
	}
	return nil
}

// hold asks for commands until the device is no longer held and owes the server no answer.
func (d *Device) hold(ctx context.Context) error {
	for d.held() {
		if err := d.connect(ctx); err != nil {
			if errors.Is(err, ErrUnenrolled) {
				d.enter(StateFailed) // Setup Assistant is back at the Remote Management pane
			}
			return err
		}
		if !d.held() {
			break
		}
		if err := d.wait(ctx, true); err != nil {
			return err
		}
	}
	d.enter(StateDesktop)
	return nil
}

func (d *Device) held() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.st.awaiting || d.st.pending != nil
}

// Run lives past Setup Assistant: it answers each [Device.Push], and asks by itself after NotNow or a failed
// connection. It returns ctx's error when ctx ends, [ErrUnenrolled] or [ErrErased] if the server does that to the
// device, and [ErrNotEnrolled] for a device without an MDM profile.
func (d *Device) Run(ctx context.Context) error {
	done, err := d.drive()
	if err != nil {
		return err
	}
	defer done()
	d.clearGone()
	if d.enrollment() == nil {
		return ErrNotEnrolled
	}
	for {
		d.mu.Lock()
		poll := d.st.pollAgain || d.st.pending != nil || d.st.awaiting
		d.mu.Unlock()
		if err := d.wait(ctx, poll); err != nil {
			return err
		}
		if err := d.connect(ctx); err != nil {
			return err
		}
		if !d.held() {
			d.enter(StateDesktop) // a device whose Boot was cut short is released here
		}
	}
}

// wait blocks until a push comes, or, if poll is set, the device would ask by itself.
func (d *Device) wait(ctx context.Context, poll bool) error {
	var tick <-chan time.Time
	if poll {
		t := time.NewTimer(d.set.poll)
		defer t.Stop()
		tick = t.C
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("enrolltest: wait for the server: %w", ctx.Err())
	case <-d.wake:
		d.emit(Event{Kind: EventPush})
	case <-tick:
	}
	return nil
}

// Reboot restarts the device. A Mac that waits in Setup Assistant goes on waiting afterwards (call Boot) but takes no
// AccountConfiguration any more, as was observed: https://github.com/fleetdm/fleet/issues/29157.
func (d *Device) Reboot() error {
	done, err := d.drive()
	if err != nil {
		return err
	}
	defer done()
	d.rebooted()
	return nil
}

func (d *Device) rebooted() {
	d.mu.Lock()
	d.st.restarted = d.st.restarted || d.st.awaiting
	d.mu.Unlock()
	d.emit(Event{Kind: EventRebooted})
}

// Erase wipes the device and switches it off. Serial, UDID, OS version and the built-in identity stay; the server is
// not told.
func (d *Device) Erase() error {
	done, err := d.drive()
	if err != nil {
		return err
	}
	defer done()
	d.erased()
	d.clearGone()
	return nil
}

func (d *Device) erased() {
	d.closeIdle()
	d.mu.Lock()
	d.st = deviceState{state: StateOff, info: d.st.info, gone: ErrErased}
	d.mu.Unlock()
	select {
	case <-d.wake: // a push for the token that is gone
	default:
	}
	d.emit(Event{Kind: EventErased})
}

func (d *Device) clearGone() {
	d.mu.Lock()
	d.st.gone = nil
	d.mu.Unlock()
}
