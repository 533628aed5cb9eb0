package abmtest

import (
	"crypto/hmac"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// axmLag is what an API that lags behind still shows of a device.
type axmLag struct {
	server *MDMServer
	until  time.Time
}

// owner returns the entry that the API shows for a device. The caller holds the lock.
func (a *AXM) owner(d *device, now time.Time) *MDMServer {
	if lag, ok := a.lagging[d.hw.SerialNumber]; ok && now.Before(lag.until) {
		return lag.server
	}
	return d.owner
}

// device returns a device of the organization, or one that was in it. The caller holds the lock.
func (a *AXM) device(serial string) (*device, error) {
	d, ok := a.s.devices[serial]
	if !ok {
		return nil, axmNotFound("no such device")
	}
	return d, nil
}

// orgDevices serves GET /v1/orgDevices.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-org-devices
func (a *AXM) orgDevices(c *axmCall) (int, any, error) {
	return a.page(c, len(a.s.serials), func(i int) any {
		if d := a.s.devices[a.s.serials[i]]; !d.released {
			return a.deviceResource(c, d)
		}
		return nil
	})
}

// orgDevice serves GET /v1/orgDevices/{id}.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-orgdevice-information
func (a *AXM) orgDevice(c *axmCall) (int, any, error) {
	d, err := a.device(c.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, c.single(a.deviceResource(c, d)), nil
}

func (a *AXM) deviceResource(c *axmCall, d *device) map[string]any {
	hw := d.hw
	status, owner := "UNASSIGNED", a.owner(d, c.now)
	if owner != nil {
		status = "ASSIGNED"
	}
	attrs := map[string]any{
		"serialNumber": hw.SerialNumber, "deviceModel": hw.Model, "color": hw.Color, "productFamily": hw.Family, "status": status,
		"addedToOrgDateTime": axmStamp(a.firstSeen(hw.SerialNumber, c.now)), "updatedDateTime": axmStamp(d.cur.assignedDate),
		"releasedFromOrgDateTime": nil, "purchaseSourceType": "APPLE", "eid": hw.EID,
		"imei": list(hw.IMEI...), "meid": list(hw.MEID...), "wifiMacAddress": hw.WiFiMAC, "bluetoothMacAddress": hw.BluetoothMAC,
		"isMdmMigrationCapable": owner != nil,
	}
	if hw.EthernetMAC != "" {
		attrs["ethernetMacAddress"] = []string{hw.EthernetMAC}
	}
	if d.released {
		attrs["releasedFromOrgDateTime"] = axmStamp(a.firstSeen("released "+hw.SerialNumber, c.now))
	}
	if !d.cur.deadline.IsZero() {
		attrs["mdmMigrationStatus"], attrs["mdmMigrationDeadlineDateTime"] = "REQUESTED", axmStamp(d.cur.deadline)
	}
	self := c.base + "/v1/orgDevices/" + url.PathEscape(hw.SerialNumber)
	return map[string]any{
		"type": "orgDevices", "id": hw.SerialNumber, "attributes": c.selected("orgDevices", attrs),
		"relationships": map[string]any{
			"assignedServer":    map[string]any{"links": map[string]string{"self": self + "/relationships/assignedServer", "related": self + "/assignedServer"}},
			"appleCareCoverage": map[string]any{"links": map[string]string{"related": self + "/appleCareCoverage"}},
		},
		"links": map[string]string{"self": self},
	}
}

// list returns a list that is never null.
func list(values ...string) []string { return append([]string{}, values...) }

// firstSeen returns when the API first had to do with something. The service keeps no such times.
func (a *AXM) firstSeen(what string, now time.Time) time.Time {
	if _, ok := a.since[what]; !ok {
		a.since[what] = now
	}
	return a.since[what]
}

// coverage serves GET /v1/orgDevices/{id}/appleCareCoverage: a limited warranty of a year.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-all-applecare-coverage-for-an-orgdevice
func (a *AXM) coverage(c *axmCall) (int, any, error) {
	d, err := a.device(c.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	start := a.firstSeen(d.hw.SerialNumber, c.now)
	return a.page(c, 1, func(int) any {
		return map[string]any{"type": "appleCareCoverage", "id": d.hw.SerialNumber, "attributes": map[string]any{
			"status": "ACTIVE", "paymentType": "NONE", "description": "Limited Warranty", "agreementNumber": nil,
			"startDateTime": axmStamp(start), "endDateTime": axmStamp(start.AddDate(1, 0, 0)),
		}}
	})
}

// assignedServer serves GET /v1/orgDevices/{id}/assignedServer.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-the-assigned-server-for-an-orgdevice
func (a *AXM) assignedServer(c *axmCall) (int, any, error) {
	d, err := a.device(c.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	m := a.owner(d, c.now)
	if m == nil {
		return 0, nil, axmNotFound("not assigned")
	}
	return http.StatusOK, c.single(a.serverResource(c, m)), nil
}

// assignedServerID serves GET /v1/orgDevices/{id}/relationships/assignedServer.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-the-assigned-server-id-for-an-orgdevice
func (a *AXM) assignedServerID(c *axmCall) (int, any, error) {
	d, err := a.device(c.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	m, id := a.owner(d, c.now), ""
	switch {
	case m != nil:
		id = m.axmID()
	case a.cfg.unassigned404:
		return 0, nil, axmNotFound("not assigned")
	}
	return http.StatusOK, c.single(map[string]string{"type": "mdmServers", "id": id}), nil
}

// mdmDevices serves GET /v1/mdmDevices. No device is enrolled in Apple's built-in device management.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-apple-mdm-enrolled-devices
func (a *AXM) mdmDevices(c *axmCall) (int, any, error) {
	return a.page(c, 0, func(int) any { return nil })
}

func (c *axmCall) single(data any) any {
	return map[string]any{"data": data, "links": map[string]string{"self": c.base + c.r.URL.Path}}
}

// page serves a page of the n entries that item returns, of which those that are nil are left out. A cursor is a position in
// the whole list. That of devices only ever grows, so that no page loses or repeats a device when others leave in between; one
// of MDM servers may pass over an entry when another is deleted.
func (a *AXM) page(c *axmCall, n int, item func(i int) any) (int, any, error) {
	limit, err := a.limit(c)
	if err != nil {
		return 0, nil, err
	}
	from, query := 0, c.r.URL.Query()
	if text := query.Get("cursor"); text != "" {
		if from, err = a.decodePosition(c, text); err != nil {
			return 0, nil, err
		}
	}
	data, next := []any{}, 0
	for i := from; i < n; i++ {
		entry := item(i)
		if entry == nil {
			continue
		}
		if len(data) == limit {
			next = i
			break
		}
		data = append(data, entry)
	}
	self := c.base + c.r.URL.Path
	links := map[string]string{"self": self, "first": self}
	paging := map[string]any{"limit": limit}
	if next > 0 {
		cursor := a.encodePosition(c, next)
		query.Set("cursor", cursor)
		links["next"], paging["nextCursor"] = self+"?"+query.Encode(), cursor
	}
	return http.StatusOK, map[string]any{"data": data, "links": links, "meta": map[string]any{"paging": paging}}, nil
}

func (a *AXM) limit(c *axmCall) (int, error) {
	text := c.r.URL.Query().Get("limit")
	if text == "" {
		return a.cfg.pages.byDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > a.cfg.pages.maximum {
		return 0, &axmError{
			status: http.StatusBadRequest, code: "PARAMETER_ERROR.INVALID", parameter: "limit",
			detail: fmt.Sprintf("limit must be 1 to %d", a.cfg.pages.maximum),
		}
	}
	return n, nil
}

// encodePosition returns an opaque cursor, good for one path. It ends in a MAC, as those of the device assignment service do.
func (a *AXM) encodePosition(c *axmCall, i int) string {
	text := strconv.Itoa(i)
	return base64.RawURLEncoding.EncodeToString([]byte(text + ":" + a.s.cursorMAC(c.r.URL.Path, text)))
}

func (a *AXM) decodePosition(c *axmCall, cursor string) (int, error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	text, mac, _ := strings.Cut(string(raw), ":")
	i, numberErr := strconv.Atoi(text)
	if err != nil || numberErr != nil || !hmac.Equal([]byte(mac), []byte(a.s.cursorMAC(c.r.URL.Path, text))) {
		return 0, &axmError{
			status: http.StatusBadRequest, code: "PARAMETER_ERROR.INVALID", parameter: "cursor", detail: "not a cursor of this list",
		}
	}
	return i, nil
}
