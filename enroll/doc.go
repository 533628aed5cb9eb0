// Package enroll is the server side of automated device enrollment as a device meets it: from "Remote Management" in
// Setup Assistant to the first check-ins of an enrolled device.
//
// A [Handler] serves the url and the configuration_web_url of the profile Apple hands to a device. It verifies the
// signed MachineInfo, asks the authorizers, has devices update whose OS is too old, lets the user sign in, and
// delivers a signed enrollment profile whose ServerURL carries the signed id of the device's session:
//
//	keys, err := enroll.NewSessionKeys(key) // 32 random bytes, kept
//	...
//	identity, err := enroll.NewSCEP(enroll.SCEPSettings{URL: "https://mdm.example.com/scep"}, challenges)
//	...
//	h, err := enroll.New("https://mdm.example.com/mdm/sso", store, keys, enroll.ProfileSettings{
//		Identifier: "com.example.mdm", DisplayName: "Example MDM", Topic: topic,
//		ServerURL: "https://mdm.example.com/mdm",
//	}, identity, enroll.WithSignIn(oidc, sealer), enroll.WithOSGate(gate))
//	...
//	mux.Handle("/mdm/sso", h)
//	mux.Handle("/mdm/sso/", h)
//
// [CheckIns] then follows the device through Authenticate, TokenUpdate and the results of commands: it keeps its
// [storage.Enrollment], bound to its session and its identity certificate, keeps everybody else out of it, and tells a
// [setupexp.Observer], usually the tracker. Package enroll/nano connects it to a NanoMDM server.
//
// # What a device gets
//
//	200, the profile                        allowed
//	403, com.apple.softwareupdate.required  the OS is too old, and the device can be told so
//	303, the identity provider              a sign-in is demanded (web view)
//	403, a text that is always the same     refused: by an authorizer or the OS gate, or no Apple device
//	400                                     not a MachineInfo, not signed, or changed on the way
//	413                                     larger than the limit
//	500                                     a store or the host's code failed; the device can ask again
//
// In the web view the texts are pages, with a way to start the sign-in again. Everything can be asked for again: there
// is no link that works once.
//
// All types are safe for concurrent use and keep their state in the store. The package starts no goroutine.
//
// # What it does not do
//
// Account-driven enrollment, Platform SSO during enrollment, SAML and ACME are not here; [SignIn] and [Identity] are
// where the last two fit. Requests are not rate-limited: put that in front, as for any public form.
package enroll
