package abm

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// exchange is one exchange with Apple that is under way.
type exchange struct {
	t     *telemetry
	op    string
	span  trace.Span
	began time.Time
	// status is Apple's answer, to be set by who reads it; 0 if none came.
	status int
}

// exchange begins an exchange; resent is how often the same request was sent before. The context is for the request.
func (t *telemetry) exchange(ctx context.Context, op, method string, resent int) (context.Context, *exchange) {
	attrs := append(t.account[:len(t.account):len(t.account)], keyOperation.String(op), keyMethod.String(method))
	if resent > 0 {
		attrs = append(attrs, keyResent.Int(resent))
		t.retries.Add(ctx, 1, with(t.account, keyOperation.String(op)))
	}
	ctx, span := t.tracer.Start(ctx, "abm."+op, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	return ctx, &exchange{t: t, op: op, span: span, began: t.now()}
}

// end tells of an exchange that ended with err. ctx is the one of the request.
func (x *exchange) end(ctx context.Context, err error) {
	if x.t.duration.Enabled(ctx) || x.span.IsRecording() {
		var answer []attribute.KeyValue
		if x.status != 0 {
			answer = append(answer, keyStatus.Int(x.status))
		}
		if err != nil {
			kind := errorType(err)
			if kind == other { // all else that can go wrong on the way
				kind = errTypeTransport
			}
			answer = append(answer, keyError.String(kind))
			x.span.SetStatus(otelcodes.Error, kind)
		}
		x.span.SetAttributes(answer...)
		x.t.duration.Record(ctx, x.t.now().Sub(x.began).Seconds(),
			with(x.t.account, append(answer, keyOperation.String(x.op))...))
	}
	x.span.End()
}
