package setupexp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// heldByFailure returns a run that the failure of "a" holds for an hour; a person cancelled "b" and gave up "c".
func heldByFailure(t *testing.T) *sim {
	t.Helper()
	a, c := simple("a"), simple("c")
	a.Class, a.OnFailure, a.MaxAttempts = Required, PolicyHold, 1
	c.Class, c.OnFailure, c.MaxAttempts = Required, PolicyHold, 1
	m := planned(t, Plan{Items: []Item{a, simple("b"), c}, Hold: time.Hour})
	m.do(Admin{Action: ActionCancel, Actor: "user:ada", Items: []string{"b"}})
	m.answer("c", StatusError).do(Admin{Action: ActionSkip, Actor: "user:ada", Items: []string{"c"}})
	m.answer("a", StatusError)
	require.Equal(t, StateHeld, m.s.State)
	return m
}

func TestARetryAtTheDeviceLeavesAloneWhatAPersonDecided(t *testing.T) {
	t.Parallel()
	for _, items := range [][]string{nil, {"a", "b", "c"}} {
		m := heldByFailure(t).do(Admin{Action: ActionRetry, ByAgent: true, Items: items})
		assert.Equal(t, StateRunning, m.s.State)
		assert.Equal(t, ItemDispatched, m.item("a").State)
		assert.Equal(t, ItemCancelled, m.item("b").State)
		assert.Equal(t, ItemFailed, m.item("c").State)
	}
	m := heldByFailure(t).do(Admin{Action: ActionRetry, Actor: "user:ada"})
	assert.Equal(t, ItemDispatched, m.item("b").State, "a person may decide anew")
	assert.Equal(t, ItemDispatched, m.item("c").State)

	m = planned(t, Plan{Items: []Item{simple("a")}}).do(Admin{Action: ActionHold, Actor: "user:ada"})
	m.do(Admin{Action: ActionRetry, ByAgent: true})
	assert.Equal(t, StateHeld, m.s.State, "nor does it end a person's hold")
}

func TestRetriesAtTheDeviceHoldNobodyForEver(t *testing.T) {
	t.Parallel()
	retry := Admin{Action: ActionRetry, ByAgent: true}
	m := heldByFailure(t)
	began := m.at
	for range 100 {
		m.after(10 * time.Minute).do(retry)
		if m.s.State == StateRunning {
			m.answer("a", StatusError)
		}
	}
	require.NotNil(t, m.s.Release)
	assert.Equal(t, ReleaseHoldDeadline, m.s.Release.Reason)
	assert.Equal(t, began.Add(time.Hour), m.s.Release.DecidedAt, "the hold did not begin anew")
	assert.Equal(t, 4, m.item("a").Dispatches, "three retries")

	m = heldByFailure(t).do(retry).answer("a", StatusError).do(retry).answer("a", StatusError).do(retry).answer("a", StatusError)
	require.ErrorIs(t, m.s.admissible(retry), ErrNotAllowed)
	m.after(30*time.Minute).do(Admin{Action: ActionRetry, Actor: "user:ada"}).answer("a", StatusError)
	assert.Equal(t, m.at.Add(time.Hour), m.s.Hold.Until, "a person begins it anew")
}
