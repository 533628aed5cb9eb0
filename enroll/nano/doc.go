// Package nano connects package enroll and package setupexp to a NanoMDM server in the same process.
//
// [Wrap] puts itself around NanoMDM's service: it lets NanoMDM handle each message first and, if that succeeded, hands
// it to [enroll.CheckIns] before the device gets its answer, so that a message is either handled by both or sent again
// by the device. It belongs inside certauth, which has proven by then who the device is:
//
//	store := nano.Serialize(inmem.New())       // only for NanoMDM's inmem and kv backends
//	core := nanomdm.New(store)
//	wrapped, err := nano.Wrap(core, checkIns)
//	...
//	handler := httpmdm.CheckinAndCommandHandler(certauth.New(wrapped, store), logger)
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
