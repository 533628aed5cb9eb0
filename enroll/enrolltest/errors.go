package enrolltest

import (
	"errors"
	"fmt"
)

var (
	// ErrNoProfile is what an [ActivationSource] returns for a device that is not assigned to any server.
	ErrNoProfile = errors.New("enrolltest: no enrollment profile is assigned to the device")
	// ErrBusy means that another call already drives the device: only one of Boot, Run, CheckOut, RefreshToken,
	// Reboot and Erase runs at a time.
	ErrBusy = errors.New("enrolltest: the device is busy")
	// ErrNotEnrolled means that the device has no MDM profile.
	ErrNotEnrolled = errors.New("enrolltest: the device is not enrolled")
	// ErrUnenrolled means that the device dropped its MDM profile while it was being driven: the server answered 401 or
	// com.apple.unrecognized.device, or removed the profile.
	ErrUnenrolled = errors.New("enrolltest: the device dropped its enrollment")
	// ErrErased means that the server erased the device. Boot starts it anew.
	ErrErased = errors.New("enrolltest: the device was erased")
	// ErrNotRemovable means that the user may not remove the MDM profile.
	ErrNotRemovable = errors.New("enrolltest: the MDM profile may not be removed")
	// ErrProfile means that a profile is not one the device would install.
	ErrProfile = errors.New("profile is not valid")
	// ErrOrigin means that the web view got its profile from a host other than that of configuration_web_url.
	ErrOrigin = errors.New("profile comes from a foreign host")
	// ErrSignIn means that the sign-in pages do not let the simulated user through.
	ErrSignIn = errors.New("sign-in does not succeed")
	// ErrFingerprint means that the SCEP authority is not the one the profile names in CAFingerprint.
	ErrFingerprint = errors.New("SCEP authority does not match CAFingerprint")
	// ErrSCEP means that the SCEP server refused the request or answered what no client understands.
	ErrSCEP = errors.New("SCEP enrollment failed")
	// ErrUpdate means that the OS update the server demanded did not happen.
	ErrUpdate = errors.New("software update failed")
)

// Step is a part of Setup Assistant in which something can go wrong.
type Step string

// The steps of [SetupError].
const (
	StepActivation Step = "activation"
	StepRemote     Step = "remote management" // the request for the enrollment profile
	StepWebView    Step = "web view"
	StepUpdate     Step = "software update"
	StepProfile    Step = "profile"
	StepIdentity   Step = "identity"
	StepCheckIn    Step = "check-in"
)

// SetupError is the error at which a device stops in Setup Assistant, until the user tries again.
// It matches one of the sentinels of this package where one fits.
type SetupError struct {
	// Step is where it happened.
	Step Step
	// URL is the address asked, without its query, which may carry secrets; empty when there was none.
	URL string
	// StatusCode is the HTTP status of the answer, 0 without one.
	StatusCode int
	// Code is the code of Apple's error document, for example com.apple.softwareupdate.required; usually empty.
	Code string
	// Message is what the user reads: the message of the error document, or the text of the sign-in page.
	Message string
	// Description is the document's text for logs.
	Description string
	// Err is the cause.
	Err error
}

// Error says where the device stopped, and why.
func (e *SetupError) Error() string {
	s := "enrolltest: " + string(e.Step)
	if e.URL != "" {
		s += ": " + e.URL
	}
	if e.StatusCode != 0 {
		s += fmt.Sprintf(": status %d", e.StatusCode)
	}
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Message != "" {
		s += fmt.Sprintf(" (shown to the user: %q)", cut(e.Message, 1024))
	}
	return s
}

// Unwrap returns the cause.
func (e *SetupError) Unwrap() error { return e.Err }

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
