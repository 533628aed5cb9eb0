package abm

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/enrollkit/enrollkit/storage"
)

// Kinds of reading the inventory.
const (
	kindSync  = "sync"
	kindSweep = "sweep"
)

// traced begins the span of a part of a step. The function that is returned ends it.
func (s *step) traced(ctx context.Context, name string) (context.Context, func(error, ...attribute.KeyValue)) {
	ctx, span := s.e.s.tel.tracer.Start(ctx, "abm."+name, trace.WithAttributes(keyAccount.String(s.account)))
	return ctx, func(err error, counts ...attribute.KeyValue) {
		span.SetAttributes(counts...)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause // such as the loss of the lease
			}
			kind := errorType(err)
			span.SetAttributes(keyError.String(kind))
			span.SetStatus(otelcodes.Error, kind)
		}
		span.End()
	}
}

// traceSync begins a reading of the inventory.
func (s *step) traceSync(ctx context.Context, kind string) (context.Context, func(SyncResult, error)) {
	ctx, end := s.traced(ctx, kind)
	return ctx, func(res SyncResult, err error) {
		if res.Changed > 0 {
			s.e.s.tel.changes.Add(ctx, int64(res.Changed), with(s.ofAccount(), keySyncKind.String(kind)))
		}
		end(err, attribute.Bool("enrollkit.sync.full", res.Full), attribute.Int("enrollkit.sync.pages", res.Pages),
			attribute.Int("enrollkit.sync.devices", res.Devices), attribute.Int("enrollkit.sync.changed", res.Changed),
			attribute.Int("enrollkit.sync.left", res.Left), attribute.Int("enrollkit.sync.unreadable", res.Unreadable))
	}
}

// tracePlan begins the planning of all devices. It is ended with the number of assignments that changed.
func (s *step) tracePlan(ctx context.Context) (context.Context, func(int, error)) {
	ctx, end := s.traced(ctx, "plan")
	return ctx, func(changed int, err error) { end(err, attribute.Int("enrollkit.plan.changed", changed)) }
}

// traceAssign begins a batch of assignments.
func (s *step) traceAssign(ctx context.Context) (context.Context, func(AssignResult, error)) {
	ctx, end := s.traced(ctx, "assign")
	return ctx, func(res AssignResult, err error) {
		end(err, attribute.Int("enrollkit.assign.due", res.Due), attribute.Int("enrollkit.assign.asked", res.Asked),
			attribute.Int("enrollkit.assign.assigned", res.Assigned), attribute.Int("enrollkit.assign.looked", res.Looked),
			attribute.Int("enrollkit.assign.satisfied", res.Satisfied), attribute.Int("enrollkit.assign.failed", res.Failed),
			attribute.Int("enrollkit.assign.gone", res.Gone))
	}
}

// countAnswers counts Apple's results for the devices it was asked to assign a profile. A result that is not documented is
// counted as _OTHER.
func (s *step) countAnswers(ctx context.Context, rows []storage.Assignment, answer map[string]Result) {
	n := make(map[Result]int64)
	for i := range rows {
		word := cmp.Or(answer[rows[i].Serial], resultMissing)
		if !slices.Contains(assignResults, word) {
			word = other
		}
		n[word]++
	}
	s.countResults(ctx, n)
}

// countRefused counts the devices that Apple refused to be asked for, each by the code it was refused with.
func (s *step) countRefused(ctx context.Context, refused map[string]error) {
	n := make(map[Result]int64)
	for _, err := range refused {
		word := ResultFailed
		if e, ok := errors.AsType[*APIError](err); ok && e.Code != "" {
			word = Result(cmp.Or(knownCode(e), other))
		}
		n[word]++
	}
	s.countResults(ctx, n)
}

func (s *step) countResults(ctx context.Context, n map[Result]int64) {
	for word, devices := range n {
		s.e.s.tel.results.Add(ctx, devices, with(s.ofAccount(), keyResult.String(string(word))))
	}
}

func (s *step) ofAccount() []attribute.KeyValue {
	return []attribute.KeyValue{keyAccount.String(s.account)}
}
