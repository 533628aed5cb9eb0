package enroll

import (
	"errors"
	"fmt"
)

// Errors about what a device sent. [Handler] answers each with the status in its table; nothing is stored for them.
var (
	// ErrTooLarge means that a body or header exceeds the limit.
	ErrTooLarge = errors.New("enroll: MachineInfo too large")
	// ErrMalformed means that it is not a MachineInfo: not base64, CMS or a property list, or a required key is missing.
	ErrMalformed = errors.New("enroll: malformed MachineInfo")
	// ErrUnsigned means that it does not carry exactly one signature with its certificate.
	ErrUnsigned = errors.New("enroll: MachineInfo is not signed")
	// ErrSignature means that the signature does not fit the content: it was changed on the way.
	ErrSignature = errors.New("enroll: MachineInfo signature does not match")
	// ErrIssuer means that the signer's certificate was not issued by a pinned device authority.
	ErrIssuer = errors.New("enroll: MachineInfo is not signed by a known device")
	// ErrNoDeviceInfo means that a web page was opened by something other than Setup Assistant.
	ErrNoDeviceInfo = errors.New("enroll: no device information in the request")
)

// Errors about sessions.
var (
	// ErrToken means that a session token was not made with any of the keys, or for another purpose.
	ErrToken = errors.New("enroll: bad session token")
	// ErrSessionExpired means that the session, or the sign-in in it, is too old. It can be started again.
	ErrSessionExpired = errors.New("enroll: session expired")
	// ErrSessionMismatch means that the session belongs to another device or another browser.
	ErrSessionMismatch = errors.New("enroll: session does not match")
	// ErrNoSession means that a device checked in without a session of its own; see [WithoutSessionCheck].
	ErrNoSession = errors.New("enroll: no enrollment session")
	// ErrIdentity means that a message came with another identity certificate than the one its device enrolled with.
	ErrIdentity = errors.New("enroll: not the identity the device enrolled with")
)

// ErrNotAllowed means that a device may not enroll. Why is in the [Refusal], the log and the activity, and is not
// told to the device.
var ErrNotAllowed = errors.New("enroll: device may not enroll")

var (
	errMissing    = errors.New("is missing")
	errTooLong    = errors.New("is too long")
	errCharacters = errors.New("has characters no identifier has")
)

// Refusal is the answer of an authorizer that said no. It is an ErrNotAllowed.
type Refusal struct {
	// By is the name of the authorizer, Reason what it said.
	By     string
	Reason string
}

// Error says who refused, and why.
func (r *Refusal) Error() string { return fmt.Sprintf("enroll: refused by %s: %s", r.By, r.Reason) }

// Unwrap returns ErrNotAllowed.
func (r *Refusal) Unwrap() error { return ErrNotAllowed }

// SignInError is a sign-in that did not succeed.
type SignInError struct {
	// Reason is a short word or sentence without secrets; it is kept in the activity.
	Reason string
	// Err is the cause, for the log.
	Err error
}

// Error returns the reason and the cause.
func (e *SignInError) Error() string {
	if e.Err == nil {
		return "enroll: sign-in: " + e.Reason
	}
	return "enroll: sign-in: " + e.Reason + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *SignInError) Unwrap() error { return e.Err }
