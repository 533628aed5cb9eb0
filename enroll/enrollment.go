package enroll

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

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
	// Certificate is the SHA-256 of the identity certificate the message came with, in lower-case hex; see
	// [CertificateHash]. The adapter fills it in. Without it, nothing ties the messages of a device together.
	Certificate string
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

// CertificateHash returns the hash of an identity certificate in the form of Message.Certificate; empty for nil.
func CertificateHash(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// ReadMessage fills in what the property list of a message says: type, device, and whether it waits.
// AwaitingConfiguration is looked for at the top, as check-ins have it, and in the answers of DeviceInformation.
// A key of another type than it should be counts as absent, since devices do not take a message back for it.
func ReadMessage(raw []byte) (Message, error) {
	var p map[string]any
	if err := plist.Unmarshal(raw, &p); err != nil {
		return Message{}, fmt.Errorf("enroll: read message: %w", err)
	}
	text := func(key string) string {
		s, _ := p[key].(string)
		return s
	}
	m := Message{
		Type: text("MessageType"), UDID: text("UDID"), EnrollmentID: text("UDID"),
		UserChannel: text("UserID") != "" || text("EnrollmentUserID") != "",
		Serial:      text("SerialNumber"), Product: text("ProductName"), OSVersion: text("OSVersion"), Raw: raw,
	}
	if m.EnrollmentID == "" {
		m.EnrollmentID = text("EnrollmentID")
	}
	if m.Type == "" {
		m.Type = typeConnect
	}
	answers, _ := p["QueryResponses"].(map[string]any)
	for _, from := range []map[string]any{answers, p} {
		if b, ok := from["AwaitingConfiguration"].(bool); ok {
			m.Awaiting = awaiting(b)
		}
	}
	return m, nil
}

func awaiting(b bool) storage.Awaiting {
	if b {
		return storage.AwaitingTrue
	}
	return storage.AwaitingFalse
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
		if e, err = c.load(ctx, m); err != nil {
			return storage.Enrollment{}, err
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

// load returns the enrollment of a message; one without a version if it is not known.
func (c *CheckIns) load(ctx context.Context, m Message) (storage.Enrollment, error) {
	e, err := c.store.GetEnrollment(ctx, m.EnrollmentID)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Enrollment{ID: m.EnrollmentID}, nil
	}
	if err != nil {
		return storage.Enrollment{}, fmt.Errorf("enroll: read enrollment: %w", err)
	}
	return e, nil
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
