package enroll

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/internal/mdmcommand"
	"github.com/enrollkit/enrollkit/storage"
)

const (
	typeAuthenticate = "Authenticate"
	typeConnect      = "Connect"
)

// Admit says whether the MDM server may take a message; adapters ask before it does, for user channels too. A device
// that begins to enroll has to bring along the session of its enrollment profile, and everything it says afterwards has
// to come with the identity certificate it began with. It returns [ErrNoSession] or [ErrIdentity] if not.
//
// If [WithCommander] is given, it also queues the question whether the device waits in Setup Assistant where that is not
// known and the device is about to fetch its commands.
func (c *CheckIns) Admit(ctx context.Context, m Message) error {
	if m.EnrollmentID == "" {
		return nil // no MDM server takes it: it could not tell whose it is
	}
	e, err := c.load(ctx, m)
	if err == nil {
		_, err = c.check(ctx, e, m)
	}
	if err != nil {
		c.set.log.Warn("check-in refused", zap.String("enrollment", m.EnrollmentID), zap.String("type", m.Type), zap.Error(err))
		return err
	}
	c.ask(ctx, e, m)
	return nil
}

// check is the rule of Admit. The methods that handle messages repeat it for the enrollment they change. It returns the
// session if the message needed one; nil without an error only if there is none and none is demanded.
func (c *CheckIns) check(ctx context.Context, e storage.Enrollment, m Message) (*storage.EnrollmentSession, error) {
	begins := m.Type == typeAuthenticate
	if !begins && e.CertificateHash != "" {
		if m.Certificate == "" || m.Certificate != e.CertificateHash && m.Certificate != e.NextCertificateHash {
			return nil, ErrIdentity
		}
		return nil, nil //nolint:nilnil // the certificate says that it is the device
	}
	s, err := c.sessionOf(ctx, e, m)
	if err == nil && e.Serial != "" && e.Serial != s.Serial {
		// A session of one device whose MachineInfo names the UDID of another one: both are the sender's to choose.
		err = fmt.Errorf("%w: %w", ErrNoSession, ErrSessionMismatch)
	}
	switch {
	case errors.Is(err, ErrNoSession) && c.set.lax:
		return nil, nil //nolint:nilnil // see WithoutSessionCheck
	case err != nil:
		return nil, err
	case begins && m.Certificate == "" && !c.set.lax:
		return nil, fmt.Errorf("%w: there is none", ErrIdentity)
	}
	return &s, nil
}

// sessionOf finds the session whose signed id the device brought along. It must be this device's. That a session is over
// does not matter to a device that has enrolled with it: a renewed identity comes with the ServerURL of the old one, as
// Apple allows no other, and may come years later.
func (c *CheckIns) sessionOf(ctx context.Context, e storage.Enrollment, m Message) (storage.EnrollmentSession, error) {
	token := m.Params[SessionParam]
	if token == "" {
		return storage.EnrollmentSession{}, ErrNoSession
	}
	id, err := c.keys.OpenCheckInToken(token)
	if err != nil {
		return storage.EnrollmentSession{}, fmt.Errorf("%w: %w", ErrNoSession, err)
	}
	s, err := c.store.GetSession(ctx, id)
	begins := m.Type == typeAuthenticate
	over := errors.Is(err, storage.ErrNotFound) || err == nil && begins && expired(s, c.set.now())
	if over && id == e.SessionID && e.State != storage.EnrollmentUnenrolled {
		s, err, begins = storage.EnrollmentSession{
			ID: id, Account: e.Account, Serial: e.Serial, UDID: e.UDID, User: e.User, State: storage.SessionEnrolled,
		}, nil, false
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return storage.EnrollmentSession{}, fmt.Errorf("%w: %w", ErrNoSession, ErrSessionExpired)
	case err != nil:
		return storage.EnrollmentSession{}, fmt.Errorf("enroll: read session: %w", err)
	case s.UDID != m.UDID, (m.Type == typeAuthenticate || m.Serial != "") && s.Serial != m.Serial:
		return storage.EnrollmentSession{}, fmt.Errorf("%w: %w", ErrNoSession, ErrSessionMismatch)
	case begins && expired(s, c.set.now()):
		return storage.EnrollmentSession{}, fmt.Errorf("%w: %w", ErrNoSession, ErrSessionExpired)
	}
	return s, nil
}

// withoutSession records that a device was let in without a session.
func (c *CheckIns) withoutSession(e storage.Enrollment, m Message, s *storage.EnrollmentSession) []storage.Activity {
	if s != nil {
		return nil
	}
	reason := "none"
	if m.Params[SessionParam] != "" {
		reason = "not_its_own"
	}
	return []storage.Activity{activity.New(m.At, actor(e.Serial), activity.DeviceWithoutSession{
		On: onEnrollment(e), Generation: e.Generation, Reason: reason,
	})}
}

// ask queues the question whether the device waits, if no message of this generation has said so. The command has the
// same UUID each time, so that it is queued once however often the device connects. A failure costs nothing but time:
// the device is asked when it connects again.
func (c *CheckIns) ask(ctx context.Context, e storage.Enrollment, m Message) {
	unknown := e.Version == 0 || e.State == storage.EnrollmentEnrolling ||
		e.State == storage.EnrollmentEnrolled && e.Awaiting == storage.AwaitingUnknown || renewed(e, m) && e.NextCertificateHash == ""
	if c.set.commander == nil || m.Type != typeConnect || m.UserChannel || !unknown {
		return
	}
	id := questionID(e)
	cmd, err := mdmcommand.DeviceInformation(id, "AwaitingConfiguration")
	if err == nil {
		err = c.set.commander.Enqueue(ctx, e.ID, id, cmd)
	}
	if err != nil {
		c.set.log.Warn("device not asked whether it waits", zap.String("enrollment", e.ID), zap.Error(err))
	}
}

// questionID names the question of a generation, and of each renewal in it.
func questionID(e storage.Enrollment) string {
	var renewal int64
	if !e.RenewingAt.IsZero() {
		renewal = e.RenewingAt.UnixMicro()
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{
		"enrollkit awaiting", e.ID, strconv.FormatInt(max(1, e.Generation), 10), strconv.FormatInt(renewal, 10),
	}, "\x00")))
	return formatUUID([16]byte(sum[:16]), 8)
}
