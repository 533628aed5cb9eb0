package setupexp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// TestWhatADeviceSaysOfItsWait has a row for each thing a device may say, and when.
func TestWhatADeviceSaysOfItsWait(t *testing.T) {
	t.Parallel()
	running := func(t *testing.T) *sim { return planned(t, Plan{Items: []Item{simple("a")}}) }
	releasing := func(t *testing.T) *sim { return running(t).ack("a") }
	released := func(t *testing.T) *sim { return releasing(t).answerRelease(StatusAcknowledged) }
	closed := func(t *testing.T) *sim { return released(t).after(time.Hour) }
	for _, tt := range []struct {
		name   string
		given  func(t *testing.T) *sim
		event  EventBody
		want   RunState
		reason Reason
		sends  int // release commands in all
	}{
		{"a waiting device without a run opens one", newSimT, sees(storage.AwaitingTrue), StatePlanning, "", 0},
		{"a waiting device with a run resumes it", running, sees(storage.AwaitingTrue), StateRunning, "", 0},
		{"Authenticate supersedes the run", running, Authenticated{}, StateSuperseded, "", 0},
		{"CheckOut supersedes the run", running, CheckedOut{}, StateSuperseded, "", 0},
		{"a wipe supersedes the run", releasing, WipeIssued{}, StateSuperseded, ReleaseComplete, 1},
		{"a device that left by itself is released", running, sees(storage.AwaitingFalse), StateFinishing, ReleaseObservedExternal, 0},
		{"a device that left while its release is on its way is released", releasing, sees(storage.AwaitingFalse), StateReleased, ReleaseComplete, 1},
		{"a missing key decides nothing", running, sees(storage.AwaitingUnknown), StateRunning, "", 0},
		{"a device that waits for its release is sent no other", releasing, sees(storage.AwaitingTrue), StateReleasing, ReleaseComplete, 1},
		{"a released device that waits is sent another", released, sees(storage.AwaitingTrue), StateReleasing, ReleaseComplete, 2},
		{"a device of a closed run that waits is sent another", closed, sees(storage.AwaitingTrue), StateReleasing, ReleaseComplete, 2},
		{"a released device that does not wait is left alone", released, sees(storage.AwaitingFalse), StateReleased, ReleaseComplete, 1},
		{"an unknown command changes nothing", running, CommandResult{CommandUUID: "X", Status: StatusAcknowledged}, StateRunning, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := tt.given(t).do(tt.event)
			assert.Equal(t, tt.want, m.s.State)
			if tt.reason != "" {
				assert.Equal(t, tt.reason, m.s.Release.Reason)
			}
			assert.Len(t, m.effects(EffectRelease), tt.sends)
		})
	}
}

func newSimT(t *testing.T) *sim { return newSim(t) }

func sees(a storage.Awaiting) EventBody { return AwaitingSeen{Awaiting: a, Source: "TokenUpdate"} }

func TestAResumedRunSendsNothingAgain(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{simple("a")}})
	m.all = nil
	m.awaiting(storage.AwaitingTrue)
	assert.Empty(t, m.effects(EffectDispatch))
	assert.Empty(t, m.effects(EffectPlan))
}

func TestAMissingKeyHasTheDeviceAsked(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{simple("a")}})
	m.awaiting(storage.AwaitingUnknown).awaiting(storage.AwaitingUnknown)
	assert.Len(t, m.effects(EffectAskAwaiting), 1, "a question that is open is not repeated at once")
	m.after(31 * time.Second).awaiting(storage.AwaitingUnknown)
	assert.Len(t, m.effects(EffectAskAwaiting), 2)
}

func TestError101(t *testing.T) {
	t.Parallel()
	t.Run("to a release is as good as acknowledged", func(t *testing.T) {
		t.Parallel()
		m := planned(t, Plan{Items: []Item{simple("a")}}).ack("a").answerRelease(StatusError, notAwaitingError())
		assert.Equal(t, StateReleased, m.s.State)
		assert.Equal(t, "error_101", m.s.Release.Evidence)
	})
	t.Run("to account configuration fails the item for good and asks the device", func(t *testing.T) {
		t.Parallel()
		m := planned(t, Plan{Items: []Item{accountItem("acc"), simple("a")}}).answer("acc", StatusError, notAwaitingError())
		assert.Equal(t, ItemFailed, m.item("acc").State)
		assert.Equal(t, ReasonAwaitLost, m.item("acc").Reason)
		assert.Len(t, m.effects(EffectAskAwaiting), 1)
	})
	t.Run("another error to a release is no release", func(t *testing.T) {
		t.Parallel()
		m := planned(t, Plan{Items: []Item{simple("a")}}).ack("a").answerRelease(StatusError, CommandError{Code: 12, Domain: "MDM"})
		assert.Equal(t, StateReleasing, m.s.State)
		assert.Len(t, m.effects(EffectAskAwaiting), 1)
	})
}

func TestAnUnansweredReleaseIsSentFiveTimesThenAlerted(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{}).after(10 * time.Minute)
	sent := m.effects(EffectRelease)
	require.Len(t, sent, 5)
	ids := map[string]bool{}
	for _, e := range sent {
		ids[e.Command] = true
	}
	assert.Len(t, ids, 5, "each has an id of its own")
	assert.Contains(t, m.activities(), "setup_release_unanswered")
	assert.GreaterOrEqual(t, len(m.effects(EffectPush)), 4)
	m.do(CommandResult{CommandUUID: sent[1].Command, Status: StatusAcknowledged})
	assert.Equal(t, StateReleased, m.s.State, "the answer to any of them counts")

	m = planned(t, Plan{}).after(30 * time.Hour)
	assert.Equal(t, StateAbandoned, m.s.State)
	m.awaiting(storage.AwaitingTrue)
	assert.Equal(t, StateReleasing, m.s.State, "it is not given up for good")
}

func TestNotNowToAReleaseWaits(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{}).after(80 * time.Second).answerRelease(StatusNotNow).after(80 * time.Second)
	assert.Equal(t, StateReleasing, m.s.State)
	assert.Len(t, m.effects(EffectRelease), 1, "the command is still in the queue")
}

func TestASupersededRunBeginsAgainIfItsDeviceWaits(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{simple("a")}})
	first := m.execution("a")
	m.do(WipeIssued{})
	assert.Equal(t, ItemCancelled, m.item("a").State)
	m.awaiting(storage.AwaitingTrue)
	assert.Equal(t, StateRunning, m.s.State)
	assert.NotEqual(t, first, m.execution("a"), "a new command: the old one was dropped with the queue")
}

func TestUnheldRunsAreNotReleased(t *testing.T) {
	t.Parallel()
	hold := simple("a")
	hold.Class, hold.OnFailure, hold.MaxAttempts = Required, PolicyHold, 1
	m := newSim(t).awaiting(storage.AwaitingUnknown)
	m.do(PlanResolved{Plan: Plan{Items: []Item{hold, accountItem("acc")}}})
	assert.Equal(t, ReasonAwaitLost, m.item("acc").Reason)
	m.answer("a", StatusError)
	assert.Equal(t, StateClosed, m.s.State)
	assert.Equal(t, ReleaseCompleteWithFailures, m.s.EndReason)
	assert.Empty(t, m.effects(EffectRelease))
	m.awaiting(storage.AwaitingTrue)
	assert.Len(t, m.effects(EffectRelease), 1, "unless it waits after all")
}
