// Package setupexp brings a device from Setup Assistant to its user's desktop: what it gets, in what order, how long it
// may take, and when it is released.
//
// The host chooses a [Plan] for each device through a [Planner], sends commands through a [Commander], and tells the
// [Tracker] what it hears from devices:
//
//	tracker, err := setupexp.New(store, planner, commander, sealer, setupexp.WithAgentKeys(keys))
//	go tracker.Run(ctx)
//	...
//	err = tracker.Observe(ctx, setupexp.Event{
//		ID:           eventID,
//		EnrollmentID: udid,
//		Body:         setupexp.AwaitingSeen{Awaiting: storage.AwaitingTrue, Source: "TokenUpdate"},
//	})
//
// # How it works
//
// A run is one pass of a device through its setup: one for each generation of its enrollment. [Reduce] is the whole of
// the rules, a pure function from a run and an event to the run after it and the work that follows. The tracker stores
// both in one transaction, so that a crash loses nothing and any replica can take the next step. Work is done at least
// once, by ids that make a second time harmless: commands carry UUIDs computed from the enrollment, the generation, the
// item and the number of the attempt.
//
// The server's clock decides. Reading a status moves nothing, and a device, an agent or a window that is silent delays
// nothing: from every state the passing of time alone leads to an end, unless the plan says that a person decides
// ([Plan].HoldForever, [Plan].Manual). For small plans, tests explore all states to the last one and show for each that
// the run closes, or is abandoned after a full round of unanswered releases and Limits.Abandon of silence; and that one
// word of the device that it waits has another release sent, even if nothing is heard after that.
//
// Only ticks of the tracker fire timers. A replica whose clock is fast fires them early, for all: keep the clocks of all
// replicas together by NTP. The events such a replica takes do no harm.
//
// # States of a run
//
//	planning      the plan is not known yet                ends after Limits.Plan
//	running       items are worked on                      ends at Plan.Deadline
//	held          a required item failed, or a person      ends after Plan.Hold, retries at the device included, or
//	              said so; other items go on               never with HoldForever
//	ready_manual  all is done; a person releases           reminders
//	releasing     the release is decided and sent          pushed, sent again in rounds while the device says that it
//	                                                       waits, abandoned after Limits.Abandon of silence
//	released      the device left Setup Assistant          closed after Limits.Settle
//	finishing     released, work goes on in the background closed after Limits.Finish
//	closed        over
//	superseded    over: the device enrolled anew, checked out or was wiped
//	abandoned     over: the device never answered; it may wait still, and is sent another release when it says so
//
// A device that says it waits in Setup Assistant is never ignored: it opens a run, resumes the one there is, is sent
// another release if it had been released or did not take the last one, and brings back a run that was over. A person
// can force a release to be sent at once in every live state of such a run. The release counts as done when it is
// acknowledged, answered with "not awaiting" (MDMDeviceEnrollment error 101), or the device is seen not to wait.
//
// # States of an item
//
//	blocked     something comes before it              ready       waits for its lane, or for the agent
//	gating      looking whether it is there already    dispatched  the command is sent, or the agent may fetch it
//	accepted    under way                              verifying   done as asked; looking whether it is there
//	parked      the device answered NotNow             backoff     failed, will be tried again
//	succeeded, skipped, failed, cancelled              ended
//	deferred    shown for one that goes on while nobody waits for it any more
//
// A list the device sends proves an item only once an attempt was acknowledged: what was there before is no proof. Items
// that need the agent fail when it does not come in time, at once if what installs it failed.
//
// What has ended stays so, but for a retry by a person and for late success: an item that failed by time alone succeeds
// when its proof comes after all.
//
// # What it does not do
//
// It does not talk to devices or Apple, does not host packages, and does not decide who gets what. Specs of items, which
// may hold secrets, are sealed in the store and forgotten when the run ends. What scripts print is kept while the run is
// live, the last KiB of it, and in no activity.
//
// Trackers are safe for concurrent use; plans, events and views are plain data.
package setupexp
