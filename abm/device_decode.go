package abm

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// maxSerial is the length in bytes of the longest serial number that is taken for one.
const maxSerial = 64

var errNotObject = errors.New("not a JSON object")

// ParseDevice reads one record in Apple's JSON form, such as storage.Device.Document.
// It fails if data is not a JSON object with a serial number.
func ParseDevice(data []byte) (Device, error) {
	if !jsontext.Value(data).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		return Device{}, errors.New("abm: device: not JSON")
	}
	var d recordDecoder
	dev, err := d.decode(strings.TrimSpace(string(data)))
	if err != nil {
		return Device{}, errors.New("abm: device: " + err.Error())
	}
	if dev.SerialNumber == "" {
		return Device{}, errors.New("abm: device: no serial number")
	}
	return dev, nil
}

// recordDecoder decodes device records, one after the other; its buffers are used again.
type recordDecoder struct {
	members []member
	keys    []string // of the members, in the order they came
	order   []int    // of the members by key
	content []byte
}

// decode reads doc, which must be valid JSON. The strings of the device are parts of doc wherever no escape is in the
// way, so that a device costs one allocation.
func (r *recordDecoder) decode(doc string) (Device, error) {
	if doc == "" || doc[0] != '{' {
		return Device{}, errNotObject
	}
	r.members = scanMembers(doc, r.members[:0])
	d := Device{Document: doc}
	for i := range r.members {
		d.set(r.members[i].key, r.members[i].value)
	}
	if len(d.SerialNumber) > maxSerial {
		d.SerialNumber = "" // as none: nothing of Apple's is that long, and stores limit their keys
	}
	r.digest(&d)
	return d, nil
}

// set stores the value of one key. It is a table in the form of a switch, which compiles to fewer comparisons than a
// map lookup needs.
func (d *Device) set(key, v string) {
	switch key {
	case "serial_number":
		d.SerialNumber = text(v)
	case "model":
		d.Model = text(v)
	case "description":
		d.Description = text(v)
	case "color":
		d.Color = text(v)
	case "asset_tag":
		d.AssetTag = text(v)
	case "device_family":
		d.DeviceFamily = text(v)
	case "os":
		d.OS = text(v)
	case "device_assigned_date":
		d.DeviceAssignedDate, _ = parseTime(text(v))
	case "device_assigned_by":
		d.DeviceAssignedBy = text(v)
	case "profile_uuid":
		d.ProfileUUID = text(v)
	case "profile_assign_time":
		d.ProfileAssignTime, _ = parseTime(text(v))
	case "profile_push_time":
		d.ProfilePushTime, _ = parseTime(text(v))
	case "profile_status":
		d.ProfileStatus = ProfileStatus(text(v))
	case "op_type":
		d.OpType = OpType(strings.ToLower(text(v)))
	case "op_date":
		d.OpDate, _ = parseTime(text(v))
	case "mdm_migration_deadline":
		d.MDMMigrationDeadline, _ = parseTime(text(v))
	case "wifi_mac_address":
		d.WiFiMACAddress = text(v)
	case "bluetooth_mac_address":
		d.BluetoothMACAddress = text(v)
	case "ethernet_mac_address":
		d.EthernetMACAddress = text(v)
	case "imei":
		d.IMEI = texts(v)
	case "meid":
		d.MEID = texts(v)
	case "eid":
		d.EID = text(v)
	case "is_replacement_device":
		d.IsReplacementDevice = v == "true"
	case "released_by_replacement":
		d.ReleasedByReplacement = v == "true"
	case "response_status":
		d.ResponseStatus = Result(text(v))
	}
}

// digest sets d.digest from the members: sorted by key, each as key, NUL, value, NUL.
func (r *recordDecoder) digest(d *Device) {
	r.sort()
	b := r.content[:0]
	for _, i := range r.order {
		m := &r.members[i]
		switch {
		case m.key == "op_type", m.key == "op_date", m.key == "response_status", m.value == "null", m.value == `""`:
			continue
		}
		b = append(append(append(append(b, m.key...), 0), m.value...), 0)
	}
	r.content = b
	d.digest = sha256.Sum256(b)
}

// sort sets r.order to the order of the members by key. Records of one page mostly name the same keys in the same order,
// so the order of the record before is kept if it fits.
func (r *recordDecoder) sort() {
	same := len(r.keys) == len(r.members)
	for i := 0; same && i < len(r.keys); i++ {
		same = r.keys[i] == r.members[i].key
	}
	if same {
		return
	}
	r.keys, r.order = r.keys[:0], r.order[:0]
	for i := range r.members {
		r.keys = append(r.keys, r.members[i].key)
		r.order = append(r.order, i)
	}
	slices.SortStableFunc(r.order, func(a, b int) int { return strings.Compare(r.keys[a], r.keys[b]) })
}

// member is one name of a JSON object, without quotes and escapes, and its value, raw.
type member struct{ key, value string }

// scanMembers appends the members of the JSON object s, which must be valid.
func scanMembers(s string, ms []member) []member {
	i := skipSpace(s, 1)
	for i < len(s) && s[i] == '"' {
		end := valueEnd(s, i)
		key := text(s[i:end])
		i = skipSpace(s, end) // the colon
		i = skipSpace(s, i+1) // the value
		end = valueEnd(s, i)  // its end
		ms = append(ms, member{key, s[i:end]})
		i = skipSpace(s, end) // a comma or the closing brace
		i = skipSpace(s, i+1) // the next name
	}
	return ms
}

func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns where the value that begins at i ends.
func valueEnd(s string, i int) int {
	depth := 0
	for i < len(s) {
		switch s[i] {
		case '"':
			i = stringEnd(s, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of a number or literal at the end of its container
			}
			depth--
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
			i++
			continue
		default:
			i++
			continue
		}
		i++
		if depth == 0 {
			return i
		}
	}
	return i
}

// stringEnd returns where the string that begins at i ends. The quote that ends it has an even number of backslashes
// before it.
func stringEnd(s string, i int) int {
	for i++; ; i++ {
		j := strings.IndexByte(s[i:], '"')
		i += j
		n := 0
		for s[i-1-n] == '\\' {
			n++
		}
		if n%2 == 0 {
			return i + 1
		}
	}
}

// text returns the string that v, a raw JSON value, stands for; "" if it is not a string.
func text(v string) string {
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	if in := v[1 : len(v)-1]; strings.IndexByte(in, '\\') < 0 {
		if utf8.ValidString(in) {
			return in
		}
		return strings.ToValidUTF8(in, "\uFFFD")
	}
	// An error means invalid UTF-8, which was replaced. NUL is what databases do not take in a text.
	b, _ := jsontext.AppendUnquote(nil, v)
	return strings.ReplaceAll(string(b), "\x00", "\uFFFD")
}

// texts returns the strings in v, a raw JSON array.
func texts(v string) []string {
	if v == "" || v[0] != '[' {
		return nil
	}
	var out []string
	for i := skipSpace(v, 1); i < len(v) && v[i] != ']'; {
		end := valueEnd(v, i)
		if s := text(v[i:end]); s != "" {
			out = append(out, s)
		}
		i = skipSpace(v, end)
		if i < len(v) && v[i] == ',' {
			i = skipSpace(v, i+1)
		}
	}
	return out
}
