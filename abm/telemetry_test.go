package abm

import (
	"errors"
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	meternoop "go.opentelemetry.io/otel/metric/noop"
)

// The table in the comment of WithMeterProvider is what is there.
func TestInstrumentsAreDocumented(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("telemetry.go")
	require.NoError(t, err)
	table := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^//\t(enrollkit\.\S+) +(\w+) +(\S+)`).FindAllStringSubmatch(string(src), -1) {
		table[m[1]] = m[2] + " " + m[3]
	}
	rec := newRecorder()
	_, err = NewClient(testToken(), rec.options()...)
	require.NoError(t, err)
	assert.Equal(t, rec.instruments, table)
}

type brokenMeters struct{ meternoop.MeterProvider }

func (brokenMeters) Meter(string, ...metric.MeterOption) metric.Meter { return brokenMeter{} }

type brokenMeter struct{ meternoop.Meter }

func (brokenMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return meternoop.Int64Counter{}, errors.New("no such view")
}

func TestProvidersAreChecked(t *testing.T) {
	t.Parallel()
	_, err := NewClient(testToken(), WithMeterProvider(nil))
	require.EqualError(t, err, "abm: WithMeterProvider: nil provider")
	_, err = NewClient(testToken(), WithTracerProvider(nil))
	require.EqualError(t, err, "abm: WithTracerProvider: nil provider")
	_, err = NewClient(testToken(), WithMeterProvider(brokenMeters{}))
	require.ErrorContains(t, err, "abm: WithMeterProvider: no such view")
}

// BenchmarkExchange is what telemetry adds to one call: nothing to speak of without a provider.
func BenchmarkExchange(b *testing.B) {
	for name, opts := range map[string][]Option{"default": nil, "recorded": newRecorder().options()} {
		b.Run(name, func(b *testing.B) {
			s, err := newSettings(opts)
			require.NoError(b, err)
			s = s.of(acme)
			b.ReportAllocs()
			for b.Loop() {
				ctx, x := s.tel.exchange(b.Context(), "SyncDevices", http.MethodPost, 0)
				x.status = http.StatusOK
				x.end(ctx, nil)
			}
		})
	}
}
