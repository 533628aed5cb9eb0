package enroll

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/storage"
)

type settings struct {
	cas         []*x509.Certificate
	authorizers Authorizers
	gate        *OSGate
	signIn      SignIn
	sealer      storage.Sealer
	maxBody     int64
	sessionTTL  time.Duration
	signInTTL   time.Duration
	brand       Branding
	now         func() time.Time
	rand        io.Reader
	log         *zap.Logger
}

// Option changes how [New] makes a handler.
type Option func(*settings) error

// WithDeviceCAs replaces Apple's device authority by others: those of a device simulator.
func WithDeviceCAs(cas ...*x509.Certificate) Option {
	return func(s *settings) error {
		if len(cas) == 0 {
			return errors.New("WithDeviceCAs: none")
		}
		s.cas = append([]*x509.Certificate(nil), cas...)
		return nil
	}
}

// WithAuthorizers adds authorizers, which are asked after [InInventory], in order.
func WithAuthorizers(as ...Authorizer) Option {
	return func(s *settings) error {
		for _, a := range as {
			if a == nil {
				return errors.New("WithAuthorizers: nil")
			}
		}
		s.authorizers = append(s.authorizers, as...)
		return nil
	}
}

// WithOSGate demands a minimum OS. The default is none.
func WithOSGate(g *OSGate) Option {
	return func(s *settings) error {
		if g == nil {
			return errors.New("WithOSGate: nil")
		}
		s.gate = g
		return nil
	}
}

// WithSignIn demands that the user signs in; sealer protects what a sign-in under way has to remember. Devices then
// have to come in the web view of configuration_web_url: a POST is refused, since it would go around the sign-in.
// The default is no sign-in.
func WithSignIn(signIn SignIn, sealer storage.Sealer) Option {
	return func(s *settings) error {
		if signIn == nil || sealer == nil {
			return errors.New("WithSignIn: nil")
		}
		s.signIn, s.sealer = signIn, sealer
		return nil
	}
}

// WithMaxBody limits a signed MachineInfo, in bytes, before base64. The default is 64 KiB.
func WithMaxBody(n int64) Option {
	return func(s *settings) error {
		if n <= 0 {
			return errors.New("WithMaxBody: must be positive")
		}
		s.maxBody = n
		return nil
	}
}

// WithSessionTTL sets how long a session is good for after its device last asked. The default is 7 days: a device may
// lie at "Remote Management" for long, and update its OS in between.
func WithSessionTTL(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return errors.New("WithSessionTTL: must be positive")
		}
		s.sessionTTL = d
		return nil
	}
}

// WithSignInTTL sets how long a user may take to sign in, and for how long after it the profile is delivered without
// signing in again. The default is 1 hour.
func WithSignInTTL(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return errors.New("WithSignInTTL: must be positive")
		}
		s.signInTTL = d
		return nil
	}
}

// Branding is what pages in Setup Assistant say about their owner.
type Branding struct {
	// Organization is the name above the text.
	Organization string
	// Support says whom to ask for help.
	Support string
}

// WithBranding sets the texts of pages. The default is none.
func WithBranding(b Branding) Option {
	return func(s *settings) error {
		s.brand = b
		return nil
	}
}

// WithClock sets the clock. The default is the system's.
func WithClock(now func() time.Time) Option {
	return func(s *settings) error {
		if now == nil {
			return errors.New("WithClock: nil")
		}
		s.now = now
		return nil
	}
}

// WithRandom sets the source of randomness. The default is crypto/rand.
func WithRandom(r io.Reader) Option {
	return func(s *settings) error {
		if r == nil {
			return errors.New("WithRandom: nil")
		}
		s.rand = r
		return nil
	}
}

// WithLogger sets the logger. The default logs nothing.
func WithLogger(l *zap.Logger) Option {
	return func(s *settings) error {
		if l == nil {
			return errors.New("WithLogger: nil")
		}
		s.log = l
		return nil
	}
}

func newSettings(opts []Option) (settings, error) {
	s := settings{
		authorizers: Authorizers{InInventory()},
		maxBody:     64 << 10, sessionTTL: 7 * 24 * time.Hour, signInTTL: time.Hour,
		now: time.Now, rand: rand.Reader, log: zap.NewNop(),
	}
	for _, o := range opts {
		if err := o(&s); err != nil {
			return settings{}, err
		}
	}
	if s.cas == nil {
		ca, err := AppleDeviceCA()
		if err != nil {
			return settings{}, err
		}
		s.cas = []*x509.Certificate{ca}
	}
	return s, nil
}

// publicURL accepts what devices talk to: https, and http on this machine for tests and simulations.
func publicURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, err
	case u.Host == "":
		return nil, errors.New("not an absolute URL")
	case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("scheme %q is not https", u.Scheme)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
