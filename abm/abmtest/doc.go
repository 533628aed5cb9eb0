// Package abmtest is a simulator of Apple's device-assignment service, the part of Apple Business and School
// Manager that MDM servers talk to for Automated Device Enrollment ("DEP"). It keeps an organization with
// its MDM server entries, devices and profiles, and answers over HTTP as Apple documents, or as was observed
// where Apple is silent. Its methods let a test act as the administrator in the portal and as a booting device.
//
//	func TestSync(t *testing.T) {
//		apple := abmtest.New(t, abmtest.WithSeed(1))
//		entry, err := apple.AddMDMServer("Fleet")
//		require.NoError(t, err)
//		require.NoError(t, apple.AddDevices(entry, apple.RandomDevices(1000)...))
//
//		// The portal: upload the certificate of the MDM server, download its token file.
//		require.NoError(t, entry.UploadCertificate(certPEM))
//		tokenFile, err := entry.MintToken()
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
// [New] is for tests. Programs use [NewService], an http.Handler, and mount [Service.AdminHandler] beside it so
// that other processes can do over HTTP what the methods do.
//
// All methods may be called from several goroutines. Time comes from [WithClock] and identifiers from
// [WithSeed]; only the encryption of token files is random in any case.
//
// Not simulated: the School Manager roster, natural throttling of assignments (use
// [Service.ForceAssignResult]), the profile status "removed", and answers Apple gives for reasons it does
// not publish, such as USER_AGENT_INVALID (use [Service.Intercept]).
//
// Apple: https://developer.apple.com/documentation/devicemanagement/device-assignment
package abmtest
