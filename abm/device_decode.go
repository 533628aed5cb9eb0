package abm

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxSerial is the length in bytes of the longest serial number that is taken for one.
const maxSerial = 64

var errNotObject = errors.New("not a JSON object")

// ParseDevice reads one record in Apple's JSON form, such as storage.Device.Document.
// It fails if data is not a JSON object with a serial number.
func ParseDevice(data []byte) (Device, error) {
	var (
		d Device
		r recordDecoder
	)
	s := &scanner{json: string(data)}
	ok := r.decode(s, &d)
	switch err := s.end(); {
	case err != nil:
		return Device{}, fmt.Errorf("abm: device: %w", err)
	case !ok:
		return Device{}, fmt.Errorf("abm: device: %w", errNotObject)
	case d.SerialNumber == "":
		return Device{}, errors.New("abm: device: no serial number")
	}
	return d, nil
}

// recordDecoder decodes device records, one after the other; its buffers are used again.
type recordDecoder struct {
	// values holds the raw value of each documented key; "" if it is missing, null or an empty string. The last one counts
	// of a key that is there twice.
	values [deviceKeys]string
	// others are the members with other keys.
	others  []member
	content []byte
	// plain says that no string of the record needs more than its quotes taken off.
	plain bool
}

// member is one name of a JSON object, without quotes and escapes, and its value, raw.
type member struct{ key, value string }

// decode sets d to the record that s is at, and goes behind it. It returns false if there is something else. The strings of
// d are parts of the text that is read, wherever no escape is in the way, so that a record costs no allocation.
func (r *recordDecoder) decode(s *scanner, d *Device) bool {
	if s.peek() != '{' {
		s.value()
		return false
	}
	start := s.at
	s.plain = true
	r.scan(s)
	if s.bad {
		return false
	}
	doc := s.json[start:s.at]
	r.plain = s.plain
	*d = Device{
		SerialNumber: r.text(keySerialNumber),
		Model:        r.text(keyModel), Description: r.text(keyDescription), Color: r.text(keyColor), AssetTag: r.text(keyAssetTag),
		DeviceFamily: r.text(keyDeviceFamily), OS: r.text(keyOS),
		DeviceAssignedBy: r.text(keyDeviceAssignedBy),
		ProfileUUID:      r.text(keyProfileUUID), ProfileStatus: ProfileStatus(r.text(keyProfileStatus)),
		OpType:         OpType(strings.ToLower(r.text(keyOpType))),
		WiFiMACAddress: r.text(keyWiFiMACAddress), BluetoothMACAddress: r.text(keyBluetoothMACAddress), EthernetMACAddress: r.text(keyEthernetMACAddress),
		IMEI: texts(r.values[keyIMEI], r.plain), MEID: texts(r.values[keyMEID], r.plain), EID: r.text(keyEID),
		IsReplacementDevice: r.values[keyIsReplacementDevice] == "true", ReleasedByReplacement: r.values[keyReleasedByReplacement] == "true",
		ResponseStatus: Result(r.text(keyResponseStatus)),
		Document:       doc,
	}
	d.DeviceAssignedDate, _ = parseTime(r.text(keyDeviceAssignedDate))
	d.ProfileAssignTime, _ = parseTime(r.text(keyProfileAssignTime))
	d.ProfilePushTime, _ = parseTime(r.text(keyProfilePushTime))
	d.OpDate, _ = parseTime(r.text(keyOpDate))
	d.MDMMigrationDeadline, _ = parseTime(r.text(keyMDMMigrationDeadline))
	if len(d.SerialNumber) > maxSerial {
		d.SerialNumber = "" // as none: nothing of Apple's is that long, and stores limit their keys
	}
	r.digest(d)
	return true
}

// scan collects the members of the object that s is at.
func (r *recordDecoder) scan(s *scanner) {
	clear(r.values[:])
	r.others = r.others[:0]
	s.open()
	for s.next('}') {
		name, v := s.name(), s.value()
		if v == `""` || v == "null" {
			v = ""
		}
		if k := keyOf(name); k != keyOther {
			r.values[k] = v
		} else if v != "" {
			r.others = append(r.others, member{name, v})
		}
	}
}

func (r *recordDecoder) text(k deviceKey) string { return text(r.values[k], r.plain) }

// digest sets d.digest: SHA-256 over the members that count, in an order of their own. A documented key is one byte, its
// number, another one 0 and the key with a NUL; a raw value follows, and a NUL. NUL is in no key and no JSON.
func (r *recordDecoder) digest(d *Device) {
	b := r.content[:0]
	for k := keyOther + 1; k <= keyLastOfContent; k++ {
		if v := r.values[k]; v != "" {
			b = append(append(append(b, byte(k)), v...), 0)
		}
	}
	if len(r.others) > 1 {
		slices.SortStableFunc(r.others, func(a, b member) int { return strings.Compare(a.key, b.key) })
	}
	for _, m := range r.others {
		b = append(append(append(append(append(b, byte(keyOther)), m.key...), 0), m.value...), 0)
	}
	r.content = b
	d.digest = sha256.Sum256(b)
}
