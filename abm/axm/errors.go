package axm

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Errors that Apple answers with. An [*APIError] or a [*TokenError] is one of them when errors.Is says so.
var (
	// ErrCredentials means that Apple gives no access token for the credentials: the key was revoked or belongs to another
	// account, or the clock is wrong.
	ErrCredentials = errors.New("axm: apple refuses the credentials")
	// ErrUnauthorized means that Apple refuses the access token, also a new one.
	ErrUnauthorized = errors.New("axm: apple refuses the access token")
	// ErrForbidden means that the role of the API account does not allow the call.
	ErrForbidden = errors.New("axm: not allowed for this API account")
	// ErrNotFound means that Apple knows no such device, server or activity.
	ErrNotFound = errors.New("axm: not found")
	// ErrConflict means that Apple will not do this: an unknown server or serial number, a deadline out of range, a name that
	// is taken, a server that still has devices.
	ErrConflict = errors.New("axm: conflict")
	// ErrBadRequest means that Apple found the request itself wrong (400, 406, 422 and other 4xx).
	ErrBadRequest = errors.New("axm: bad request")
	// ErrRateLimited means that Apple wants fewer calls; wait for RetryAfter.
	ErrRateLimited = errors.New("axm: too many requests")
	// ErrUnavailable means that the service is failing (HTTP 5xx).
	ErrUnavailable = errors.New("axm: service unavailable")
	// ErrBadResponse means that an answer is not what Apple documents: not JSON, cut off, or too large.
	ErrBadResponse = errors.New("axm: unusable answer")
)

// Errors of this package.
var (
	// ErrNotAssigned means that a device is assigned to no MDM server, or that Apple does not know the device: Apple answers
	// both alike. [Client.OrgDevice] tells them apart.
	ErrNotAssigned = errors.New("axm: device is not assigned to an MDM server")
	// ErrNotConfirmed means that devices were to be released without [ConfirmRelease]. Nothing was sent.
	ErrNotConfirmed = errors.New("axm: releasing devices cannot be undone and was not confirmed")
	// ErrNoResults means that an activity has no file with results: it has not completed, or Apple could not make one.
	ErrNoResults = errors.New("axm: the activity has no results")
)

// Limits of what errors keep.
const (
	maxQuotedBody = 1 << 10
	maxDetails    = 100 // error objects of one answer
	maxText       = 512 // bytes of one text of Apple's
)

// ErrorDetail is one error object of an answer. The texts are for people; they change.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/errorresponse
type ErrorDetail struct {
	// ID is what to quote to Apple's support.
	ID string
	// Status is the HTTP status of this error; it can differ from that of the answer.
	Status string
	// Code is for machines: a hierarchy, its parts separated by dots, such as PARAMETER_ERROR.INVALID.
	Code          string
	Title, Detail string
	// Pointer is where in the request's document the error is, a JSON pointer; Parameter names a query parameter.
	Pointer, Parameter string
}

// APIError is an answer of the API that is not a success. Test for its cause with errors.Is and the errors of this package.
type APIError struct {
	// Op is the operation, such as "OrgDevices".
	Op string
	// StatusCode is the HTTP status; 2xx for a body that cannot be used.
	StatusCode int
	// Errors are Apple's error objects; none if the body holds none.
	Errors []ErrorDetail
	// RetryAfter is how long Apple asked to wait; 0 if it did not.
	RetryAfter time.Duration
	// Body is the beginning of the body, at most 1 KiB. It may name serial numbers.
	Body []byte

	cause error // one of the errors above
}

// Error describes the answer in one line: Apple's codes and ids, but none of its texts, which may name devices.
func (e *APIError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "axm: %s: HTTP %d", e.Op, e.StatusCode)
	for i, d := range e.Errors {
		if i == 3 {
			fmt.Fprintf(&b, " and %d more", len(e.Errors)-i)
			break
		}
		if d.Code != "" {
			b.WriteString(" " + d.Code)
		}
		if d.ID != "" {
			b.WriteString(" (id " + d.ID + ")")
		}
	}
	if e.cause != nil {
		b.WriteString(": " + strings.TrimPrefix(e.cause.Error(), "axm: "))
	}
	return b.String()
}

// Unwrap returns the cause, one of the errors of this package.
func (e *APIError) Unwrap() error { return e.cause }

// Temporary reports whether the same call may succeed later without anyone doing anything.
func (e *APIError) Temporary() bool { return passes(e.cause) }

// TokenError is an answer of the token endpoint that is not a success (RFC 6749, section 5.2). It never holds the assertion.
type TokenError struct {
	// StatusCode is the HTTP status; 2xx for a body that cannot be used, 0 if it is not known.
	StatusCode int
	// Code is RFC 6749's error, such as invalid_client.
	Code string
	// Description is for people.
	Description string
	// URI leads to more.
	URI string
	// RetryAfter is how long Apple asked to wait; 0 if it did not.
	RetryAfter time.Duration

	cause error // one of the errors above
}

// Error describes the answer in one line.
func (e *TokenError) Error() string {
	s := "axm: access token"
	if e.StatusCode != 0 {
		s += fmt.Sprintf(": HTTP %d", e.StatusCode)
	}
	if e.Code != "" {
		s += " " + e.Code
	}
	return s + ": " + strings.TrimPrefix(e.cause.Error(), "axm: ")
}

// Unwrap returns the cause, one of the errors of this package.
func (e *TokenError) Unwrap() error { return e.cause }

// Temporary reports whether asking again later may succeed without anyone doing anything.
func (e *TokenError) Temporary() bool { return passes(e.cause) }

// TransportError means that no answer was received. Whether Apple has carried out the request is unknown.
type TransportError struct {
	// Op is the operation, such as "OrgDevices"; "Token" when no access token could be got, and the operation was not sent.
	Op string
	// Err is what went wrong on the way.
	Err error
}

// Error implements error.
func (e *TransportError) Error() string { return "axm: " + e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Temporary reports that the same call may succeed later.
func (*TransportError) Temporary() bool { return true }

// temporary reports whether err may pass by itself.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func passes(cause error) bool {
	return errors.Is(cause, ErrRateLimited) || errors.Is(cause, ErrUnavailable) || errors.Is(cause, ErrBadResponse)
}

// newAPIError is the one place where an answer becomes an error.
func newAPIError(op string, status int, body []byte, retryAfter time.Duration) *APIError {
	return &APIError{
		Op: op, StatusCode: status, Errors: errorDetails(body), RetryAfter: retryAfter, Body: quote(body), cause: cause(status),
	}
}

func badResponse(op string, status int, body []byte, why error) *APIError {
	return &APIError{Op: op, StatusCode: status, Body: quote(body), cause: fmt.Errorf("%w: %s", ErrBadResponse, why.Error())}
}

func quote(body []byte) []byte { return append([]byte(nil), body[:min(len(body), maxQuotedBody)]...) }

func cause(status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusConflict:
		return ErrConflict
	case status == http.StatusTooManyRequests:
		return ErrRateLimited
	case status >= 500:
		return ErrUnavailable
	case status >= 400:
		return ErrBadRequest
	}
	return ErrBadResponse // 1xx, 3xx, and 2xx that the operation does not have
}

// errorDetails reads the error objects of a body; nil if there are none. A member of another type is left empty.
func errorDetails(body []byte) []ErrorDetail {
	var doc struct {
		Errors []json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return nil
	}
	var out []ErrorDetail
	for _, raw := range doc.Errors[:min(len(doc.Errors), maxDetails)] {
		e := members(raw)
		if e == nil {
			continue
		}
		source := members(e["source"])
		d := ErrorDetail{
			ID: word(e.text("id")), Status: word(e.text("status")), Code: word(e.text("code")),
			Title: short(e.text("title")), Detail: short(e.text("detail")),
			Pointer: short(source.text("pointer")), Parameter: short(source.text("parameter")),
		}
		// Some models of Apple's put an object with one member in their place.
		if d.Pointer == "" {
			d.Pointer = short(members(source["pointer"]).text("pointer"))
		}
		if d.Parameter == "" {
			d.Parameter = short(members(source["parameter"]).text("parameter"))
		}
		out = append(out, d)
	}
	return out
}

// word returns s if it can stand in a log line as one word; codes and ids do.
func word(s string) string {
	if len(s) > 128 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return s
}

func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "") }
