package setupexp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// refused answers the latest release with an error and the question that follows with "I wait".
func (m *sim) refused() *sim {
	return m.answerRelease(StatusError, CommandError{Code: 12, Domain: "X"}).
		do(queryAnswered{Key: queryAwaiting, Awaiting: storage.AwaitingTrue})
}

func TestADeviceThatGoesOnWaitingIsReleasedAgainAndAgain(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{})
	began := m.at
	for m.at.Sub(began) < 24*time.Hour {
		m.refused().after(time.Minute)
	}
	sent := m.effects(EffectRelease)
	assert.Equal(t, StateReleasing, m.s.State)
	assert.Greater(t, len(sent), 24*15, "rounds of 5, about 16 minutes each")
	assert.Less(t, len(sent), 24*25, "not without a pause")
	ids := map[string]bool{}
	for _, e := range sent {
		ids[e.Command] = true
	}
	assert.Len(t, ids, len(sent))
	m.answerRelease(StatusAcknowledged)
	assert.Equal(t, StateReleased, m.s.State)
}

func TestOneWordOfTheDeviceIsOneRound(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{}).after(30 * time.Minute)
	require.Len(t, m.effects(EffectRelease), 5)
	m.awaiting(storage.AwaitingTrue).after(20 * time.Hour)
	assert.Len(t, m.effects(EffectRelease), 10)
	assert.Equal(t, StateReleasing, m.s.State)
	m.after(5 * time.Hour)
	assert.Equal(t, StateAbandoned, m.s.State)
}

func TestADeviceThatSaysNothingOfItsWaitIsAsked(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{}).after(time.Hour)
	asked := len(m.effects(EffectAskAwaiting))
	m.after(time.Hour)
	assert.Len(t, m.effects(EffectAskAwaiting), asked, "not while it is silent")
	m.do(DeviceContact{Kind: "Idle"}).after(20 * time.Minute)
	assert.Len(t, m.effects(EffectAskAwaiting), asked+1)
	m.do(queryAnswered{Key: queryAwaiting, Awaiting: storage.AwaitingTrue})
	assert.Len(t, m.effects(EffectRelease), 6)
}

func TestAForcedReleaseIsSentAtOnce(t *testing.T) {
	t.Parallel()
	force := Admin{Action: ActionRelease, Force: true, Actor: "user:ada"}
	account := accountItem("acc")
	for _, tt := range []struct {
		name  string
		given *sim
		sends int
	}{
		{"after the last of a round", planned(t, Plan{}).after(time.Hour), 6},
		{"within a round", planned(t, Plan{}), 2},
		{"to a device that is taken for released", planned(t, Plan{}).answerRelease(StatusAcknowledged), 2},
		{"in the grace of what works only while the device waits", planned(t, Plan{Items: []Item{account}}).do(force), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := tt.given.do(force)
			assert.Equal(t, StateReleasing, m.s.State)
			assert.Len(t, m.effects(EffectRelease), tt.sends)
		})
	}
	m := planned(t, Plan{})
	require.ErrorIs(t, m.s.admissible(Admin{Action: ActionRelease}), ErrNotAllowed, "not without force")
}

func TestARunThatBeginsAgainNumbersItsReleasesOn(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{}).after(4 * time.Minute)
	require.Len(t, m.effects(EffectRelease), 3)
	m.do(WipeIssued{}).awaiting(storage.AwaitingTrue).after(10 * time.Minute)
	ids := map[string]bool{}
	sent := m.effects(EffectRelease)
	for _, e := range sent {
		ids[e.Command] = true
	}
	assert.Len(t, sent, 8)
	assert.Len(t, ids, 8)
	m.do(CommandResult{CommandUUID: sent[0].Command, Status: StatusAcknowledged})
	assert.Equal(t, StateReleasing, m.s.State, "what was sent before the wipe releases nobody")
	m.do(CommandResult{CommandUUID: sent[4].Command, Status: StatusAcknowledged})
	assert.Equal(t, StateReleased, m.s.State)
}
