package abm

import (
	"time"

	"github.com/enrollkit/enrollkit/depprofile"
)

// DryRunOptions narrow and bound a dry run. The zero value is all accounts with the defaults.
type DryRunOptions struct {
	// Accounts are names of accounts; empty means all. A name that does not exist is storage.ErrNotFound.
	Accounts []string
	// Samples is how many serials a group names; 0 means 5, a negative number none.
	Samples int
	// Groups is how many groups are told apart; 0 means 1000. Devices beyond are counted, but in no group.
	Groups int
}

// DryRunResult is what rules would do, if they were those of the engine, with what the store knew between At and Until.
type DryRunResult struct {
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
	Rules string    `json:"rules"`
	Order int64     `json:"rules_order"`
	// Devices is how many devices the accounts have, Outcomes how many there are of each outcome.
	Devices  int                   `json:"devices"`
	Outcomes map[DryRunOutcome]int `json:"outcomes"`
	// Accounts are sorted by name.
	Accounts []DryRunAccount `json:"accounts"`
	// Groups are devices with one outcome for one reason, by account, the largest first. Ungrouped counts the devices for which
	// there were too many groups.
	Groups    []DryRunGroup `json:"groups"`
	Ungrouped int           `json:"ungrouped,omitempty"`
	// Profiles are those that devices get or have of what the rules want, by account and fingerprint, at most as many as groups.
	Profiles []DryRunProfile `json:"profiles"`
	// Invalid are profiles that the rules want and Apple would refuse. They may be the same content several times.
	Invalid []DryRunInvalid `json:"invalid,omitempty"`
}

// DryRunOutcome is what rules mean for a device.
type DryRunOutcome string

// Outcomes of a dry run. Only OutcomeAssign and OutcomeUnderway cost a call to Apple.
const (
	OutcomeAssign    DryRunOutcome = "assign"     // another profile is wanted than before, and Apple shall be asked for it
	OutcomeUnderway  DryRunOutcome = "underway"   // the same is wanted as before, and it is not there yet
	OutcomeParked    DryRunOutcome = "parked"     // the same is wanted as before, and it was given up
	OutcomeDeferred  DryRunOutcome = "deferred"   // a roll-out leaves it out as long as its Percent stays: it keeps what it has
	OutcomeSatisfied DryRunOutcome = "satisfied"  // Apple shows what is wanted: no call
	OutcomeLeftAlone DryRunOutcome = "left_alone" // nothing is wanted: it keeps what it has
	OutcomeUndecided DryRunOutcome = "undecided"  // the rules cannot tell: what was wanted before stays
	OutcomeInvalid   DryRunOutcome = "invalid"    // the rules want a profile that is not valid: what was wanted before stays
)

// DryRunAccount sums up an account.
type DryRunAccount struct {
	Account string `json:"account"`
	// Held says why Apple cannot be asked anything for it now; empty if it can.
	Held string `json:"held,omitempty"`
	// Outranked says that the account was planned with rules of a higher Order: an engine with these would change nothing but
	// decide for new devices. What is counted is as if it were not so.
	Outranked bool                  `json:"outranked,omitempty"`
	Devices   int                   `json:"devices"`
	Outcomes  map[DryRunOutcome]int `json:"outcomes"`
	// Throttled is how many of the devices to be assigned Apple makes wait.
	Throttled int `json:"throttled"`
	// DefineCalls and AssignCalls are how many calls to Apple it takes, at least: more if some fail, or come due apart.
	DefineCalls int `json:"define_calls"`
	AssignCalls int `json:"assign_calls"`
	// Paced is how many of the devices to be assigned wait for their turn in a roll-out by the hour. They get their profile by
	// themselves, unlike those of OutcomeDeferred.
	Paced int `json:"paced"`
	// RolloutEndsAt is when the last turn of the roll-outs comes that spread devices over the hours, if the rules were applied
	// now; zero if there is none. It is about the devices that the roll-outs come to with their present Percent: those of
	// OutcomeDeferred have no turn.
	RolloutEndsAt time.Time `json:"rollout_ends_at,omitzero"`
}

// DryRunGroup is a number of devices of an account with the same outcome.
type DryRunGroup struct {
	Account string        `json:"account"`
	Outcome DryRunOutcome `json:"outcome"`
	// From is the profile Apple shows, To what the rules want; nil if none. From without fingerprint is not one of ours.
	From *ExplainedProfile `json:"from,omitempty"`
	To   *ExplainedProfile `json:"to,omitempty"`
	// Reason is what the rules say, at most 300 bytes, or their error.
	Reason string `json:"reason,omitempty"`
	// Percent is how far the roll-out goes that leaves them out; 0 for another outcome than OutcomeDeferred.
	Percent float64 `json:"percent,omitempty"`
	Devices int     `json:"devices"`
	// Paced is how many of them wait for their turn in a roll-out by the hour.
	Paced int `json:"paced,omitempty"`
	// Serials are some of them.
	Serials []string `json:"serials,omitempty"`
}

// DryRunProfile is a profile that the rules want for devices of an account.
type DryRunProfile struct {
	Account     string `json:"account"`
	Fingerprint string `json:"fingerprint"`
	Name        string `json:"name"`
	// Define says that it would have to be defined at Apple first.
	Define bool `json:"define"`
	// Devices is for how many devices it is wanted, Assign how many of them have yet to get it.
	Devices int `json:"devices"`
	Assign  int `json:"assign"`
	// Warnings are what is valid and yet questionable in it.
	Warnings []string `json:"warnings,omitempty"`
	// Replaces are the profiles of ours that it replaces on devices, the most frequent first.
	Replaces []DryRunReplaced `json:"replaces,omitempty"`
}

// DryRunReplaced is a profile that is replaced on devices, with what changes for them. Changes show values, and a URL may
// hold an enrollment secret: mind where they are logged.
type DryRunReplaced struct {
	Fingerprint string              `json:"fingerprint"`
	Name        string              `json:"name"`
	Devices     int                 `json:"devices"`
	Changes     []depprofile.Change `json:"changes"`
}

// DryRunInvalid is a profile that is not valid.
type DryRunInvalid struct {
	Account string `json:"account"`
	Name    string `json:"name"`
	Reason  string `json:"reason,omitempty"` // what the rules say
	// Errors are all complaints.
	Errors  []string `json:"errors"`
	Devices int      `json:"devices"`
	Serials []string `json:"serials,omitempty"`
}
