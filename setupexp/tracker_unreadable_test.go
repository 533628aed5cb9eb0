package setupexp

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// spoil makes the run's document one that newer code wrote, or one that is damaged.
func (b *bench) spoil(newer bool) {
	b.t.Helper()
	run, err := b.store.GetRun(b.t.Context(), RunID(testDevice, 1))
	require.NoError(b.t, err)
	if newer {
		run.Document = []byte(strings.Replace(string(run.Document), `"schema":1`, `"schema":9`, 1))
	} else {
		run.Document = []byte(`{}`)
	}
	require.NoError(b.t, b.store.CommitRun(b.t.Context(), storage.RunChange{Run: run}))
}

// finish brings a run of simple items to its end.
func (b *bench) finish() {
	b.t.Helper()
	b.work()
	for _, id := range b.queue.of("InstallProfile") {
		b.ack(id)
	}
	b.work()
	b.ack(b.queue.of("DeviceConfigured")[0])
	b.clock.add(time.Hour)
	b.work()
	require.Equal(b.t, StateClosed, b.view().State)
}

func TestADeviceWhoseRunCannotBeReadIsReleased(t *testing.T) {
	t.Parallel()
	for _, newer := range []bool{true, false} {
		for name, ev := range map[string]EventBody{
			"idle": DeviceContact{Kind: "Idle"}, "foreign result": CommandResult{CommandUUID: "x", Status: StatusAcknowledged},
			"time": Tick{}, "waits": AwaitingSeen{Awaiting: storage.AwaitingTrue, Source: "TokenUpdate"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
				b.waits()
				b.work()
				b.spoil(newer)
				if newer { // other replicas may be able to read it
					b.observe(ev)
					b.work()
					assert.Empty(t, b.queue.of("DeviceConfigured"))
					assert.NotContains(t, b.kinds(), "setup_run_unreadable")
					b.clock.add(foreignPatience)
				}
				b.observe(ev)
				b.clock.add(2 * time.Minute)
				b.work()
				assert.Equal(t, StateReleasing, b.view().State)
				assert.Equal(t, ReleaseDeadline, b.view().ReleaseReason)
				release := b.queue.of("DeviceConfigured")
				require.NotEmpty(t, release)
				b.ack(release[0])
				assert.Equal(t, storage.EnrollmentReleased, b.enrollment().State)
				assert.Contains(t, b.kinds(), "setup_run_unreadable")
			})
		}
	}
}

func TestARunThatIsOverAndCannotBeReadIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.finish()
	b.spoil(true)
	before := b.kinds()
	b.observe(DeviceContact{Kind: "Idle"})
	b.observe(CommandResult{CommandUUID: "x", Status: StatusAcknowledged})
	b.observe(AwaitingSeen{Awaiting: storage.AwaitingFalse, Source: "TokenUpdate"})
	b.observe(CheckedOut{})
	require.ErrorIs(t, b.Release(t.Context(), testDevice, "user:ada", "", true), ErrRunOver)
	assert.Equal(t, before, b.kinds())
	// But a device that waits is not.
	sent := len(b.queue.of("DeviceConfigured"))
	b.clock.add(foreignPatience)
	b.waits()
	b.clock.add(2 * time.Minute)
	b.work()
	assert.Greater(t, len(b.queue.of("DeviceConfigured")), sent)
}

func TestAReleasedRunThatCannotBeReadEnds(t *testing.T) {
	t.Parallel()
	late := simple("wifi")
	late.Class = Background
	b := newBench(t, &Plan{Items: []Item{late}})
	b.waits()
	b.work()
	b.ack(b.queue.of("DeviceConfigured")[0])
	require.Equal(t, StateFinishing, b.view().State)
	b.spoil(false)
	b.observe(DeviceContact{Kind: "Idle"})
	run, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	assert.Equal(t, string(StateClosed), run.State)
	assert.False(t, run.Live)
	assert.Equal(t, storage.EnrollmentReleased, b.enrollment().State)
}

func TestANewGenerationSupersedesARunThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, ev := range map[string]EventBody{
		"authenticated": Authenticated{}, "waits": AwaitingSeen{Awaiting: storage.AwaitingTrue, Source: "TokenUpdate"},
		"idle": DeviceContact{Kind: "Idle"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
			b.waits()
			b.work()
			b.spoil(true)
			b.enroll(2)
			b.observe(ev)
			run, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
			require.NoError(t, err)
			assert.Equal(t, string(StateSuperseded), run.State)
			b.waits()
			b.work()
			assert.Equal(t, StateRunning, b.view().State)
		})
	}
}

func TestTimeAloneSupersedesARunOfAnOlderGeneration(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi")}})
	b.waits()
	b.work()
	b.enroll(2)
	b.clock.add(time.Hour)
	b.work()
	run, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	assert.Equal(t, string(StateSuperseded), run.State)
	assert.NotContains(t, b.kinds(), "setup_event_ignored")
}

// locked is a sealer that can be down.
type locked struct {
	storage.Sealer
	down bool
}

func (l *locked) Open(ctx context.Context, sealed, data []byte) ([]byte, error) {
	if l.down {
		return nil, errors.New("the key service is down")
	}
	return l.Sealer.Open(ctx, sealed, data)
}

func newSealer(t testing.TB) storage.Sealer {
	t.Helper()
	keys, err := storage.NewKeyset()
	require.NoError(t, err)
	sealer, err := storage.NewKeysetSealer(keys)
	require.NoError(t, err)
	return sealer
}

func TestADeviceIsReleasedWithoutTheSealer(t *testing.T) {
	t.Parallel()
	l := &locked{Sealer: newSealer(t)}
	b := newBench(t, &Plan{Items: []Item{simple("wifi"), profileItem("vpn")}})
	b.sealer = l
	b.waits()
	b.work()
	ids := b.queue.of("InstallProfile")
	b.ack(ids[0])
	b.ack(ids[1])
	b.work()
	look := b.queue.of("ProfileList")
	require.NotEmpty(t, look)
	l.down = true
	b.ack(look[0]) // a look that cannot be read is no reason to turn a message of the device down
	assert.Equal(t, ItemVerifying, b.view().Items[1].State, "nor a proof")
	b.turn(60, time.Minute)
	assert.Equal(t, StateReleasing, b.view().State)
	assert.NotEmpty(t, b.queue.of("DeviceConfigured"))
}

func TestTheScreenIsServedWithoutTheSealer(t *testing.T) {
	t.Parallel()
	l := &locked{Sealer: newSealer(t), down: true}
	b := newBench(t, &Plan{Items: []Item{scriptItem("s")}})
	b.sealer = l
	b.waits()
	b.work()
	h, token := b.AgentHandler(), b.keys.Token(testDevice, 1)
	assert.Equal(t, http.StatusOK, call(t, h, token, "GET", "/status", "").StatusCode)
	b.observe(AgentHello{Version: "1", Capabilities: []string{CapabilityScripts}})
	assert.Equal(t, http.StatusInternalServerError, call(t, h, token, "GET", "/status", "").StatusCode, "a script has to be opened")
	l.down = false
	assert.Len(t, read[AgentStatus](t, call(t, h, token, "GET", "/status", "")).Work, 1)
}
