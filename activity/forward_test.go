package activity_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// sink keeps the kinds it is given, and fails as often as it is told to.
type sink struct {
	fail int
	with error // nil: any
	got  []storage.Activity
}

func (s *sink) Deliver(_ context.Context, acts []storage.Activity) error {
	if s.fail > 0 {
		s.fail--
		if s.with != nil {
			return s.with
		}
		return errors.New("sink is down")
	}
	s.got = append(s.got, acts...)
	return nil
}

func (s *sink) serials() (out []string) {
	for _, a := range s.got {
		out = append(out, a.Serial)
	}
	return out
}

// put stores n activities, numbered from first.
func put(t *testing.T, store storage.ActivityStore, first, n int) (serials []string) {
	t.Helper()
	for i := range n {
		serial := fmt.Sprint("C", first+i)
		serials = append(serials, serial)
		require.NoError(t, store.AppendActivities(t.Context(),
			activity.New(at, activity.Apple, activity.DeviceLeft{On: activity.On{Account: "acme", Serial: serial}, Reason: "deleted"})))
	}
	return serials
}

func TestForwarderDeliversAllInOrderThroughFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, out := memory.New(), &sink{fail: 3}
		want := put(t, store, 0, 5)
		f, err := activity.NewForwarder(store, out, activity.WithInterval(time.Second))
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()

		time.Sleep(time.Minute) // synctest's time: the failures are over
		synctest.Wait()
		assert.Equal(t, want, out.serials())

		want = append(want, put(t, store, 5, 3)...)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, want, out.serials(), "what came later, once")

		stop()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

// A failure that lasts is said once, and its end, without the URL of a webhook.
func TestForwarderLogsEachFailureOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		store := memory.New()
		out := &sink{fail: 5, with: fmt.Errorf("webhook: %w", &url.Error{Op: "Post", URL: "https://hooks.example/SECRET", Err: errors.New("refused")})}
		put(t, store, 0, 1)
		f, err := activity.NewForwarder(store, out, activity.WithLogger(zap.New(core)))
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 2, logs.Len())
		assert.Equal(t, map[string]any{"failed": "sink", "error": "refused"}, logs.All()[0].ContextMap())
		assert.Equal(t, zapcore.WarnLevel, logs.All()[0].Level)
		assert.Equal(t, "activities are forwarded again", logs.All()[1].Message)

		out.fail = 2
		put(t, store, 1, 1)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 4, logs.Len(), "the next failure is news")
		stop()
		require.ErrorIs(t, <-ended, context.Canceled)
		assert.Equal(t, 4, logs.Len(), "being stopped is no failure")
	})
}

func TestForwarderGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	store, first := memory.New(), &sink{}
	put(t, store, 0, 4)
	var kept int64
	f, err := activity.NewForwarder(store, first, activity.WithProgress(func(_ context.Context, seq int64) error {
		kept = seq
		return nil
	}))
	require.NoError(t, err)
	require.NoError(t, f.Flush(t.Context()))
	require.Len(t, first.got, 4)
	require.Equal(t, first.got[3].Seq, kept)

	want, second := put(t, store, 4, 2), &sink{}
	f, err = activity.NewForwarder(store, second, activity.WithStart(kept))
	require.NoError(t, err)
	require.NoError(t, f.Flush(t.Context()))
	assert.Equal(t, want, second.serials())
}

func TestForwarderStopsWhenItsPositionCannotBeKept(t *testing.T) {
	t.Parallel()
	store, full := memory.New(), errors.New("disk full")
	put(t, store, 0, 1)
	f, err := activity.NewForwarder(store, &sink{}, activity.WithProgress(func(context.Context, int64) error { return full }))
	require.NoError(t, err)
	require.ErrorIs(t, f.Run(t.Context()), full)
}

func TestForwarderRefuses(t *testing.T) {
	t.Parallel()
	_, err := activity.NewForwarder(nil, &sink{})
	require.Error(t, err)
	_, err = activity.NewForwarder(memory.New(), nil)
	require.Error(t, err)
	for name, opt := range map[string]activity.Option{
		"WithInterval": activity.WithInterval(0), "WithStart": activity.WithStart(-1), "WithProgress": activity.WithProgress(nil),
		"WithLogger": activity.WithLogger(nil), "option 0 is nil": nil,
	} {
		_, err = activity.NewForwarder(memory.New(), &sink{}, opt)
		assert.ErrorContains(t, err, name)
	}
}

func TestZapSinkWritesOneLineEach(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.InfoLevel)
	rec := activity.New(at, activity.Apple, activity.DeviceLeft{On: activity.On{Account: "acme", Serial: "C02A"}, Reason: "deleted"})
	rec.Seq = 7
	require.NoError(t, activity.NewZapSink(zap.New(core)).Deliver(t.Context(), []storage.Activity{rec}))
	require.Equal(t, 1, logs.Len())
	line := logs.All()[0]
	assert.Equal(t, "device_left", line.Message)
	assert.Equal(t, map[string]any{
		"seq": int64(7), "at": at, "actor": "apple", "account": "acme", "serial": "C02A",
		"detail": map[string]any{"reason": "deleted"},
	}, line.ContextMap())
	require.NoError(t, activity.NewZapSink(nil).Deliver(t.Context(), []storage.Activity{rec}))
}

func ExampleForwarder() {
	store := memory.New()
	_ = store.AppendActivities(context.Background(),
		activity.New(at, activity.System, activity.ProfileAssigned{On: activity.On{Account: "acme", Serial: "C02A"}, ProfileUUID: "0F3A"}))

	f, err := activity.NewForwarder(store, activity.NewZapSink(zap.NewExample()))
	if err != nil {
		panic(err)
	}
	if err := f.Flush(context.Background()); err != nil { // or f.Run(ctx), which goes on until ctx ends
		panic(err)
	}
	// Output: {"level":"info","msg":"profile_assigned","seq":1,"at":"2026-11-24T09:30:00.000Z","actor":"enrollkit","account":"acme","serial":"C02A","detail":{"profile_uuid":"0F3A"}}
}
