package enrolltest

import "time"

// State is where a device stands between power-on and the user's desktop.
type State string

// The states, in their usual order.
const (
	// StateOff is a device that has never been booted, or that was erased.
	StateOff State = "off"
	// StateActivating is a device that asks Apple for its activation record.
	StateActivating State = "activating"
	// StateRemoteManagement is a device that asks the server for its enrollment profile.
	StateRemoteManagement State = "remote_management"
	// StateWebView is a device that shows the sign-in pages behind configuration_web_url.
	StateWebView State = "web_view"
	// StateUpdating is a device that installs the OS update the server demanded.
	StateUpdating State = "updating"
	// StateEnrolling is a device that installs its enrollment profile: identity and check-in.
	StateEnrolling State = "enrolling"
	// StateAwaiting is an enrolled device held in Setup Assistant until DeviceConfigured.
	StateAwaiting State = "awaiting"
	// StateDesktop is a device past Setup Assistant, managed or not.
	StateDesktop State = "desktop"
	// StateFailed is a device that shows its user an error and offers to try again: call Boot.
	StateFailed State = "failed"
)

// EventKind names something a device did or met.
type EventKind string

// What an observer is told. Detail holds what the comment says.
const (
	EventState            EventKind = "state"             // the state changed to State
	EventActivation       EventKind = "activation"        // the activation record arrived; "none", "url" or "configuration_web_url"
	EventMachineInfo      EventKind = "machine_info"      // a signed MachineInfo was sent; the URL
	EventPage             EventKind = "page"              // the web view loaded a page; its status and URL
	EventForm             EventKind = "form"              // the web view submits a form; its URL
	EventUpdateRequired   EventKind = "update_required"   // the server demands an OS update; the version
	EventUpdated          EventKind = "updated"           // the device updated itself and restarted; the version
	EventProfile          EventKind = "profile"           // an enrollment profile arrived; its identifier
	EventIdentity         EventKind = "identity"          // a SCEP server issued the identity; its serial number
	EventCheckIn          EventKind = "check_in"          // a check-in message was accepted; its MessageType
	EventPush             EventKind = "push"              // a push woke the device
	EventCommand          EventKind = "command"           // a command arrived
	EventAnswer           EventKind = "answer"            // the server took the answer to a command
	EventConnectionFailed EventKind = "connection_failed" // a connection failed, the device will try again; Err
	EventPackage          EventKind = "package"           // a package or app was installed; its identifier
	EventPackageFailed    EventKind = "package_failed"    // a package could not be installed; its URL, Err
	EventUnenrolled       EventKind = "unenrolled"        // the device dropped its enrollment; why
	EventRebooted         EventKind = "rebooted"          // the device restarted
	EventErased           EventKind = "erased"            // the device was erased
)

// Event tells an observer what a device just did. Fields that do not apply are zero.
type Event struct {
	Time   time.Time
	Serial string
	UDID   string
	Kind   EventKind
	// State is the state of the device after the event.
	State State
	// Detail depends on Kind.
	Detail string
	// RequestType, CommandUUID and Status describe a command and its answer.
	RequestType, CommandUUID, Status string
	// Err is what went wrong.
	Err error
}

func (d *Device) emit(e Event) {
	if d.set.observer == nil {
		return
	}
	d.mu.Lock()
	e.Time, e.Serial, e.UDID, e.State = d.set.now(), d.st.info.Serial, d.st.info.UDID, d.st.state
	d.mu.Unlock()
	d.emitMu.Lock()
	defer d.emitMu.Unlock()
	d.set.observer(e)
}

func (d *Device) enter(s State) {
	d.mu.Lock()
	changed := d.st.state != s
	d.st.state = s
	d.mu.Unlock()
	if changed {
		d.emit(Event{Kind: EventState})
	}
}
