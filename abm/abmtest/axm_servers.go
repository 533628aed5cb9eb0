package abmtest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// axmServer is what the API knows of an MDM server entry and the device assignment service does not.
type axmServer struct {
	created, updated time.Time
	disown           bool
	families         []string
}

// axmID returns the id of the entry in the API: 32 upper-case hexadecimal digits.
func (m *MDMServer) axmID() string { return strings.ReplaceAll(m.uuid, "-", "") }

// detail returns what the API knows of an entry. The caller holds the lock.
func (a *AXM) detail(m *MDMServer, now time.Time) *axmServer {
	if a.details[m] == nil {
		a.details[m] = &axmServer{created: now, updated: now, families: []string{}}
	}
	return a.details[m]
}

// server returns the entry with this id. The caller holds the lock.
func (a *AXM) server(id string) (*MDMServer, error) {
	i := slices.IndexFunc(a.s.servers, func(m *MDMServer) bool { return m.axmID() == id })
	if i < 0 {
		return nil, axmNotFound("no such MDM server")
	}
	return a.s.servers[i], nil
}

// assigned returns how many devices the API shows at an entry. The caller holds the lock.
func (a *AXM) assigned(m *MDMServer, now time.Time) int {
	n := 0
	for _, d := range a.s.devices {
		if a.owner(d, now) == m {
			n++
		}
	}
	return n
}

func (a *AXM) serverResource(c *axmCall, m *MDMServer) map[string]any {
	d := a.detail(m, c.now)
	self := c.base + "/v1/mdmServers/" + m.axmID()
	return map[string]any{
		"type": "mdmServers", "id": m.axmID(),
		"attributes": c.selected("mdmServers", map[string]any{
			"serverName": m.name, "serverType": "MDM", "createdDateTime": axmStamp(d.created), "updatedDateTime": axmStamp(d.updated),
			"status": "ACTIVE", "deviceCount": a.assigned(m, c.now), "enableMdmDisownFlag": d.disown,
			"defaultProductFamilies": d.families, "lastConnectedDateTime": nil, "lastConnectedIp": nil,
		}),
		"relationships": map[string]any{"devices": map[string]any{"links": map[string]string{"self": self + "/relationships/devices"}}},
		"links":         map[string]string{"self": self},
	}
}

// mdmServers serves GET /v1/mdmServers.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-mdm-servers
func (a *AXM) mdmServers(c *axmCall) (int, any, error) {
	return a.page(c, len(a.s.servers), func(i int) any { return a.serverResource(c, a.s.servers[i]) })
}

// mdmServer serves GET /v1/mdmServers/{id}.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-mdmserver-information
func (a *AXM) mdmServer(c *axmCall) (int, any, error) {
	m, err := a.server(c.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, c.single(a.serverResource(c, m)), nil
}

// serverDevices serves GET /v1/mdmServers/{id}/relationships/devices.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-all-device-ids-for-an-mdmserver
func (a *AXM) serverDevices(c *axmCall) (int, any, error) {
	m, err := a.server(c.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return a.page(c, len(a.s.serials), func(i int) any {
		if a.owner(a.s.devices[a.s.serials[i]], c.now) != m {
			return nil
		}
		return map[string]string{"type": "orgDevices", "id": a.s.serials[i]}
	})
}

// serverRequest is the body of creating and updating.
type serverRequest struct {
	Data struct {
		Type       string `json:"type"`
		ID         string `json:"id"`
		Attributes struct {
			Name        *string `json:"serverName"`
			Certificate *struct {
				Name string `json:"name"`
				Data string `json:"data"`
			} `json:"serverCertificate"`
			Disown   *bool    `json:"enableMdmDisownFlag"`
			Families []string `json:"defaultProductFamilies"`
		} `json:"attributes"`
	} `json:"data"`
}

// decodeServer reads the body of creating, and of updating the entry m.
func (a *AXM) decodeServer(c *axmCall, m *MDMServer) (*serverRequest, *x509.Certificate, error) {
	in := new(serverRequest)
	if err := json.Unmarshal(c.body, in); err != nil || in.Data.Type != "mdmServers" {
		return nil, nil, &axmError{status: http.StatusBadRequest, code: "ENTITY_ERROR.INVALID", detail: "not an MDM server"}
	}
	if m != nil && in.Data.ID != m.axmID() {
		return nil, nil, axmConflict("/data/id", "the id is not that of the path")
	}
	if name := in.Data.Attributes.Name; name != nil {
		taken := slices.ContainsFunc(a.s.servers, func(other *MDMServer) bool { return other != m && other.name == *name })
		if taken || strings.TrimSpace(*name) == "" {
			return nil, nil, axmConflict("/data/attributes/serverName", "the name is empty or taken")
		}
	}
	if in.Data.Attributes.Certificate == nil {
		return in, nil, nil
	}
	const pointer = "/data/attributes/serverCertificate"
	der, err := base64.StdEncoding.DecodeString(in.Data.Attributes.Certificate.Data)
	if err != nil || in.Data.Attributes.Certificate.Name == "" {
		return nil, nil, axmConflict(pointer, "not a certificate with a name")
	}
	cert, err := rsaCertificate(der)
	if err != nil {
		return nil, nil, axmConflict(pointer, err.Error())
	}
	return in, cert, nil
}

// apply changes an entry. cert is nil if it stays. The caller holds the lock.
func (a *AXM) apply(c *axmCall, m *MDMServer, in *serverRequest, cert *x509.Certificate) {
	if cert != nil {
		m.cert = cert
	}
	d, attrs := a.detail(m, c.now), in.Data.Attributes
	d.updated = c.now
	if attrs.Name != nil {
		m.name = *attrs.Name
	}
	if attrs.Disown != nil {
		d.disown = *attrs.Disown
	}
	if attrs.Families != nil {
		d.families = attrs.Families
	}
}

// createServer serves POST /v1/mdmServers.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/create-an-mdmserver
func (a *AXM) createServer(c *axmCall) (int, any, error) {
	in, cert, err := a.decodeServer(c, nil)
	if err != nil {
		return 0, nil, err
	}
	if in.Data.Attributes.Name == nil || cert == nil {
		return 0, nil, &axmError{
			status: http.StatusConflict, code: "ENTITY_ERROR.ATTRIBUTE.REQUIRED", pointer: "/data/attributes",
			detail: "serverName and serverCertificate are required",
		}
	}
	m := a.s.newMDMServer(*in.Data.Attributes.Name)
	a.apply(c, m, in, cert)
	return http.StatusCreated, c.single(a.serverResource(c, m)), nil
}

// updateServer serves PATCH /v1/mdmServers/{id}.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/update-an-mdmserver
func (a *AXM) updateServer(c *axmCall) (int, any, error) {
	m, err := a.server(c.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	in, cert, err := a.decodeServer(c, m)
	if err != nil {
		return 0, nil, err
	}
	a.apply(c, m, in, cert)
	return http.StatusOK, c.single(a.serverResource(c, m)), nil
}

// deleteServer serves DELETE /v1/mdmServers/{id}, which is refused while devices are assigned.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/delete-an-mdmserver
func (a *AXM) deleteServer(c *axmCall) (int, any, error) {
	m, err := a.server(c.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	for _, d := range a.s.devices {
		if d.owner == m {
			return 0, nil, &axmError{status: http.StatusConflict, code: "ENTITY_ERROR.STATE", detail: "devices are assigned to it"}
		}
	}
	a.remove(m)
	return http.StatusNoContent, nil, nil
}

// remove takes an entry out of the organization, and its sessions with it. The caller holds the lock.
func (a *AXM) remove(m *MDMServer) {
	a.s.servers = slices.DeleteFunc(slices.Clone(a.s.servers), func(other *MDMServer) bool { return other == m })
	a.s.endSessions(m)
	for _, d := range a.s.devices {
		if d.migrateFrom == m {
			d.migrateFrom = nil // nothing to return to
		}
	}
}
