package storage

import (
	"context"
	"time"
)

// EnrollmentSession is one device on its way from its first request to its enrollment profile. ID is the key.
type EnrollmentSession struct {
	// ID is unguessable; a signed form of it travels through the device.
	ID string
	// Account and Serial say which device it is; Account is empty when the serial is in none.
	Account string
	Serial  string
	UDID    string
	// Product and OSVersion are the device's PRODUCT and OS_VERSION.
	Product   string
	OSVersion string
	// State is how far the session came.
	State SessionState
	// Reason says why the session was refused; empty otherwise.
	Reason string
	// User is who signed in, JSON; nil before that.
	User []byte
	// SealedFlow is the sealed secret part of a sign-in under way; nil when there is none.
	SealedFlow []byte
	CreatedAt  time.Time
	UpdatedAt  time.Time
	// ExpiresAt is when the session may be forgotten; zero means never.
	ExpiresAt time.Time
	Version   int64
}

// SessionState is how far an enrollment session came.
type SessionState string

// Session states.
const (
	SessionStarted    SessionState = "started"     // the device has shown its MachineInfo
	SessionSigningIn  SessionState = "signing_in"  // the user is at the identity provider
	SessionAuthorized SessionState = "authorized"  // the device may have its enrollment profile
	SessionIssued     SessionState = "issued"      // the enrollment profile was sent
	SessionEnrolled   SessionState = "enrolled"    // the device has checked in with it
	SessionRefused    SessionState = "refused"     // an authorizer said no
	SessionOSRequired SessionState = "os_required" // the device was told to update first
)

// SessionStore keeps enrollment sessions.
type SessionStore interface {
	// CreateSession stores a new session at version 1.
	CreateSession(ctx context.Context, s EnrollmentSession, acts ...Activity) error
	// GetSession returns one session, expired or not.
	GetSession(ctx context.Context, id string) (EnrollmentSession, error)
	// UpdateSession replaces the session that has s.Version.
	UpdateSession(ctx context.Context, s EnrollmentSession, acts ...Activity) error
	// DeleteExpiredSessions removes at most limit sessions whose ExpiresAt is before now, and returns how many.
	DeleteExpiredSessions(ctx context.Context, now time.Time, limit int) (int, error)
}

// Enrollment is one device that checks in. ID is the key.
type Enrollment struct {
	// ID is the enrollment id of the MDM server: the UDID, or the EnrollmentID of a user enrollment.
	ID     string
	UDID   string
	Serial string
	// Account is the account the serial is in; empty when in none.
	Account string
	// SessionID is the session that led here; empty for a device that enrolled another way.
	SessionID string
	// User is who signed in, JSON; nil when nobody did.
	User []byte
	// Product and OSVersion are the device's own words.
	Product   string
	OSVersion string
	// State is where the device stands.
	State EnrollmentState
	// Generation counts the times the device has enrolled. Every Authenticate raises it that does not turn out to be the
	// renewal of an identity.
	Generation int64
	// CertificateHash is the SHA-256 of the identity certificate the device enrolled with, lower-case hex; empty when it
	// is not known. NextCertificateHash is that of another one it has sent Authenticate with and no TokenUpdate yet.
	CertificateHash     string
	NextCertificateHash string
	// Awaiting is whether the device waits in Setup Assistant, as last seen at AwaitingAt.
	Awaiting   Awaiting
	AwaitingAt time.Time
	// RenewingAt is when a device that was enrolled sent Authenticate again; zero once it is known whether it renewed its
	// identity or enrolled anew.
	RenewingAt time.Time
	// Times of the current generation; zero while the step has not happened.
	AuthenticatedAt   time.Time
	EnrolledAt        time.Time
	ProfilesAppliedAt time.Time
	ReleasedAt        time.Time
	UnenrolledAt      time.Time
	LastSeenAt        time.Time
	UpdatedAt         time.Time
	Version           int64
}

// EnrollmentState is where an enrolled device stands. A device that is in the inventory and has no enrollment is
// "pending".
type EnrollmentState string

// Enrollment states.
const (
	EnrollmentEnrolling       EnrollmentState = "enrolling"        // Authenticate was seen
	EnrollmentEnrolled        EnrollmentState = "enrolled"         // TokenUpdate was seen: it can be reached
	EnrollmentProfilesApplied EnrollmentState = "profiles_applied" // all that setup was to bring is there
	EnrollmentReleased        EnrollmentState = "released"         // the device has left Setup Assistant
	EnrollmentUnenrolled      EnrollmentState = "unenrolled"       // CheckOut was seen, or the device was wiped
)

// Awaiting is whether a device waits in Setup Assistant for DeviceConfigured.
type Awaiting string

// Awaiting values. A message without the key is unknown, not false.
const (
	AwaitingUnknown Awaiting = ""
	AwaitingTrue    Awaiting = "true"
	AwaitingFalse   Awaiting = "false"
)

// EnrollmentFilter narrows ListEnrollments. Zero fields do not narrow.
type EnrollmentFilter struct {
	Account string
	Serial  string
	State   EnrollmentState
}

// EnrollmentStore keeps enrollments.
type EnrollmentStore interface {
	// GetEnrollment returns one enrollment.
	GetEnrollment(ctx context.Context, id string) (Enrollment, error)
	// PutEnrollment stores the enrollment if it matches the stored Version (0: new).
	PutEnrollment(ctx context.Context, e Enrollment, acts ...Activity) error
	// ListEnrollments lists enrollments by id.
	ListEnrollments(ctx context.Context, f EnrollmentFilter, p Page) (enrollments []Enrollment, next string, err error)
}
