package abm

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/enrollkit/enrollkit/storage"
)

// meanings say what Apple's words for one serial, and ours, mean.
var meanings = map[string]string{
	"":                          "the outcome is not known: the call was cut off, or failed as a whole",
	string(ResultSuccess):       "Apple has accepted the assignment",
	string(ResultFailed):        "Apple did not assign the profile and does not say why; it may be that the device was assigned too often",
	string(ResultNotAccessible): "Apple says that the device is not in this account, or does not exist",
	string(ResultThrottled):     "Apple takes no assignment for this device for a while, as it was assigned too often",
	resultMissing:               "Apple's answer does not name the device",
	resultNotVerified:           "Apple said SUCCESS, but did not show the profile when it was looked at afterwards",
	"PROFILE_NOT_FOUND":         "Apple does not know the profile any more, which is then defined again",
}

// meaning returns what a result means. Apple may send words that are not documented.
func meaning(result string) string {
	if m, ok := meanings[result]; ok {
		return m
	}
	if err, ok := codes[result]; ok {
		return "Apple refused a call that names this device: " + strings.TrimPrefix(err.Error(), "abm: ")
	}
	return "Apple refused a call that names this device with this word, which is not documented"
}

// leftWords say how a device was found to have left an account.
var leftWords = map[string]string{
	leftDeleted:       "Apple's feed said that it was removed: released, or moved to another MDM server",
	leftNotAccessible: "Apple does not know it in this account any more",
}

// heldUp says why no call for the account can succeed, and what a person must do; "" if calls can.
func heldUp(acct *storage.Account, detail *AccountDetail, now time.Time) (why, do string) {
	server := "the MDM server of account " + acct.Name
	if detail.ServerName != "" {
		server = fmt.Sprintf("MDM server %q", clip(detail.ServerName))
	}
	org := "the organization"
	if detail.OrgName != "" {
		org = clip(detail.OrgName)
	}
	renew := fmt.Sprintf("Download a new server token of %s from Apple's portal and import it into account %s.", server, acct.Name)
	switch {
	case len(acct.SealedToken) == 0:
		return "the account has no server token yet", renew
	case !acct.TokenExpiresAt.After(now): // as the engine tells; the health may be of a clock that was wrong
		return "the server token has expired", renew
	case acct.Health == storage.HealthTermsNotSigned:
		return "Apple's terms are not accepted",
			fmt.Sprintf("An administrator of %s must sign in to Apple's portal and accept the new terms; the engine notices by itself.", org)
	case acct.Health == storage.HealthRejected:
		return "the server token is refused (" + clip(orWords(acct.HealthReason, "no reason is known")) + ")",
			renew + " If it is refused again: set the clock of this machine, and see in the portal that the server still exists."
	}
	return "", ""
}

// unreachable says since when no call for the account succeeds and when that is tried again, and what a person can do; "" if
// calls do.
func (f *facts) unreachable() (why, do string) {
	if f.acct.Health != storage.HealthUnreachable && f.retryAt.IsZero() {
		return "", ""
	}
	why = "Apple has asked for calls to wait, or has not answered"
	if f.acct.Health == storage.HealthUnreachable {
		why = "Apple has given no usable answer since " + at(f.acct.HealthSince, f.now)
		if f.acct.HealthReason != "" {
			why += " (" + clip(f.acct.HealthReason) + ")"
		}
	}
	if f.retryAt.IsZero() {
		why += ", and is tried again until it does, after pauses that grow to about an hour" // maxPause
	} else {
		why += "; calls are held back until " + at(f.retryAt, f.now) + ", and are tried again after that"
	}
	return why, fmt.Sprintf("Nothing about the outage, unless it lasts: then check the network path from this machine to %s, and Apple's system status.",
		orWords(f.host, "Apple"))
}

// maxQuoted limits a text from elsewhere in a sentence, in bytes.
const maxQuoted = 300

// clip makes a text from elsewhere, such as an error of several lines, fit into a sentence.
func clip(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\ufffd")), " ")
	if len(s) <= maxQuoted {
		return s
	}
	cut := maxQuoted
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

func orWords(s, otherwise string) string {
	if strings.TrimSpace(s) == "" {
		return otherwise
	}
	return s
}

// at returns a time as people read it: "2026-11-24 13:02 UTC (3 hours ago)".
func at(t, now time.Time) string {
	stamp := t.UTC().Format("2006-01-02 15:04 UTC")
	switch d := t.Sub(now); {
	case d >= time.Second:
		return stamp + " (in " + span(d) + ")"
	case d <= -time.Second:
		return stamp + " (" + span(-d) + " ago)"
	}
	return stamp + " (now)"
}

// span returns a duration with as much precision as people care for.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return count(int(d/time.Second), "second")
	case d < 2*time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/(24*time.Hour)), "day")
}

func count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	r, n := utf8.DecodeRuneInString(s)
	s = strings.ToUpper(string(r)) + s[n:]
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}
