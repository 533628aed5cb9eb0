package abm

import (
	"context"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	meternoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracernoop "go.opentelemetry.io/otel/trace/noop"
)

// recorder keeps what is measured and traced. The module does without OpenTelemetry's SDK, which is tested against in
// internal/backendtest.
type recorder struct {
	meternoop.MeterProvider

	mu          sync.Mutex
	instruments map[string]string    // by name: kind and unit
	values      map[string]float64   // of counters and, since the last collect, gauges, by name{attributes}
	samples     map[string][]float64 // of histograms
	callbacks   map[int]metric.Callback
	registered  int
	spans       []*recordedSpan
	texts       []string // everything in an attribute or a status
}

func newRecorder() *recorder {
	return &recorder{
		instruments: make(map[string]string), values: make(map[string]float64), samples: make(map[string][]float64),
		callbacks: make(map[int]metric.Callback),
	}
}

func (r *recorder) options() []Option {
	return []Option{WithMeterProvider(r), WithTracerProvider(recordingTracers{r: r})}
}

// collect calls the callbacks as a reader does and returns the gauges.
func (r *recorder) collect(ctx context.Context) (map[string]float64, error) {
	r.mu.Lock()
	callbacks := make([]metric.Callback, 0, len(r.callbacks))
	for _, f := range r.callbacks {
		callbacks = append(callbacks, f)
	}
	r.mu.Unlock()
	o := &recordedGauges{r: r, values: make(map[string]float64)}
	for _, f := range callbacks {
		if err := f(ctx, o); err != nil {
			return nil, err
		}
	}
	return o.values, nil
}

// counters returns the counters by name and attributes.
func (r *recorder) counters() map[string]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]float64)
	for k, v := range r.values {
		out[k] = v
	}
	return out
}

// durations returns the samples of the histogram.
func (r *recorder) durations() map[string][]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string][]float64)
	for k, v := range r.samples {
		out[k] = slices.Clone(v)
	}
	return out
}

// key is name{attributes}, and keeps what is in the attributes. The caller holds the lock.
func (r *recorder) key(name string, set attribute.Set) string {
	r.keep(set.ToSlice()...)
	return name + "{" + set.Encoded(attribute.DefaultEncoder()) + "}"
}

func (r *recorder) keep(attrs ...attribute.KeyValue) {
	for _, a := range attrs {
		r.texts = append(r.texts, string(a.Key), a.Value.Emit())
	}
}

func (r *recorder) instrument(name, kind, unit string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instruments[name] = kind + " " + unit
}

func (r *recorder) Meter(string, ...metric.MeterOption) metric.Meter { return recordingMeter{r: r} }

type recordingMeter struct {
	meternoop.Meter
	r *recorder
}

func (m recordingMeter) Int64Counter(name string, opts ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	m.r.instrument(name, "counter", metric.NewInt64CounterConfig(opts...).Unit())
	return recordingCounter{r: m.r, name: name}, nil
}

func (m recordingMeter) Float64Histogram(name string, opts ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	m.r.instrument(name, "histogram", metric.NewFloat64HistogramConfig(opts...).Unit())
	return recordingHistogram{r: m.r, name: name}, nil
}

func (m recordingMeter) Float64ObservableGauge(name string, opts ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	m.r.instrument(name, "gauge", metric.NewFloat64ObservableGaugeConfig(opts...).Unit())
	return recordingFloatGauge{name: name}, nil
}

func (m recordingMeter) Int64ObservableGauge(name string, opts ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	m.r.instrument(name, "gauge", metric.NewInt64ObservableGaugeConfig(opts...).Unit())
	return recordingIntGauge{name: name}, nil
}

func (m recordingMeter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	m.r.registered++
	m.r.callbacks[m.r.registered] = f
	return registration{r: m.r, id: m.r.registered}, nil
}

type registration struct {
	meternoop.Registration
	r  *recorder
	id int
}

func (g registration) Unregister() error {
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	delete(g.r.callbacks, g.id)
	return nil
}

type recordingCounter struct {
	meternoop.Int64Counter
	r    *recorder
	name string
}

func (c recordingCounter) Add(_ context.Context, n int64, opts ...metric.AddOption) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.r.values[c.r.key(c.name, metric.NewAddConfig(opts).Attributes())] += float64(n)
}

type recordingHistogram struct {
	meternoop.Float64Histogram
	r    *recorder
	name string
}

func (recordingHistogram) Enabled(context.Context) bool { return true }

func (h recordingHistogram) Record(_ context.Context, v float64, opts ...metric.RecordOption) {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	k := h.r.key(h.name, metric.NewRecordConfig(opts).Attributes())
	h.r.samples[k] = append(h.r.samples[k], v)
}

type recordingFloatGauge struct {
	meternoop.Float64ObservableGauge
	name string
}

type recordingIntGauge struct {
	meternoop.Int64ObservableGauge
	name string
}

type recordedGauges struct {
	meternoop.Observer
	r      *recorder
	values map[string]float64
}

func (o *recordedGauges) ObserveFloat64(g metric.Float64Observable, v float64, opts ...metric.ObserveOption) {
	o.observe(g.(recordingFloatGauge).name, v, opts)
}

func (o *recordedGauges) ObserveInt64(g metric.Int64Observable, v int64, opts ...metric.ObserveOption) {
	o.observe(g.(recordingIntGauge).name, float64(v), opts)
}

func (o *recordedGauges) observe(name string, v float64, opts []metric.ObserveOption) {
	o.r.mu.Lock()
	defer o.r.mu.Unlock()
	o.values[o.r.key(name, metric.NewObserveConfig(opts).Attributes())] = v
}

type recordingTracers struct {
	tracernoop.TracerProvider
	r *recorder
}

func (t recordingTracers) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return recordingTracer{r: t.r}
}

type recordingTracer struct {
	tracernoop.Tracer
	r *recorder
}

func (t recordingTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	cfg := trace.NewSpanStartConfig(opts...)
	s := &recordedSpan{r: t.r, name: name, kind: cfg.SpanKind(), attrs: make(map[string]string)}
	if parent, ok := trace.SpanFromContext(ctx).(*recordedSpan); ok {
		s.parent = parent.name
	}
	s.SetAttributes(cfg.Attributes()...)
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.spans = append(t.r.spans, s)
	return trace.ContextWithSpan(ctx, s), s
}

type recordedSpan struct {
	tracernoop.Span
	r            *recorder
	name, parent string
	kind         trace.SpanKind
	attrs        map[string]string
	status       string
	ended        bool
}

func (*recordedSpan) IsRecording() bool { return true }

func (s *recordedSpan) SetAttributes(attrs ...attribute.KeyValue) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.keep(attrs...)
	for _, a := range attrs {
		s.attrs[string(a.Key)] = a.Value.Emit()
	}
}

func (s *recordedSpan) SetStatus(code otelcodes.Code, text string) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.status = code.String() + " " + text
	s.r.texts = append(s.r.texts, text)
}

func (s *recordedSpan) AddEvent(name string, opts ...trace.EventOption) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.texts = append(s.r.texts, name)
	cfg := trace.NewEventConfig(opts...)
	s.r.keep(cfg.Attributes()...)
}

func (s *recordedSpan) RecordError(err error, opts ...trace.EventOption) {
	s.AddEvent(err.Error(), opts...)
}

func (s *recordedSpan) End(...trace.SpanEndOption) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.ended = true
}
