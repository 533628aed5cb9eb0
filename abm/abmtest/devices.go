package abmtest

import (
	"encoding/hex"
	"net/http"
)

// deviceDetails serves POST /devices: a map by serial number, each entry with its own status.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/device-details
func (s *Service) deviceDetails(c *call) (any, error) {
	in, err := s.decodeDevices(c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := detailsResponse{make(map[string]wireDevice, len(in.Devices))}
	for _, serial := range in.Devices {
		d, ok := s.accessible(c.server, serial)
		result, found := resultSuccess, ok
		if !ok {
			result = resultNotAccessible
		}
		w := wireDevice{SerialNumber: serial}
		if result, found = s.faultResult(c, serial, result, found); found {
			w = newWireDevice(d, d.cur, c.version)
		}
		if w.ResponseStatus = result; result != "" {
			out.Devices[serial] = w
		}
	}
	return out, nil
}

// detailsResponse is the answer of POST /devices.
type detailsResponse struct {
	Devices map[string]wireDevice `json:"devices"`
}

// disown serves POST /devices/disown: the devices leave the organization.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/disown-devices
func (s *Service) disown(c *call) (any, error) {
	return s.eachDevice(c, func(d *device) { s.release(d, c.now, false) })
}

// eachDevice serves a call that does the same to each of its devices, with the lock held; those that the server may not
// touch are NOT_ACCESSIBLE.
func (s *Service) eachDevice(c *call, do func(d *device)) (any, error) {
	in, err := s.decodeDevices(c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endThrottles(c.now)
	out := deviceResults{Devices: make(map[string]string, len(in.Devices))}
	for _, serial := range in.Devices {
		d, ok := s.accessible(c.server, serial)
		result := resultSuccess
		if !ok {
			result = resultNotAccessible
		}
		result, ok = s.faultResult(c, serial, result, ok)
		if ok {
			do(d)
		}
		out.put(serial, result)
	}
	return out, nil
}

// replacementDetails serves GET /device/replacementDetails, which exists from protocol version 10 on.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/get-replacement-details
func (s *Service) replacementDetails(c *call) (any, error) {
	if c.version < 10 {
		return nil, refuse(http.StatusNotFound, http.StatusText(http.StatusNotFound))
	}
	serial := c.r.URL.Query().Get("device")
	if serial == "" {
		return nil, bad("DEVICE_ID_REQUIRED")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.accessible(c.server, serial)
	if !ok || d.replaces == "" {
		return nil, refuse(http.StatusNotFound, "DEVICE_NOT_FOUND")
	}
	return map[string]string{
		"serial_number":                 serial,
		"original_device_serial_number": d.replaces,
		"replacement_date":              d.replacedAt.UTC().Format("2006-01-02"),
	}, nil
}

// activationLock serves POST /device/activationlock. An escrow key that is not the hex of 32 bytes is taken for a
// malformed body; Apple does not say what it answers.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/activation-lock-devices
func (s *Service) activationLock(c *call) (any, error) {
	var in struct {
		Device      string  `json:"device"`
		EscrowKey   *string `json:"escrow_key"`
		LostMessage string  `json:"lost_message"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Device == "" {
		return nil, malformed("device is required")
	}
	if in.EscrowKey != nil {
		if key, err := hex.DecodeString(*in.EscrowKey); err != nil || len(key) != 32 {
			return nil, malformed("escrow_key is not the hex form of 32 bytes")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status := resultSuccess
	d, ok := s.accessible(c.server, in.Device)
	switch {
	case s.cfg.org.NoActivationLock:
		status = "ORG_NOT_SUPPORTED"
	case !ok:
		status = resultNotAccessible
	case d.hw.Family == "AppleTV":
		status = "DEVICE_NOT_SUPPORTED"
	case d.locked:
		status = "DEVICE_ALREADY_LOCKED"
	default:
		var done bool
		if status, done = s.faultResult(c, in.Device, status, true); done {
			d.locked, d.lockedBy, d.lostMessage = true, c.server, in.LostMessage
		}
	}
	return map[string]string{"serial_number": in.Device, "response_status": status}, nil
}
