package setupexp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/internal/plist"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// queue is a Commander that keeps commands as an MDM server does.
type queue struct {
	mu       sync.Mutex
	ids      []string
	commands map[string]string // request type by UUID
	raw      map[string][]byte
	pushes   int
	fail     error
}

func newQueue() *queue {
	return &queue{commands: make(map[string]string), raw: make(map[string][]byte)}
}

func (q *queue) Enqueue(ctx context.Context, _, uuid string, command []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if q.fail != nil {
		return q.fail
	}
	if _, ok := q.commands[uuid]; ok {
		return nil
	}
	var c struct {
		CommandUUID string
		Command     struct{ RequestType string }
	}
	if err := plist.Unmarshal(command, &c); err != nil || c.CommandUUID != uuid {
		return fmt.Errorf("bad command %q: %w", command, err)
	}
	q.ids = append(q.ids, uuid)
	q.commands[uuid], q.raw[uuid] = c.Command.RequestType, command
	return nil
}

func (q *queue) Push(context.Context, string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushes++
	return nil
}

// of returns the UUIDs of the commands of one type, in order.
func (q *queue) of(requestType string) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(q.ids), func(id string) bool { return q.commands[id] != requestType })
}

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// bench is a tracker with all around it.
type bench struct {
	*Tracker
	t     *testing.T
	store Store
	queue *queue
	clock *clock
	plan  *Plan
	keys  *AgentKeys
}

func newBench(t *testing.T, plan *Plan, opts ...Option) *bench {
	t.Helper()
	b := &bench{t: t, store: memory.New(), queue: newQueue(), clock: &clock{at: start()}, plan: plan}
	keys, err := NewAgentKeys([]byte(strings.Repeat("k", 32)))
	require.NoError(t, err)
	b.keys = keys
	b.enroll(1)
	b.Tracker = b.tracker(b.store, opts...)
	return b
}

func (b *bench) tracker(store Store, opts ...Option) *Tracker {
	b.t.Helper()
	planner := PlannerFunc(func(context.Context, Subject) (*Plan, error) { return b.plan, nil })
	opts = append([]Option{WithClock(b.clock.now), WithAgentKeys(b.keys)}, opts...)
	tr, err := New(store, planner, b.queue, InsecureNoSealer{}, opts...)
	require.NoError(b.t, err)
	return tr
}

// enroll stores the enrollment in a generation, as the check-ins do.
func (b *bench) enroll(generation int64) {
	b.t.Helper()
	e, err := b.store.GetEnrollment(b.t.Context(), testDevice)
	if err != nil {
		require.ErrorIs(b.t, err, storage.ErrNotFound)
		e = storage.Enrollment{ID: testDevice, UDID: testDevice, Serial: "C02XK1JDJGH5", Account: "acme", Product: "Mac15,3"}
	}
	e.State, e.Generation = storage.EnrollmentEnrolled, generation
	e.ProfilesAppliedAt, e.ReleasedAt = time.Time{}, time.Time{}
	require.NoError(b.t, b.store.PutEnrollment(b.t.Context(), e))
}

func (b *bench) observe(body EventBody) {
	b.t.Helper()
	require.NoError(b.t, b.Observe(b.t.Context(), Event{EnrollmentID: testDevice, Body: body}))
}

func (b *bench) waits() {
	b.t.Helper()
	b.observe(AwaitingSeen{Awaiting: storage.AwaitingTrue, Source: "TokenUpdate"})
}

// work does all that is due.
func (b *bench) work() {
	b.t.Helper()
	for range 50 {
		ticked, err := b.Tick(b.t.Context())
		require.NoError(b.t, err)
		b.clock.add(time.Millisecond) // effects of one step are due a microsecond apart
		drained, err := b.Drain(b.t.Context())
		require.NoError(b.t, err)
		if ticked+drained == 0 {
			return
		}
	}
	b.t.Fatal("there is always something to do")
}

func (b *bench) view() View {
	b.t.Helper()
	v, err := b.Status(b.t.Context(), testDevice)
	require.NoError(b.t, err)
	return v
}

func (b *bench) enrollment() storage.Enrollment {
	b.t.Helper()
	e, err := b.store.GetEnrollment(b.t.Context(), testDevice)
	require.NoError(b.t, err)
	return e
}

func (b *bench) ack(uuid string) {
	b.t.Helper()
	b.observe(CommandResult{CommandUUID: uuid, Status: StatusAcknowledged})
}

func (b *bench) kinds() []string {
	b.t.Helper()
	acts, _, err := b.store.ListActivities(b.t.Context(), storage.ActivityFilter{}, storage.Page{Limit: 1000})
	require.NoError(b.t, err)
	var kinds []string
	for _, a := range acts {
		kinds = append(kinds, a.Kind)
	}
	return kinds
}

func TestDeviceIsReleasedInTheStepOfItsLastItem(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi"), simple("vpn")}})
	b.waits()
	b.work()
	ids := b.queue.of("InstallProfile")
	require.Len(t, ids, 2)
	b.ack(ids[0])
	assert.Equal(t, StateRunning, b.view().State)
	assert.Equal(t, "vpn", b.view().Blocker)
	b.ack(ids[1])
	// No work in between: the decision and the moved enrollment are stored with the last result.
	assert.Equal(t, StateReleasing, b.view().State)
	assert.Equal(t, storage.EnrollmentProfilesApplied, b.enrollment().State)
	b.work()
	release := b.queue.of("DeviceConfigured")
	require.Len(t, release, 1)
	b.ack(release[0])
	assert.Equal(t, storage.EnrollmentReleased, b.enrollment().State)
	assert.Equal(t, ReleaseComplete, b.view().ReleaseReason)
	assert.True(t, b.view().Done)
	b.clock.add(time.Minute)
	b.work()
	assert.Equal(t, StateClosed, b.view().State)
	assert.Equal(t, []string{
		"setup_started", "setup_planned", "setup_item_changed", "setup_item_changed", "setup_item_changed",
		"setup_item_changed", "setup_profiles_applied", "setup_release_decided", "setup_released", "setup_closed",
	}, b.kinds())
}

func TestAnEmptyPlanReleasesAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.waits()
	b.work()
	require.Len(t, b.queue.of("DeviceConfigured"), 1)
	assert.Equal(t, ReleaseNothingToDo, b.view().ReleaseReason)
}

func TestAPlannerThatFailsDoesNotKeepTheDevice(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	calls := 0
	b.planner = PlannerFunc(func(context.Context, Subject) (*Plan, error) {
		calls++
		return nil, errors.New("database is down")
	})
	b.waits()
	for range 90 {
		_, err := b.Tick(t.Context())
		require.NoError(t, err)
		_, _ = b.Drain(t.Context())
		b.clock.add(time.Second)
	}
	assert.Greater(t, calls, 3, "it is asked again")
	assert.Equal(t, ReleasePlanTimeout, b.view().ReleaseReason)
	assert.Len(t, b.queue.of("DeviceConfigured"), 1)
	assert.Contains(t, b.kinds(), "setup_plan_failed")
}

func TestEventsOfAnOlderGenerationChangeNothingAndAreRecorded(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.work()
	old := b.queue.of("InstallProfile")[0]
	b.enroll(2)
	b.observe(Authenticated{})
	first, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	assert.Equal(t, string(StateSuperseded), first.State)
	b.waits()
	b.work()
	before := b.view()
	assert.Equal(t, int64(2), before.Generation)
	require.NoError(t, b.Observe(t.Context(), Event{
		EnrollmentID: testDevice, Generation: 1, Body: CommandResult{CommandUUID: old, Status: StatusAcknowledged},
	}))
	assert.Equal(t, before.Version, b.view().Version)
	assert.Contains(t, b.kinds(), "setup_event_ignored")
	assert.NotEqual(t, old, b.queue.of("InstallProfile")[1], "each generation has commands of its own")
}

func TestAMissedAuthenticateDoesNotMatter(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.enroll(2)
	b.waits()
	assert.Equal(t, int64(2), b.view().Generation)
	assert.Equal(t, StatePlanning, b.view().State)
}

func TestADeliveredTwiceEventCountsOnce(t *testing.T) {
	t.Parallel()
	item := simple("wifi")
	item.MaxAttempts = 5
	b := newBench(t, &Plan{Items: []Item{item}})
	b.waits()
	b.work()
	ev := Event{ID: "m1", EnrollmentID: testDevice, Body: CommandResult{
		CommandUUID: b.queue.of("InstallProfile")[0], Status: StatusError,
	}}
	require.NoError(t, b.Observe(t.Context(), ev))
	version := b.view().Version
	require.NoError(t, b.Observe(t.Context(), ev))
	assert.Equal(t, version, b.view().Version)
	assert.Equal(t, 1, b.view().Items[0].Attempt)
}

func TestADispatchThatCannotWorkFailsTheAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{{
		ID: "vpp", Kind: "vpp", Title: "App", Class: Blocking, Lane: "appstore", Timeout: time.Hour, MaxAttempts: 1,
		Proof: ProofAcknowledged,
	}}}, WithExecutor("vpp", failing{}))
	b.waits()
	b.work()
	v := b.view()
	assert.Equal(t, ItemFailed, v.Items[0].State)
	assert.Equal(t, ReasonDispatchError, v.Items[0].Reason)
	assert.Contains(t, v.Items[0].Text, "no licences")
	assert.Equal(t, ReleaseCompleteWithFailures, v.ReleaseReason)
}

type failing struct{}

func (failing) Dispatch(context.Context, Task) error {
	return fmt.Errorf("%w: no licences left", ErrPermanent)
}

func TestProfilesAreVerifiedByTheDevicesList(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{profileItem("wifi"), profileItem("vpn")}})
	b.waits()
	b.work()
	for _, id := range b.queue.of("InstallProfile") {
		b.ack(id)
	}
	b.work()
	list := b.queue.of("ProfileList")
	require.Len(t, list, 1, "one list serves all profiles")
	raw, err := plist.Marshal(map[string]any{"ProfileList": []map[string]any{
		{"PayloadIdentifier": "com.example.wifi", "PayloadUUID": "1"},
	}})
	require.NoError(t, err)
	b.observe(CommandResult{CommandUUID: list[0], Status: StatusAcknowledged, Raw: raw})
	assert.Equal(t, ItemSucceeded, b.view().Items[0].State)
	assert.Equal(t, ItemVerifying, b.view().Items[1].State)
	b.clock.add(10 * time.Second)
	b.work()
	require.Len(t, b.queue.of("ProfileList"), 2, "it looks again")
}

func TestSpecsAreSealedInTheStore(t *testing.T) {
	t.Parallel()
	item := Profile("wifi", "Wi-Fi", "com.example.wifi", []byte("the password is hunter2"))
	item.Proof = ProofAcknowledged
	b := newBench(t, &Plan{Items: []Item{item}})
	b.sealer = newSealer(t)
	b.waits()
	b.work()
	run, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	assert.NotContains(t, string(run.Document), string(item.Spec))
	assert.True(t, json.Valid(run.Document))
	ids := b.queue.of("InstallProfile")
	require.Len(t, ids, 1)
	b.ack(ids[0])
	assert.Equal(t, StateReleasing, b.view().State)
}

func TestSpecsAreForgottenWhenTheRunEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.work()
	doc := func(generation int64) string {
		run, err := b.store.GetRun(t.Context(), RunID(testDevice, generation))
		require.NoError(t, err)
		return string(run.Document)
	}
	require.NotContains(t, doc(1), `"specs":{}`)
	b.finish()
	assert.Contains(t, doc(1), `"specs":{}`)
	b.enroll(2)
	b.waits()
	b.work()
	require.NotContains(t, doc(2), `"specs":{}`)
	b.enroll(3)
	b.observe(Authenticated{})
	assert.Contains(t, doc(2), `"specs":{}`)
}

func TestADeviceThatComesBackInItsGenerationGetsItsPlanAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.work()
	b.observe(CheckedOut{})
	b.waits()
	b.work()
	assert.Equal(t, StateRunning, b.view().State)
	assert.Len(t, b.queue.of("InstallProfile"), 2)
}

func TestLateAnswersAreRecordedAndNothingElseIs(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.finish()
	before := len(b.kinds())
	for range 20 {
		b.clock.add(time.Hour)
		b.observe(DeviceContact{Kind: "Idle"})
		b.observe(CommandResult{CommandUUID: "of-the-host", Status: StatusAcknowledged})
	}
	assert.Len(t, b.kinds(), before)
	b.ack(b.queue.of("InstallProfile")[0])
	assert.Equal(t, "setup_event_ignored", b.kinds()[before])
}

func TestRunsThatAStoreLostUseOtherCommands(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.work()
	b.store = memory.New() // restored from before the device enrolled; the MDM server's queue is not
	b.enroll(1)
	b.Tracker = b.tracker(b.store)
	b.waits()
	b.work()
	assert.Len(t, b.queue.of("InstallProfile"), 2)
	b.Tracker = b.tracker(b.store, WithRandom(iotest.ErrReader(errCrash)))
	b.enroll(2)
	err := b.Observe(t.Context(), Event{EnrollmentID: testDevice, Body: AwaitingSeen{Awaiting: storage.AwaitingTrue}})
	require.ErrorIs(t, err, errCrash)
}

func TestAwaitingIsAskedWhenAMessageDoesNotSay(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.work()
	b.observe(AwaitingSeen{Source: "TokenUpdate"})
	b.work()
	ask := b.queue.of("DeviceInformation")
	require.Len(t, ask, 1)
	assert.Equal(t, StateRunning, b.view().State, "a missing key decides nothing")
	raw, err := plist.Marshal(map[string]any{"QueryResponses": map[string]any{"AwaitingConfiguration": false}})
	require.NoError(t, err)
	b.observe(CommandResult{CommandUUID: ask[0], Status: StatusAcknowledged, Raw: raw})
	assert.Equal(t, ReleaseObservedExternal, b.view().ReleaseReason)
	assert.Equal(t, StateFinishing, b.view().State)
	assert.Equal(t, ItemDeferred, b.view().Items[0].State)
	assert.Empty(t, b.queue.of("DeviceConfigured"))
}

func TestAPlanThatComesTooLateIsWorkedOffInTheBackground(t *testing.T) {
	t.Parallel()
	m := newSim(t).awaiting(storage.AwaitingTrue).after(time.Minute)
	require.Equal(t, ReleasePlanTimeout, m.s.Release.Reason)
	m.answerRelease(StatusAcknowledged).do(PlanResolved{Plan: Plan{Items: []Item{simple("a"), accountItem("acc")}}})
	assert.Equal(t, StateFinishing, m.s.State)
	assert.Equal(t, ReasonAwaitLost, m.item("acc").Reason)
	assert.Equal(t, ItemDispatched, m.item("a").State)
	m.ack("a")
	assert.Equal(t, StateClosed, m.s.State)
}

func TestResultsOfOtherCommandsAreNotKept(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.work()
	b.observe(DeviceContact{Kind: "Idle"})
	before, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	for i := range 300 {
		require.NoError(t, b.Observe(t.Context(), Event{
			ID: fmt.Sprint("foreign", i), EnrollmentID: testDevice,
			Body: CommandResult{CommandUUID: fmt.Sprint(i), Status: StatusAcknowledged},
		}))
	}
	after, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	assert.Equal(t, before.Version, after.Version)
}
