// Package axm works with the Apple Business API and the Apple School Manager API: the view of the whole organization that an
// API account has. With it a host moves devices onto its own MDM server, which until 2025 took a person in Apple's portal.
//
//	key, err := axm.ParsePrivateKey(pemFile)
//	c, err := axm.New(axm.Credentials{ClientID: "BUSINESSAPI.…", KeyID: "…", PrivateKey: key})
//
//	for server, err := range c.MDMServers(ctx, axm.ListOptions{}) {
//		fmt.Println(server.ID, server.ServerName, err)
//	}
//	for device, err := range c.OrgDevices(ctx, axm.ListOptions{Limit: 1000}) {
//		fmt.Println(device.SerialNumber, device.Status, err)
//	}
//
//	results, err := c.Move(ctx, serverID, serials) // assigns, waits, verifies
//	for _, r := range results {
//		fmt.Println(r.Serial, r.State, r.Err)
//	}
//
//	_, err = c.ReleaseDevices(ctx, axm.ConfirmRelease, serials) // cannot be undone
//
// # How it works
//
// The client signs an assertion (ES256) with the account's key, exchanges it for an access token of one hour, and keeps the
// token until it ends or Apple refuses it. Lists are sequences that read page by page; each resource keeps the JSON document
// as received, so that no attribute is lost that Apple adds.
//
// What is done to devices is an [Activity] that Apple carries out in its own time. That one has completed does not say that
// all of its devices were changed, and what it changed shows some seconds later. [Client.Move] deals with both.
//
// A device that is moved shows up in the device assignment service (package abm) of its new MDM server, where it gets an
// enrollment profile.
//
// # Concurrency
//
// [Client] is safe for concurrent use. It starts no goroutines.
//
// # What it does not do
//
// It does not assign enrollment profiles: the API cannot. It does not cover what only Apple's built-in device management has:
// users, apps, configurations, blueprints, audit events. Access tokens are not shared between processes.
package axm
