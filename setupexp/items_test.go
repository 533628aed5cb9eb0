package setupexp

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAttemptsAreBoxedFromTheirDispatchAndRetried(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{simple("a")}})
	m.after(2 * time.Minute)
	assert.Equal(t, ItemBackoff, m.item("a").State)
	assert.Equal(t, ReasonTimedOut, m.item("a").Reason)
	assert.Len(t, m.effects(EffectCancel), 1)
	m.after(10 * time.Second)
	assert.Equal(t, ItemDispatched, m.item("a").State)
	m.after(2 * time.Minute)
	assert.Equal(t, ItemFailed, m.item("a").State)
	assert.Equal(t, StateReleasing, m.s.State)
	assert.Equal(t, ReleaseCompleteWithFailures, m.s.Release.Reason)
}

func TestLateSuccessIsTakenAndBlocksNobody(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{simple("a"), simple("b")}}).ack("b").after(5 * time.Minute)
	require.Equal(t, ItemFailed, m.item("a").State)
	m.answerRelease(StatusAcknowledged)
	m.ack("a")
	assert.Equal(t, ItemSucceeded, m.item("a").State)
	assert.True(t, m.item("a").Late)
	assert.Equal(t, StateReleased, m.s.State)
}

func TestNotNowParksThenDefers(t *testing.T) {
	t.Parallel()
	it := simple("a")
	m := planned(t, Plan{Items: []Item{it, scriptItem("s")}})
	m.after(time.Minute).answer("a", StatusNotNow)
	assert.Equal(t, ItemParked, m.item("a").State)
	m.after(150 * time.Second) // longer than what was left of the attempt
	assert.Equal(t, ItemParked, m.item("a").State, "the attempt's clock stands still")
	m.answer("a", StatusNotNow)
	m.after(31 * time.Second)
	assert.True(t, m.item("a").Deferred, "the limit counts from the first NotNow")
	assert.Equal(t, ItemDeferred, m.s.view().Items[0].State)
	m.ack("a")
	assert.Equal(t, ItemSucceeded, m.item("a").State)

	m = planned(t, Plan{Items: []Item{accountItem("acc")}}).answer("acc", StatusNotNow).after(3 * time.Minute)
	assert.Equal(t, ItemFailed, m.item("acc").State, "what works only now cannot wait")
	assert.Equal(t, ReasonNotNow, m.item("acc").Reason)
}

func TestErrorsArePermanentByKind(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{simple("a"), simple("b")}})
	m.answer("a", StatusFormatError)
	assert.Equal(t, ReasonPermanent, m.item("a").Reason)
	m.answer("b", StatusError, CommandError{Code: 4001, Domain: "MCInstallationErrorDomain", Description: "invalid"})
	assert.Equal(t, ItemBackoff, m.item("b").State)
	assert.Contains(t, m.item("b").Detail, "invalid")
}

func TestDependenciesAndLanes(t *testing.T) {
	t.Parallel()
	one := Package("one", "One", ProofAcknowledged, packageSpec())
	two := Package("two", "Two", ProofAcknowledged, packageSpec())
	two.Order = -1
	after := simple("after")
	after.After = []Dependency{{ID: "one"}}
	anyway := simple("anyway")
	anyway.After = []Dependency{{ID: "one", Anyway: true}}
	one.MaxAttempts = 1
	m := planned(t, Plan{Items: []Item{one, two, after, anyway}})
	assert.Equal(t, ItemDispatched, m.item("two").State, "its order is lower")
	assert.Equal(t, ItemReady, m.item("one").State, "one installer at a time")
	m.ack("two")
	assert.Equal(t, ItemDispatched, m.item("one").State)
	m.answer("one", StatusError)
	assert.Equal(t, ItemSkipped, m.item("after").State)
	assert.Equal(t, ReasonDependencyFailed, m.item("after").Reason)
	assert.Equal(t, ItemDispatched, m.item("anyway").State)
}

func TestSkipIfPresent(t *testing.T) {
	t.Parallel()
	it := profileItem("a")
	it.SkipIfPresent = true
	m := planned(t, Plan{Items: []Item{it}})
	assert.Equal(t, ItemGating, m.item("a").State)
	require.Len(t, m.effects(EffectProbe), 1)
	there := *m
	there.do(queryAnswered{Key: "profile", Presence: map[string]Presence{"a": Installed}})
	assert.Equal(t, ItemSkipped, there.item("a").State)
	assert.Equal(t, ReleaseComplete, there.s.Release.Reason)
	m.do(queryAnswered{Key: "profile", Presence: map[string]Presence{"a": Absent}})
	assert.Equal(t, ItemDispatched, m.item("a").State)
}

func TestTheAgentIsItsOwnProof(t *testing.T) {
	t.Parallel()
	plan := Plan{Items: []Item{AgentPackage("agent", "Agent", packageSpec()), scriptItem("s")}}
	m := planned(t, plan)
	assert.Equal(t, ItemReady, m.item("s").State)
	m.ack("agent")
	assert.Equal(t, ItemVerifying, m.item("agent").State, "acknowledged is not installed")
	m.after(154 * time.Second)
	assert.Equal(t, ItemBackoff, m.item("agent").State)
	m.after(10 * time.Second)
	assert.Equal(t, 2, m.item("agent").Attempt, "it is installed once more")
	m.do(AgentHello{Version: "1.0", Capabilities: []string{CapabilityScripts}})
	assert.Equal(t, ItemSucceeded, m.item("agent").State)
	assert.Equal(t, ItemDispatched, m.item("s").State)
	m.do(AgentProgress{ExecutionID: m.execution("s"), Percent: 50})
	assert.Equal(t, ItemAccepted, m.item("s").State)
	m.do(AgentResult{ExecutionID: m.execution("s"), Output: strings.Repeat("x", 2*MaxOutput)})
	assert.Equal(t, ItemSucceeded, m.item("s").State)
	assert.Len(t, m.item("s").Output, MaxOutput)
	assert.Equal(t, ReleaseComplete, m.s.Release.Reason)
}

func TestAMissingAgentHoldsNobody(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{scriptItem("s")}}).after(5 * time.Minute)
	assert.Equal(t, ReasonAgentMissing, m.item("s").Reason)
	assert.Equal(t, StateReleasing, m.s.State)

	m = planned(t, Plan{Items: []Item{scriptItem("s")}}).do(AgentHello{Version: "0.1"})
	assert.Equal(t, ReasonUnsupported, m.item("s").Reason, "an agent that cannot run scripts")
}

func TestHoldRetryAndSkip(t *testing.T) {
	t.Parallel()
	it := simple("a")
	it.Class, it.OnFailure, it.MaxAttempts = Required, PolicyHold, 1
	dep := simple("dep")
	dep.After = []Dependency{{ID: "a"}}
	plan := Plan{Items: []Item{it, dep}, Hold: time.Hour}
	held := planned(t, plan).answer("a", StatusError)
	require.Equal(t, StateHeld, held.s.State)
	assert.Equal(t, start().Add(time.Hour), held.s.view().Deadline)

	again := *held
	again.do(Admin{Action: ActionRetry, Actor: "user:ada"})
	assert.Equal(t, StateRunning, again.s.State)
	assert.Equal(t, ItemBlocked, again.item("dep").State, "what depends on it is tried too")
	again.ack("a").ack("dep")
	assert.Equal(t, ReleaseComplete, again.s.Release.Reason)

	skipped := *held
	skipped.do(Admin{Action: ActionSkip, Items: []string{"a"}})
	assert.Equal(t, StateReleasing, skipped.s.State)

	late := *held
	late.after(time.Hour)
	assert.Equal(t, ReleaseHoldDeadline, late.s.Release.Reason)
	assert.Contains(t, late.activities(), "setup_waiting")

	forever := plan
	forever.HoldForever = true
	kept := planned(t, forever).answer("a", StatusError).after(100 * time.Hour)
	assert.Equal(t, StateHeld, kept.s.State)
	kept.do(Admin{Action: ActionRelease, Force: true})
	assert.Equal(t, ReleaseForcedAdmin, kept.s.Release.Reason)
}

func TestFailurePolicies(t *testing.T) {
	t.Parallel()
	for policy, want := range map[Policy]ItemState{PolicyReleaseNow: ItemDispatched, PolicyCancelAll: ItemCancelled} {
		it := simple("a")
		it.OnFailure = policy
		m := planned(t, Plan{Items: []Item{it, simple("b")}}).answer("a", StatusFormatError)
		assert.Equal(t, StateReleasing, m.s.State, policy)
		assert.Equal(t, ReleasePolicy, m.s.Release.Reason)
		assert.Equal(t, want, m.item("b").State)
	}
}

func TestManualReleaseWaitsForAPerson(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{simple("a")}, Manual: true})
	m.do(Admin{Action: ActionRelease})
	assert.Equal(t, StateRunning, m.s.State, "not without force before it is done")
	m.ack("a").after(10 * time.Hour)
	assert.Equal(t, StateReadyManual, m.s.State)
	m.do(Admin{Action: ActionRelease, Actor: "user:ada"})
	assert.Equal(t, ReleaseManual, m.s.Release.Reason)
}

func TestTheDeadlineReleasesAndWorkGoesOn(t *testing.T) {
	t.Parallel()
	long := simple("long")
	long.Timeout = 3 * time.Hour
	account := accountItem("acc")
	account.Timeout = time.Hour
	m := planned(t, Plan{Items: []Item{long, account}, Deadline: 10 * time.Minute}).after(10 * time.Minute)
	assert.Equal(t, StateReleasing, m.s.State)
	assert.Empty(t, m.effects(EffectRelease), "await-only items get some grace")
	m.after(30 * time.Second)
	assert.Equal(t, ItemFailed, m.item("acc").State)
	require.Len(t, m.effects(EffectRelease), 1)
	m.answerRelease(StatusAcknowledged)
	assert.Equal(t, StateFinishing, m.s.State)
	m.after(time.Hour).ack("long")
	assert.Equal(t, ItemSucceeded, m.item("long").State)
	assert.Equal(t, StateClosed, m.s.State)
}

func TestASilentDeviceIsPushedThenAlerted(t *testing.T) {
	t.Parallel()
	it := simple("a")
	it.Timeout = 20 * time.Minute
	m := planned(t, Plan{Items: []Item{it}}).after(11 * time.Minute)
	assert.Len(t, m.effects(EffectPush), 4, "after 30 s, 1, 2 and 4 min more")
	assert.Contains(t, m.activities(), "setup_device_silent")
	m.do(DeviceContact{Kind: "Idle"})
	assert.Zero(t, m.s.Contact.Pushes)
}

func TestConfigurationRemovedDuringTheRun(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{simple("a"), simple("b")}}).ack("a").do(PlanChanged{Removed: []string{"b", "x"}})
	assert.Equal(t, ReasonConfigRemoved, m.item("b").Reason)
	assert.Equal(t, StateReleasing, m.s.State)
}

func TestTheWaitForAnAgentIsBoundedHoweverItsItemEnds(t *testing.T) {
	t.Parallel()
	config := simple("config")
	config.MaxAttempts = 1
	dependent := AgentPackage("agent", "Agent", packageSpec())
	dependent.After = []Dependency{{ID: "config"}}
	present := AgentPackage("agent", "Agent", packageSpec())
	present.SkipIfPresent = true
	acknowledged := AgentPackage("agent", "Agent", packageSpec())
	acknowledged.Proof = ProofAcknowledged
	plain := AgentPackage("agent", "Agent", packageSpec())
	for _, tt := range []struct {
		name string
		end  func() *sim
		wait time.Duration
	}{
		{"it is skipped with what it depends on", func() *sim {
			return planned(t, Plan{Items: []Item{config, dependent, scriptItem("s")}}).answer("config", StatusError)
		}, 0},
		{"it is there already", func() *sim {
			m := planned(t, Plan{Items: []Item{present, scriptItem("s")}})
			return m.do(queryAnswered{Key: "package", Presence: map[string]Presence{"agent": Installed}})
		}, 5 * time.Minute},
		{"it is proven by its acknowledgement", func() *sim {
			return planned(t, Plan{Items: []Item{acknowledged, scriptItem("s")}}).ack("agent")
		}, 5 * time.Minute},
		{"it fails", func() *sim {
			return planned(t, Plan{Items: []Item{plain, scriptItem("s")}}).answer("agent", StatusFormatError)
		}, 0},
		{"a person skips it", func() *sim {
			m := planned(t, Plan{Items: []Item{plain, scriptItem("s")}})
			return m.do(Admin{Action: ActionSkip, Items: []string{"agent"}})
		}, 5 * time.Minute},
		{"a person cancels it", func() *sim {
			m := planned(t, Plan{Items: []Item{plain, scriptItem("s")}})
			return m.do(Admin{Action: ActionCancel, Items: []string{"agent"}})
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := tt.end()
			if tt.wait > 0 {
				m.after(tt.wait - time.Second)
				assert.Equal(t, ItemReady, m.item("s").State)
				m.after(time.Second)
			}
			assert.Equal(t, ItemFailed, m.item("s").State)
			assert.Equal(t, ReasonAgentMissing, m.item("s").Reason)
			assert.Equal(t, StateReleasing, m.s.State)
		})
	}
}

func TestWhatWaitsForAnAgentInTheBackgroundGoesOnThere(t *testing.T) {
	t.Parallel()
	m := planned(t, Plan{Items: []Item{AgentPackage("agent", "Agent", packageSpec()), scriptItem("s")}})
	m.answer("agent", StatusNotNow).after(3 * time.Minute)
	assert.True(t, m.item("agent").Deferred)
	assert.True(t, m.item("s").Deferred)
	assert.Equal(t, StateReleasing, m.s.State, "a busy device is not kept")
}

func TestWhatWasThereBeforeIsNoProof(t *testing.T) {
	t.Parallel()
	there := queryAnswered{Key: "profile", Presence: map[string]Presence{"a": Installed, "b": Installed}}
	m := planned(t, Plan{Items: []Item{profileItem("a"), profileItem("b")}}).ack("a")
	dispatched := *m
	dispatched.do(there)
	assert.Equal(t, ItemSucceeded, dispatched.item("a").State)
	assert.Equal(t, ItemDispatched, dispatched.item("b").State)
	dispatched.ack("b").do(there)
	assert.Equal(t, ItemSucceeded, dispatched.item("b").State)

	m.answer("b", StatusNotNow).do(there)
	assert.Equal(t, ItemParked, m.item("b").State)
	m.do(Evidence{Item: "b", Presence: Installed})
	assert.Equal(t, ItemSucceeded, m.item("b").State, "somebody vouches for it")

	m = planned(t, Plan{Items: []Item{profileItem("a")}}).after(2 * time.Minute)
	require.Equal(t, ItemBackoff, m.item("a").State)
	m.do(there)
	assert.Equal(t, ItemBackoff, m.item("a").State, "an attempt that was never answered")
}
