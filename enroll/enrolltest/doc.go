// Package enrolltest simulates Apple devices from first boot to the user's desktop: the other side of every
// enrollment server. Point it at yours, in a test or by the thousand.
//
// A device asks an [ActivationSource] (Apple's part, in a test a function that returns the profile's JSON), signs
// its MachineInfo with an identity of a [DeviceCA], signs in on web pages, updates its OS when told to, installs the
// enrollment profile, gets an identity by real SCEP, checks in with Mdm-Signature, answers commands, installs
// profiles and packages, and waits in Setup Assistant until DeviceConfigured:
//
//	ca, err := enrolltest.NewDeviceCA() // give ca.Certificate() to the server as the root it pins
//	...
//	source := enrolltest.ActivationFunc(func(ctx context.Context, serial string) ([]byte, error) {
//		return []byte(`{"url": "http://127.0.0.1:8080/enroll", "await_device_configured": true}`), nil
//	})
//	mac, err := enrolltest.New(enrolltest.Mac, ca, source,
//		enrolltest.WithSerial("C02ABC1234"), enrolltest.WithOS("15.6", ""),
//		enrolltest.WithUser("jane", "secret"), enrolltest.WithPollInterval(time.Second),
//		enrolltest.WithObserver(func(e enrolltest.Event) { fmt.Println(e.State, e.Kind, e.Detail) }))
//	...
//	err = mac.Script(enrolltest.NotNow("InstallProfile", 2))
//	...
//	err = mac.Boot(ctx) // returns when the desktop is there, or with what the user would see
//	...
//	fmt.Println(mac.Profiles(), mac.Packages(), mac.Answers())
//	go mac.Run(ctx)     // goes on answering: mac.Push() is the push notification
//
// One call at a time drives a device; looking at it, Push and Script are safe at any time. Boot and Run own the
// goroutines they start and return after those ended. A [Fleet] drives many devices.
//
// # Not simulated
//
// TLS client certificates (an MDM payload without SignMessage means requests without any proof of identity),
// identities by ACME or PKCS #12, SCEP polling, encrypted profiles, in-house apps of InstallApplication, the user channel
// of macOS (with the phase that follows DeviceConfigured there) and Shared iPad,
// declarations (the command is acknowledged and nothing is fetched), Platform SSO, account-driven enrollment, watches
// and Apple TVs, scripts in pages, signatures of packages, panes of Setup Assistant and the keys that skip them.
// Keys are random even with a seed; SCEP envelopes are encrypted as the SCEP module does it.
//
// # Guesses
//
// Apple does not document these, so a server should not depend on them:
//   - the content type of the MachineInfo POST (application/pkcs7-signature), and SHA-256 in its signature
//   - x-apple-aspen-deviceinfo is not repeated when the first page redirects
//   - an error document is heeded in the web view as it is after a POST
//   - the poll interval, and that a failed connection is tried again after it
//   - anchor_certs hold for the MDM connections too, beside the certificates of the enrollment profile
//   - a Mac sends SetBootstrapToken right after its first TokenUpdate, and a device sends no TokenUpdate on release
//   - after a restart while waiting, Boot sends TokenUpdate again and a Mac refuses AccountConfiguration
//   - MDM connections do not follow redirects, and CheckOut follows RemoveProfile of the MDM profile
//   - error codes other than 101 of MDMDeviceEnrollment; a SHA-256 CAFingerprint; builds of OS updates by version
//
// The facts are those of https://developer.apple.com/documentation/devicemanagement and of
// https://github.com/apple/device-management.
package enrolltest
