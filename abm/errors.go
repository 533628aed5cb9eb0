package abm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Errors that Apple's service answers with. An [*APIError] is one of them when errors.Is says so; several codes have an
// error of their own below.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/interpreting-automated-device-enrollment-error-codes
var (
	// ErrUnauthorized means that Apple refuses the server token: expired, replaced, or the clock is wrong.
	ErrUnauthorized = errors.New("abm: apple refuses the server token")
	// ErrForbidden means that Apple refuses the session, also a new one: import a new server token.
	ErrForbidden = errors.New("abm: apple refuses the session")
	// ErrAccessDenied means that this server may not make the call.
	ErrAccessDenied = errors.New("abm: apple denies access")
	// ErrTermsNotSigned means that an administrator must accept Apple's terms in the portal; until then all calls fail.
	ErrTermsNotSigned = errors.New("abm: apple's terms and conditions are not signed")
	// ErrCursorExpired means that the cursor is older than 7 days: fetch from the beginning.
	ErrCursorExpired = errors.New("abm: cursor expired")
	// ErrCursorInvalid means that Apple does not know the cursor: fetch from the beginning.
	ErrCursorInvalid = errors.New("abm: cursor invalid")
	// ErrCursorExhausted means that all devices of this cursor were fetched: go on with sync.
	ErrCursorExhausted = errors.New("abm: cursor exhausted")
	// ErrProfileNotFound means that Apple does not know the profile: define it.
	ErrProfileNotFound = errors.New("abm: profile not found")
	// ErrProfileRefused means that Apple does not accept the profile's content. ErrConfigNameRequired and those that
	// follow it are the documented constraints.
	ErrProfileRefused = errors.New("abm: profile refused")
	// ErrNotFound means that there is no such thing: a device that is no replacement, a service discovery URL not set.
	ErrNotFound = errors.New("abm: not found")
	// ErrSeedingOff means that AppleSeed for IT is turned off for the organization.
	ErrSeedingOff = errors.New("abm: AppleSeed for IT is turned off")
	// ErrOrgNotSupported means that Apple does not offer this to the organization.
	ErrOrgNotSupported = errors.New("abm: organization not supported")
	// ErrBadRequest means that Apple found the request itself wrong.
	ErrBadRequest = errors.New("abm: bad request")
	// ErrRateLimited means that Apple wants fewer calls; wait for RetryAfter.
	ErrRateLimited = errors.New("abm: too many requests")
	// ErrUnavailable means that the service is failing (HTTP 5xx).
	ErrUnavailable = errors.New("abm: service unavailable")
	// ErrBadResponse means that an answer is not what Apple documents: not JSON, cut off, or too large.
	ErrBadResponse = errors.New("abm: unusable answer")
)

// Errors of the engine.
var (
	// ErrNoToken means that no server token has been imported for the account.
	ErrNoToken = errors.New("abm: account has no server token")
	// ErrCursorLoop means that Apple keeps refusing or repeating cursors. What was received is stored; try later.
	ErrCursorLoop = errors.New("abm: apple keeps repeating or refusing the cursor")
)

// maxQuotedBody is how much of a body an error keeps.
const maxQuotedBody = 1 << 10

// maxCode is the length of the longest code that is taken for one.
const maxCode = 64

// APIError is an answer of Apple's service that is not a success. Test for its cause with errors.Is and the errors of
// this package.
type APIError struct {
	// Op is the operation, such as "SyncDevices"; "Session" when signing in failed.
	Op string
	// StatusCode is the HTTP status; 200 for a body that cannot be used.
	StatusCode int
	// Code is Apple's token, such as EXPIRED_CURSOR; empty if the body holds none. It never holds a serial number or a secret.
	Code string
	// RetryAfter is how long Apple asked to wait; 0 if it did not.
	RetryAfter time.Duration
	// Skew is how far Apple's clock was ahead of ours when it refused to sign us in, 0 if it did not say: Apple takes no
	// signature from a clock that is wrong.
	Skew time.Duration
	// Body is the beginning of the body, at most 1 KiB. It may name serial numbers.
	Body []byte

	cause error // one of the errors above
}

// Error describes the answer in one line. It never quotes a body that is not Apple's token.
func (e *APIError) Error() string {
	s := fmt.Sprintf("abm: %s: HTTP %d", e.Op, e.StatusCode)
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.cause != nil {
		s += ": " + strings.TrimPrefix(e.cause.Error(), "abm: ")
	}
	return s
}

// Unwrap returns the cause, one of the errors of this package.
func (e *APIError) Unwrap() error { return e.cause }

// Temporary reports whether the same call may succeed later without anyone doing anything.
func (e *APIError) Temporary() bool {
	return errors.Is(e, ErrRateLimited) || errors.Is(e, ErrUnavailable) || errors.Is(e, ErrBadResponse)
}

// TransportError means that no answer was received. Whether Apple has carried out the request is unknown.
type TransportError struct {
	// Op is the operation, such as "SyncDevices".
	Op string
	// Err is what went wrong on the way.
	Err error
}

// Error implements error.
func (e *TransportError) Error() string { return "abm: " + e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Temporary reports that the same call may succeed later.
func (*TransportError) Temporary() bool { return true }

// temporary reports whether err may pass by itself.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary() && !ctxError(err)
}

func ctxError(err error) bool {
	return errors.Is(err, context.Canceled)
}

// newAPIError is the one place where an answer becomes an error.
func newAPIError(op string, status int, body []byte, retryAfter time.Duration) *APIError {
	e := &APIError{Op: op, StatusCode: status, Code: codeIn(body), RetryAfter: retryAfter, Body: quote(body)}
	e.cause = cause(op, status, e.Code)
	return e
}

func badResponse(op string, status int, body []byte, why error) *APIError {
	return &APIError{Op: op, StatusCode: status, Body: quote(body), cause: fmt.Errorf("%w: %s", ErrBadResponse, why.Error())}
}

func quote(body []byte) []byte {
	return append([]byte(nil), body[:min(len(body), maxQuotedBody)]...)
}

// codeIn returns Apple's token in an error body. Apple sends it bare; its old simulator sends it quoted, and others put
// it into JSON or a sentence, so the last resort is the first word that looks like one.
func codeIn(body []byte) string {
	s := string(body[:min(len(body), maxQuotedBody)])
	if t := strings.Trim(s, " \t\r\n\""); isCode(t) {
		return t
	}
	var object struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(body, &object) == nil && isCode(object.Code) {
		return object.Code
	}
	notWord := func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	for _, w := range strings.FieldsFunc(s, notWord) {
		if isCode(w) {
			return w
		}
	}
	return ""
}

// isCode reports whether s is a code that we know, or looks like the others: upper-case words joined by underscores. Digits
// are not among them, so that a serial number, an identifier or a secret that a server quotes is no code: codes get into
// logs and activities.
func isCode(s string) bool {
	if codes[s] != nil {
		return true
	}
	if len(s) > maxCode || strings.Trim(s, "_") != s || !strings.Contains(s, "_") {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') }) < 0
}
