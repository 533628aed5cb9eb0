package nano

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/storage"

	"github.com/enrollkit/enrollkit/setupexp"
)

// Commander queues commands in NanoMDM's storage and wakes devices.
type Commander struct {
	queue  storage.CommandEnqueuer
	pusher push.Pusher
	locks  keyedLock
}

var _ setupexp.Commander = (*Commander)(nil)

// NewCommander returns a Commander over NanoMDM's storage and push service.
func NewCommander(queue storage.CommandEnqueuer, pusher push.Pusher) (*Commander, error) {
	if queue == nil || pusher == nil {
		return nil, errors.New("nano: new commander: a queue and a pusher are required")
	}
	return &Commander{queue: queue, pusher: pusher}, nil
}

// Enqueue implements setupexp.Commander. It does not wake the device: a *setupexp.Tracker pushes once for all it has
// queued, and pushes again while the device stays silent. Whoever else queues a command calls Push.
func (c *Commander) Enqueue(ctx context.Context, enrollmentID, commandUUID string, command []byte) error {
	cmd, err := mdm.DecodeCommand(command)
	if err != nil {
		return fmt.Errorf("nano: enqueue: %w", withoutContent(err))
	}
	if cmd.CommandUUID != commandUUID {
		return fmt.Errorf("nano: enqueue: the command has UUID %q, want %q", cmd.CommandUUID, commandUUID)
	}
	if err := c.enqueue(ctx, enrollmentID, cmd); err != nil {
		return fmt.Errorf("nano: enqueue %s: %w", cmd.Command.RequestType, err)
	}
	return nil
}

func (c *Commander) enqueue(ctx context.Context, enrollmentID string, cmd *mdm.Command) error {
	defer c.locks.lock(enrollmentID)()
	failed, err := c.queue.EnqueueCommand(ctx, []string{enrollmentID}, cmd)
	if existsAlready(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, err := range failed { // keyed by enrollment or, in the kv backend, by command; there is one at most
		if err != nil && !existsAlready(err) {
			return err
		}
	}
	return nil
}

// Push implements setupexp.Commander.
func (c *Commander) Push(ctx context.Context, enrollmentID string) error {
	answers, err := c.pusher.Push(ctx, []string{enrollmentID})
	if err != nil {
		return fmt.Errorf("nano: push: %w", err)
	}
	if a := answers[enrollmentID]; a != nil && a.Err != nil {
		return fmt.Errorf("nano: push: %w", a.Err)
	}
	return nil
}

// existsAlready reports whether a command of this UUID was queued before. NanoMDM has no error value for it: its kv
// backends say so in words, its SQL backends return the driver's error about the primary key of table commands.
func existsAlready(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	for _, s := range []string{
		"command already exists",                         // kv, inmem, diskv
		"Duplicate entry",                                // MySQL, error 1062
		"duplicate key value violates unique constraint", // PostgreSQL, SQLSTATE 23505
	} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// withoutContent drops the command from a parse error: it may hold passwords.
func withoutContent(err error) error {
	var pe *mdm.ParseError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
