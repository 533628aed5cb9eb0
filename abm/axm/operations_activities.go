package axm

import (
	"context"
	"net/http"
	"slices"

	"go.uber.org/zap"
)

// CreateActivity creates one activity. It returns when Apple has taken it; [Client.WaitActivity] waits for its end. It returns
// [ErrConflict] when Apple does not know the server or one of the serial numbers: then nothing is done for any of them.
//
// After a [TransportError], or an [APIError] with ErrUnavailable or ErrBadResponse, it is unknown whether the activity
// exists.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/create-an-orgdeviceactivity
//
//axm:operation POST /v1/orgDeviceActivities
func (c *Client) CreateActivity(ctx context.Context, r ActivityRequest) (*Activity, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	var a *Activity
	err := c.do(ctx, call{
		op: "CreateActivity", method: http.MethodPost, path: []string{"orgDeviceActivities"}, in: r.document(), write: true,
		out: one(func(r resource) { a = new(newActivity(r)) }),
	})
	if err != nil {
		return nil, err
	}
	a.Serials = slices.Clone(r.Serials)
	c.s.log.Info("activity created", zap.String("activity", a.ID), zap.String("type", string(r.Type)), zap.Int("devices", len(r.Serials)))
	return a, nil
}

// Activity returns an activity as it is now, or [ErrNotFound]: Apple does not keep activities for ever.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-orgdeviceactivity-information
//
//axm:operation GET /v1/orgDeviceActivities/{id}
func (c *Client) Activity(ctx context.Context, id string) (*Activity, error) {
	var a *Activity
	err := c.do(ctx, call{
		op: "Activity", method: http.MethodGet, path: []string{"orgDeviceActivities", id},
		out: one(func(r resource) { a = new(newActivity(r)) }),
	})
	return a, err
}
