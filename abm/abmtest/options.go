package abmtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Option changes one setting of a [Service]. An option given a value it cannot use makes the constructor fail.
type Option func(*settings) error

type settings struct {
	now             func() time.Time
	seed            *[32]byte
	org             Organization
	basePath        string
	sessionLifetime time.Duration
	rotateEvery     int
	singleSession   bool
	pages           pageLimits
	limits          map[string]pageLimits // by path, where it differs from pages
	cursorLifetime  time.Duration
}

func defaults() settings {
	return settings{
		now: time.Now,
		org: Organization{
			Name: "Example Organization", Email: "it@example.org", Phone: "+1 408 555 0100",
			Address: "1 Example Way, Cupertino, CA", ID: "1000017", Type: "org", Version: "v1",
			AdminID: "admin@example.org",
		},
		sessionLifetime: 3 * time.Minute,
		rotateEvery:     20,
		pages:           pageLimits{100, 1000},
		limits:          make(map[string]pageLimits),
		cursorLifetime:  7 * 24 * time.Hour,
	}
}

// Organization is what GET /account tells about the customer, and which optional services it takes part in.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/accountdetail
type Organization struct {
	Name, Email, Phone, Address string
	ID                          string // customer number; org_id_hash is its SHA-256 in hex
	Type                        string // "org" or "edu"
	Version                     string // "v1", or "v2" for Apple School Manager
	AdminID                     string // the Apple Account that issues tokens and assigns devices

	NoAppleSeed      bool // GET /os-beta-enrollment/tokens answers APPLE_SEED_FOR_IT_TURNED_OFF
	NoAccountDriven  bool // /account-driven-enrollment/profile answers ORG_NOT_SUPPORTED
	NoActivationLock bool // POST /device/activationlock reports ORG_NOT_SUPPORTED
}

// WithOrganization sets who the customer is. Name, ID and AdminID must not be empty.
// The default is a made-up organization of type "org" that takes part in everything.
func WithOrganization(o Organization) Option {
	return func(s *settings) error {
		if o.Name == "" || o.ID == "" || o.AdminID == "" {
			return errors.New("WithOrganization: Name, ID and AdminID must not be empty")
		}
		s.org = o
		return nil
	}
}

// WithClock sets where the service takes the time from. The default is time.Now.
func WithClock(now func() time.Time) Option {
	return func(s *settings) error {
		if now == nil {
			return errors.New("WithClock: the function must not be nil")
		}
		s.now = now
		return nil
	}
}

// WithSeed makes identifiers, session tokens and random devices repeatable: the same calls in the same order
// give the same values. Without it every service has its own.
func WithSeed(seed uint64) Option {
	return func(s *settings) error {
		s.seed = new([32]byte)
		binary.LittleEndian.PutUint64(s.seed[:], seed)
		return nil
	}
}

// WithBasePath serves the API below a path such as "/dep", which must begin and must not end with a slash.
// The default is the root. Mounting the service with http.StripPrefix works as well.
func WithBasePath(path string) Option {
	return func(s *settings) error {
		if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "?# ") {
			return fmt.Errorf("WithBasePath: %q must begin and must not end with a slash", path)
		}
		s.basePath = path
		return nil
	}
}

// WithSessionLifetime sets after how long without a call a session expires; d must be positive.
// Apple does not publish the time. The default is 3 minutes.
func WithSessionLifetime(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return fmt.Errorf("WithSessionLifetime: %v is not positive", d)
		}
		s.sessionLifetime = d
		return nil
	}
}

// WithSessionRotation makes every n-th answer of a session carry a new token in X-ADM-Auth-Session. The old
// one is dead from then on, so that clients which miss the change are noticed. 0 never rotates; the default is 20.
func WithSessionRotation(n int) Option {
	return func(s *settings) error {
		if n < 0 {
			return fmt.Errorf("WithSessionRotation: %d is negative", n)
		}
		s.rotateEvery = n
		return nil
	}
}

// WithSingleSession lets GET /session end all earlier sessions of the same MDM server entry. Whether Apple
// does so is not known; clients that open sessions side by side stand out with it.
func WithSingleSession() Option {
	return func(s *settings) error {
		s.singleSession = true
		return nil
	}
}

// pageLimits are how many devices a page has, or a call names, by default and at most.
type pageLimits struct{ byDefault, maximum int }

func (l pageLimits) check(option string) error {
	if l.byDefault < 1 || l.maximum < l.byDefault {
		return fmt.Errorf("%s: want 1 <= default <= maximum, not %d and %d", option, l.byDefault, l.maximum)
	}
	return nil
}

// WithPageLimits sets how many devices a fetch or sync page has when the request gives no limit, and at most, and what
// GET /account publishes for all calls about many devices. Larger limits are cut down. The defaults are Apple's 100
// and 1000.
func WithPageLimits(byDefault, maximum int) Option {
	return func(s *settings) error {
		s.pages = pageLimits{byDefault, maximum}
		return s.pages.check("WithPageLimits")
	}
}

// WithLimits sets what GET /account publishes for one call about many devices, such as "/profile/devices", and what its
// pages have if it is fetch or sync. The others keep the limits of [WithPageLimits].
//
// Apple documents that limits are published, a maximum of 1000 for the pages of a fetch, and that an assignment should
// name at most 1000 devices. It does not document what it answers beyond a limit: such calls are answered as others
// are, and counted in [Stats].
//
// Apple: https://developer.apple.com/documentation/devicemanagement/accountdetail and
// https://developer.apple.com/documentation/devicemanagement/assign-profile
func WithLimits(path string, byDefault, maximum int) Option {
	return func(s *settings) error {
		s.limits[path] = pageLimits{byDefault, maximum}
		return s.limits[path].check("WithLimits")
	}
}

// WithCursorLifetime sets the age above which a cursor is refused; d must be positive. The default is Apple's 7 days.
func WithCursorLifetime(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return fmt.Errorf("WithCursorLifetime: %v is not positive", d)
		}
		s.cursorLifetime = d
		return nil
	}
}
