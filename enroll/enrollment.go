package enroll

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/internal/plist"
	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/storage"
)

// Message is one message of a device to its MDM server.
type Message struct {
	// ID makes the message recognizable when it is delivered twice; see [MessageID].
	ID string
	// Type is the MessageType of a check-in, or "Connect" for a command connection.
	Type string
	// EnrollmentID is the MDM server's id of the device: the UDID, or the EnrollmentID of a user enrollment.
	EnrollmentID string
	// UserChannel says that the message comes from a user of the device and not from the device.
	UserChannel bool
	UDID        string
	// Serial, Product and OSVersion come with Authenticate.
	Serial, Product, OSVersion string
	// Params are the query parameters the device was given in ServerURL or CheckInURL.
	Params map[string]string
	// Awaiting is what the message says about waiting in Setup Assistant.
	Awaiting storage.Awaiting
	// Raw is the property list.
	Raw []byte
	// At is when the message was received; zero means now.
	At time.Time
}

// MessageID derives the id of a message from what was received: its bytes, and what tells two equal messages apart,
// such as the device's certificate, which is new each time a device enrolls.
func MessageID(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256(p)
		_, _ = h.Write(sum[:]) // a hash.Hash never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// ReadMessage fills in what the property list of a message says: type, device, and whether it waits.
// AwaitingConfiguration is looked for at the top, as check-ins have it, and in the answers of DeviceInformation.
func ReadMessage(raw []byte) (Message, error) {
	var p struct {
		MessageType  string
		UDID         string
		EnrollmentID string
		UserID       string

		EnrollmentUserID      string
		SerialNumber          string
		ProductName           string
		OSVersion             string
		AwaitingConfiguration *bool
		QueryResponses        struct{ AwaitingConfiguration *bool }
	}
	if err := plist.Unmarshal(raw, &p); err != nil {
		return Message{}, fmt.Errorf("enroll: read message: %w", err)
	}
	m := Message{
		Type: p.MessageType, UDID: p.UDID, EnrollmentID: p.UDID, UserChannel: p.UserID != "" || p.EnrollmentUserID != "",
		Serial: p.SerialNumber, Product: p.ProductName, OSVersion: p.OSVersion, Raw: raw,
	}
	if m.EnrollmentID == "" {
		m.EnrollmentID = p.EnrollmentID
	}
	if m.Type == "" {
		m.Type = "Connect"
	}
	switch a := p.AwaitingConfiguration; {
	case a == nil && p.QueryResponses.AwaitingConfiguration != nil:
		m.Awaiting = awaiting(*p.QueryResponses.AwaitingConfiguration)
	case a != nil:
		m.Awaiting = awaiting(*a)
	}
	return m, nil
}

func awaiting(b bool) storage.Awaiting {
	if b {
		return storage.AwaitingTrue
	}
	return storage.AwaitingFalse
}

// Report is the result of a command.
type Report struct {
	CommandUUID string
	// Status is Acknowledged, Error, CommandFormatError or NotNow.
	Status string
	Errors []ReportError
}

// ReportError is one entry of an ErrorChain.
type ReportError struct {
	Code        int
	Domain      string
	Description string
}

func (r Report) event(raw []byte) setupexp.CommandResult {
	out := setupexp.CommandResult{CommandUUID: r.CommandUUID, Status: setupexp.Status(r.Status), Raw: raw}
	for _, e := range r.Errors {
		out.Errors = append(out.Errors, setupexp.CommandError{Code: e.Code, Domain: e.Domain, Description: e.Description})
	}
	return out
}

// errUnchanged is returned by a change that has nothing to write.
var errUnchanged = errors.New("unchanged")

// update loads the enrollment of a message, or begins it, lets f change it and stores it. It does so again if somebody
// else changed it meanwhile.
func (c *CheckIns) update(ctx context.Context, m Message,
	f func(e *storage.Enrollment) ([]storage.Activity, error)) (storage.Enrollment, error) {
	if m.EnrollmentID == "" {
		return storage.Enrollment{}, errors.New("enroll: message without an enrollment id")
	}
	var err error
	for range maxTries {
		var e storage.Enrollment
		e, err = c.store.GetEnrollment(ctx, m.EnrollmentID)
		if errors.Is(err, storage.ErrNotFound) {
			e, err = storage.Enrollment{ID: m.EnrollmentID}, nil
		}
		if err != nil {
			return storage.Enrollment{}, fmt.Errorf("enroll: read enrollment: %w", err)
		}
		acts, err2 := f(&e)
		if errors.Is(err2, errUnchanged) {
			return e, nil
		}
		if err2 != nil {
			return storage.Enrollment{}, err2
		}
		e.UpdatedAt = c.set.now()
		if err = c.store.PutEnrollment(ctx, e, acts...); err == nil {
			e.Version++
			return e, nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			break
		}
	}
	return storage.Enrollment{}, fmt.Errorf("enroll: store enrollment: %w", err)
}

// bind finds the session whose signed id the device brought along. The session must be this device's; otherwise it is
// noted, and refused if sessions are required.
func (c *CheckIns) bind(ctx context.Context, m Message) (*storage.EnrollmentSession, error) {
	s, err := c.sessionOf(ctx, m)
	switch {
	case err == nil:
		return &s, nil
	case !errors.Is(err, ErrNoSession):
		return nil, err
	case c.set.strict:
		return nil, err
	}
	c.set.log.Info("device enrolls without a session of its own",
		zap.String("enrollment", m.EnrollmentID), zap.String("serial", m.Serial), zap.Error(err))
	return nil, nil //nolint:nilnil // no session is no error unless the policy says so
}

func (c *CheckIns) sessionOf(ctx context.Context, m Message) (storage.EnrollmentSession, error) {
	token := m.Params[SessionParam]
	if token == "" {
		return storage.EnrollmentSession{}, ErrNoSession
	}
	id, err := c.keys.OpenCheckInToken(token)
	if err != nil {
		return storage.EnrollmentSession{}, fmt.Errorf("%w: %w", ErrNoSession, err)
	}
	s, err := c.store.GetSession(ctx, id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return storage.EnrollmentSession{}, fmt.Errorf("%w: %w", ErrNoSession, ErrSessionExpired)
	case err != nil:
		return storage.EnrollmentSession{}, fmt.Errorf("enroll: read session: %w", err)
	case s.UDID != m.UDID, m.Serial != "" && s.Serial != m.Serial:
		return storage.EnrollmentSession{}, fmt.Errorf("%w: %w", ErrNoSession, ErrSessionMismatch)
	case m.Type == "Authenticate" && !c.set.now().Before(s.ExpiresAt):
		return storage.EnrollmentSession{}, fmt.Errorf("%w: %w", ErrNoSession, ErrSessionExpired)
	}
	return s, nil
}

// consume marks the session as one that led to an enrollment. It stays, so that the profile can be delivered again.
func (c *CheckIns) consume(ctx context.Context, s *storage.EnrollmentSession) error {
	if s == nil || s.State == storage.SessionEnrolled {
		return nil
	}
	next := *s
	next.State, next.UpdatedAt = storage.SessionEnrolled, c.set.now()
	next.SealedFlow = nil // no sign-in is under way any more
	err := c.store.UpdateSession(ctx, next)
	if err != nil && !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("enroll: store session: %w", err)
	}
	return nil // a request of the device changed it meanwhile: it began anew
}

// place finds the account of an enrollment that no session told.
func (c *CheckIns) place(ctx context.Context, e *storage.Enrollment) error {
	if e.Account != "" || e.Serial == "" {
		return nil
	}
	records, err := c.store.FindDevices(ctx, e.Serial)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("enroll: find device: %w", err)
	}
	e.Account = accountOf(records)
	return nil
}

// observe hands an event to the observer.
func (c *CheckIns) observe(ctx context.Context, m Message, e storage.Enrollment, body setupexp.EventBody) error {
	if c.set.observer == nil {
		return nil
	}
	err := c.set.observer.Observe(ctx, setupexp.Event{
		ID: eventID(m, e, body), EnrollmentID: e.ID, Generation: e.Generation, At: m.At, Body: body,
	})
	if err != nil {
		return fmt.Errorf("enroll: observe %s: %w", body.EventKind(), err)
	}
	return nil
}

// eventID lets the observer recognize what it has heard already. What a device does once is named by its message; what
// it may rightly say again with the same bytes, that it is idle, that it still waits, that it cannot now, has no id,
// because each time counts and hearing it twice does no harm.
func eventID(m Message, e storage.Enrollment, body setupexp.EventBody) string {
	if m.ID == "" {
		return ""
	}
	switch b := body.(type) {
	case setupexp.DeviceContact, setupexp.AwaitingSeen:
		return ""
	case setupexp.CommandResult:
		if b.Status == setupexp.StatusNotNow {
			return ""
		}
	}
	return fmt.Sprintf("%s/%d/%s", m.ID, e.Generation, body.EventKind())
}

func onEnrollment(e storage.Enrollment) activity.On {
	return activity.On{Account: e.Account, Serial: e.Serial, EnrollmentID: e.ID}
}

func actor(serial string) string {
	if serial == "" {
		return activity.System
	}
	return "device:" + serial
}
