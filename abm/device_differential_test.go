package abm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzScanner holds the scanner against encoding/json: it takes what json.Valid takes, to the byte, and nothing else.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		fullRecord, `[]`, ` { } `, `[1,2]`, `[1 2]`, `[1,]`, `[,1]`, `{"a":1,}`, `{"a" 1}`, `{"a"}`, `{1:2}`, `[}`, `{]`, `[[] []]`, `nul`, `truefalse`, `-`,
		`01`, `-0.5e+10`, `1.`, `.5`, `1e`, `"\u12g4"`, `"\u12`, `"\x"`, "\"\t\"", "\"\x7f\xff\"", "\x00", "\ufeff1", `"\"`, `"a\\"`, `""x`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &scanner{json: string(data)}
		got := s.value()
		valid := s.end() == nil
		require.Equal(t, json.Valid(data), valid)
		if valid {
			require.Equal(t, strings.Trim(string(data), " \t\r\n"), got)
		}
	})
}

func TestScannerLimitsDepth(t *testing.T) {
	t.Parallel()
	for _, depth := range []int{maxDepth, maxDepth + 1, 1 << 20} {
		data := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		s := &scanner{json: data}
		s.value()
		assert.Equal(t, depth <= maxDepth, s.end() == nil, depth)
		assert.Equal(t, json.Valid([]byte(data)), s.end() == nil, depth)
	}
}

// FuzzDevicePageDifferential holds decodePage against encoding/json of the same page.
func FuzzDevicePageDifferential(f *testing.F) {
	f.Add([]byte(`{"cursor":"c","more_to_follow":true,"fetched_until":"2026-01-01T00:00:00Z","devices":[` + fullRecord + `]}`))
	f.Add([]byte(`{"devices":[{"serial_number":"A\u0042"},7,null,[],{"\u0073erial_number":"x","a":"\\\"}","a":2}],"cursor":"c"}`))
	f.Add([]byte("{\"devices\":[{\"serial_number\":\"\\ud800\xff\xff\",\"model\":1,\"model\":\"m\\u0000\"}],\"cursor\":\"c\"}"))
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		f.Add(randomPage(rng, 3))
	}
	f.Fuzz(checkPage)
}

// TestDevicePageDifferential is the same for many pages that fuzzing would take long to find.
func TestDevicePageDifferential(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		checkPage(t, randomPage(rng, 1+rng.IntN(5)))
	}
}

func checkPage(t *testing.T, body []byte) {
	t.Helper()
	var want struct {
		Devices []json.RawMessage `json:"devices"`
		Cursor  string            `json:"cursor"`
		More    bool              `json:"more_to_follow"`
	}
	got, err := decodePage(body, MaxLimit)
	if !json.Valid(body) {
		require.Error(t, err)
		return
	}
	names := members(t, body)
	if json.Unmarshal(body, &want) != nil || want.Cursor == "" || len(names) != len(distinct(names)) {
		return // of an odd page only the records are compared
	}
	want.Cursor = strings.ReplaceAll(want.Cursor, "\x00", "\uFFFD")
	require.NoError(t, err, "%s", body)
	require.Equal(t, want.Cursor, got.Cursor)
	require.Equal(t, want.More, got.MoreToFollow)
	require.Len(t, want.Devices, len(got.Devices)+got.Unreadable)
	i := 0
	for _, raw := range want.Devices {
		record := map[string]json.RawMessage{}
		if json.Unmarshal(raw, &record) != nil || plainText(record["serial_number"]) == "" || len(plainText(record["serial_number"])) > maxSerial {
			continue
		}
		checkRecord(t, raw, record, &got.Devices[i])
		i++
	}
	require.Len(t, got.Devices, i)
}

func checkRecord(t *testing.T, raw json.RawMessage, record map[string]json.RawMessage, d *Device) {
	t.Helper()
	require.Equal(t, string(raw), d.Document)
	texts := map[string]string{
		"serial_number": d.SerialNumber, "model": d.Model, "description": d.Description, "color": d.Color, "asset_tag": d.AssetTag,
		"device_family": d.DeviceFamily, "os": d.OS, "device_assigned_by": d.DeviceAssignedBy, "profile_uuid": d.ProfileUUID,
		"profile_status": string(d.ProfileStatus), "wifi_mac_address": d.WiFiMACAddress, "bluetooth_mac_address": d.BluetoothMACAddress,
		"ethernet_mac_address": d.EthernetMACAddress, "eid": d.EID, "response_status": string(d.ResponseStatus),
	}
	for key, got := range texts {
		require.Equal(t, plainText(record[key]), got, key)
	}
	require.Equal(t, strings.ToLower(plainText(record["op_type"])), string(d.OpType))
	for key, got := range map[string]time.Time{
		"device_assigned_date": d.DeviceAssignedDate, "profile_assign_time": d.ProfileAssignTime, "profile_push_time": d.ProfilePushTime,
		"op_date": d.OpDate, "mdm_migration_deadline": d.MDMMigrationDeadline,
	} {
		if want, err := time.Parse(time.RFC3339, plainText(record[key])); err == nil && want.Year() > 1 {
			require.True(t, want.Truncate(time.Microsecond).Equal(got), key)
		}
	}
	for key, got := range map[string][]string{"imei": d.IMEI, "meid": d.MEID} {
		var want []string
		var list []json.RawMessage
		_ = json.Unmarshal(record[key], &list)
		for _, v := range list {
			if s := plainText(v); s != "" {
				want = append(want, s)
			}
		}
		require.Equal(t, want, got, key)
	}
	require.Equal(t, string(record["is_replacement_device"]) == "true", d.IsReplacementDevice)
	require.Equal(t, string(record["released_by_replacement"]) == "true", d.ReleasedByReplacement)
	checkDigest(t, record, d)
}

// checkDigest writes the record again, with its keys in the random order of a map and what is not to count changed.
func checkDigest(t *testing.T, record map[string]json.RawMessage, d *Device) {
	t.Helper()
	const nothing = "\x00"
	write := func(change string) Device {
		b := []byte("{")
		for key, v := range record {
			switch key {
			case "op_type", "op_date", "response_status":
				continue
			case change:
				v = json.RawMessage(`"changed"`)
			}
			if s := string(v); s == "null" || s == `""` {
				continue
			}
			name, err := json.Marshal(key)
			require.NoError(t, err)
			b = append(append(append(append(b, name...), ':'), v...), ',')
		}
		b = append(b, `"op_type":"x","op_date":"2026-01-01T00:00:00Z","response_status":"x","new":null,"more":""}`...)
		again, err := ParseDevice(b)
		require.NoError(t, err)
		return again
	}
	if names := members(t, []byte(d.Document)); len(names) != len(record) || strings.Contains(strings.Join(names, ""), "\x00") {
		return // a key that is there twice may count twice, and NUL is replaced by what may be another key
	}
	require.Equal(t, d.digest, write(nothing).digest, "%s", d.Document)
	for key, v := range record {
		if key != "op_type" && key != "op_date" && key != "response_status" && string(v) != `"changed"` {
			require.NotEqual(t, d.digest, write(key).digest, "without %s: %s", key, d.Document)
		}
	}
}

// plainText is what encoding/json makes of a string, with NUL replaced; "" for anything else.
func plainText(v json.RawMessage) string {
	var s string
	_ = json.Unmarshal(v, &s)
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}

// members returns the names in the object data as they come, nil if it is something else.
func members(t *testing.T, data []byte) []string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		return nil
	}
	var names []string
	for d.More() {
		tok, err := d.Token()
		require.NoError(t, err)
		names = append(names, strings.ToLower(tok.(string))) // encoding/json does not tell names in capitals apart
		var v json.RawMessage
		require.NoError(t, d.Decode(&v))
	}
	return names
}

func distinct(names []string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

// randomPage returns a valid page whose records have documented and other keys in any order, some twice, with odd values.
func randomPage(rng *rand.Rand, n int) []byte {
	keys := []string{
		"serial_number", "model", "description", "color", "asset_tag", "device_family", "os", "device_assigned_date",
		"device_assigned_by", "profile_uuid", "profile_assign_time", "profile_push_time", "profile_status", "op_type", "op_date",
		"mdm_migration_deadline", "wifi_mac_address", "bluetooth_mac_address", "ethernet_mac_address", "imei", "meid", "eid",
		"is_replacement_device", "released_by_replacement", "response_status", "new_key", "Model", `\u0065id`, "\xc3\xa9", "",
	}
	values := []string{
		`"x"`, `"2026-01-02T03:04:05Z"`, `"2026-02-29T00:00:00Z"`, `"2024-02-29T23:59:59Z"`, `"2026-12-31T03:04:05Z"`,
		`"2026-04-31T03:04:05Z"`, `"2026-01-02T03:04:05.123456789+02:00"`, `"0001-01-01T00:00:00Z"`, `""`, `null`, `true`, `false`, `-1.5e3`,
		`["1","2",""]`, `[]`, `[ 1 , {"a":"]"} , "\u0041" ]`, `{"a":{"b":"}"}}`, `"\"\\\/\b\f\n\r\t\u00e9"`, `"\ud83d\ude00\ud800"`,
		"\"\xff\xfe\"", "\"\u00e9\u2028\"", `"\u0000"`, `"<&>"`,
	}
	spaces := []string{"", "", "", " ", "\n\t"}
	pick := func(from []string) string { return from[rng.IntN(len(from))] }
	var b strings.Builder
	b.WriteString(`{"cursor":"c",` + pick(spaces) + `"more_to_follow":` + pick([]string{"true", "false", "null"}) + `,"devices":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"serial_number":"S%d"`, i)
		for range rng.IntN(30) {
			b.WriteString(pick(spaces) + "," + pick(spaces) + `"` + pick(keys) + `"` + pick(spaces) + ":" + pick(spaces) + pick(values))
		}
		b.WriteString(pick(spaces) + "}")
	}
	b.WriteString("]}")
	return []byte(b.String())
}

func TestAppleTimesAreReadAsTimeParseReadsThem(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50_000 {
		s := fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", rng.IntN(10000), rng.IntN(14), rng.IntN(33), rng.IntN(25), rng.IntN(61), rng.IntN(61))
		want, err := time.Parse(time.RFC3339, s)
		got, ok := parseTime(s)
		require.Equal(t, err == nil && want.Year() > 1, ok, s)
		if ok {
			require.Equal(t, want, got, s)
		}
	}
}

// A page that is used again shows nothing of what it was before.
func TestPageIsUsedAgain(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	var p DevicePage
	for range 200 {
		body := randomPage(rng, 1+rng.IntN(20))
		require.NoError(t, p.UnmarshalJSON(body))
		fresh, err := decodePage(body, MaxLimit)
		require.NoError(t, err)
		require.Equal(t, *fresh, p)
		require.Error(t, p.UnmarshalJSON(body[:len(body)-1]))
		require.Equal(t, DevicePage{Devices: []Device{}}, p)
	}
	array := &p.Devices[:1][0]
	require.NoError(t, json.Unmarshal(randomPage(rng, 1), &p))
	require.Same(t, array, &p.Devices[0])
}
