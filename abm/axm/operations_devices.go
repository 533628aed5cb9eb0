package axm

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"

	"go.uber.org/zap"
)

const (
	typeDevices    = "orgDevices"
	typeServers    = "mdmServers"
	typeActivities = "orgDeviceActivities"
	typeCoverage   = "appleCareCoverage"
	typeMDMDevices = "mdmDevices"
)

// list reads one page of a list.
func list[T any](ctx context.Context, c *Client, op string, o ListOptions, resourceType string, item func(resource) T, path ...string) (*Page[T], error) {
	var page *Page[T]
	err := c.do(ctx, call{
		op: op, method: http.MethodGet, path: path, query: o.query(resourceType),
		out: func(body []byte) (err error) {
			page, err = readPage(body, item)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	if page.Unreadable > 0 {
		c.s.log.Warn("entries that are no resources", zap.String("operation", op), zap.Int("count", page.Unreadable))
	}
	return page, nil
}

// OrgDevices returns the devices of the organization, page by page as they are asked for. An error ends the sequence; it is
// the second value of its last pair. Entries that are no resources are left out and logged.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-org-devices
//
//axm:operation GET /v1/orgDevices
func (c *Client) OrgDevices(ctx context.Context, o ListOptions) iter.Seq2[Device, error] {
	return all("OrgDevices", o, func(o ListOptions) (*Page[Device], error) { return c.OrgDevicesPage(ctx, o) })
}

// OrgDevicesPage returns one page of [Client.OrgDevices], for those who keep the cursor.
//
//axm:operation GET /v1/orgDevices
func (c *Client) OrgDevicesPage(ctx context.Context, o ListOptions) (*Page[Device], error) {
	return list(ctx, c, "OrgDevices", o, typeDevices, newDevice, "orgDevices")
}

// OrgDevice returns the device with this serial number, also one that was released. It returns [ErrNotFound] if the
// organization never had it. With names, it returns these attributes only.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-orgdevice-information
//
//axm:operation GET /v1/orgDevices/{id}
func (c *Client) OrgDevice(ctx context.Context, serial string, names ...string) (*Device, error) {
	var d *Device
	err := c.do(ctx, call{
		op: "OrgDevice", method: http.MethodGet, path: []string{"orgDevices", serial}, query: fields(typeDevices, names),
		out: one(func(r resource) { d = new(newDevice(r)) }),
	})
	return d, err
}

// AppleCareCoverage returns the AppleCare agreements and warranties of a device; none is no error.
// Since version 1.3 of the API.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-all-applecare-coverage-for-an-orgdevice
//
//axm:operation GET /v1/orgDevices/{id}/appleCareCoverage
func (c *Client) AppleCareCoverage(ctx context.Context, serial string) ([]AppleCareCoverage, error) {
	const op = "AppleCareCoverage"
	var out []AppleCareCoverage
	for coverage, err := range all(op, ListOptions{}, func(o ListOptions) (*Page[AppleCareCoverage], error) {
		return list(ctx, c, op, o, typeCoverage, newCoverage, "orgDevices", serial, "appleCareCoverage")
	}) {
		if err != nil {
			return nil, err
		}
		out = append(out, coverage)
	}
	return out, nil
}

// AssignedServer returns the MDM server a device is assigned to. It returns [ErrNotAssigned] if there is none, or no such
// device. It may lag behind an activity that has completed, by 15 seconds and more (observed).
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-the-assigned-server-for-an-orgdevice
//
//axm:operation GET /v1/orgDevices/{id}/assignedServer
func (c *Client) AssignedServer(ctx context.Context, serial string) (*MDMServer, error) {
	r, err := c.assigned(ctx, "AssignedServer", "orgDevices", serial, "assignedServer")
	if err != nil {
		return nil, err
	}
	return new(newMDMServer(r)), nil
}

// AssignedServerID returns the id of the MDM server a device is assigned to, as [Client.AssignedServer] does.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-the-assigned-server-id-for-an-orgdevice
//
//axm:operation GET /v1/orgDevices/{id}/relationships/assignedServer
func (c *Client) AssignedServerID(ctx context.Context, serial string) (string, error) {
	r, err := c.assigned(ctx, "AssignedServerID", "orgDevices", serial, "relationships", "assignedServer")
	return r.id, err
}

// assigned reads a document that holds a server, or nothing. Both a 404 and an empty id were observed for nothing.
func (c *Client) assigned(ctx context.Context, op string, path ...string) (resource, error) {
	var r resource
	found := false
	err := c.do(ctx, call{op: op, method: http.MethodGet, path: path, out: func(body []byte) (err error) {
		r, found, err = readSingle(body)
		return err
	}})
	switch {
	case errors.Is(err, ErrNotFound):
		return resource{}, fmt.Errorf("%w: %w", ErrNotAssigned, err)
	case err != nil:
		return resource{}, err
	case !found:
		return resource{}, fmt.Errorf("axm: %s: %w", op, ErrNotAssigned)
	}
	return r, nil
}

// MDMDevices returns the devices that are enrolled in Apple's built-in device management. Apple Business 2.0 and later.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-apple-mdm-enrolled-devices
//
//axm:operation GET /v1/mdmDevices
func (c *Client) MDMDevices(ctx context.Context, o ListOptions) iter.Seq2[MDMDevice, error] {
	return all("MDMDevices", o, func(o ListOptions) (*Page[MDMDevice], error) {
		return list(ctx, c, "MDMDevices", o, typeMDMDevices, newMDMDevice, "mdmDevices")
	})
}

// MDMDeviceDetails returns what Apple's built-in device management knows of a device. id is that of [MDMDevice].
// It returns [ErrNotFound] if the device is not enrolled there.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-the-details-for-apple-mdm-enrolled-device
//
//axm:operation GET /v1/mdmDevices/{id}/details
func (c *Client) MDMDeviceDetails(ctx context.Context, id string) (*MDMDeviceDetails, error) {
	var d *MDMDeviceDetails
	err := c.do(ctx, call{
		op: "MDMDeviceDetails", method: http.MethodGet, path: []string{"mdmDevices", id, "details"},
		out: one(func(r resource) { d = new(newMDMDeviceDetails(r)) }),
	})
	return d, err
}
