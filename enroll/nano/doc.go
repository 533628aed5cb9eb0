// Package nano connects package enroll and package setupexp to a NanoMDM server in the same process.
//
// [Wrap] puts itself around NanoMDM's service: it asks [enroll.CheckIns] whether a message may pass, lets NanoMDM handle
// it and, if that succeeded, hands it to the check-ins before the device gets its answer, so that a message is either
// handled by both or sent again by the device. It belongs outside certauth:
//
//	store := nano.Serialize(inmem.New())       // only for NanoMDM's inmem and kv backends
//	core := certauth.New(nanomdm.New(store), store)
//	wrapped, err := nano.Wrap(core, checkIns)
//	...
//	handler := httpmdm.CheckinAndCommandHandler(wrapped, logger)
//
// The other way round it still keeps foreign identities from commands. But certauth then ties any certificate of the
// authority to a device for which it says Authenticate, before anybody asks whose it is, and may lock the device out.
// What comes before both has to prove the certificate: NanoMDM's middleware that extracts and verifies it.
//
// NanoMDM's inmem, diskv and file backends are for trials. Their queue of commands is not made for several callers, nor
// for a device that repeats a result; [Serialize] mends both within one process, and what it knows of answered commands
// is gone when the process ends. Use an SQL backend of NanoMDM in production: it keeps the queue in transactions.
//
// [Commander] is the way back: it queues commands and wakes devices.
//
//	commander, err := nano.NewCommander(store, pusher)
//	tracker, err := setupexp.New(ours, planner, commander, sealer, ...)
//
// NanoMDM's own types leave out AwaitingConfiguration, the OS version and the model; they are read from the raw
// message. Messages of user channels pass through and change nothing.
//
// All types are safe for concurrent use. The package starts no goroutine. It does not serve NanoMDM's webhook: that
// fires without waiting and never repeats, so events can be lost and overtake each other.
package nano
