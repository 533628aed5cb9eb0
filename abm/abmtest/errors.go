package abmtest

import (
	"errors"
	"net/http"
)

// Errors of the methods that act as administrator or device. They come wrapped; compare with errors.Is.
var (
	// ErrUnknownDevice means that the organization does not have a device with this serial number.
	ErrUnknownDevice = errors.New("device is not in the organization")
	// ErrUnknownServer means that the organization has no such MDM server entry.
	ErrUnknownServer = errors.New("no such MDM server entry")
	// ErrExists means that the serial number or the server name is taken.
	ErrExists = errors.New("already exists")
	// ErrNoCertificate means that no usable certificate was uploaded for the MDM server entry.
	ErrNoCertificate = errors.New("no usable certificate")
	// ErrNoProfile means that no enrollment profile waits for the device: it sets itself up as an ordinary one.
	ErrNoProfile = errors.New("no profile is assigned to the device")
	// ErrInvalid means that an argument makes no sense; the message says which.
	ErrInvalid = errors.New("invalid argument")
)

// reply is an answer other than success: a status and a short plain-text body, as Apple sends them. reason is
// for the reader of a failing test; it travels in the header X-Abmtest-Reason, which Apple does not have.
type reply struct {
	status int
	body   string
	reason string
}

func (e *reply) Error() string { return e.body }

func bad(token string) error                { return &reply{status: http.StatusBadRequest, body: token} }
func refuse(status int, token string) error { return &reply{status: status, body: token} }
func unauthorized(reason string) error {
	return &reply{status: http.StatusUnauthorized, body: "UNAUTHORIZED", reason: reason}
}

func malformed(reason string) error {
	return &reply{status: http.StatusBadRequest, body: "MALFORMED_REQUEST_BODY", reason: reason}
}
