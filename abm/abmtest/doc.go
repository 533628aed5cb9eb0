// Package abmtest is a simulator of Apple's device-assignment service, the part of Apple Business and School
// Manager that MDM servers talk to for Automated Device Enrollment ("DEP"), for tests and programs. It keeps an organization
// with its MDM server entries, devices and profiles, and answers over HTTP as Apple documents, or as was observed where
// Apple is silent.
//
//	func TestSync(t *testing.T) {
//		apple := abmtest.New(t, abmtest.WithSeed(1)) // the service, at apple.URL
//		entry, err := apple.AddMDMServer("Fleet")
//		require.NoError(t, err)
//		require.NoError(t, apple.AddDevices(entry, apple.RandomDevices(1000)...))
//
//		// The portal: upload the certificate of the MDM server, download its token file.
//		require.NoError(t, entry.UploadCertificate(certPEM))
//		tokenFile, err := entry.MintToken()
//		require.NoError(t, err)
//
//		// Apple misbehaves: three calls fail.
//		_, err = apple.SetFault(abmtest.Fault{Kind: abmtest.FaultUnavailable, Operation: "/devices/sync", Count: 3})
//		require.NoError(t, err)
//
//		// ... point the client under test at apple.URL with tokenFile, let it sync and assign ...
//
//		// A device boots and asks Apple what to do.
//		record, err := apple.ActivationRecord(serial)
//		require.NoError(t, err)
//		require.Equal(t, 1, apple.AssignCalls(serial))
//	}
//
// What there is:
//
//   - Service: [New] is for tests. Programs use [NewService], an http.Handler, and mount [Service.AdminHandler] beside it, so
//     that other processes can do over HTTP what the methods do. [Service.Stats] counts what was asked and answered.
//   - Portal: the methods of [Service] and [MDMServer] are what the administrator does, such as [Service.Assign],
//     [Service.Migrate] or [MDMServer.MintToken]; [MDMServer.MintTokenFor] issues a token that ends soon.
//   - Device: [Service.ActivationRecord] is the first boot of one, [Service.Device] its state.
//   - Faults: [Service.SetFault] makes the service misbehave; [FaultKinds] lists how. [Service.ForceAssignResult] sets the
//     answer for one device.
//   - AXM: [NewAXM] adds the newer API of the same organization, with OAuth 2, lists, and activities that move devices
//     between its MDM servers.
//   - Options: [WithClock] and [WithSeed] make a run repeatable; others set limits, lifetimes and the organization.
//
// # Faults
//
// Apple's service misbehaves at times, networks do, and clients have to live with it. [Service.SetFault] switches a
// [Fault] on, [Service.ClearFaults] off; both at any time, and over HTTP as well. A fault can be limited to an MDM server, a
// call, devices, a number of times or a probability. With Applied a call takes effect although its answer is lost.
//
// Faults of a network need one: without net/http's server those that break a connection panic with
// [net/http.ErrAbortHandler], as a handler does that gives up. What no kind does, [Service.Intercept] can.
//
// # Rules
//
// All methods may be called from several goroutines. Time comes from [WithClock] and identifiers from
// [WithSeed]; only the encryption of token files is random in any case. Delays are the exception: they pass as
// package time has it, so that testing/synctest can shorten them. [Service.Close] ends requests that a fault holds.
//
// The entries of the School Manager roster are what a test gives to [Service.SetRoster]; their shape is the test's.
//
// Not simulated unless a fault asks for it: the throttling of assignments, the profile status "removed", and answers
// Apple gives for reasons it does not publish, such as USER_AGENT_INVALID ([FaultAnswer]).
//
// Apple: https://developer.apple.com/documentation/devicemanagement/device-assignment
package abmtest
