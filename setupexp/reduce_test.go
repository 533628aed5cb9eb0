package setupexp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

func TestARunThatIsOverRecordsOnlyResultsOfItsOwn(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{simple("a")}}).ack("a").answerRelease(StatusAcknowledged).after(time.Hour)
	require.Equal(t, StateClosed, m.s.State)
	ours := CommandResult{CommandUUID: m.execution("a"), Status: StatusAcknowledged}
	for _, tt := range []struct {
		body EventBody
		want int
	}{
		{DeviceContact{Kind: "Idle"}, 0},
		{CommandResult{CommandUUID: "inventory", Status: StatusAcknowledged}, 0},
		{AgentHello{Version: "1"}, 0},
		{AgentResult{ExecutionID: "of another run"}, 0},
		{ours, 1},
		{CommandResult{CommandUUID: m.s.releaseID(1), Status: StatusError}, 1},
		{AgentResult{ExecutionID: m.execution("a")}, 1},
	} {
		next, out := Reduce(m.s, Event{At: m.at, Body: tt.body})
		assert.Len(t, out, tt.want, "%#v", tt.body)
		assert.Equal(t, jsonOf(t, m.s), jsonOf(t, next))
	}
	once, out := Reduce(m.s, Event{ID: "x", At: m.at, Body: ours})
	require.Len(t, out, 1)
	_, out = Reduce(once, Event{ID: "x", At: m.at, Body: ours})
	assert.Empty(t, out, "a result that is delivered twice is recorded once")
}

func TestAFastClockEndsNothing(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Deadline: time.Minute, Items: []Item{simple("a"), simple("b")}})
	began := m.at
	m.at = began.Add(5 * time.Minute) // a replica's clock
	m.do(DeviceContact{Kind: "Idle"}).ack("a").do(DeviceContact{Kind: "Idle"})
	assert.Equal(t, StateRunning, m.s.State)
	assert.Equal(t, ItemSucceeded, m.item("a").State)
	assert.Equal(t, ItemDispatched, m.item("b").State)
	assert.WithinDuration(t, began, m.s.Now, 2*time.Minute)
	m.do(Tick{})
	assert.Equal(t, StateReleasing, m.s.State, "a tick is believed")
}

// TestAfterAnOutageWorkHasItsTime has a device answer before the first tick after the server was down.
func TestAfterAnOutageWorkHasItsTime(t *testing.T) {
	t.Parallel()
	b := simple("b")
	b.After = []Dependency{{ID: "a"}}
	m := planned(t, Plan{Deadline: 2 * time.Hour, Items: []Item{simple("a"), b}})
	m.at = m.at.Add(40 * time.Minute)
	m.ack("a").do(Tick{})
	assert.Equal(t, ItemDispatched, m.item("b").State, "%+v", m.item("b"))
}

func TestTheNonceIsPartOfAllCommands(t *testing.T) {
	t.Parallel()
	run := func(nonce string) []string {
		m := newSim(t)
		m.s.Nonce = nonce
		m.awaiting(storage.AwaitingTrue).do(PlanResolved{Plan: Plan{Items: []Item{profileItem("a")}}})
		m.ack("a").awaiting(storage.AwaitingUnknown).do(Admin{Action: ActionRelease, Force: true})
		var ids []string
		for _, e := range m.all {
			if e.Command != "" {
				ids = append(ids, e.Command)
			}
		}
		return ids
	}
	first, second := run("one"), run("two")
	require.Len(t, first, 4, "an attempt, a look, a question and a release")
	assert.Equal(t, first, run("one"))
	for i := range first {
		assert.NotEqual(t, first[i], second[i])
	}
}
