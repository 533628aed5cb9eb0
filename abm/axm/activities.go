package axm

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/enrollkit/enrollkit/internal/retry"
)

// CreateActivities creates as many activities as the serial numbers need, each of at most the size of [WithBatch]. After an
// error it returns the activities that were created before.
func (c *Client) CreateActivities(ctx context.Context, r ActivityRequest) ([]Activity, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	var out []Activity
	for serials := range slices.Chunk(r.Serials, c.s.batch) {
		part := r
		part.Serials = serials
		a, err := c.CreateActivity(ctx, part)
		if err != nil {
			return out, err
		}
		out = append(out, *a)
	}
	return out, nil
}

// AssignDevices assigns devices to an MDM server, as [Client.CreateActivities] does. Devices of another server move without being told;
// they are managed by it until they are erased. [Client.Move] also waits and verifies.
func (c *Client) AssignDevices(ctx context.Context, serverID string, serials []string) ([]Activity, error) {
	return c.CreateActivities(ctx, ActivityRequest{Type: AssignDevices, ServerID: serverID, Serials: serials})
}

// UnassignDevices takes devices from the MDM server they are assigned to.
func (c *Client) UnassignDevices(ctx context.Context, serverID string, serials []string) ([]Activity, error) {
	return c.CreateActivities(ctx, ActivityRequest{Type: UnassignDevices, ServerID: serverID, Serials: serials})
}

// AssignDevicesWithMDMMigrationDeadline assigns devices to an MDM server and asks their users to move until the deadline,
// which is at most 90 days ahead.
func (c *Client) AssignDevicesWithMDMMigrationDeadline(ctx context.Context, serverID string, deadline time.Time, serials []string) ([]Activity, error) {
	return c.CreateActivities(ctx, ActivityRequest{
		Type: AssignDevicesWithMDMMigrationDeadline, ServerID: serverID, Deadline: deadline, Serials: serials,
	})
}

// UpdateMDMMigrationDeadline changes the deadline of migrations under way. Devices that are not migrating fail.
func (c *Client) UpdateMDMMigrationDeadline(ctx context.Context, deadline time.Time, serials []string) ([]Activity, error) {
	return c.CreateActivities(ctx, ActivityRequest{Type: UpdateMDMMigrationDeadline, Deadline: deadline, Serials: serials})
}

// CancelMDMMigration ends migrations under way. Devices that are not migrating fail.
func (c *Client) CancelMDMMigration(ctx context.Context, serials []string) ([]Activity, error) {
	return c.CreateActivities(ctx, ActivityRequest{Type: CancelMDMMigration, Serials: serials})
}

// ReleaseDevices takes devices out of the organization, for good. Without [ConfirmRelease] it sends nothing and returns
// [ErrNotConfirmed].
func (c *Client) ReleaseDevices(ctx context.Context, confirm Confirmation, serials []string) ([]Activity, error) {
	return c.CreateActivities(ctx, ActivityRequest{Type: ReleaseDevices, Confirm: confirm, Serials: serials})
}

var errUnfinished = errors.New("axm: the activity is not finished")

// WaitActivity looks at an activity until Apple has finished it, well or not, and returns it: see Activity.Succeeded, and
// [Client.ActivityResults] for the single devices. It goes on over errors that pass by themselves. It waits as long as ctx
// lets it, so ctx should have a deadline; an activity may be waited for again later.
func (c *Client) WaitActivity(ctx context.Context, id string) (*Activity, error) {
	waits := &retry.Hinted{BackOff: retry.Exponential(c.s.now, c.s.firstPoll, c.s.maxPoll), Longest: 1<<63 - 1}
	var a *Activity
	err := backoff.Retry(func() (err error) {
		waits.Hint = 0
		if a, err = c.Activity(ctx, id); err != nil {
			if !temporary(err) {
				return backoff.Permanent(err)
			}
			waits.Hint = hint(err)
			return err
		}
		if !a.Done() {
			return errUnfinished
		}
		return nil
	}, backoff.WithContext(waits, ctx))
	switch {
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, err
}
