package backendtest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// The package's own tests record through the API only. Here the SDK that hosts use collects from a running engine: it accepts
// all instruments, finds them once per series, and puts the spans into one tree.
func TestTelemetryWithSDK(t *testing.T) {
	t.Parallel()
	const n = 30
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	spans := tracetest.NewSpanRecorder()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	apple := abmtest.New(t)
	engine, store := measuredEngine(t, apple, n, abm.WithMeterProvider(meters), abm.WithTracerProvider(tracers))

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	require.Eventually(t, func() bool {
		stats, err := store.AssignmentStats(t.Context(), "acme")
		return err == nil && stats.States[storage.AssignmentSatisfied] == n
	}, time.Minute, 10*time.Millisecond)
	got := collect(t, reader)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)

	assert.InDelta(t, n, got["enrollkit.abm.assignment.count {assignment}: enrollkit.account.name=acme,enrollkit.assignment.state=satisfied"], 0)
	assert.InDelta(t, n, got["enrollkit.abm.device.count {device}: enrollkit.account.name=acme,enrollkit.device.state=present"], 0)
	assert.InDelta(t, n, got["enrollkit.abm.assign.results {device}: enrollkit.account.name=acme,enrollkit.assign.result=SUCCESS"], 0)
	assert.InDelta(t, n, got["enrollkit.abm.sync.changes {device}: enrollkit.account.name=acme,enrollkit.sync.kind=sync"], 0)
	assert.InDelta(t, 1, got["enrollkit.abm.account.health 1: enrollkit.account.health=ok,enrollkit.account.name=acme"], 0)
	assert.InDelta(t, 1, got["enrollkit.abm.call.duration s: enrollkit.account.name=acme,enrollkit.operation=AssignProfile,http.response.status_code=200"], 0)
	assert.InDelta(t, 365, got["enrollkit.abm.token.remaining d: enrollkit.account.name=acme"], 2)
	for series := range collect(t, reader) { // after the end: what was counted, and no gauge
		assert.True(t, strings.HasPrefix(series, "enrollkit.abm.call.") || strings.HasPrefix(series, "enrollkit.abm.sync.changes") ||
			strings.HasPrefix(series, "enrollkit.abm.assign.results"), series)
	}

	byID := make(map[trace.SpanID]string)
	for _, s := range spans.Ended() {
		byID[s.SpanContext().SpanID()] = s.Name()
	}
	require.Len(t, spans.Started(), len(byID), "all ended")
	parents := make(map[string]string)
	for _, s := range spans.Ended() {
		parents[s.Name()] = byID[s.Parent().SpanID()]
		assert.Equal(t, "github.com/enrollkit/enrollkit/abm", s.InstrumentationScope().Name)
	}
	assert.Equal(t, "abm.sync", parents["abm.FetchDevices"])
	assert.Equal(t, "abm.assign", parents["abm.AssignProfile"])
	assert.Empty(t, parents["abm.sync"])
}

// measuredEngine returns an engine with an account of n devices.
func measuredEngine(t *testing.T, apple *abmtest.Server, n int, opts ...abm.Option) (*abm.Engine, storage.Store) {
	t.Helper()
	ctx := t.Context()
	portal, err := apple.AddMDMServer("MDM")
	require.NoError(t, err)
	require.NoError(t, apple.AddDevices(portal, apple.RandomDevices(n)...))
	keys, err := storage.NewKeyset()
	require.NoError(t, err)
	sealer, err := storage.NewKeysetSealer(keys)
	require.NoError(t, err)
	resolver, err := abm.ForAll(depprofile.Default("https://mdm.example.com/mdm/sso"))
	require.NoError(t, err)
	store := memory.New()
	e, err := abm.New(store, sealer, resolver, append([]abm.Option{
		abm.WithBaseURL(apple.URL), abm.WithVerifyAfter(time.Millisecond), abm.WithPollInterval(10 * time.Millisecond),
	}, opts...)...)
	require.NoError(t, err)
	_, err = e.Accounts().Create(ctx, "acme", "")
	require.NoError(t, err)
	pair, err := e.Accounts().CreateKeyPair(ctx, "acme")
	require.NoError(t, err)
	require.NoError(t, portal.UploadCertificate(pair.Certificate))
	file, err := portal.MintToken()
	require.NoError(t, err)
	_, err = e.Accounts().ImportToken(ctx, "acme", file, abm.ImportOptions{})
	require.NoError(t, err)
	return e, store
}

// collect returns the value of each series, of a histogram the count, by name, unit and attributes.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]float64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &rm))
	out := make(map[string]float64)
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			put := func(set attribute.Set, v float64) {
				key := m.Name + " " + m.Unit + ": " + set.Encoded(attribute.DefaultEncoder())
				assert.NotContains(t, out, key)
				out[key] = v
			}
			switch data := m.Data.(type) {
			case metricdata.Gauge[float64]:
				points(data.DataPoints, put)
			case metricdata.Gauge[int64]:
				points(data.DataPoints, put)
			case metricdata.Sum[int64]:
				points(data.DataPoints, put)
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					put(p.Attributes, float64(p.Count))
				}
			default:
				assert.Fail(t, "unexpected data", "%s: %T", m.Name, m.Data)
			}
		}
	}
	return out
}

func points[N int64 | float64](all []metricdata.DataPoint[N], put func(attribute.Set, float64)) {
	for _, p := range all {
		put(p.Attributes, float64(p.Value))
	}
}
