package enroll

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/storage"
)

// lastSeenStep is how exact Enrollment.LastSeenAt is: a device that polls does not cause a write each time.
const lastSeenStep = time.Minute

// CheckInStore is what [CheckIns] keeps and reads.
type CheckInStore interface {
	storage.DeviceStore
	storage.SessionStore
	storage.EnrollmentStore
}

type checkInSettings struct {
	observer  setupexp.Observer
	commander setupexp.Commander
	lax       bool
	now       func() time.Time
	log       *zap.Logger
}

// CheckInOption changes how [NewCheckIns] works.
type CheckInOption func(*checkInSettings) error

// WithObserver has o, usually a *setupexp.Tracker, told of everything that may move the setup of a device. It may hear
// an event again, with the same id. The default is nobody.
func WithObserver(o setupexp.Observer) CheckInOption {
	return func(s *checkInSettings) error {
		if o == nil {
			return errors.New("WithObserver: nil")
		}
		s.observer = o
		return nil
	}
}

// WithoutSessionCheck lets devices in that did not come from an enrollment profile of the [Handler]: those of an MDM
// server that has other ways to enroll as well, or that enrolled before this package was there. Each is recorded as an
// activity. The default refuses them.
//
// Without the check, anybody who has an identity the MDM server accepts can take over the enrollment of any device whose
// UDID is known, by beginning it anew. Only the identity certificate is still checked between two enrollments.
func WithoutSessionCheck() CheckInOption {
	return func(s *checkInSettings) error {
		s.lax = true
		return nil
	}
}

// WithCommander has devices asked whether they wait in Setup Assistant where no message of theirs said so: their
// TokenUpdate was lost, or they enrolled before this package was there. The question is queued before the MDM server
// answers the device, so no push is needed. The default asks nobody.
func WithCommander(c setupexp.Commander) CheckInOption {
	return func(s *checkInSettings) error {
		if c == nil {
			return errors.New("WithCommander: nil")
		}
		s.commander = c
		return nil
	}
}

// WithCheckInClock sets the clock. The default is the system's.
func WithCheckInClock(now func() time.Time) CheckInOption {
	return func(s *checkInSettings) error {
		if now == nil {
			return errors.New("WithCheckInClock: nil")
		}
		s.now = now
		return nil
	}
}

// WithCheckInLogger sets the logger. The default logs nothing.
func WithCheckInLogger(l *zap.Logger) CheckInOption {
	return func(s *checkInSettings) error {
		if l == nil {
			return errors.New("WithCheckInLogger: nil")
		}
		s.log = l
		return nil
	}
}

// CheckIns turns what devices send to the MDM server into enrollments, activities and events of the setup experience.
// It knows no MDM server: an adapter such as package enroll/nano hands it the messages.
//
// An adapter asks Admit before the MDM server takes a message, and hands it to the method for its type once the server
// has. Those store what they are told before they return nil. An adapter that gets an error must not answer the
// device with success, so that the device sends the message again; a message handled twice changes nothing the second
// time. Messages of user channels change nothing. It is safe for concurrent use, across processes too.
type CheckIns struct {
	store CheckInStore
	keys  *SessionKeys
	set   checkInSettings
}

// NewCheckIns returns a handler of check-ins. keys are those of the [Handler] that issued the profiles.
func NewCheckIns(store CheckInStore, keys *SessionKeys, opts ...CheckInOption) (*CheckIns, error) {
	if store == nil || keys == nil {
		return nil, errors.New("enroll: new check-ins: a store and session keys are required")
	}
	c := &CheckIns{store: store, keys: keys, set: checkInSettings{now: time.Now, log: zap.NewNop()}}
	for _, o := range opts {
		if err := o(&c.set); err != nil {
			return nil, fmt.Errorf("enroll: new check-ins: %w", err)
		}
	}
	return c, nil
}

// take stamps a message; it returns false for one that says nothing about the device.
func (c *CheckIns) take(m *Message) bool {
	if m.At.IsZero() {
		m.At = c.set.now()
	}
	return !m.UserChannel
}

// Authenticated handles Authenticate: a device begins to enroll. It raises the generation of the enrollment, binds the
// session and the identity the device came with, and forgets what was known of the generation before.
//
// A message that comes again while the device has not sent its TokenUpdate belongs to the same generation. One of a
// device that is enrolled and out of Setup Assistant is only noted: a device sends it too when its profile is replaced
// to renew its identity. Its next messages tell whether it has begun anew.
func (c *CheckIns) Authenticated(ctx context.Context, m Message) error {
	if !c.take(&m) {
		return nil
	}
	var session *storage.EnrollmentSession
	e, err := c.update(ctx, m, func(e *storage.Enrollment) ([]storage.Activity, error) {
		var err error
		if session, err = c.check(ctx, *e, m); err != nil {
			return nil, err
		}
		if settled(*e) && !handedOn(*e, session) {
			return nil, mark(e, m, session)
		}
		return c.authenticate(ctx, e, m, session)
	})
	if err != nil {
		return err
	}
	if err := c.consume(ctx, session); err != nil {
		return err
	}
	if !e.RenewingAt.IsZero() {
		return nil
	}
	return c.observe(ctx, m, e, setupexp.Authenticated{})
}

func (c *CheckIns) authenticate(ctx context.Context, e *storage.Enrollment, m Message, s *storage.EnrollmentSession) ([]storage.Activity, error) {
	again := e.State == storage.EnrollmentEnrolling && e.CertificateHash == m.Certificate
	next := storage.Enrollment{
		ID: e.ID, Version: e.Version, Generation: e.Generation, AuthenticatedAt: e.AuthenticatedAt,
		UDID: m.UDID, Serial: m.Serial, Product: m.Product, OSVersion: m.OSVersion, CertificateHash: m.Certificate,
		State: storage.EnrollmentEnrolling, LastSeenAt: m.At,
	}
	if s != nil {
		next.SessionID, next.Account, next.User, next.Serial = s.ID, s.Account, s.User, s.Serial
	}
	if err := c.place(ctx, &next); err != nil {
		return nil, err
	}
	var acts []storage.Activity
	if !again {
		next.Generation, next.AuthenticatedAt = e.Generation+1, m.At
		acts = append(acts, activity.New(m.At, actor(next.Serial), activity.DeviceAuthenticated{
			On: onEnrollment(next), SessionID: next.SessionID, Generation: next.Generation, Reenrollment: e.Version > 0,
		}))
		acts = append(acts, c.withoutSession(next, m, s)...)
	}
	*e = next
	return acts, nil
}

// TokenUpdated handles TokenUpdate: the first of a generation makes the device one that can be reached; later ones
// renew its push token, or say again whether it waits in Setup Assistant.
func (c *CheckIns) TokenUpdated(ctx context.Context, m Message) error {
	if !c.take(&m) {
		return nil
	}
	e, err := c.update(ctx, m, func(e *storage.Enrollment) ([]storage.Activity, error) {
		if _, err := c.check(ctx, *e, m); err != nil {
			return nil, err
		}
		var acts []storage.Activity
		var err error
		switch {
		case e.Version == 0, e.State == storage.EnrollmentUnenrolled: // no Authenticate came, see adopt
			acts, err = c.adopt(ctx, e, m)
		case renewed(*e, m) && m.Awaiting == storage.AwaitingTrue:
			acts, err = c.anew(ctx, e, m)
		case renewed(*e, m):
			acts = renew(e, m)
		}
		if err != nil {
			return nil, err
		}
		if e.CertificateHash == "" {
			e.CertificateHash = m.Certificate
		}
		acts = append(acts, reachable(e, m)...)
		return append(acts, sawAwaiting(e, m)...), nil
	})
	if err != nil {
		return err
	}
	return c.observe(ctx, m, e, setupexp.AwaitingSeen{Awaiting: m.Awaiting, Source: m.Type})
}

// BootstrapToken handles SetBootstrapToken and GetBootstrapToken, which say whether the device waits.
func (c *CheckIns) BootstrapToken(ctx context.Context, m Message) error {
	if !c.take(&m) {
		return nil
	}
	return c.contact(ctx, m, setupexp.AwaitingSeen{Awaiting: m.Awaiting, Source: m.Type}, m.Awaiting != storage.AwaitingUnknown)
}

// CheckedOut handles CheckOut: the device left management.
func (c *CheckIns) CheckedOut(ctx context.Context, m Message) error {
	if !c.take(&m) {
		return nil
	}
	e, err := c.update(ctx, m, func(e *storage.Enrollment) ([]storage.Activity, error) {
		if e.Version == 0 || e.State == storage.EnrollmentUnenrolled {
			return nil, errUnchanged
		}
		if _, err := c.check(ctx, *e, m); err != nil {
			return nil, err
		}
		e.State, e.UnenrolledAt, e.LastSeenAt = storage.EnrollmentUnenrolled, m.At, m.At
		return []storage.Activity{activity.New(m.At, actor(e.Serial), activity.DeviceUnenrolled{
			On: onEnrollment(*e), Reason: "check_out",
		})}, nil
	})
	if err != nil || e.Version == 0 {
		return err
	}
	return c.observe(ctx, m, e, setupexp.CheckedOut{})
}

// Idle handles a connection without a result: the device asks for work.
func (c *CheckIns) Idle(ctx context.Context, m Message) error {
	if !c.take(&m) {
		return nil
	}
	return c.contact(ctx, m, setupexp.DeviceContact{Kind: "Idle"}, true)
}

// CommandReported handles the result of a command; its Raw is that of the message. An answer to DeviceInformation that
// says so tells whether the device waits.
func (c *CheckIns) CommandReported(ctx context.Context, m Message, r setupexp.CommandResult) error {
	if !c.take(&m) {
		return nil
	}
	r.Raw = m.Raw
	if err := c.contact(ctx, m, r, true); err != nil {
		return err
	}
	if m.Awaiting == storage.AwaitingUnknown {
		return nil
	}
	return c.contact(ctx, m, setupexp.AwaitingSeen{Awaiting: m.Awaiting, Source: "DeviceInformation"}, true)
}

// contact notes that a device was heard of and passes the event on if tell is set.
func (c *CheckIns) contact(ctx context.Context, m Message, body setupexp.EventBody, tell bool) error {
	e, err := c.update(ctx, m, func(e *storage.Enrollment) ([]storage.Activity, error) {
		if _, err := c.check(ctx, *e, m); err != nil {
			return nil, err
		}
		recent := m.At.Sub(e.LastSeenAt) < lastSeenStep
		var acts []storage.Activity
		var err error
		if e.Version == 0 {
			acts, err = c.adopt(ctx, e, m)
		} else if settles(*e, m) {
			recent = false
			acts, err = c.settle(ctx, e, m)
		}
		if err != nil {
			return nil, err
		}
		acts = append(acts, reachable(e, m)...)
		if acts = append(acts, sawAwaiting(e, m)...); recent && len(acts) == 0 {
			return nil, errUnchanged
		}
		return acts, nil
	})
	if err != nil || !tell {
		return err
	}
	return c.observe(ctx, m, e, body)
}

// reachable notes the first sign that a device has enrolled: its TokenUpdate or, if that was lost, any later message.
func reachable(e *storage.Enrollment, m Message) []storage.Activity {
	if e.State != storage.EnrollmentEnrolling {
		return nil
	}
	e.State, e.EnrolledAt = storage.EnrollmentEnrolled, m.At
	return []storage.Activity{activity.New(m.At, actor(e.Serial), activity.DeviceEnrolled{
		On: onEnrollment(*e), SessionID: e.SessionID, Generation: e.Generation, Awaiting: string(m.Awaiting),
	})}
}

// sawAwaiting notes when a device was heard of, and what the message says about waiting in Setup Assistant.
func sawAwaiting(e *storage.Enrollment, m Message) []storage.Activity {
	e.LastSeenAt = m.At
	if m.Awaiting == storage.AwaitingUnknown || m.Awaiting == e.Awaiting {
		return nil
	}
	e.Awaiting, e.AwaitingAt = m.Awaiting, m.At
	return []storage.Activity{activity.New(m.At, actor(e.Serial), activity.AwaitingChanged{
		On: onEnrollment(*e), Awaiting: string(m.Awaiting), Source: m.Type,
	})}
}
