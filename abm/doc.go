// Package abm works with Apple Business Manager and Apple School Manager: accounts and their server tokens, the
// inventory of devices, and which enrollment profile each device gets.
//
//	resolver, err := abm.ForAll(depprofile.Default("https://mdm.example.com/mdm/sso"))
//	engine, err := abm.New(store, sealer, resolver)
//	accounts := engine.Accounts()
//
//	_, err = accounts.Create(ctx, "acme", "")
//	pair, err := accounts.CreateKeyPair(ctx, "acme")
//	// Upload pair.Certificate to Apple's portal, and download the token file from there.
//	_, err = accounts.ImportToken(ctx, "acme", tokenFile, abm.ImportOptions{})
//
//	err = engine.Run(ctx) // until ctx ends
//
// # How it works
//
// The store holds what Apple shows of a device (storage.Device), which profile is wanted for it, and what was tried
// (storage.Assignment). The engine removes the difference, and asks Apple for nothing that Apple shows already:
//
//   - Sync reads pages by cursor. A page, its cursor, what is wanted for the devices in it, and its activities are one
//     transaction. A sweep reads the full list once a day, because Apple's feed misses devices and does not tell of
//     all that leave. The list that an expired cursor makes necessary counts as one.
//   - A [Resolver] decides the profile. Devices are planned when their record changes, and all of them when the rules do.
//     Replicas with older [Rules] plan nothing back. A [Rollout] brings a profile in stages to devices that have another one.
//   - Profiles are defined at Apple once per content, when they are first needed. A sweep looks whether those that devices
//     have are still there, and still the same.
//   - A device that comes from another account of ours is planned and assigned at once; one that is to migrate comes
//     before all others, as Apple waits for its profile.
//   - An assignment is written down before Apple is asked. Each device has its own result: success is verified by a later
//     look, a failure is tried again after a growing wait and parked at last, a throttled device waits as long as
//     Apple says. A device whose call has an unknown outcome is looked at before it is asked for again.
//   - A lease lets one engine at a time work on an account; every write carries its proof. Replicas need nothing else.
//     Accounts that do not work are tried beside the others, which do not wait for them.
//   - Replicas share one session at Apple per account. It is kept sealed in the store, and a lease lets one of them sign in
//     at a time. Where the store cannot keep it, each process has a session of its own.
//
// [Engine.Explain] says why a device has the profile it has, or none, what happens next and when; [Engine.DryRun] says what other
// rules would do. Both read what is stored, change nothing and ask Apple for nothing.
//
// # Tokens
//
// A token file is opened with whichever of the account's key pairs it was encrypted to. [Accounts.InspectToken] shows what it
// is about; [Accounts.ImportToken] refuses another server's, and changes key pair and token in one write. Calls that Apple
// refuses because the token was renewed meanwhile are repeated with the new one. An activity tells 30, 14, 7 and 1 days
// before a token ends, and when it has. Apple refuses the old token as soon as it issues the new one: import that when it
// is downloaded, as calls in between fail.
//
// [Accounts.MAIDToken] answers the GetToken check-in for Managed Apple Accounts. Package depstore shares accounts with
// programs that are built on nanodep. Package axm works with the newer Apple Business and Apple School Manager API: with it a
// host moves devices onto its MDM server, where this package then finds them.
//
// [Client] is the service itself, one method per operation, for hosts that want only that.
//
// # Concurrency
//
// [Client], [Accounts] and [Engine] are safe for concurrent use. No goroutine runs but those of [Engine.Run] and of a
// call that has not returned.
//
// # Metrics and traces
//
// They go through OpenTelemetry's API to the providers that a host names, and nowhere without:
//
//	engine, err := abm.New(store, sealer, resolver,
//		abm.WithMeterProvider(otel.GetMeterProvider()),
//		abm.WithTracerProvider(otel.GetTracerProvider()),
//		abm.WithTransport(otelhttp.NewTransport(http.DefaultTransport)))
//
// [WithMeterProvider] has the table. These are worth an alert, each for longer than a sync interval:
//
//   - enrollkit.abm.token.remaining below 14, or enrollkit.abm.account.health of expired, rejected or terms_not_signed at 1:
//     someone has to act in Apple's portal.
//   - enrollkit.abm.sync.lag above three sync intervals: new devices are not seen.
//   - enrollkit.abm.assignment.wait above an hour: assigning does not come to an end.
//   - enrollkit.abm.assignment.blocked, or enrollkit.abm.assignment.count in the state parked, above 0: some devices get no
//     profile, and [Engine.Explain] tells why.
//
// # What it does not do
//
// It does not take profiles away from devices or release them by itself; [Client.RemoveProfile] and
// [Client.DisownDevices] are for hosts. The roster of Apple School Manager comes as Apple's JSON.
package abm
