package enrolltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// Device is a simulated Apple device. One call at a time drives it (Boot, Run, CheckOut, RefreshToken, Reboot, Erase;
// others get [ErrBusy]); Push, Script and everything that only looks are safe at any time.
type Device struct {
	kind    Kind
	ca      *DeviceCA
	source  ActivationSource
	set     settings
	hw      hardware
	factory func() (*Identity, error) // issues it when it is first needed; it survives Erase

	driven atomic.Bool
	wake   chan struct{}
	emitMu sync.Mutex
	instMu sync.Mutex     // one package installs at a time
	jobs   sync.WaitGroup // package installs of the running Boot or Run

	mu    sync.Mutex
	rng   *rand.Rand
	rules []*Rule
	st    deviceState
}

// deviceState is everything that changes. Erase keeps info alone.
type deviceState struct {
	state        State
	info         MachineInfo
	http         *http.Client    // trusts what the device trusts now; nil until Boot
	ownTransport *http.Transport // behind http, if it is not the host's
	record       activationRecord
	enrollment   *enrollment
	tokens       tokens
	awaiting     bool
	restarted    bool // restarted while awaiting: AccountConfiguration is over
	profiles     []Profile
	packages     []Package
	apps         []App
	account      *AccountConfiguration
	answers      []Answer
	pending      *report // an answer the server has not taken yet
	pollAgain    bool    // NotNow was the last answer, or the last connection failed
	gone         error   // why the driving call must end: ErrUnenrolled or ErrErased
}

// New returns a device that is switched off. ca gives it the identity it has from the factory, source stands for
// Apple's activation service. Nothing is asked of either, or of the network, before Boot.
func New(kind Kind, ca *DeviceCA, source ActivationSource, opts ...Option) (*Device, error) {
	if kind < Mac || kind > IPad {
		return nil, fmt.Errorf("enrolltest: new device: unknown kind %d", int(kind))
	}
	if ca == nil || source == nil {
		return nil, errors.New("enrolltest: new device: a device CA and an activation source are required")
	}
	set, err := newSettings(opts)
	if err != nil {
		return nil, fmt.Errorf("enrolltest: new device: %w", err)
	}
	if !set.seeded {
		set.seed = rand.Uint64()
	}
	if !set.chainSet && kind == Mac {
		set.chain = ChainDeviceCA
	} else if !set.chainSet {
		set.chain = ChainFull
	}
	d := &Device{kind: kind, ca: ca, source: source, set: set, wake: make(chan struct{}, 1)}
	d.rng = rand.New(rand.NewPCG(set.seed, 0)) //nolint:gosec // repeatable by design: nothing here is a secret
	info, hw := kind.factory(d.rng)
	for _, edit := range set.edits {
		edit(&info)
	}
	if info.Build == "" {
		info.Build = kind.inventBuild(info.OSVersion)
	}
	if set.name != "" {
		hw.name = set.name
	}
	d.hw, d.st = hw, deviceState{state: StateOff, info: info}
	id := newUUID(d.rng)
	d.factory = sync.OnceValues(func() (*Identity, error) { // a device that never boots costs no signature
		end := set.now().AddDate(1, 0, -1)
		if set.expired {
			end = set.now().AddDate(0, 0, -1)
		}
		return ca.Issue(id, end)
	})
	return d, nil
}

// FactoryIdentity returns the identity the device has from the factory, which signs its MachineInfo.
func (d *Device) FactoryIdentity() (*Identity, error) { return d.factory() }

func seedOf(serial string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(serial)) // a hash.Hash never fails
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// drive claims the device for one call; done gives it back.
func (d *Device) drive() (done func(), err error) {
	if !d.driven.CompareAndSwap(false, true) {
		return nil, ErrBusy
	}
	return func() {
		d.jobs.Wait()
		d.closeIdle()
		d.driven.Store(false)
	}, nil
}

// Kind returns what sort of device it is.
func (d *Device) Kind() Kind { return d.kind }

// Serial returns the serial number.
func (d *Device) Serial() string { return d.Info().Serial }

// UDID returns the unique device identifier.
func (d *Device) UDID() string { return d.Info().UDID }

// Info returns what the device says of itself at present; an OS update changes it.
func (d *Device) Info() MachineInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.st.info
}

// State returns where the device stands.
func (d *Device) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.st.state
}

// Enrolled reports whether the device has an MDM profile.
func (d *Device) Enrolled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.st.enrollment != nil
}

// Awaiting reports whether the device waits for DeviceConfigured.
func (d *Device) Awaiting() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.st.awaiting
}

// MDMIdentity returns the identity the device enrolled with, nil before.
func (d *Device) MDMIdentity() *Identity {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.st.enrollment == nil {
		return nil
	}
	return d.st.enrollment.identity
}

// PushToken returns where a server must send pushes: the token and the magic of TokenUpdate; empty before enrollment.
func (d *Device) PushToken() (token []byte, magic string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.st.tokens.push), d.st.tokens.magic
}

// Push wakes the device as an APNs push does: it connects and asks for commands. Pushes coalesce, and one that comes
// while nothing drives the device is kept until something does, as APNs keeps the last one. Push never blocks.
func (d *Device) Push() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Profiles returns the installed profiles, the enrollment profile among them, in order of installation.
func (d *Device) Profiles() []Profile {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.st.profiles)
}

// Packages returns the packages InstallEnterpriseApplication asked for, in the order they were dealt with; those that
// failed carry an error.
func (d *Device) Packages() []Package {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.st.packages)
}

// Apps returns what InstallApplication installed.
func (d *Device) Apps() []App {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.st.apps)
}

// AccountConfiguration returns the configuration of the local accounts, and whether the server sent one.
func (d *Device) AccountConfiguration() (AccountConfiguration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.st.account == nil {
		return AccountConfiguration{}, false
	}
	return d.st.account.clone(), true
}

// Answers returns the device's answers to commands, in order, whether or not the server has got them yet.
func (d *Device) Answers() []Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.st.answers)
}

func (d *Device) enrollment() *enrollment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.st.enrollment
}
