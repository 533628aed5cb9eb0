package activity

// EnrollmentStarted says that a device has asked for its enrollment profile.
type EnrollmentStarted struct {
	On
	SessionID string `json:"session_id"`
	Product   string `json:"product"`
	OSVersion string `json:"os_version,omitempty"`
	Web       bool   `json:"web"` // it came in a web view
}

// Kind implements Event.
func (EnrollmentStarted) Kind() string { return "enrollment_started" }

// EnrollmentRefused says that a device was refused.
type EnrollmentRefused struct {
	On
	SessionID string `json:"session_id,omitempty"`
	Reason    string `json:"reason"`
	By        string `json:"by,omitempty"` // the authorizer that said no
}

// Kind implements Event.
func (EnrollmentRefused) Kind() string { return "enrollment_refused" }

// OSUpdateRequired says that a device was told to update before it may enroll, or that the gate let it pass for a reason worth knowing.
type OSUpdateRequired struct {
	On
	SessionID string `json:"session_id,omitempty"`
	From      string `json:"from"`
	To        string `json:"to,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// Kind implements Event.
func (OSUpdateRequired) Kind() string { return "os_update_required" }

// SignInStarted says that the user was sent to the identity provider.
type SignInStarted struct {
	On
	SessionID string `json:"session_id"`
	Provider  string `json:"provider"`
}

// Kind implements Event.
func (SignInStarted) Kind() string { return "sign_in_started" }

// SignedIn says that the user has signed in.
type SignedIn struct {
	On
	SessionID string `json:"session_id"`
	Provider  string `json:"provider"`
	Username  string `json:"username"`
}

// Kind implements Event.
func (SignedIn) Kind() string { return "signed_in" }

// SignInFailed says that a sign-in did not succeed.
type SignInFailed struct {
	On
	SessionID string `json:"session_id"`
	Provider  string `json:"provider"`
	Reason    string `json:"reason"`
}

// Kind implements Event.
func (SignInFailed) Kind() string { return "sign_in_failed" }

// EnrollmentProfileIssued says that a device was sent its enrollment profile.
type EnrollmentProfileIssued struct {
	On
	SessionID string `json:"session_id"`
	Username  string `json:"username,omitempty"`
}

// Kind implements Event.
func (EnrollmentProfileIssued) Kind() string { return "enrollment_profile_issued" }

// DeviceAuthenticated says that a device has begun to enroll (Authenticate).
type DeviceAuthenticated struct {
	On
	SessionID    string `json:"session_id,omitempty"`
	Generation   int64  `json:"generation"`
	Reenrollment bool   `json:"reenrollment,omitempty"`
}

// Kind implements Event.
func (DeviceAuthenticated) Kind() string { return "device_authenticated" }

// DeviceWithoutSession says that a device was let in that did not come from an enrollment profile of its own.
type DeviceWithoutSession struct {
	On
	Generation int64  `json:"generation"`
	Reason     string `json:"reason"`
}

// Kind implements Event.
func (DeviceWithoutSession) Kind() string { return "device_without_session" }

// IdentityRenewed says that an enrolled device has got a new identity certificate. It is still in the same generation.
type IdentityRenewed struct {
	On
	Generation int64 `json:"generation"`
}

// Kind implements Event.
func (IdentityRenewed) Kind() string { return "identity_renewed" }

// DeviceEnrolled says that a device can be reached (first TokenUpdate).
type DeviceEnrolled struct {
	On
	SessionID  string `json:"session_id,omitempty"`
	Generation int64  `json:"generation"`
	Awaiting   string `json:"awaiting,omitempty"`
}

// Kind implements Event.
func (DeviceEnrolled) Kind() string { return "device_enrolled" }

// AwaitingChanged says that a device was seen to wait in Setup Assistant, or not any more.
type AwaitingChanged struct {
	On
	Awaiting string `json:"awaiting"`
	Source   string `json:"source"` // the message that said so
}

// Kind implements Event.
func (AwaitingChanged) Kind() string { return "awaiting_changed" }

// DeviceUnenrolled says that a device has left management.
type DeviceUnenrolled struct {
	On
	Reason string `json:"reason"`
}

// Kind implements Event.
func (DeviceUnenrolled) Kind() string { return "device_unenrolled" }
