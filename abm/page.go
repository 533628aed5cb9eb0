package abm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"
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

// decodePage reads the answer of FetchDevices and SyncDevices, which were asked for limit devices. The page keeps nothing
// of body.
//
// The body as a whole must be valid JSON with a cursor; what is odd inside a record (duplicate names, invalid UTF-8, a
// bad date, a wrong type) costs that one value. jsontext checks the syntax and finds where each record ends, and the
// record is then scanned knowing that it is valid.
func decodePage(body []byte, limit int) (*DevicePage, error) {
	p := new(DevicePage)
	var records recordDecoder
	err := decodeObject(body, func(name string, d *jsontext.Decoder) error {
		switch name {
		case "devices":
			if d.PeekKind() != '[' {
				return skipNull(d, name)
			}
			return p.decodeDevices(body, limit, d, &records)
		case "cursor":
			return readText(d, &p.Cursor)
		case "fetched_until":
			var s string
			err := readText(d, &s)
			p.FetchedUntil, _ = parseTime(s)
			return err
		case "more_to_follow":
			t, err := readRaw(d)
			p.MoreToFollow = t == "true"
			return err
		}
		return d.SkipValue()
	})
	if err != nil {
		return nil, err
	}
	if p.Cursor == "" {
		return nil, errors.New("no cursor in it")
	}
	return p, nil
}

func (p *DevicePage) decodeDevices(body []byte, limit int, d *jsontext.Decoder, records *recordDecoder) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		dev, err := records.decode(string(v))
		if err != nil || dev.SerialNumber == "" {
			p.Unreadable++
			continue
		}
		if p.Devices == nil {
			// Records of a list are of similar size, a quarter for those that are smaller.
			p.Devices = make([]Device, 0, min(len(body)*5/4/(len(v)+1)+1, limit))
		}
		p.Devices = append(p.Devices, dev)
	}
	_, err := d.ReadToken()
	return err
}

// decodeDetails reads the answer of DeviceDetails: records by serial.
func decodeDetails(body []byte) (map[string]Device, error) {
	var out map[string]Device
	var records recordDecoder
	err := decodeObject(body, func(name string, d *jsontext.Decoder) error {
		if name != "devices" || d.PeekKind() != '{' {
			return d.SkipValue()
		}
		out = make(map[string]Device)
		return eachMember(d, func(serial string, d *jsontext.Decoder) error {
			v, err := d.ReadValue()
			if err != nil {
				return err
			}
			dev, err := records.decode(string(v))
			if err != nil || len(serial) > maxSerial {
				return nil // as if Apple had said nothing about the serial
			}
			dev.SerialNumber = serial
			out[serial] = dev
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if out == nil {
		return nil, errors.New("no devices in it")
	}
	return out, nil
}

// decodeObject reads body, which must be one JSON object, and calls f before each value. f must read the value.
func decodeObject(body []byte, f func(name string, d *jsontext.Decoder) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if d.PeekKind() != '{' {
		if len(bytes.TrimSpace(body)) == 0 {
			return io.ErrUnexpectedEOF
		}
		return errNotObject
	}
	if err := eachMember(d, f); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func eachMember(d *jsontext.Decoder, f func(name string, d *jsontext.Decoder) error) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return err
		}
		if err := f(t.String(), d); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// readText reads a string; null and other types leave s alone.
func readText(d *jsontext.Decoder, s *string) error {
	v, err := readRaw(d)
	if t := text(v); t != "" {
		*s = t
	}
	return err
}

func readRaw(d *jsontext.Decoder) (string, error) {
	v, err := d.ReadValue()
	return string(v), err
}

func skipNull(d *jsontext.Decoder, name string) error {
	if d.PeekKind() != 'n' {
		return fmt.Errorf("%s has another type", name)
	}
	return d.SkipValue()
}
