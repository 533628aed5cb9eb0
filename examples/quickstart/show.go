package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// show has the devices assigned, boots some of them, and prints what happens.
func (d *demo) show(ctx context.Context, s *server, f *fleet, store storage.Store) error {
	if d.once {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	began := time.Now()
	assigned := func(snap snapshot) bool { return snap.Counts[stageAssigned] >= d.devices }
	if err := follow(ctx, d.out, s.board, assigned); err != nil {
		return d.conclude(s, f, err)
	}
	booted := make(chan struct{})
	go func() {
		defer close(booted)
		f.boot(ctx, d.pace)
	}()
	over := func(snap snapshot) bool {
		select {
		case <-booted: // what is not released now has failed
			return true
		default:
			return snap.Counts[stageReleased] >= d.boot
		}
	}
	err := follow(ctx, d.out, s.board, over)
	if err == nil {
		select {
		case <-booted:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err := d.conclude(s, f, err); err != nil {
		return err
	}
	if serial := s.example(); serial != "" {
		if err := timeline(ctx, d.out, store, serial); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(d.out, "\n%d devices assigned, %d released, in %.1f s.\n", d.devices, d.boot, time.Since(began).Seconds())
	if d.once {
		return nil
	}
	_, _ = fmt.Fprintln(d.out, "The servers stay up until you interrupt the program.")
	err = f.Run(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// conclude prints the summary, and is an error unless every device was released.
func (d *demo) conclude(s *server, f *fleet, cause error) error {
	snap, _ := s.board.Snapshot()
	failures := f.failures()
	if err := summary(d.out, snap, failures); err != nil {
		return err
	}
	released := snap.Counts[stageReleased]
	if cause == nil && released >= d.boot && len(failures) == 0 {
		return nil
	}
	when := "at the end"
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		when = fmt.Sprintf("after %v (-timeout)", d.timeout)
	case errors.Is(cause, context.Canceled):
		when = "when interrupted"
	}
	return fmt.Errorf("%w: %s, %d of %d devices were assigned, %d of %d released, and %d had problems",
		errUnreleased, when, snap.Counts[stageAssigned], d.devices, released, d.boot, len(failures))
}

// example returns the serial of a Mac if one was booted: it has the longest story.
func (s *server) example() string {
	snap, _ := s.board.Snapshot()
	serial := ""
	for _, r := range snap.Rows {
		if serial == "" || r.Family == "Mac" {
			serial = r.Serial
		}
		if r.Family == "Mac" {
			break
		}
	}
	return serial
}
