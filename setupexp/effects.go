package setupexp

import (
	"fmt"

	"github.com/enrollkit/enrollkit/activity"
)

// EffectKind is what an effect does.
type EffectKind string

// Kinds of effects.
const (
	EffectPlan        EffectKind = "plan"         // ask the planner
	EffectDispatch    EffectKind = "dispatch"     // start an attempt of an item
	EffectCancel      EffectKind = "cancel"       // stop an attempt if that is possible
	EffectProbe       EffectKind = "probe"        // look which items of a kind are on the device
	EffectRelease     EffectKind = "release"      // send the release command
	EffectPush        EffectKind = "push"         // wake the device
	EffectAskAwaiting EffectKind = "ask_awaiting" // ask the device whether it waits
	EffectNotify      EffectKind = "notify"       // record an activity
)

// Effect is something [Reduce] wants done. All but EffectNotify go through the outbox and are done at least once.
type Effect struct {
	// ID is the effect's name and idempotency key; empty for EffectNotify.
	ID   string     `json:"id,omitempty"`
	Kind EffectKind `json:"kind"`
	// Item and Attempt are set for EffectDispatch and EffectCancel.
	Item    string `json:"item,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	// Command is the execution id, or the UUID of the command to send.
	Command string `json:"command,omitempty"`
	// ItemKind is set for EffectProbe.
	ItemKind Kind `json:"item_kind,omitempty"`
	// Actor and Activity are set for EffectNotify.
	Actor    string         `json:"-"`
	Activity activity.Event `json:"-"`
}

func (st *step) notify(e activity.Event) {
	st.out = append(st.out, Effect{Kind: EffectNotify, Actor: st.actor, Activity: e})
}

func (st *step) on() activity.On {
	sub := st.s.Subject
	return activity.On{Account: sub.Account, Serial: sub.Serial, EnrollmentID: sub.EnrollmentID}
}

// emit adds an effect that is named by a command UUID.
func (st *step) emit(e Effect) {
	e.ID = string(e.Kind) + ":" + e.Command
	st.out = append(st.out, e)
}

// emitNew adds an effect that has no command; each one is its own.
func (st *step) emitNew(kind EffectKind) {
	st.s.Counter++
	st.out = append(st.out, Effect{ID: fmt.Sprintf("%s:%s:%d", kind, st.s.Subject.RunID, st.s.Counter), Kind: kind})
}
