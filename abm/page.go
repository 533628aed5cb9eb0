package abm

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// DevicePage is one page of a list of devices.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetchdeviceresponse
type DevicePage struct {
	// Devices are in Apple's order: by the time of the operation, the oldest first.
	Devices []Device
	// Cursor is opaque and goes into the next call.
	Cursor string
	// FetchedUntil is Apple's mark of progress.
	FetchedUntil time.Time
	// MoreToFollow says that the next call should be made at once.
	MoreToFollow bool
	// Unreadable counts the entries of the list that are no device records.
	Unreadable int
}

// UnmarshalJSON sets p to the answer of FetchDevices or SyncDevices in Apple's JSON form. The array behind p.Devices is used
// again, as encoding/json does with slices: copy the devices of the page before that are still needed. p keeps nothing of
// data.
//
// The answer as a whole must be valid JSON with a cursor; what is odd inside a record (duplicate names, invalid UTF-8, a bad
// date, a wrong type) costs that one value.
func (p *DevicePage) UnmarshalJSON(data []byte) error {
	if err := p.decode(data, MaxLimit); err != nil {
		return fmt.Errorf("abm: page: %w", err)
	}
	return nil
}

// decodePage reads the answer of FetchDevices and SyncDevices, which were asked for limit devices, into a new page.
func decodePage(body []byte, limit int) (*DevicePage, error) {
	p := new(DevicePage)
	if err := p.decode(body, limit); err != nil {
		return nil, err
	}
	return p, nil
}

// decode is UnmarshalJSON for a page of limit devices. All strings of the page are parts of one copy of body.
func (p *DevicePage) decode(body []byte, limit int) error {
	*p = DevicePage{Devices: p.Devices[:0]}
	s := &scanner{json: string(body)}
	err := p.scan(s, limit)
	if bad := s.end(); bad != nil {
		err = bad
	}
	if err == nil && p.Cursor == "" {
		err = errors.New("no cursor in it")
	}
	if err != nil {
		*p = DevicePage{Devices: p.Devices[:0]}
	}
	return err
}

func (p *DevicePage) scan(s *scanner, limit int) (err error) {
	if s.peek() != '{' {
		s.value()
		return errNotObject
	}
	s.open()
	for s.next('}') {
		switch s.name() {
		case "devices":
			if !p.decodeDevices(s, limit) {
				err = errors.New("devices has another type")
			}
		case "cursor":
			if t := text(s.value(), false); t != "" {
				p.Cursor = t
			}
		case "fetched_until":
			p.FetchedUntil, _ = parseTime(text(s.value(), false))
		case "more_to_follow":
			p.MoreToFollow = s.value() == "true"
		default:
			s.value()
		}
	}
	return err
}

// decodeDevices adds the records of the list that s is at. It returns false if there is something else; null is an empty list.
func (p *DevicePage) decodeDevices(s *scanner, limit int) bool {
	if s.peek() != '[' {
		return s.value() == "null"
	}
	var records recordDecoder
	s.open()
	for s.next(']') {
		if len(p.Devices) == cap(p.Devices) {
			p.makeRoom(*s, limit)
		}
		i := len(p.Devices)
		p.Devices = p.Devices[:i+1]
		if !records.decode(s, &p.Devices[i]) || p.Devices[i].SerialNumber == "" {
			p.Devices = p.Devices[:i]
			p.Unreadable++
		}
	}
	return true
}

// makeRoom makes room for the records to come, which begin at s, a copy: as many as the text has of the size of the first
// one, a quarter for those that are smaller, but no more than were asked for.
func (p *DevicePage) makeRoom(s scanner, limit int) {
	left := len(s.json) - s.at
	size := len(s.value()) + 1
	p.Devices = slices.Grow(p.Devices, min(left*5/4/size+1, limit))
}

// decodeDetails reads the answer of DeviceDetails: records by serial.
func decodeDetails(body []byte) (map[string]Device, error) {
	var out map[string]Device
	s := &scanner{json: string(body)}
	object := s.peek() == '{'
	if object {
		s.open()
		for s.next('}') {
			if s.name() == "devices" && s.peek() == '{' {
				out = decodeBySerial(s)
			} else {
				s.value()
			}
		}
	} else {
		s.value()
	}
	switch err := s.end(); {
	case err != nil:
		return nil, err
	case !object:
		return nil, errNotObject
	case out == nil:
		return nil, errors.New("no devices in it")
	}
	return out, nil
}

func decodeBySerial(s *scanner) map[string]Device {
	out := make(map[string]Device)
	var records recordDecoder
	s.open()
	for s.next('}') {
		var d Device
		serial := s.name()
		if !records.decode(s, &d) || len(serial) > maxSerial {
			continue // as if Apple had said nothing about the serial
		}
		d.SerialNumber = serial
		out[serial] = d
	}
	return out
}
