package activity

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/storage"
)

// Sink is somewhere activities are sent. Deliver is called with activities in the order they were stored and one call
// at a time; an error makes the same activities come again later, so a sink may see one twice and never misses one.
type Sink interface {
	Deliver(ctx context.Context, acts []storage.Activity) error
}

// Option changes how a Forwarder works.
type Option func(*settings) error

type settings struct {
	interval time.Duration
	start    int64
	save     func(context.Context, int64) error
	log      *zap.Logger
}

// WithInterval sets how often the store is looked at. d must be positive. The default is one second.
func WithInterval(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return fmt.Errorf("activity: WithInterval: %v is not positive", d)
		}
		s.interval = d
		return nil
	}
}

// WithStart sets the Seq of the last activity that needs no delivery. The default, 0, delivers all that are kept.
func WithStart(seq int64) Option {
	return func(s *settings) error {
		if seq < 0 {
			return fmt.Errorf("activity: WithStart: %d is negative", seq)
		}
		s.start = seq
		return nil
	}
}

// WithProgress sets a function that is told the Seq of the last delivered activity after each delivery, so that a host
// can keep it and pass it to WithStart the next time. Its error stops the Forwarder.
func WithProgress(save func(ctx context.Context, seq int64) error) Option {
	return func(s *settings) error {
		if save == nil {
			return errors.New("activity: WithProgress: nil function")
		}
		s.save = save
		return nil
	}
}

// WithLogger sets where Run says that the sink or the store has begun to fail, and that it works again: one line each,
// however often it is tried in between. Of a failed HTTP request the URL is left out, as that of a webhook is a secret.
// The default logs nothing.
func WithLogger(log *zap.Logger) Option {
	return func(s *settings) error {
		if log == nil {
			return errors.New("activity: WithLogger: nil logger")
		}
		s.log = log
		return nil
	}
}

// Forwarder follows the activities of a store and sends them to a sink.
type Forwarder struct {
	s     settings
	store storage.ActivityStore
	sink  Sink
	last  int64 // Seq of the last activity that was delivered
}

// NewForwarder returns a Forwarder from store to sink; call Run to start it.
func NewForwarder(store storage.ActivityStore, sink Sink, opts ...Option) (*Forwarder, error) {
	if store == nil || sink == nil {
		return nil, errors.New("activity: NewForwarder: store and sink are required")
	}
	s := settings{interval: time.Second, log: zap.NewNop()}
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("activity: option %d is nil", i)
		}
		if err := opt(&s); err != nil {
			return nil, err
		}
	}
	return &Forwarder{s: s, store: store, sink: sink, last: s.start}, nil
}

// Run forwards until ctx ends and returns the context's error. Failures of the store or the sink are retried with
// exponential back-off, without end. It must not be called twice at the same time.
func (f *Forwarder) Run(ctx context.Context) error {
	retry := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(f.s.interval), backoff.WithMaxInterval(time.Minute), backoff.WithMaxElapsedTime(0))
	wait := time.Duration(0)
	failing := ""
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		err := f.Flush(ctx)
		failed, _ := errors.AsType[*failure](err)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case failed == nil:
			if failing != "" {
				f.s.log.Info("activities are forwarded again")
			}
			failing = ""
			retry.Reset()
			wait = f.s.interval
		case failed.part == partProgress:
			return err
		default:
			if failing != failed.part {
				f.s.log.Warn("activities are not forwarded; trying again", zap.String("failed", failed.part), zap.Error(failed.public()))
			}
			failing = failed.part
			wait = retry.NextBackOff()
		}
	}
}

// Flush delivers what is stored now and was not delivered yet, in batches.
func (f *Forwarder) Flush(ctx context.Context) error {
	for {
		acts, _, err := f.store.ListActivities(ctx,
			storage.ActivityFilter{AfterSeq: f.last}, storage.Page{Limit: storage.MaxPageSize})
		if err != nil {
			return &failure{partStore, err}
		}
		if len(acts) == 0 {
			return nil
		}
		if err := f.sink.Deliver(ctx, acts); err != nil {
			return &failure{partSink, err}
		}
		f.last = acts[len(acts)-1].Seq
		if f.s.save != nil {
			if err := f.s.save(ctx, f.last); err != nil {
				return &failure{partProgress, err}
			}
		}
	}
}

// The parts of a Forwarder that can fail.
const (
	partStore = "store"
	partSink  = "sink"
	// partProgress is a failure to keep the position, after which going on would repeat more and more on a restart.
	partProgress = "progress"
)

// failure says which part has failed, and why.
type failure struct {
	part string
	err  error
}

func (e *failure) Error() string { return "activity: forward: " + e.part + ": " + e.err.Error() }
func (e *failure) Unwrap() error { return e.err }

// public returns the cause without the URL of a request.
func (e *failure) public() error {
	if u, ok := errors.AsType[*url.Error](e.err); ok {
		return u.Err
	}
	return e.err
}
