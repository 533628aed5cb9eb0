package axm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/internal/webapi"
)

// Option changes a setting of what [New] makes.
type Option func(*settings) error

// settings are what options set. Zero options are a safe production setup.
type settings struct {
	now       func() time.Time
	random    io.Reader
	log       *zap.Logger
	transport http.RoundTripper
	baseURL   string // empty: by the client id
	scope     string // empty: by the client id
	tokenURL  string
	userAgent string
	timeout   time.Duration
	maxTries  int
	firstWait time.Duration
	maxWait   time.Duration
	firstPoll time.Duration
	maxPoll   time.Duration
	settle    time.Duration
	batch     int
}

func newSettings(opts []Option) (settings, error) {
	s := settings{
		now:       time.Now,
		random:    rand.Reader,
		log:       zap.NewNop(),
		transport: http.DefaultTransport,
		// Apple's example posts here, though the audience of the assertion names another path; both are observed to work.
		tokenURL:  "https://account.apple.com/auth/oauth2/token",
		userAgent: "enrollkit/1",
		timeout:   time.Minute,
		maxTries:  4,
		firstWait: 500 * time.Millisecond,
		maxWait:   time.Minute,
		firstPoll: 2 * time.Second,
		maxPoll:   30 * time.Second,
		settle:    2 * time.Minute,
		batch:     1000,
	}
	for i, o := range opts {
		if o == nil {
			return settings{}, fmt.Errorf("axm: option %d is nil", i)
		}
		if err := o(&s); err != nil {
			return settings{}, err
		}
	}
	return s, nil
}

// WithClock sets the clock, which dates assertions and tells when an access token ends. The default is the system's.
func WithClock(now func() time.Time) Option {
	return func(s *settings) error {
		if now == nil {
			return errors.New("axm: WithClock: nil function")
		}
		s.now = now
		return nil
	}
}

// WithRandom sets where the identifiers of assertions come from. It is read by one goroutine at a time. The default is the
// system's generator.
func WithRandom(r io.Reader) Option {
	return func(s *settings) error {
		if r == nil {
			return errors.New("axm: WithRandom: nil reader")
		}
		s.random = r
		return nil
	}
}

// WithLogger sets where to log to. The default logs nothing.
func WithLogger(l *zap.Logger) Option {
	return func(s *settings) error {
		if l == nil {
			return errors.New("axm: WithLogger: nil logger")
		}
		s.log = l
		return nil
	}
}

// WithTransport sets what carries requests: to the API, to the token endpoint, and to where the results of activities are.
// The default is http.DefaultTransport. Tokens, retries and limits are added around it.
func WithTransport(rt http.RoundTripper) Option {
	return func(s *settings) error {
		if rt == nil {
			return errors.New("axm: WithTransport: nil transport")
		}
		s.transport = rt
		return nil
	}
}

// WithBaseURL sets where the API is, its version included, such as https://api-business.apple.com/v1/. The default follows
// from the client id.
func WithBaseURL(base string) Option {
	return func(s *settings) error {
		if _, err := webapi.ParseURL(base); err != nil {
			return fmt.Errorf("axm: WithBaseURL: %w", err)
		}
		s.baseURL = base
		return nil
	}
}

// WithScope sets the OAuth scope to ask for, such as business.api. The default follows from the client id.
func WithScope(scope string) Option {
	return func(s *settings) error {
		if strings.TrimSpace(scope) == "" {
			return errors.New("axm: WithScope: empty")
		}
		s.scope = scope
		return nil
	}
}

// WithTokenURL sets where access tokens come from. The audience of assertions stays the one that Apple asks for.
func WithTokenURL(tokenURL string) Option {
	return func(s *settings) error {
		if _, err := webapi.ParseURL(tokenURL); err != nil {
			return fmt.Errorf("axm: WithTokenURL: %w", err)
		}
		s.tokenURL = tokenURL
		return nil
	}
}

// WithUserAgent sets the User-Agent header. The default is "enrollkit/1".
func WithUserAgent(ua string) Option {
	return func(s *settings) error {
		if strings.TrimSpace(ua) == "" {
			return errors.New("axm: WithUserAgent: empty")
		}
		s.userAgent = ua
		return nil
	}
}

// WithTimeout limits one HTTP exchange, its body included. The default is one minute.
func WithTimeout(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return errors.New("axm: WithTimeout: want a positive duration")
		}
		s.timeout = d
		return nil
	}
}

// WithTries sets how often a request that may be repeated is sent before its error is returned, and the waits between: the
// first one, doubled each time up to longest, each by up to a half longer or shorter at random. A wait that Apple asks for
// and that is longer than longest is not slept through but returned as [APIError.RetryAfter]. The default is 4 tries, half a
// second, one minute.
func WithTries(n int, first, longest time.Duration) Option {
	return func(s *settings) error {
		if n < 1 || first <= 0 || longest < first {
			return errors.New("axm: WithTries: want n >= 1 and 0 < first <= longest")
		}
		s.maxTries, s.firstWait, s.maxWait = n, first, longest
		return nil
	}
}

// WithPoll sets the waits of [Client.WaitActivity] and [Client.Move] between two looks: the first one, doubled each time up to
// longest, each by up to a half longer or shorter at random. The default is two seconds and half a minute: activities were
// observed to take seconds to minutes.
func WithPoll(first, longest time.Duration) Option {
	return func(s *settings) error {
		if first <= 0 || longest < first {
			return errors.New("axm: WithPoll: want 0 < first <= longest")
		}
		s.firstPoll, s.maxPoll = first, longest
		return nil
	}
}

// WithSettle sets how long [Client.Move] waits for an assignment to show after its activity has completed. 0 looks once. The
// default is two minutes: lags of 15 seconds and more were observed.
func WithSettle(d time.Duration) Option {
	return func(s *settings) error {
		if d < 0 {
			return errors.New("axm: WithSettle: negative duration")
		}
		s.settle = d
		return nil
	}
}

// WithBatch sets how many serial numbers go into one activity. Apple publishes no maximum; the default is 1000, that of its
// other lists.
func WithBatch(n int) Option {
	return func(s *settings) error {
		if n < 1 {
			return errors.New("axm: WithBatch: want at least 1")
		}
		s.batch = n
		return nil
	}
}
