package abm

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/nanodep/godep"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const fullRecord = `{
	"serial_number": "C02XK1JDJGH5", "model": "MacBook Pro", "description": "MBP \"14.2\" \u2013 \/", "color": "SILVER", "asset_tag": "A-1",
	"device_family": "Mac", "os": "OSX",
	"device_assigned_date": "2026-01-02T03:04:05Z", "device_assigned_by": "-1",
	"profile_uuid": "88FC4E378FEC4021A96", "profile_assign_time": "2026-01-03T03:04:05Z", "profile_push_time": "2026-01-04T03:04:05+01:00",
	"profile_status": "pushed", "op_type": "MODIFIED", "op_date": "2026-01-05T03:04:05.1234567Z",
	"mdm_migration_deadline": "2026-02-01T00:00:00Z",
	"wifi_mac_address": "F0:18:98:00:00:01", "bluetooth_mac_address": "F0:18:98:00:00:02", "ethernet_mac_address": "F0:18:98:00:00:03",
	"imei": ["350000000000001", "350000000000002"], "meid": [ "35000000000000" ], "eid": "8904",
	"is_replacement_device": true, "released_by_replacement": true, "response_status": "SUCCESS",
	"something_new": {"a": [1, 2, {"b": "}"}]}, "another": -1.5e3
}`

func TestParseDevice(t *testing.T) {
	t.Parallel()
	d, err := ParseDevice([]byte(fullRecord))
	require.NoError(t, err)
	day := func(n int) time.Time { return time.Date(2026, 1, n, 3, 4, 5, 0, time.UTC) }
	assert.Equal(t, fullRecord, d.Document, "with every key")
	d.Document, d.digest = "", [32]byte{}
	assert.Equal(t, Device{
		SerialNumber: "C02XK1JDJGH5", Model: "MacBook Pro", Description: "MBP \"14.2\" – /", Color: "SILVER", AssetTag: "A-1",
		DeviceFamily: "Mac", OS: "OSX", DeviceAssignedDate: day(2), DeviceAssignedBy: "-1",
		ProfileUUID: "88FC4E378FEC4021A96", ProfileAssignTime: day(3), ProfilePushTime: day(4).Add(-time.Hour), ProfileStatus: ProfilePushed,
		OpType: OpModified, OpDate: day(5).Add(123456 * time.Microsecond), MDMMigrationDeadline: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
		WiFiMACAddress: "F0:18:98:00:00:01", BluetoothMACAddress: "F0:18:98:00:00:02", EthernetMACAddress: "F0:18:98:00:00:03",
		IMEI: []string{"350000000000001", "350000000000002"}, MEID: []string{"35000000000000"}, EID: "8904",
		IsReplacementDevice: true, ReleasedByReplacement: true, ResponseStatus: ResultSuccess,
	}, d)

	for _, bad := range []string{"", "null", "[]", "{}", `{"serial_number":""}`, `{"serial_number":"A"`, `{"serial_number":5}`, `{"serial_number":"` + strings.Repeat("A", 65) + `"}`} {
		got, err := ParseDevice([]byte(bad))
		require.Error(t, err, bad)
		assert.Zero(t, got)
	}
}

func TestDeviceIsReadLeniently(t *testing.T) {
	t.Parallel()
	d, err := ParseDevice([]byte(`{"serial_number":"A","model":7,"eid":"a\u0000b","os":null,"op_date":"","profile_push_time":"yesterday","imei":"x",
		"device_assigned_date":"0001-01-01T00:00:00Z","meid":[1,"2"],"is_replacement_device":"yes","color":"a","color":"b","asset_tag":"` + "\xff" + `"}`))
	require.NoError(t, err)
	assert.Equal(t, "A", d.SerialNumber)
	assert.Empty(t, d.Model)
	assert.Equal(t, "b", d.Color)
	assert.Equal(t, "a\uFFFDb", d.EID)
	assert.Equal(t, "\uFFFD", d.AssetTag)
	assert.True(t, d.OpDate.IsZero() && d.ProfilePushTime.IsZero() && d.DeviceAssignedDate.IsZero())
	assert.Equal(t, []string{"2"}, d.MEID)
	assert.Nil(t, d.IMEI)
	assert.False(t, d.IsReplacementDevice)
}

func TestParseTimes(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, s := range []string{"2026-01-02T03:04:05Z", "2026-01-02T03:04:05", "2026-01-02T05:04:05+0200", "2026-01-02T05:04:05+02:00", "2026-01-02 03:04:05"} {
		got, ok := parseTime(s)
		assert.True(t, ok, s)
		assert.Equal(t, want, got, s)
	}
	got, ok := parseTime("2025-01-15")
	assert.True(t, ok)
	assert.Equal(t, time.Date(2025, 1, 15, 0, 0, 0, 0, time.UTC), got)
}

func TestDigest(t *testing.T) {
	t.Parallel()
	digest := func(s string) [32]byte {
		d, err := ParseDevice([]byte(s))
		require.NoError(t, err)
		return d.Digest()
	}
	base := digest(`{"serial_number":"A","model":"m","x":{"y":1}}`)
	for _, same := range []string{
		`{"model":"m","x":{"y":1},"serial_number":"A"}`,
		`{ "serial_number" : "A" , "model" : "m" , "x" : {"y":1} }`,
		`{"serial_number":"A","model":"m","x":{"y":1},"op_type":"added","op_date":"2026-01-01T00:00:00Z","response_status":"SUCCESS"}`,
		`{"serial_number":"A","model":"m","x":{"y":1},"profile_push_time":"","color":null}`,
	} {
		assert.Equal(t, base, digest(same), same)
	}
	for _, other := range []string{
		`{"serial_number":"A","model":"m","x":{"y":2}}`, `{"serial_number":"A","model":"n","x":{"y":1}}`,
		`{"serial_number":"A","model":"m"}`, `{"serial_number":"A","model":"m","x":{"y":1},"new":false}`,
	} {
		assert.NotEqual(t, base, digest(other), other)
	}
}

// FuzzDevicePage checks that a page that is accepted holds records that can be read again, and to the same effect.
func FuzzDevicePage(f *testing.F) {
	f.Add([]byte(`{"cursor":"c","more_to_follow":true,"fetched_until":"2026-01-01T00:00:00Z","devices":[` + fullRecord + `]}`))
	f.Add([]byte(`{"devices":[{"serial_number":"A\u0042"},7,null,[],{"\u0073erial_number":"x","a":"\\\"}"}],"cursor":"c"}`))
	f.Add([]byte(`{"devices":null,"cursor":"c"}`))
	f.Add([]byte(`{"devices":{"A":{"response_status":"NOT_ACCESSIBLE"},"B":5}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if m, err := decodeDetails(body); err != nil {
			require.Nil(t, m)
		}
		p, err := decodePage(body, MaxLimit)
		if err != nil {
			require.Nil(t, p)
			return
		}
		require.True(t, p.Cursor != "")
		for _, d := range p.Devices {
			require.NotEmpty(t, d.SerialNumber)
			again, err := ParseDevice([]byte(d.Document))
			require.NoError(t, err)
			require.Equal(t, d, again)
			if json.Valid([]byte(d.Document)) {
				var m map[string]any
				require.NoError(t, json.Unmarshal([]byte(d.Document), &m))
				if s, ok := m["model"].(string); ok && !strings.Contains(s, "\x00") {
					require.Equal(t, s, d.Model)
				}
			}
		}
	})
}

// benchPage is a page of 1000 devices as the simulator writes it.
func benchPage(b *testing.B) []byte {
	b.Helper()
	w := newWorldAt(b, nil, 1000)
	var sb strings.Builder
	sb.WriteString(`{"cursor":"c","more_to_follow":false,"devices":[`)
	m, err := tokenClient(b, w).FetchDevices(b.Context(), "", 1000)
	require.NoError(b, err)
	for i, d := range m.Devices {
		if i > 0 {
			sb.WriteByte(',')
		}
		sb.WriteString(d.Document)
	}
	sb.WriteString("]}")
	return []byte(sb.String())
}

func tokenClient(t testing.TB, w *world) *Client {
	t.Helper()
	c, err := NewClient(tokenOf(w.server), w.opts...)
	require.NoError(t, err)
	return c
}

// BenchmarkDecodePage compares ours, digest included, with nanodep's of the same page.
func BenchmarkDecodePage(b *testing.B) {
	body := benchPage(b)
	per := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/device")
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
	}
	b.Run("enrollkit", func(b *testing.B) {
		for b.Loop() {
			if p, err := decodePage(body, MaxLimit); err != nil || len(p.Devices) != 1000 {
				b.Fatal(err)
			}
		}
		per(b)
	})
	b.Run("nanodep", func(b *testing.B) {
		for b.Loop() {
			var p godep.FetchDeviceResponseJson
			if err := json.NewDecoder(strings.NewReader(string(body))).Decode(&p); err != nil || len(p.Devices) != 1000 {
				b.Fatal(err)
			}
		}
		per(b)
	})
}
