package axm

import (
	"context"
	"errors"
	"iter"
	"net/http"
)

// MDMServers returns the device management services of the organization.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-mdm-servers
//
//axm:operation GET /v1/mdmServers
func (c *Client) MDMServers(ctx context.Context, o ListOptions) iter.Seq2[MDMServer, error] {
	return all("MDMServers", o, func(o ListOptions) (*Page[MDMServer], error) {
		return list(ctx, c, "MDMServers", o, typeServers, newMDMServer, "mdmServers")
	})
}

// MDMServer returns one device management service, or [ErrNotFound]. Apple Business 2.1 and later.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-mdmserver-information
//
//axm:operation GET /v1/mdmServers/{id}
func (c *Client) MDMServer(ctx context.Context, id string) (*MDMServer, error) {
	var m *MDMServer
	err := c.do(ctx, call{
		op: "MDMServer", method: http.MethodGet, path: []string{"mdmServers", id},
		out: one(func(r resource) { m = new(newMDMServer(r)) }),
	})
	return m, err
}

// CreateMDMServer creates a device management service; u must have a name and a certificate, and no default families, which
// Apple takes in an update only. Apple Business 2.1 and later. The server token still has to be downloaded from the portal: the API does not hand it out.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/create-an-mdmserver
//
//axm:operation POST /v1/mdmServers
func (c *Client) CreateMDMServer(ctx context.Context, u MDMServerUpdate) (*MDMServer, error) {
	if u.ServerName == nil || u.ServerCertificate == nil {
		return nil, errors.New("axm: CreateMDMServer: want a name and a certificate")
	}
	if u.DefaultProductFamilies != nil {
		return nil, errors.New("axm: CreateMDMServer: default families are set with UpdateMDMServer")
	}
	return c.writeServer(ctx, "CreateMDMServer", http.MethodPost, "", u)
}

// UpdateMDMServer changes a device management service. Apple Business 2.1 and later.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/update-an-mdmserver
//
//axm:operation PATCH /v1/mdmServers/{id}
func (c *Client) UpdateMDMServer(ctx context.Context, id string, u MDMServerUpdate) (*MDMServer, error) {
	if id == "" {
		return nil, errors.New("axm: UpdateMDMServer: the id is empty")
	}
	return c.writeServer(ctx, "UpdateMDMServer", http.MethodPatch, id, u)
}

func (c *Client) writeServer(ctx context.Context, op, method, id string, u MDMServerUpdate) (*MDMServer, error) {
	attrs, err := u.attributes()
	if err != nil {
		return nil, err
	}
	data := map[string]any{"type": typeServers, "attributes": attrs}
	path := []string{"mdmServers"}
	if id != "" {
		data["id"] = id
		path = append(path, id)
	}
	var m *MDMServer
	err = c.do(ctx, call{
		op: op, method: method, path: path, in: map[string]any{"data": data}, write: true,
		out: one(func(r resource) { m = new(newMDMServer(r)) }),
	})
	return m, err
}

// DeleteMDMServer deletes a device management service. It returns [ErrConflict] while devices are assigned to it.
// Apple Business 2.1 and later.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/delete-an-mdmserver
//
//axm:operation DELETE /v1/mdmServers/{id}
func (c *Client) DeleteMDMServer(ctx context.Context, id string) error {
	return c.do(ctx, call{op: "DeleteMDMServer", method: http.MethodDelete, path: []string{"mdmServers", id}, write: true})
}

// DeviceSerials returns the serial numbers of the devices that are assigned to an MDM server. It returns [ErrNotFound] if there
// is no such server. It may lag as [Client.AssignedServer] does.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-all-device-ids-for-an-mdmserver
//
//axm:operation GET /v1/mdmServers/{id}/relationships/devices
func (c *Client) DeviceSerials(ctx context.Context, serverID string, o ListOptions) iter.Seq2[string, error] {
	return all("DeviceSerials", o, func(o ListOptions) (*Page[string], error) { return c.DeviceSerialsPage(ctx, serverID, o) })
}

// DeviceSerialsPage returns one page of [Client.DeviceSerials].
//
//axm:operation GET /v1/mdmServers/{id}/relationships/devices
func (c *Client) DeviceSerialsPage(ctx context.Context, serverID string, o ListOptions) (*Page[string], error) {
	o.Fields = nil // identifiers have no attributes
	return list(ctx, c, "DeviceSerials", o, typeDevices, func(r resource) string { return r.id }, "mdmServers", serverID, "relationships", "devices")
}
