package enrolltest

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"
)

type settings struct {
	edits     []func(*MachineInfo)
	name      string
	client    *http.Client
	now       func() time.Time
	seed      uint64
	seeded    bool
	observer  func(Event)
	poll      time.Duration
	values    map[string]string
	chain     Chain
	chainSet  bool
	expired   bool
	update    func(ctx context.Context, from MachineInfo, to SoftwareUpdate) error
	onPackage func(ctx context.Context, d *Device, p Package)
}

// The names of the inputs that WithUser fills, beside those of its comment.
const (
	valueUser     = "\x00user"
	valuePassword = "\x00password"
)

// Option changes how [New] makes a device.
type Option func(*settings) error

// WithSerial sets the serial number. Two devices with the same serial and no [WithSeed] are alike in all their ids.
// The default is made up.
func WithSerial(serial string) Option {
	return func(s *settings) error {
		if serial == "" {
			return errors.New("WithSerial: empty")
		}
		s.edits = append(s.edits, func(m *MachineInfo) { m.Serial = serial })
		if !s.seeded {
			s.seed, s.seeded = seedOf(serial), true
		}
		return nil
	}
}

// WithOS sets the OS version, for example "15.6.1", and its build. An empty build is made up.
func WithOS(version, build string) Option {
	return func(s *settings) error {
		if version == "" {
			return errors.New("WithOS: empty version")
		}
		s.edits = append(s.edits, func(m *MachineInfo) { m.OSVersion, m.Build = version, build })
		return nil
	}
}

// WithMachineInfo lets edit change what the device says of itself: UDID, product, language, IMEI, and the abilities
// it claims, such as CanRequestSoftwareUpdate, which is true by default.
func WithMachineInfo(edit func(*MachineInfo)) Option {
	return func(s *settings) error {
		if edit == nil {
			return errors.New("WithMachineInfo: nil")
		}
		s.edits = append(s.edits, edit)
		return nil
	}
}

// WithName sets the device name that Authenticate and DeviceInformation report. The default is the model's name.
func WithName(name string) Option {
	return func(s *settings) error {
		if name == "" {
			return errors.New("WithName: empty")
		}
		s.name = name
		return nil
	}
}

// WithHTTPClient sets the client whose transport and timeout the device uses; its cookie jar and redirect policy
// are replaced. The default is http.DefaultTransport without a timeout.
//
// anchor_certs and the certificates of the enrollment profile are trusted by a copy of an *http.Transport; another
// kind of transport decides for itself whom it trusts.
func WithHTTPClient(c *http.Client) Option {
	return func(s *settings) error {
		if c == nil {
			return errors.New("WithHTTPClient: nil")
		}
		cp := *c
		s.client = &cp
		return nil
	}
}

// WithClock sets what time the device believes it is, in events and its built-in certificate. The default is the
// system's, which CMS signing times always are. Waiting (polls, scripted delays) uses real timers, which testing/synctest can fake.
func WithClock(now func() time.Time) Option {
	return func(s *settings) error {
		if now == nil {
			return errors.New("WithClock: nil")
		}
		s.now = now
		return nil
	}
}

// WithSeed makes the ids and tokens a device invents repeatable. Keys are always random.
// The default is derived from the serial of [WithSerial], or random without it.
func WithSeed(seed uint64) Option {
	return func(s *settings) error {
		s.seed, s.seeded = seed, true
		return nil
	}
}

// WithObserver has f called for everything the device does, one event at a time, in order. f must not block for long
// and must not drive the device; looking at it is fine.
func WithObserver(f func(Event)) Option {
	return func(s *settings) error {
		if f == nil {
			return errors.New("WithObserver: nil")
		}
		s.observer = f
		return nil
	}
}

// WithPollInterval sets how long a device waits before it asks for commands by itself: while it is held in Setup
// Assistant, after NotNow, and after a failed connection. It must be positive. The default is 10 s; Apple does not
// publish its own.
func WithPollInterval(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return errors.New("WithPollInterval: must be positive")
		}
		s.poll = d
		return nil
	}
}

// WithUser sets what the user types into sign-in pages: username goes into inputs named username, user, email, login
// or of type email, password into inputs of type password. The pair also answers an HTTP Basic challenge.
// The default is no user: a page that asks for one is an [ErrSignIn].
func WithUser(username, password string) Option {
	return func(s *settings) error {
		if username == "" {
			return errors.New("WithUser: empty username")
		}
		s.values[valueUser], s.values[valuePassword] = username, password
		return nil
	}
}

// WithFormValue sets what the user types into an input with this name, such as a one-time code.
func WithFormValue(name, value string) Option {
	return func(s *settings) error {
		if name == "" {
			return errors.New("WithFormValue: empty name")
		}
		s.values[name] = value
		return nil
	}
}

// WithChain sets which certificates accompany the device's signatures. The default is [ChainDeviceCA] for a Mac and
// [ChainFull] for iPhone and iPad.
func WithChain(c Chain) Option {
	return func(s *settings) error {
		if c < ChainLeaf || c > ChainFull {
			return errors.New("WithChain: unknown chain")
		}
		s.chain, s.chainSet = c, true
		return nil
	}
}

// WithExpiredIdentity gives the device a built-in certificate that expired yesterday.
func WithExpiredIdentity() Option {
	return func(s *settings) error {
		s.expired = true
		return nil
	}
}

// SoftwareUpdate is what a server demands with com.apple.softwareupdate.required.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/errorcodesoftwareupdaterequired
type SoftwareUpdate struct {
	// OSVersion is the version to install; BuildVersion may be empty.
	OSVersion, BuildVersion string
	// BetaProgram and BetaToken are set if a beta program is to be joined.
	BetaProgram, BetaToken string
}

// WithSoftwareUpdate has f called in place of the download and restart of an update; it can wait, or fail the update
// by returning an error. The default updates at once.
func WithSoftwareUpdate(f func(ctx context.Context, from MachineInfo, to SoftwareUpdate) error) Option {
	return func(s *settings) error {
		if f == nil {
			return errors.New("WithSoftwareUpdate: nil")
		}
		s.update = f
		return nil
	}
}

// WithOnPackageInstalled has f called after each package of InstallEnterpriseApplication, as an installer's scripts
// would run: a place to start a simulated agent. ctx ends with the call that drives the device (Boot or Run), which
// waits for f to return; an agent that is to live on needs a context and a goroutine of its host's.
func WithOnPackageInstalled(f func(ctx context.Context, d *Device, p Package)) Option {
	return func(s *settings) error {
		if f == nil {
			return errors.New("WithOnPackageInstalled: nil")
		}
		s.onPackage = f
		return nil
	}
}

func newSettings(opts []Option) (settings, error) {
	s := settings{now: time.Now, client: &http.Client{}, poll: 10 * time.Second, values: map[string]string{}}
	for _, o := range opts {
		if err := o(&s); err != nil {
			return settings{}, err
		}
	}
	s.values = maps.Clone(s.values)
	return s, nil
}
