package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/enrollkit/enrollkit/storage"
)

// Sink is somewhere activities are sent. Deliver is called with activities in the order they were stored and one call
// at a time; an error makes the same activities come again later, so a sink may see one twice and never misses one.
type Sink interface {
	Deliver(ctx context.Context, acts []storage.Activity) error
}

// Option changes how a Forwarder works.
type Option func(*Forwarder) error

// WithInterval sets how often the store is looked at. d must be positive. The default is one second.
func WithInterval(d time.Duration) Option {
	return func(f *Forwarder) error {
		if d <= 0 {
			return fmt.Errorf("activity: WithInterval: %v is not positive", d)
		}
		f.interval = d
		return nil
	}
}

// WithStart sets the Seq of the last activity that needs no delivery. The default, 0, delivers all that are kept.
func WithStart(seq int64) Option {
	return func(f *Forwarder) error {
		if seq < 0 {
			return fmt.Errorf("activity: WithStart: %d is negative", seq)
		}
		f.last = seq
		return nil
	}
}

// WithProgress sets a function that is told the Seq of the last delivered activity after each delivery, so that a host
// can keep it and pass it to WithStart the next time. Its error stops the Forwarder.
func WithProgress(save func(ctx context.Context, seq int64) error) Option {
	return func(f *Forwarder) error {
		if save == nil {
			return errors.New("activity: WithProgress: nil function")
		}
		f.save = save
		return nil
	}
}

// Forwarder follows the activities of a store and sends them to a sink.
type Forwarder struct {
	store    storage.ActivityStore
	sink     Sink
	interval time.Duration
	last     int64
	save     func(context.Context, int64) error
}

// NewForwarder returns a Forwarder from store to sink; call Run to start it.
func NewForwarder(store storage.ActivityStore, sink Sink, opts ...Option) (*Forwarder, error) {
	if store == nil || sink == nil {
		return nil, errors.New("activity: NewForwarder: store and sink are required")
	}
	f := &Forwarder{store: store, sink: sink, interval: time.Second}
	for _, opt := range opts {
		if err := opt(f); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Run forwards until ctx ends and returns the context's error. Failures of the store or the sink are retried with
// exponential back-off, without end. It must not be called twice at the same time.
func (f *Forwarder) Run(ctx context.Context) error {
	retry := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(f.interval), backoff.WithMaxInterval(time.Minute), backoff.WithMaxElapsedTime(0))
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		err := f.Flush(ctx)
		var stop *progressError
		switch {
		case errors.As(err, &stop):
			return err
		case err != nil:
			wait = retry.NextBackOff()
		default:
			retry.Reset()
			wait = f.interval
		}
	}
}

// Flush delivers what is stored now and was not delivered yet, in batches.
func (f *Forwarder) Flush(ctx context.Context) error {
	for {
		acts, _, err := f.store.ListActivities(ctx,
			storage.ActivityFilter{AfterSeq: f.last}, storage.Page{Limit: storage.MaxPageSize})
		if err != nil {
			return fmt.Errorf("activity: forward: %w", err)
		}
		if len(acts) == 0 {
			return nil
		}
		if err := f.sink.Deliver(ctx, acts); err != nil {
			return fmt.Errorf("activity: forward: deliver: %w", err)
		}
		f.last = acts[len(acts)-1].Seq
		if f.save != nil {
			if err := f.save(ctx, f.last); err != nil {
				return &progressError{err}
			}
		}
	}
}

// progressError is a failure to keep the position, after which going on would repeat more and more on a restart.
type progressError struct{ err error }

func (e *progressError) Error() string { return "activity: forward: save progress: " + e.err.Error() }
func (e *progressError) Unwrap() error { return e.err }
