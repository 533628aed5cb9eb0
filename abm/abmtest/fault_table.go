package abmtest

import "slices"

// FaultKinds returns all kinds of faults with what a reader has to know of them. These are the kinds, each with the report it
// stems from. "fleet", "nanodep" and "micromdm" are fleetdm/fleet, micromdm/nanodep and micromdm/micromdm on GitHub.
//
//	unauthorized           401: the session has ended, again and again
//	                       Apple's list of error codes
//	forbidden              403: the session is not valid; body can be quoted as Apple's old simulator does
//	                       Apple's list of error codes; quoted: nanodep client/transport.go
//	terms-not-signed       GET /session answers 403 T_C_NOT_SIGNED, sessions end
//	                       fleet #8537, #13012
//	token-expired          the server token has expired: 401 everywhere
//	                       Apple, Authenticating for Automated Device Enrollment; fleet #8935, #11544
//	token-revoked          the server token was revoked: 403 everywhere, GET /session included
//	                       the administrator who issued it was removed, as implementers report
//	too-many-requests      429, with Retry-After if given
//	                       made up: Apple documents no 429
//	unavailable            503, with Retry-After if given
//	                       fleet #36693
//	server-error           500; with applied the call took effect
//	                       nanodep sync/syncer.go: a run against 500 reports success
//	answer                 any status and body
//	                       for what has no kind of its own, such as 400 USER_AGENT_INVALID (nanodep #42)
//	rejected-serial        one serial number fails the whole assignment
//	                       micromdm #378; Apple's token is not known, body sets it
//	hang                   no answer until the client gives up or the fault is cleared
//	                       made up: networks
//	reset                  the connection is reset; with applied the call took effect
//	                       fleet #31385
//	truncated              half of the answer, then the connection ends; the call took effect
//	                       made up: networks
//	html                   a maintenance page in HTML
//	                       nanodep godep: such a page is a JSON syntax error
//	oversized              a body of 64 MiB, or of bytes
//	                       nanodep godep: bodies are read without a limit
//	latency                the answer takes duration, and up to jitter more
//	                       made up: networks
//	expired-cursor         sync: the cursor is too old, each time
//	                       Apple, Sync Devices; endless: nanodep sync/syncer.go
//	exhausted-cursor       sync: the cursor is used up
//	                       Apple, Sync Devices; nanodep sync/syncer.go
//	invalid-cursor         sync: the cursor is not valid
//	                       Apple, Sync Devices
//	clock-skew             the clock of the service is ahead by duration, or behind: timestamps beyond 10 minutes are refused
//	                       Apple, Authenticating for Automated Device Enrollment; the bound is not published
//	repeated-cursor        the cursor of the request comes back with more_to_follow
//	                       nanodep #73, PR #152; micromdm PR #1016
//	missing-from-sync      devices never come in sync
//	                       fleet #49837, Apple FB24445195
//	missing-from-fetch     devices never come in fetch
//	                       made up: a full list with a hole
//	duplicate-events       events come twice in a page
//	                       Apple, Sync Devices: a device may come several times
//	replayed-events        up to 10 events before the cursor come again after those of the page
//	                       fleet #23200, #37460
//	reversed-events        the events of a page come newest first
//	                       fleet #37460
//	late-events            an event comes after a newer one of the same device, on a later page if that is where it is
//	                       fleet #37460
//	modified-not-added     a new device comes as modified, never as added
//	                       fleet #8741, #12771; nanodep PR #16
//	malformed-date         op_date, or field, is "", or value
//	                       nanodep godep: an empty op_date fails the page
//	unknown-field          devices have a member nobody knows
//	                       Apple adds members with each protocol version
//	unknown-family         device_family is not one of the documented
//	                       Apple's list lacks the Watch
//	unknown-os             os is not one of the documented
//	                       Apple's list lacks that of the Watch
//	no-response-status     devices in POST /devices lack response_status
//	                       Apple's current page omits the key
//	non-object-device      the list of devices begins with something that is not an object: null, or value
//	                       made up: one bad entry must not cost a page
//	silent-release         devices leave an MDM server without a deleted event
//	                       fleet #49268, PR #45590
//	old-profile            devices that come back, or are assigned again, show their old profile and cannot fetch it
//	                       fleet #27854, PR #29147
//	removed-status         what loses its profile shows it still, as removed, and moved devices come as modified
//	                       nanodep PR #16; fleet #39871
//	profile-removed        Apple takes profiles away: removed, with the same profile_uuid
//	                       fleet PR #41127
//	profile-lost           a profile is gone until it is defined again: GET /profile is 400 NOT_FOUND, an assignment 404
//	                       Apple, Fetch a Profile and Assign a Profile
//	result-failed          200, but FAILED for the devices
//	                       fleet #14957, #15461
//	result-not-accessible  200, but NOT_ACCESSIBLE for the devices
//	                       Apple, Assign a Profile
//	result-throttled       the devices are throttled for duration, 24h if not given: not assigned, hidden from sync
//	                       fleet #37072, PR #38920, PR #45590
//	result-missing         the answer leaves devices out; with applied they were done all the same
//	                       nanodep sync/assigner.go: results are only counted
//	result-unasked         the answer names a serial number nobody asked for, or that of value
//	                       made up: answers are not trusted
//	throttle-reassigned    assigning a device again within window (1m) throttles it for duration (24h)
//	                       fleet #37072; Apple's bounds are not published
func FaultKinds() []FaultInfo {
	return slices.Concat(callFaults(), listFaults(), deviceFaults())
}
