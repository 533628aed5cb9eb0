package setupexp

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// View is a run as its user, its agent and its administrator see it. It is computed from the run alone: looking
// changes nothing. The JSON names stay; new ones may be added.
type View struct {
	RunID        string `json:"run_id"`
	EnrollmentID string `json:"enrollment_id"`
	Generation   int64  `json:"generation"`
	// Version changes when the view does; it is opaque.
	Version string   `json:"version"`
	State   RunState `json:"state"`
	// Held is whether the device waits in Setup Assistant.
	Held bool `json:"held"`
	// Done is whether the user may go on: the device was released, or nothing is waited for.
	Done          bool   `json:"done"`
	ReleaseReason Reason `json:"release_reason,omitempty"`
	EndReason     Reason `json:"end_reason,omitempty"`
	// Deadline is when the state ends by itself at the latest.
	Deadline time.Time `json:"deadline,omitzero"`
	// NextWake is when something happens next by time alone.
	NextWake time.Time `json:"next_wake,omitzero"`
	// Progress is 0 to 100. Within a generation it does not fall, unless a person has items tried again.
	Progress int `json:"progress"`
	// ETASeconds is how long it takes at most as far as is known; 0 when it is not.
	ETASeconds int `json:"eta_seconds,omitempty"`
	// Current is the id of the item that is worked on, and Blocker of the one the release waits for.
	Current string `json:"current,omitempty"`
	Blocker string `json:"blocker,omitempty"`
	// Message is the key of a text for the user: "setup." and the state.
	Message string     `json:"message"`
	Items   []ItemView `json:"items"`
	// NextPollMS is when an agent that does not wait should ask again.
	NextPollMS int `json:"next_poll_ms"`
}

// ItemView is an item in a View.
type ItemView struct {
	ID       string    `json:"id"`
	Kind     Kind      `json:"kind"`
	Title    string    `json:"title"`
	Icon     string    `json:"icon,omitempty"`
	State    ItemState `json:"state"`
	Reason   Reason    `json:"reason,omitempty"`
	Text     string    `json:"text,omitempty"` // what the device said of a failure
	Attempt  int       `json:"attempt"`
	Max      int       `json:"max"`
	Percent  int       `json:"percent,omitempty"`
	Required bool      `json:"required"`
	Late     bool      `json:"late,omitempty"`
}

// Hints for agents that do not wait.
const (
	pollActive = 5 * time.Second
	pollIdle   = 30 * time.Second
)

// view computes the View of a run.
func (s *State) view() View {
	v := View{
		RunID: s.Subject.RunID, EnrollmentID: s.Subject.EnrollmentID, Generation: s.Subject.Generation,
		State: s.State, Held: s.Subject.Held, EndReason: s.EndReason, Deadline: s.currentDeadline(), NextWake: s.nextWake(),
		Progress: s.Progress, Message: "setup." + string(s.State), Items: make([]ItemView, len(s.Items)),
		NextPollMS: int(pollIdle.Milliseconds()),
	}
	if s.Release != nil {
		v.ReleaseReason = s.Release.Reason
	}
	v.Done = !s.State.holds() && s.State != StateReleasing
	if s.State.Live() && !v.Done {
		v.NextPollMS = int(pollActive.Milliseconds())
	}
	for i := range s.Items {
		v.Items[i] = s.itemView(i)
		w, it := &s.Items[i], &s.Plan.Items[i]
		if v.Current == "" && w.State.working() && w.State != ItemParked {
			v.Current = it.ID
		}
		if v.Blocker == "" && s.State.holds() && (it.AwaitOnly || it.Class != Background) && !w.settled() {
			v.Blocker = it.ID
		}
	}
	if s.Hold != nil {
		v.Blocker = s.Hold.Item
	}
	if !v.Deadline.IsZero() && s.State.holds() {
		v.ETASeconds = max(0, int(v.Deadline.Sub(s.Now).Seconds()))
	}
	v.Version = v.version(s)
	return v
}

func (s *State) itemView(i int) ItemView {
	w, it := &s.Items[i], &s.Plan.Items[i]
	v := ItemView{
		ID: it.ID, Kind: it.Kind, Title: it.Title, Icon: it.Icon, State: w.State, Reason: w.Reason, Text: w.Detail,
		Attempt: w.Attempt, Max: it.MaxAttempts, Percent: w.Percent, Required: it.Class == Required, Late: w.Late,
	}
	if w.Deferred && !w.State.Ended() {
		v.State = ItemDeferred
	}
	return v
}

// currentDeadline is when the state ends by itself at the latest.
func (s *State) currentDeadline() time.Time {
	switch s.State {
	case StatePlanning:
		return s.PlanDeadline
	case StateRunning:
		return s.Deadline
	case StateHeld:
		return s.Hold.Until
	case StateReleasing:
		if s.Release.SentAt.IsZero() {
			return s.Release.GraceUntil
		}
		return s.abandonAt()
	case StateReleased:
		return s.SettleUntil
	case StateFinishing:
		return s.FinishUntil
	}
	return time.Time{}
}

// version digests what a reader would notice, and the executions, which an agent does. Times that only say when to look
// again are left out: they move with each contact of the device.
func (v View) version(s *State) string {
	v.Version, v.NextWake, v.ETASeconds, v.NextPollMS = "", time.Time{}, 0, 0
	if v.State == StateReleasing {
		v.Deadline = time.Time{}
	}
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(v); err != nil {
		return "" // never equal to a version asked for
	}
	for i := range s.Items {
		h.Write([]byte(s.Items[i].execution()))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// progress computes the progress bar.
func (st *step) progress() {
	s := st.s
	switch s.State {
	case StateReleased, StateFinishing, StateClosed:
		s.Progress = 100
		return
	}
	total, done := 0, 0
	for i := range s.Items {
		it := &s.Plan.Items[i]
		if it.Class == Background {
			continue
		}
		weight := max(it.Weight, 1)
		total += 100 * weight
		done += weight * s.Items[i].share()
	}
	if total > 0 {
		s.Progress = max(s.Progress, min(99, 100*done/total))
	}
}

// share is how much of an item is done, 0 to 100.
func (w *Work) share() int {
	switch {
	case w.settled():
		return 100
	case w.State == ItemVerifying:
		return 90
	case w.State == ItemAccepted:
		return 30 + min(w.Percent, 100)*6/10
	case w.State.working(), w.State == ItemBackoff:
		return 10
	}
	return 0
}
