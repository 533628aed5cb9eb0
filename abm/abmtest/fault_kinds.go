package abmtest

import (
	"slices"
	"strings"
	"time"
)

// FaultKind is what goes wrong.
type FaultKind string

// The kinds of faults. [FaultKinds] describes them and names the reports they stem from.
const (
	FaultUnauthorized    FaultKind = "unauthorized"
	FaultForbidden       FaultKind = "forbidden"
	FaultTermsNotSigned  FaultKind = "terms-not-signed"
	FaultTokenExpired    FaultKind = "token-expired"
	FaultTokenRevoked    FaultKind = "token-revoked"
	FaultClockSkew       FaultKind = "clock-skew"
	FaultTooManyRequests FaultKind = "too-many-requests"
	FaultUnavailable     FaultKind = "unavailable"
	FaultServerError     FaultKind = "server-error"
	FaultAnswer          FaultKind = "answer"
	FaultRejectedSerial  FaultKind = "rejected-serial"

	FaultHang      FaultKind = "hang"
	FaultReset     FaultKind = "reset"
	FaultTruncated FaultKind = "truncated"
	FaultHTML      FaultKind = "html"
	FaultOversized FaultKind = "oversized"
	FaultLatency   FaultKind = "latency"

	FaultRepeatedCursor  FaultKind = "repeated-cursor"
	FaultExpiredCursor   FaultKind = "expired-cursor"
	FaultExhaustedCursor FaultKind = "exhausted-cursor"
	FaultInvalidCursor   FaultKind = "invalid-cursor"

	FaultMissingFromSync     FaultKind = "missing-from-sync"
	FaultMissingFromFetch    FaultKind = "missing-from-fetch"
	FaultDuplicateEvents     FaultKind = "duplicate-events"
	FaultReplayedEvents      FaultKind = "replayed-events"
	FaultReversedEvents      FaultKind = "reversed-events"
	FaultLateEvents          FaultKind = "late-events"
	FaultModifiedNotAdded    FaultKind = "modified-not-added"
	FaultMalformedDate       FaultKind = "malformed-date"
	FaultUnknownField        FaultKind = "unknown-field"
	FaultUnknownFamily       FaultKind = "unknown-family"
	FaultUnknownOS           FaultKind = "unknown-os"
	FaultNoResponseStatus    FaultKind = "no-response-status"
	FaultNonObjectDevice     FaultKind = "non-object-device"
	FaultSilentRelease       FaultKind = "silent-release"
	FaultOldProfile          FaultKind = "old-profile"
	FaultRemovedStatus       FaultKind = "removed-status"
	FaultProfileRemoved      FaultKind = "profile-removed"
	FaultProfileLost         FaultKind = "profile-lost"
	FaultResultFailed        FaultKind = "result-failed"
	FaultResultNotAccessible FaultKind = "result-not-accessible"
	FaultResultThrottled     FaultKind = "result-throttled"
	FaultResultMissing       FaultKind = "result-missing"
	FaultResultUnasked       FaultKind = "result-unasked"
	FaultThrottleReassigned  FaultKind = "throttle-reassigned"
)

// faultClass is the place in the code where kinds of faults happen.
type faultClass int

const (
	classCall   faultClass = iota // instead of, or around, the answer to a whole call
	classClock                    // while OAuth is verified
	classList                     // to the devices in an answer
	classPortal                   // when devices change hands
	classDevice                   // while a call is carried out
)

// FaultInfo describes a kind of fault.
type FaultInfo struct {
	Kind FaultKind `json:"kind"`
	// Help is one line about what happens.
	Help string `json:"help"`
	// Source is where it was reported or documented; "made up" if nowhere, for what any network does.
	Source string `json:"source"`
	// Fields are the members of [Fault] it has a use for, beside id, kind, server, count and probability.
	Fields []string `json:"fields"`
	// Operations are the calls it happens in if the fault names none; none are all.
	Operations []string `json:"operations,omitempty"`

	class   faultClass
	allowed []string // the operations that can be named; nil: any
	needs   string   // a field it cannot do without

	// What it answers, if it is of classCall. Calls other than GET /session get elsewhere if that has a status and the
	// fault names no operation: the token is bad, and so the session is.
	status    int
	body      string
	elsewhere reply

	field, value string // what it makes of devices
	duration     time.Duration
	window       time.Duration
}

const (
	opSession  = "GET /session"
	opFetch    = "POST /server/devices"
	opSync     = "POST /devices/sync"
	opDetails  = "POST /devices"
	opDisown   = "POST /devices/disown"
	opLock     = "POST /device/activationlock"
	opDefine   = "POST /profile"
	opReadBack = "GET /profile"
	opAssign   = "POST /profile/devices"
	opAssignV1 = "PUT /profile/devices"
	opRemove   = "DELETE /profile/devices"
)

// faultInfo returns the description of a kind, nil if it is unknown.
func faultInfo(kind FaultKind) *FaultInfo {
	for _, info := range FaultKinds() {
		if info.Kind == kind {
			return &info
		}
	}
	return nil
}

func words(s string) []string { return strings.Fields(s) }

// callFaults are those of whole calls.
func callFaults() []FaultInfo {
	call := func(kind FaultKind, status int, body, help, source, fields string, operations ...string) FaultInfo {
		return FaultInfo{
			Kind: kind, Help: help, Source: source, Fields: words("operation serials applied " + fields),
			Operations: operations, class: classCall, status: status, body: body,
		}
	}
	assigns := []string{opAssign, opAssignV1}
	unauthorized := reply{status: 401, body: "UNAUTHORIZED"}
	kinds := []FaultInfo{
		call(FaultUnauthorized, 401, "UNAUTHORIZED", "401: the session has ended, again and again",
			"Apple's list of error codes", "status body"),
		call(FaultForbidden, 403, "FORBIDDEN",
			"403: the session is not valid; body can be quoted as Apple's old simulator does",
			"Apple's list of error codes; quoted: nanodep client/transport.go", "status body"),
		call(FaultTermsNotSigned, 403, "T_C_NOT_SIGNED", "GET /session answers 403 T_C_NOT_SIGNED, sessions end",
			"fleet #8537, #13012", "body"),
		call(FaultTokenExpired, 401, "UNAUTHORIZED", "the server token has expired: 401 everywhere",
			"Apple, Authenticating for Automated Device Enrollment; fleet #8935, #11544", "body"),
		call(FaultTokenRevoked, 403, "FORBIDDEN", "the server token was revoked: 403 everywhere, GET /session included",
			"the administrator who issued it was removed, as implementers report", "body"),
		call(FaultTooManyRequests, 429, "Too Many Requests", "429, with Retry-After if given",
			"made up: Apple documents no 429", "status body retry_after"),
		call(FaultUnavailable, 503, "Service Unavailable", "503, with Retry-After if given", "fleet #36693",
			"status body retry_after"),
		call(FaultServerError, 500, "Internal Server Error", "500; with applied the call took effect",
			"nanodep sync/syncer.go: a run against 500 reports success", "status body retry_after"),
		call(FaultAnswer, 200, "", "any status and body",
			"for what has no kind of its own, such as 400 USER_AGENT_INVALID (nanodep #42)", "status body retry_after"),
		call(FaultRejectedSerial, 400, "MALFORMED_REQUEST_BODY", "one serial number fails the whole assignment",
			"micromdm #378; Apple's token is not known, body sets it", "status body", assigns...),
		call(FaultHang, 0, "", "no answer until the client gives up or the fault is cleared", "made up: networks", ""),
		call(FaultReset, 0, "", "the connection is reset; with applied the call took effect", "fleet #31385", ""),
		call(FaultTruncated, 0, "", "half of the answer, then the connection ends; the call took effect",
			"made up: networks", ""),
		call(FaultHTML, 200, maintenancePage, "a maintenance page in HTML", "nanodep godep: such a page is a JSON syntax error",
			"status body"),
		call(FaultOversized, 200, "", "a body of 64 MiB, or of bytes", "nanodep godep: bodies are read without a limit",
			"status bytes"),
		call(FaultLatency, 0, "", "the answer takes duration, and up to jitter more", "made up: networks", "duration jitter"),
		call(FaultExpiredCursor, 400, "EXPIRED_CURSOR", "sync: the cursor is too old, each time",
			"Apple, Sync Devices; endless: nanodep sync/syncer.go", "body", opSync),
		call(FaultExhaustedCursor, 400, "EXHAUSTED_CURSOR", "sync: the cursor is used up",
			"Apple, Sync Devices; nanodep sync/syncer.go", "body", opSync),
		call(FaultInvalidCursor, 400, "INVALID_CURSOR", "sync: the cursor is not valid", "Apple, Sync Devices", "body",
			opSync),
	}
	for i := range kinds {
		k := &kinds[i]
		switch k.Kind {
		case FaultTermsNotSigned, FaultTokenExpired:
			k.elsewhere = unauthorized
		case FaultLatency:
			k.needs, k.Fields = "duration", words("operation serials duration jitter")
		case FaultTruncated:
			k.Fields = words("operation serials")
		case FaultAnswer:
			k.needs = "status"
		case FaultRejectedSerial:
			k.needs = "serials"
		}
	}
	return append(kinds, FaultInfo{
		Kind:   FaultClockSkew,
		Help:   "the clock of the service is ahead by duration, or behind: timestamps beyond 10 minutes are refused",
		Source: "Apple, Authenticating for Automated Device Enrollment; the bound is not published",
		Fields: words("duration"), Operations: []string{opSession}, class: classClock, duration: time.Hour,
	})
}

// listFaults are those of the devices in an answer.
func listFaults() []FaultInfo {
	list := func(kind FaultKind, help, source, fields string, operations ...string) FaultInfo {
		return FaultInfo{
			Kind: kind, Help: help, Source: source, Fields: words(fields), Operations: operations,
			class: classList, allowed: []string{opFetch, opSync, opDetails},
		}
	}
	member := func(kind FaultKind, field, value, help, source string, operations ...string) FaultInfo {
		k := list(kind, help, source, "operation serials field value", operations...)
		k.field, k.value = field, value
		return k
	}
	all := []string{opFetch, opSync, opDetails}
	kinds := []FaultInfo{
		list(FaultRepeatedCursor, "the cursor of the request comes back with more_to_follow",
			"nanodep #73, PR #152; micromdm PR #1016", "operation", opFetch, opSync),
		list(FaultMissingFromSync, "devices never come in sync", "fleet #49837, Apple FB24445195", "serials", opSync),
		list(FaultMissingFromFetch, "devices never come in fetch", "made up: a full list with a hole", "serials", opFetch),
		list(FaultDuplicateEvents, "events come twice in a page", "Apple, Sync Devices: a device may come several times",
			"serials", opSync),
		list(FaultReplayedEvents, "up to 10 events before the cursor come again after those of the page",
			"fleet #23200, #37460", "serials", opSync),
		list(FaultReversedEvents, "the events of a page come newest first", "fleet #37460", "", opSync),
		list(FaultLateEvents,
			"an event comes after a newer one of the same device, on a later page if that is where it is", "fleet #37460",
			"serials", opSync),
		list(FaultModifiedNotAdded, "a new device comes as modified, never as added",
			"fleet #8741, #12771; nanodep PR #16", "serials", opSync),
		member(FaultMalformedDate, "op_date", `""`, `op_date, or field, is "", or value`,
			"nanodep godep: an empty op_date fails the page", opSync),
		member(FaultUnknownField, "x_new_member", `{"nested":[1,null]}`, "devices have a member nobody knows",
			"Apple adds members with each protocol version", all...),
		member(FaultUnknownFamily, "device_family", `"Watch"`, "device_family is not one of the documented",
			"Apple's list lacks the Watch", all...),
		member(FaultUnknownOS, "os", `"watchOS"`, "os is not one of the documented", "Apple's list lacks that of the Watch", all...),
		member(FaultNoResponseStatus, "response_status", "", "devices in POST /devices lack response_status",
			"Apple's current page omits the key", opDetails),
		list(FaultNonObjectDevice, "the list of devices begins with something that is not an object: null, or value",
			"made up: one bad entry must not cost a page", "operation value", opFetch, opSync),
	}
	for i := range kinds {
		switch k := &kinds[i]; k.Kind {
		case FaultNoResponseStatus:
			k.Fields = words("serials")
		case FaultNonObjectDevice:
			k.value, k.allowed = "null", []string{opFetch, opSync}
		case FaultRepeatedCursor:
			k.allowed = []string{opFetch, opSync}
		}
	}
	return kinds
}

// deviceFaults are those of what happens to devices and profiles.
func deviceFaults() []FaultInfo {
	portal := func(kind FaultKind, help, source string) FaultInfo {
		return FaultInfo{Kind: kind, Help: help, Source: source, Fields: words("serials"), class: classPortal}
	}
	result := func(kind FaultKind, value, help, source, fields string) FaultInfo {
		return FaultInfo{
			Kind: kind, Help: help, Source: source, Fields: words("operation serials " + fields),
			Operations: []string{opAssign, opAssignV1, opDefine}, class: classDevice, value: value,
			allowed: []string{opAssign, opAssignV1, opDefine, opRemove, opDisown, opDetails, opLock},
		}
	}
	throttled := result(FaultResultThrottled, resultThrottled,
		"the devices are throttled for duration, 24h if not given: not assigned, hidden from sync",
		"fleet #37072, PR #38920, PR #45590", "duration")
	reassigns := result(FaultThrottleReassigned, resultThrottled,
		"assigning a device again within window (1m) throttles it for duration (24h)",
		"fleet #37072; Apple's bounds are not published", "duration window")
	for _, k := range []*FaultInfo{&throttled, &reassigns} {
		k.duration, k.window, k.allowed = 24*time.Hour, time.Minute, k.Operations
		k.Fields = slices.DeleteFunc(k.Fields, func(f string) bool { return f == "operation" })
	}
	unasked := result(FaultResultUnasked, `"UNASKED001"`,
		"the answer names a serial number nobody asked for, or that of value", "made up: answers are not trusted",
		"value")
	unasked.Fields, unasked.Operations = words("value"), []string{opAssign, opAssignV1}
	lost := FaultInfo{
		Kind:   FaultProfileLost,
		Help:   "a profile is gone until it is defined again: GET /profile is 400 NOT_FOUND, an assignment 404",
		Source: "Apple, Fetch a Profile and Assign a Profile", Fields: words("profile_uuid"),
		Operations: []string{opReadBack, opAssign, opAssignV1}, class: classDevice,
	}
	missing := result(FaultResultMissing, "", "the answer leaves devices out; with applied they were done all the same",
		"nanodep sync/assigner.go: results are only counted", "applied")
	missing.allowed = slices.DeleteFunc(missing.allowed, func(op string) bool { return op == opLock })
	return []FaultInfo{
		portal(FaultSilentRelease, "devices leave an MDM server without a deleted event", "fleet #49268, PR #45590"),
		portal(FaultOldProfile,
			"devices that come back, or are assigned again, show their old profile and cannot fetch it",
			"fleet #27854, PR #29147"),
		portal(FaultRemovedStatus,
			"what loses its profile shows it still, as removed, and moved devices come as modified",
			"nanodep PR #16; fleet #39871"),
		portal(FaultProfileRemoved, "Apple takes profiles away: removed, with the same profile_uuid", "fleet PR #41127"),
		lost,
		result(FaultResultFailed, resultFailed, "200, but FAILED for the devices", "fleet #14957, #15461", "applied"),
		result(FaultResultNotAccessible, resultNotAccessible, "200, but NOT_ACCESSIBLE for the devices",
			"Apple, Assign a Profile", "applied"),
		throttled, missing, unasked, reassigns,
	}
}
