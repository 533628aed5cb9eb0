package enroll

import (
	"context"
	"errors"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// A device whose enrollment profile is replaced in place gets a new identity and goes through Authenticate and
// TokenUpdate like one that was erased, and if the replacement fails it goes on with its old identity. What tells the two
// apart is only whether it then waits in Setup Assistant. Until that is known, the enrollment is marked and otherwise
// left as it is: its run, its state and its agent's token stay good, and both identities may speak for the device.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/deploying-device-management-enrollment-profiles

// settled reports whether an Authenticate of the device may be the renewal of its identity.
func settled(e storage.Enrollment) bool {
	switch e.State {
	case storage.EnrollmentReleased:
		return true
	case storage.EnrollmentEnrolled, storage.EnrollmentProfilesApplied:
		return e.Awaiting != storage.AwaitingTrue
	}
	return false
}

// handedOn reports whether another person signed in for the Authenticate than for the enrollment: the device was erased.
func handedOn(e storage.Enrollment, s *storage.EnrollmentSession) bool {
	if s == nil || len(s.User) == 0 || len(e.User) == 0 {
		return false
	}
	before, err1 := ParseUser(e.User)
	now, err2 := ParseUser(s.User)
	return err1 == nil && err2 == nil && (before.Issuer != now.Issuer || before.Subject != now.Subject)
}

// mark notes the Authenticate of a settled device.
func mark(e *storage.Enrollment, m Message, s *storage.EnrollmentSession) error {
	next := m.Certificate
	if next == e.CertificateHash { // the profile brings its identity along instead of having one issued
		next = ""
	}
	if !e.RenewingAt.IsZero() && e.NextCertificateHash == next {
		return errUnchanged // it comes again
	}
	e.RenewingAt, e.NextCertificateHash, e.LastSeenAt = m.At, next, m.At
	e.Product, e.OSVersion = m.Product, m.OSVersion
	if s != nil {
		e.SessionID = s.ID
	}
	return nil
}

// renewed reports whether a message came with the identity of the Authenticate that was marked.
func renewed(e storage.Enrollment, m Message) bool {
	return !e.RenewingAt.IsZero() &&
		(m.Certificate == e.NextCertificateHash || e.NextCertificateHash == "" && m.Certificate == e.CertificateHash)
}

// renew takes the new identity for the device's, and the old one for void. The mark stays if the message does not say
// whether the device waits.
func renew(e *storage.Enrollment, m Message) []storage.Activity {
	if m.Awaiting == storage.AwaitingFalse {
		e.RenewingAt = storage.Enrollment{}.RenewingAt
	}
	if e.NextCertificateHash == "" {
		return nil
	}
	e.CertificateHash, e.NextCertificateHash = e.NextCertificateHash, ""
	return []storage.Activity{activity.New(m.At, actor(e.Serial), activity.IdentityRenewed{
		On: onEnrollment(*e), Generation: e.Generation,
	})}
}

// settles reports whether a message after the TokenUpdate says what that did not.
func settles(e storage.Enrollment, m Message) bool {
	return m.Awaiting != storage.AwaitingUnknown && e.NextCertificateHash == "" && renewed(e, m)
}

// settle ends the doubt.
func (c *CheckIns) settle(ctx context.Context, e *storage.Enrollment, m Message) ([]storage.Activity, error) {
	if m.Awaiting == storage.AwaitingTrue {
		return c.anew(ctx, e, m)
	}
	return renew(e, m), nil
}

// anew begins the generation whose Authenticate was marked: the device waits in Setup Assistant, so it was erased.
func (c *CheckIns) anew(ctx context.Context, e *storage.Enrollment, m Message) ([]storage.Activity, error) {
	began := e.RenewingAt
	acts, err := c.adopt(ctx, e, m)
	if err != nil {
		return nil, err
	}
	e.AuthenticatedAt = began
	return append([]storage.Activity{activity.New(m.At, actor(e.Serial), activity.DeviceAuthenticated{
		On: onEnrollment(*e), SessionID: e.SessionID, Generation: e.Generation, Reenrollment: true,
	})}, acts...), nil
}

// adopt begins a generation whose Authenticate was not seen: of a device that enrolled before this package was there, or
// that was restored from its own backup.
func (c *CheckIns) adopt(ctx context.Context, e *storage.Enrollment, m Message) ([]storage.Activity, error) {
	next := storage.Enrollment{
		ID: e.ID, Version: e.Version, Generation: e.Generation + 1, State: storage.EnrollmentEnrolling,
		UDID: m.UDID, Serial: e.Serial, Product: e.Product, OSVersion: e.OSVersion, User: e.User, SessionID: e.SessionID,
		CertificateHash: m.Certificate, LastSeenAt: m.At,
	}
	s, err := c.sessionOf(ctx, *e, m)
	switch {
	case err == nil:
		next.SessionID, next.Account, next.User = s.ID, s.Account, s.User
		next.Serial, next.Product, next.OSVersion = s.Serial, s.Product, s.OSVersion
	case !errors.Is(err, ErrNoSession):
		return nil, err
	}
	if err := c.place(ctx, &next); err != nil {
		return nil, err
	}
	var acts []storage.Activity
	if e.Version == 0 && err != nil {
		acts = c.withoutSession(next, m, nil)
	}
	*e = next
	return acts, nil
}
