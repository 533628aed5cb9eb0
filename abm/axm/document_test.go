package axm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A device with every documented attribute, each with another value, and one that Apple has yet to invent. From the example at
// https://developer.apple.com/documentation/applebusinessapi/get-orgdevice-information, September 2026, completed.
const fullDevice = `{"type":"orgDevices","id":"S1","attributes":{
	"serialNumber":"S1","addedToOrgDateTime":"2025-04-30T22:05:14.192Z","releasedFromOrgDateTime":"2025-04-30T22:05:15.192Z",
	"updatedDateTime":"2025-05-01T15:33:54.164Z","deviceModel":"iMac 21.5\"","productFamily":"Mac","productType":"iMac16,2",
	"deviceCapacity":"750GB","partNumber":"FD311LL/A","orderNumber":"1234567890","color":"SILVER","status":"UNASSIGNED",
	"orderDateTime":"2011-08-15T07:00:00Z","imei":["123456789012345","123456789012346"],"meid":["12345678901237"],
	"eid":"89049037640158663184237812557346","purchaseSourceId":"1A2B3C4D5E6F7G","purchaseSourceType":"APPLE",
	"wifiMacAddress":"A","bluetoothMacAddress":"B","ethernetMacAddress":["C","D"],"isMdmMigrationCapable":true,
	"mdmMigrationStatus":"REQUESTED","mdmMigrationDeadlineDateTime":"2026-10-01T00:00:00Z","somethingNew":{"a":[1]}},
	"relationships":{"assignedServer":{"links":{"self":"x"}}}}`

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func parseDevice(t *testing.T, doc string) Device {
	t.Helper()
	r, ok, err := readSingle([]byte(`{"data":` + doc + `}`))
	require.NoError(t, err)
	require.True(t, ok)
	return newDevice(r)
}

func TestDeviceKeepsEveryAttribute(t *testing.T) {
	t.Parallel()
	d := parseDevice(t, fullDevice)
	assert.Equal(t, Device{
		ID: "S1", SerialNumber: "S1", AddedToOrg: at("2025-04-30T22:05:14.192Z"), ReleasedFromOrg: at("2025-04-30T22:05:15.192Z"),
		Updated: at("2025-05-01T15:33:54.164Z"), DeviceModel: `iMac 21.5"`, ProductFamily: "Mac", ProductType: "iMac16,2",
		DeviceCapacity: "750GB", PartNumber: "FD311LL/A", Color: "SILVER", Status: DeviceUnassigned, OrderNumber: "1234567890",
		OrderDate: at("2011-08-15T07:00:00Z"), PurchaseSourceType: "APPLE", PurchaseSourceID: "1A2B3C4D5E6F7G",
		IMEI: []string{"123456789012345", "123456789012346"}, MEID: []string{"12345678901237"},
		EID: "89049037640158663184237812557346", WiFiMACAddress: "A", BluetoothMACAddress: "B", EthernetMACAddress: []string{"C", "D"},
		MDMMigrationCapable: true, MDMMigrationStatus: "REQUESTED", MDMMigrationDeadline: at("2026-10-01T00:00:00Z"),
		Document: json.RawMessage(fullDevice),
	}, d)
	v := reflect.ValueOf(d)
	for i := range v.NumField() {
		assert.False(t, v.Field(i).IsZero(), "%s is not in the document", v.Type().Field(i).Name)
	}
}

// Older versions send other types, and samples other names.
func TestDeviceToleratesOtherForms(t *testing.T) {
	t.Parallel()
	d := parseDevice(t, `{"id":"S1","attributes":{"imei":"1","meid":[2,"3",null,""],"wifiMacAddress":["A"],"ethernetMacAddress":"C",
		"purchaseSourceUid":"U","status":7,"addedToOrgDateTime":"2025-04-30","updatedDateTime":"2025-04-30T22:05:14",
		"orderDateTime":"yesterday","releasedFromOrgDateTime":null,"isMdmMigrationCapable":"yes","color":"a\u0000b"}}`)
	assert.Equal(t, []string{"1"}, d.IMEI)
	assert.Equal(t, []string{"3"}, d.MEID)
	assert.Equal(t, "A", d.WiFiMACAddress)
	assert.Equal(t, []string{"C"}, d.EthernetMACAddress)
	assert.Equal(t, "U", d.PurchaseSourceID)
	assert.Equal(t, at("2025-04-30T00:00:00Z"), d.AddedToOrg)
	assert.Equal(t, at("2025-04-30T22:05:14Z"), d.Updated)
	assert.True(t, d.OrderDate.IsZero() && d.ReleasedFromOrg.IsZero())
	assert.False(t, d.MDMMigrationCapable)
	assert.Empty(t, d.Status)
	assert.Equal(t, "a\uFFFDb", d.Color, "databases do not take NUL")
	assert.Equal(t, "S1", d.SerialNumber, "it is the id")
}

func TestOtherResources(t *testing.T) {
	t.Parallel()
	r, _, err := readSingle([]byte(`{"data":{"id":"AB","attributes":{"serverName":"N","serverType":"MDM","createdDateTime":"2025-05-01T03:21:44.685Z",
		"updatedDateTime":"2025-05-02T03:21:44Z","status":"ACTIVE","deviceCount":128,"enableMdmDisownFlag":true,
		"defaultProductFamilies":["IPAD","MAC"],"lastConnectedDateTime":"2026-06-01T08:14:23Z","lastConnectedIp":"203.0.113.5"}}}`))
	require.NoError(t, err)
	m := newMDMServer(r)
	m.Document = nil
	assert.Equal(t, MDMServer{
		ID: "AB", ServerName: "N", ServerType: "MDM", Created: at("2025-05-01T03:21:44.685Z"), Updated: at("2025-05-02T03:21:44Z"),
		Status: "ACTIVE", DeviceCount: 128, EnableMDMDisown: true, DefaultProductFamilies: []string{"IPAD", "MAC"},
		LastConnected: at("2026-06-01T08:14:23Z"), LastConnectedIP: "203.0.113.5",
	}, m)
	r, _, err = readSingle([]byte(`{"data":{"id":"C","attributes":{"status":"ACTIVE","paymentType":"NONE","description":"D","agreementNumber":"N",
		"startDateTime":"2025-05-01T00:00:00Z","endDateTime":"2026-05-01T00:00:00Z","contractCancelDateTime":"2025-06-01T00:00:00Z",
		"isRenewable":true,"isCanceled":true}}}`))
	require.NoError(t, err)
	c := newCoverage(r)
	c.Document = nil
	assert.Equal(t, AppleCareCoverage{
		ID: "C", Status: "ACTIVE", PaymentType: "NONE", Description: "D", AgreementNumber: "N", Start: at("2025-05-01T00:00:00Z"),
		End: at("2026-05-01T00:00:00Z"), ContractCanceled: at("2025-06-01T00:00:00Z"), IsRenewable: true, IsCanceled: true,
	}, c)
}

func TestNextCursor(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"data":[]}`: "",
		`{"data":[],"links":{"next":null},"meta":{"paging":{"nextCursor":null}}}`:       "",
		`{"data":[],"meta":{"paging":{"nextCursor":"a+/="}}}`:                           "a+/=",
		`{"data":[],"links":{"next":"https://evil.example/v1/x?limit=1&cursor=a%2B"}}`:  "a+",
		`{"data":[],"links":{"next":{"href":"/v1/x?cursor=b"}},"meta":[]}`:              "b",
		`{"data":[],"links":{"next":"?cursor=l"},"meta":{"paging":{"nextCursor":"m"}}}`: "m",
	} {
		p, err := readPage([]byte(doc), newDevice)
		require.NoError(t, err, doc)
		assert.Equal(t, want, p.NextCursor, doc)
	}
	for _, doc := range []string{`{"data":[],"links":{"next":"/v1/x"}}`, `{"data":[],"links":{"next":"%"}}`, `{"data":null}`, `{"data":{}}`} {
		_, err := readPage([]byte(doc), newDevice)
		require.Error(t, err, doc)
	}
}

// Pages are walked to the end, in order; the token goes nowhere else; entries that are none are counted.
func TestListsArePaged(t *testing.T) {
	t.Parallel()
	c, _ := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "api-business.apple.com", r.URL.Host)
		switch r.URL.Query().Get("cursor") {
		case "":
			_, _ = io.WriteString(w, `{"data":[{"id":"S1"},7,{"id":""},{"attributes":{}}],"links":{"next":"https://evil.example/?cursor=2"},"meta":{"paging":{"total":3}}}`)
		case "2":
			_, _ = io.WriteString(w, `{"data":[],"meta":{"paging":{"nextCursor":"3"}}}`)
		case "3":
			_, _ = io.WriteString(w, `{"data":[{"id":"S2"},{"id":"S3"}]}`)
		}
	})
	for range 2 { // a sequence can be walked again
		devices, err := collect(c.OrgDevices(t.Context(), ListOptions{}))
		require.NoError(t, err)
		require.Len(t, devices, 3)
		assert.Equal(t, "S3", devices[2].ID)
	}
	p, err := c.OrgDevicesPage(t.Context(), ListOptions{})
	require.NoError(t, err)
	assert.Equal(t, 3, p.Unreadable)
	assert.Equal(t, 3, p.Total)
	for d, err := range c.OrgDevices(t.Context(), ListOptions{}) {
		require.NoError(t, err)
		assert.Equal(t, "S1", d.ID)
		break // is allowed
	}
}

func TestListsEndWhenTheCursorRepeats(t *testing.T) {
	t.Parallel()
	calls := 0
	c, _ := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		_, _ = fmt.Fprintf(w, `{"data":[{"id":"S%d"}],"meta":{"paging":{"nextCursor":"%d"}}}`, calls, calls%2)
	})
	serials, err := collect(c.DeviceSerials(t.Context(), "AB", ListOptions{}))
	require.ErrorIs(t, err, ErrBadResponse)
	assert.Len(t, serials, 3)
}

func TestAssignedServerOfADeviceThatHasNone(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{`{"data":null}`, `{"data":{"type":"mdmServers","id":""}}`, `{"data":{"type":"mdmServers"}}`, `{"data":{"id":null}}`, "404"} {
		c, _ := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
			if answer == "404" {
				w.WriteHeader(404)
				return
			}
			_, _ = io.WriteString(w, answer)
		})
		_, err := c.AssignedServer(t.Context(), "S1")
		require.ErrorIs(t, err, ErrNotAssigned, answer)
		id, err := c.AssignedServerID(t.Context(), "S1")
		require.ErrorIs(t, err, ErrNotAssigned, answer)
		assert.Empty(t, id)
	}
}

// Whatever comes, a page is either refused or made of resources with ids, and each document is the JSON it came in.
func FuzzPage(f *testing.F) {
	f.Add([]byte(`{"data":[` + fullDevice + `],"links":{"next":"https://x/?cursor=1"},"meta":{"paging":{"limit":1,"total":2}}}`))
	f.Add([]byte(`{"data":` + fullDevice + `}`))
	f.Add([]byte(lastDoc))
	f.Add([]byte(`{"errors":[{"code":"A","source":{"pointer":{"pointer":"/"}}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := readPage(body, newDevice)
		if err != nil {
			require.Nil(t, p)
		} else {
			for _, d := range p.Items {
				require.True(t, d.ID != "" && len(d.ID) <= maxID)
				require.True(t, json.Valid(d.Document))
				again, ok := readResource(d.Document)
				require.True(t, ok)
				require.Equal(t, d, newDevice(again))
			}
		}
		if r, ok, err := readSingle(body); ok {
			require.NoError(t, err)
			require.NotEmpty(t, r.id)
			require.True(t, bytes.Contains(body, r.document))
		}
		for _, e := range errorDetails(body) {
			require.LessOrEqual(t, len(e.Detail), maxText)
			require.False(t, strings.ContainsAny(e.Code+e.ID, "\n "))
		}
	})
}
