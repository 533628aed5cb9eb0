package abm

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/micromdm/nanodep/client"
	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/internal/webapi"
	"github.com/enrollkit/enrollkit/storage"
)

// Option changes a setting of what [NewClient], [NewAccounts] or [New] makes. An option that a constructor has no use
// for is checked and then ignored, so that a host can pass one list to all of them.
type Option func(*settings) error

// settings are what options set. Zero options are a safe production setup.
type settings struct {
	now         func() time.Time
	log         *zap.Logger
	transport   http.RoundTripper
	baseURL     string
	userAgent   string
	protocol    int
	timeout     time.Duration
	maxTries    int
	firstWait   time.Duration
	maxWait     time.Duration
	breakAfter  int
	coolDown    time.Duration
	owner       string
	leaseTTL    time.Duration
	poll        time.Duration
	syncEvery   time.Duration
	sweepEvery  time.Duration
	verify      time.Duration
	maxFailed   int
	concurrency int
	tel         telemetry
}

func newSettings(opts []Option) (settings, error) {
	s := settings{
		now:         time.Now,
		log:         zap.NewNop(),
		baseURL:     client.DefaultBaseURL,
		userAgent:   "enrollkit/1",
		protocol:    newestProtocol,
		timeout:     time.Minute,
		maxTries:    4,
		firstWait:   500 * time.Millisecond,
		maxWait:     time.Minute,
		breakAfter:  defaultMaxFailures,
		coolDown:    defaultCoolDown,
		leaseTTL:    time.Minute,
		poll:        time.Minute,
		syncEvery:   time.Hour,
		sweepEvery:  24 * time.Hour,
		verify:      10 * time.Minute,
		maxFailed:   10,
		concurrency: 16,
	}
	for i, o := range opts {
		if o == nil {
			return settings{}, fmt.Errorf("abm: option %d is nil", i)
		}
		if err := o(&s); err != nil {
			return settings{}, err
		}
	}
	if err := s.tel.start(s.now); err != nil {
		return settings{}, err
	}
	return s, nil
}

// WithClock sets the clock. The default is the system's.
func WithClock(now func() time.Time) Option {
	return func(s *settings) error {
		if now == nil {
			return errors.New("abm: WithClock: nil function")
		}
		s.now = now
		return nil
	}
}

// WithLogger sets where to log to. The default logs nothing.
func WithLogger(l *zap.Logger) Option {
	return func(s *settings) error {
		if l == nil {
			return errors.New("abm: WithLogger: nil logger")
		}
		s.log = l
		return nil
	}
}

// WithTransport sets what carries requests to Apple. The default is http.DefaultTransport.
// Sessions, retries and limits are added around it.
func WithTransport(rt http.RoundTripper) Option {
	return func(s *settings) error {
		if rt == nil {
			return errors.New("abm: WithTransport: nil transport")
		}
		s.transport = rt
		return nil
	}
}

// WithBaseURL sets where the service is for a client, and for accounts that name no base URL of their own. A path in
// it is kept. The default is Apple's production service.
func WithBaseURL(base string) Option {
	return func(s *settings) error {
		if _, err := parseBaseURL(base); err != nil {
			return fmt.Errorf("abm: WithBaseURL: %w", err)
		}
		s.baseURL = base
		return nil
	}
}

// parseBaseURL returns base with a path that ends in a slash. Relative references then resolve below the path, and
// the path of a proxy or a simulator is kept.
func parseBaseURL(base string) (*url.URL, error) {
	u, err := webapi.ParseURL(base)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	return u, nil
}

// WithUserAgent sets the User-Agent header, which Apple demands. The default is "enrollkit/1".
func WithUserAgent(ua string) Option {
	return func(s *settings) error {
		if strings.TrimSpace(ua) == "" || strings.ContainsAny(ua, "\r\n\x00") {
			return errors.New("abm: WithUserAgent: empty, or more than one line")
		}
		s.userAgent = ua
		return nil
	}
}

// WithProtocolVersion sets X-Server-Protocol-Version, for services that stand between Apple and the client and know no newer
// one. The default, 10, is the newest that is documented. Below 10 Apple does not say how long a throttled device has to
// wait, below 9 it calls a throttled device FAILED, below 8 it tells of no migration deadline: the engine gets along with it,
// and waits longer than it would need to.
func WithProtocolVersion(n int) Option {
	return func(s *settings) error {
		if n < 1 {
			return fmt.Errorf("abm: WithProtocolVersion: %d, want 1 or more", n)
		}
		s.protocol = n
		return nil
	}
}

// WithTimeout limits one HTTP exchange, its body included. The default is one minute.
func WithTimeout(d time.Duration) Option {
	return positive("WithTimeout", d, func(s *settings) { s.timeout = d })
}

// WithTries sets how often a request that may be repeated is sent before its error is returned, and the waits
// between: the first one, doubled each time, never longer than longest. A longer wait that Apple asks for is not slept
// through but returned as [APIError.RetryAfter]; so is one after which a request that changes something would be sent
// later than the timeout after its beginning. The default is 4 tries, half a second, one minute.
func WithTries(n int, first, longest time.Duration) Option {
	return func(s *settings) error {
		if n < 1 || first <= 0 || longest < first {
			return errors.New("abm: WithTries: want n >= 1 and 0 < first <= longest")
		}
		s.maxTries, s.firstWait, s.maxWait = n, first, longest
		return nil
	}
}

// maxOwner is the length of the longest owner's name, in bytes: what New adds to it has room in a key of the store.
const maxOwner = 128

// WithOwner names this engine, such as by its host, for those who look at who holds a lease: at most 128 bytes of UTF-8.
// A random word that New adds tells engines of one name apart, such as a process and the one that replaces it. The
// default is no name.
func WithOwner(name string) Option {
	return func(s *settings) error {
		if !storage.ValidKey(name) || len(name) > maxOwner {
			return fmt.Errorf("abm: WithOwner: want 1 to %d bytes of UTF-8", maxOwner)
		}
		s.owner = name
		return nil
	}
}

// WithLeaseTTL sets how long the lease of an account outlives an engine that died: at most an hour. The default is one
// minute.
func WithLeaseTTL(d time.Duration) Option {
	if d > maxLeaseTTL {
		return func(*settings) error { return errors.New("abm: WithLeaseTTL: want at most an hour") }
	}
	return positive("WithLeaseTTL", d, func(s *settings) { s.leaseTTL = d })
}

// WithPollInterval sets how often the store is asked for accounts, and for work that another process has made due.
// The default is one minute.
func WithPollInterval(d time.Duration) Option {
	return positive("WithPollInterval", d, func(s *settings) { s.poll = d })
}

// WithSyncInterval sets how often Apple is asked for changes; each interval is up to a tenth longer. It is at most six
// days, as Apple's cursors live for seven. The default is one hour.
func WithSyncInterval(d time.Duration) Option {
	if d > 6*24*time.Hour {
		return func(*settings) error { return errors.New("abm: WithSyncInterval: want at most six days") }
	}
	return positive("WithSyncInterval", d, func(s *settings) { s.syncEvery = d })
}

// WithSweepInterval sets how often the full list is read; each interval is up to a tenth longer. The default is one day.
func WithSweepInterval(d time.Duration) Option {
	return positive("WithSweepInterval", d, func(s *settings) { s.sweepEvery = d })
}

// WithVerifyAfter sets how long after Apple's SUCCESS the device is looked at to see that it has its profile. The default
// is ten minutes.
func WithVerifyAfter(d time.Duration) Option {
	return positive("WithVerifyAfter", d, func(s *settings) { s.verify = d })
}

// WithConcurrency sets how many accounts [Engine.Run] works on at once. Two more are worked on if their last work failed.
// The default is 16. What an account needs meanwhile is two pages of devices, about 2 MB each, and up to 8 MB for a full list.
func WithConcurrency(n int) Option {
	return func(s *settings) error {
		if n < 1 {
			return errors.New("abm: WithConcurrency: want at least 1")
		}
		s.concurrency = n
		return nil
	}
}

// WithMaxFailures sets after how many failed attempts in a row an assignment is parked. The default is 10.
func WithMaxFailures(n int) Option {
	return func(s *settings) error {
		if n < 1 {
			return errors.New("abm: WithMaxFailures: want at least 1")
		}
		s.maxFailed = n
		return nil
	}
}

func positive(name string, d time.Duration, set func(*settings)) Option {
	return func(s *settings) error {
		if d <= 0 {
			return fmt.Errorf("abm: %s: want a positive duration", name)
		}
		set(s)
		return nil
	}
}
