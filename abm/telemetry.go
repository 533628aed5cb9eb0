package abm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	meternoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracernoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/enrollkit/enrollkit/storage"
)

// scopeName is the instrumentation scope of all metrics and spans of this package.
const scopeName = "github.com/enrollkit/enrollkit/abm"

// WithMeterProvider sets where metrics go. The default is nowhere; the global provider is not used. Instruments:
//
//	name                                kind       unit          attributes beside the account
//	enrollkit.abm.call.duration         histogram  s             enrollkit.operation, http.response.status_code, error.type
//	enrollkit.abm.call.retries          counter    {retry}       enrollkit.operation
//	enrollkit.abm.sync.changes          counter    {device}      enrollkit.sync.kind: sync, sweep
//	enrollkit.abm.assign.results        counter    {device}      enrollkit.assign.result: SUCCESS, FAILED, THROTTLED, ...
//	enrollkit.abm.sync.lag              gauge      s
//	enrollkit.abm.sweep.lag             gauge      s
//	enrollkit.abm.device.count          gauge      {device}      enrollkit.device.state: present, left
//	enrollkit.abm.assignment.count      gauge      {assignment}  enrollkit.assignment.state: pending, assigning, ...
//	enrollkit.abm.assignment.blocked    gauge      {assignment}
//	enrollkit.abm.assignment.throttled  gauge      {assignment}
//	enrollkit.abm.assignment.wait       gauge      s
//	enrollkit.abm.throttle.remaining    gauge      s
//	enrollkit.abm.account.health        gauge      1             enrollkit.account.health: new, ok, expiring, ...
//	enrollkit.abm.circuit.state         gauge      1             enrollkit.circuit.state: closed, partial, open, paused
//	enrollkit.abm.token.remaining       gauge      d
//
// All have the attribute enrollkit.account.name, except the calls of a client that belongs to no account. The number of
// values of each other attribute is bounded, and none names a device.
//
// A call is one exchange with Apple, its body included; signing in is the operation Session. error.type is absent after a
// success; otherwise it is Apple's code, such as EXPIRED_CURSOR, if it is a known one, else the status, bad_response for an
// answer that cannot be used, or what kept one from coming: transport, timeout, canceled, lease_lost. A call that is held
// back is not sent and so not measured. Results of assigning are Apple's words for each device it was asked for, MISSING if
// the answer does not name it, and the code of a call that was refused because of it.
//
// Lags count from when the inventory was last known to be current, or from the account's creation before the first time,
// so that an account that never gets there is seen too; they and what remains of the token, in days, are absent without a
// token. What remains is negative after the token's end. assignment.wait is how long the assignment that is due longest
// has been due, throttle.remaining when the last throttled one comes due. account.health is 1 for the health the
// account has and 0 for all others. circuit.state is as well, for what [WithCircuitBreaker] says: closed, open for some
// operations (partial) or all, or paused because Apple has asked to wait; it is of this process, the others are of the store.
//
// The gauges are read from the store while [Engine.Run] runs, once per account and collection, which counts all its
// assignments: collect once a minute rather than once a second. Each replica reports the same store, so take the maximum
// over replicas and not the sum; an account that cannot be read within the collection, or half a minute, is left out.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(s *settings) error {
		if p == nil {
			return errors.New("abm: WithMeterProvider: nil provider")
		}
		s.tel.meters = p
		return nil
	}
}

// WithTracerProvider sets where spans go. The default is nowhere; the global provider is not used.
//
// Each exchange with Apple is a client span, named after its operation as in abm.SyncDevices, with the account, the method,
// the status, the error.type of [WithMeterProvider], and how often the request was sent before. When Apple wants a new
// session, signing in is a span of its own inside, and the request that is then repeated belongs to the same span. What the
// engine does is a span around those: abm.sync, abm.sweep, abm.plan, abm.assign, with what was counted. The context of a
// request carries its span, so that the spans of a transport given to [WithTransport] nest.
//
// Spans hold no text of errors, no secrets and no serial numbers. Those of a transport may hold URLs, and that of
// [Client.ReplacementDetails] has a serial number in its query.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(s *settings) error {
		if p == nil {
			return errors.New("abm: WithTracerProvider: nil provider")
		}
		s.tel.tracers = p
		return nil
	}
}

// Attributes. Those without our name are of OpenTelemetry's semantic conventions.
const (
	keyAccount   = attribute.Key("enrollkit.account.name")
	keyHealth    = attribute.Key("enrollkit.account.health")
	keyOperation = attribute.Key("enrollkit.operation")
	keySyncKind  = attribute.Key("enrollkit.sync.kind")
	keyResult    = attribute.Key("enrollkit.assign.result")
	keyDevice    = attribute.Key("enrollkit.device.state")
	keyCircuit   = attribute.Key("enrollkit.circuit.state")
	keyState     = attribute.Key("enrollkit.assignment.state")
	keyError     = attribute.Key("error.type")
	keyMethod    = attribute.Key("http.request.method")
	keyResent    = attribute.Key("http.request.resend_count")
	keyStatus    = attribute.Key("http.response.status_code")
)

// other stands for values outside a bounded set, as in OpenTelemetry's semantic conventions.
const other = "_OTHER"

// telemetry is where metrics and spans go. It is part of the settings; a copy with another account shares the rest.
type telemetry struct {
	meters  metric.MeterProvider
	tracers trace.TracerProvider

	now     func() time.Time
	account []attribute.KeyValue // empty for a client that belongs to no account
	tracer  trace.Tracer
	meter   metric.Meter

	duration metric.Float64Histogram
	retries  metric.Int64Counter
	changes  metric.Int64Counter
	results  metric.Int64Counter
	gauges   gauges
}

// start makes the tracer and the instruments, once all options are known.
func (t *telemetry) start(now func() time.Time) error {
	if t.meters == nil {
		t.meters = meternoop.NewMeterProvider()
	}
	if t.tracers == nil {
		t.tracers = tracernoop.NewTracerProvider()
	}
	t.now = now
	t.tracer = t.tracers.Tracer(scopeName)
	t.meter = t.meters.Meter(scopeName)
	var errs [4]error
	t.duration, errs[0] = t.meter.Float64Histogram("enrollkit.abm.call.duration", metric.WithUnit("s"),
		metric.WithDescription("How long exchanges with Apple took."),
		// Those of OpenTelemetry for HTTP, and on up to the default timeout: a page of 1000 devices takes its time.
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 30, 60))
	t.retries, errs[1] = t.meter.Int64Counter("enrollkit.abm.call.retries", metric.WithUnit("{retry}"),
		metric.WithDescription("Requests to Apple that were sent again after a failure."))
	t.changes, errs[2] = t.meter.Int64Counter("enrollkit.abm.sync.changes", metric.WithUnit("{device}"),
		metric.WithDescription("Devices that were written because Apple's record of them had changed."))
	t.results, errs[3] = t.meter.Int64Counter("enrollkit.abm.assign.results", metric.WithUnit("{device}"),
		metric.WithDescription("Devices that Apple was asked to assign a profile, by its answer."))
	if err := errors.Join(append(errs[:], t.gauges.make(t.meter))...); err != nil {
		return fmt.Errorf("abm: WithMeterProvider: %w", err)
	}
	return nil
}

// of returns settings for calls of an account.
func (s settings) of(account string) settings {
	s.tel.account = []attribute.KeyValue{keyAccount.String(account)}
	return s
}

// with returns the attributes of a measurement that belongs to account.
func with(account []attribute.KeyValue, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(append(account[:len(account):len(account)], more...)...)
}

// errorType says what kind of error err is, in one of a bounded number of words. The text of an error has no place in
// telemetry: it may come from Apple or the host's code.
func errorType(err error) string {
	for _, k := range []struct {
		is   error
		word string
	}{
		{ErrHeldBack, "held_back"}, {storage.ErrLeaseLost, "lease_lost"}, {storage.ErrConflict, "conflict"},
		{ErrCursorLoop, "cursor_loop"}, {ErrBadResponse, "bad_response"},
		{ErrTokenExpired, "token_expired"}, {ErrNoToken, "no_token"},
	} {
		if errors.Is(err, k.is) {
			return k.word
		}
	}
	if e, ok := errors.AsType[*APIError](err); ok {
		return cmp.Or(knownCode(e), strconv.Itoa(e.StatusCode))
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return "timeout"
	}
	if errors.Is(err, context.Canceled) {
		return "canceled"
	}
	if _, ok := errors.AsType[*TransportError](err); ok {
		return errTypeTransport
	}
	return other
}

const errTypeTransport = "transport"

// knownCode returns Apple's code if it is a documented one of an answer that blames the request, as for its cause. Others are
// not told apart in telemetry: anyone between us and Apple could make them up without end.
func knownCode(e *APIError) string {
	if e.StatusCode < 400 || e.StatusCode >= 500 || codes[e.Code] == nil && e.Code != "NOT_FOUND" {
		return ""
	}
	return e.Code
}

// assignResults are Apple's documented results of assigning a profile, and ours for none.
var assignResults = []Result{ResultSuccess, ResultFailed, ResultNotAccessible, ResultThrottled, resultMissing}
