package abmtest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// faulty is a service that faults can be set on.
type faulty interface {
	SetFault(abmtest.Fault) (string, error)
}

// set switches a fault on and returns its ID.
func set(t *testing.T, s faulty, f abmtest.Fault) string {
	t.Helper()
	id, err := s.SetFault(f)
	require.NoError(t, err)
	return id
}

// TestFaults drives every kind of fault through HTTP, and fails for a kind that nobody drives.
func TestFaults(t *testing.T) {
	t.Parallel()
	tests := map[abmtest.FaultKind]func(*testing.T){}
	for _, some := range []map[abmtest.FaultKind]func(*testing.T){callFaultTests(), networkFaultTests(), listFaultTests(), deviceFaultTests()} {
		maps.Copy(tests, some)
	}
	for _, info := range abmtest.FaultKinds() {
		test := tests[info.Kind]
		if !assert.NotNil(t, test, "%s has no test", info.Kind) {
			continue
		}
		delete(tests, info.Kind)
		t.Run(string(info.Kind), func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
	assert.Empty(t, slices.Collect(maps.Keys(tests)), "no such kinds")
}

func TestFaultKindsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("fault_table.go")
	require.NoError(t, err)
	rows := make(map[string]bool)
	for _, row := range regexp.MustCompile(`(?m)^//\t([a-z-]+) `).FindAllStringSubmatch(string(doc), -1) {
		rows[row[1]] = true
	}
	for _, info := range abmtest.FaultKinds() {
		assert.NotEmpty(t, info.Source, info.Kind)
		assert.NotEmpty(t, info.Help, info.Kind)
		assert.NotContains(t, info.Help, "\n", info.Kind)
		delete(rows, string(info.Kind))
		assert.Contains(t, string(doc), fmt.Sprintf("//\t%-23s%s\n//\t%-23s%s\n", info.Kind, info.Help, "", info.Source), "the table at FaultKinds")
	}
	assert.Empty(t, rows, "the table has more")
}

func TestFaultJSON(t *testing.T) {
	t.Parallel()
	f := abmtest.Fault{
		ID: "i", Kind: abmtest.FaultUnavailable, Server: "s", Operation: "o", Serials: []string{"A"}, ProfileUUID: "p", Count: 1,
		Probability: 0.5, Applied: true, Status: 503, Body: "b", RetryAfter: 90 * time.Second, RetryAfterDate: true,
		Duration: -time.Second, Jitter: time.Millisecond, Window: time.Hour, Field: "f", Value: json.RawMessage(`[1]`), Bytes: 7, Struck: 2,
	}
	data, err := json.Marshal(f)
	require.NoError(t, err)
	assert.JSONEq(t, `{"id":"i","kind":"unavailable","server":"s","operation":"o","serials":["A"],"profile_uuid":"p","count":1,
		"probability":0.5,"applied":true,"status":503,"body":"b","retry_after":"1m30s","retry_after_date":true,"duration":"-1s",
		"jitter":"1ms","window":"1h0m0s","field":"f","value":[1],"bytes":7,"struck":2}`, string(data))
	var back abmtest.Fault
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, f, back)
	for _, bad := range []string{`{"kind":"hang","serial":"A"}`, `{"duration":"x"}`, `{"duration":1}`, `[]`} {
		assert.Error(t, json.Unmarshal([]byte(bad), &back), bad)
	}
}

func FuzzFaultJSON(f *testing.F) {
	f.Add([]byte(`{"kind":"latency","duration":"1s","jitter":"2ms","serials":["A"]}`))
	f.Add([]byte(`{"kind":"malformed-date","value":12,"probability":1e-3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second abmtest.Fault
		if json.Unmarshal(data, &first) != nil {
			return
		}
		again, err := json.Marshal(first)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(again, &second))
		third, err := json.Marshal(second)
		require.NoError(t, err)
		assert.JSONEq(t, string(again), string(third))
		s, _, c := world(t)
		_, err = s.SetFault(first)
		if err != nil || first.Kind == abmtest.FaultHang || first.Kind == abmtest.FaultLatency {
			return
		}
		if first.Kind != abmtest.FaultReset && first.Kind != abmtest.FaultTruncated && first.Kind != abmtest.FaultOversized {
			c.open()
		}
	})
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	s, _, _ := world(t)
	for _, f := range []abmtest.Fault{
		{},
		{Kind: "x"},
		{Kind: abmtest.FaultHang, Count: -1},
		{Kind: abmtest.FaultHang, Probability: 1.5},
		{Kind: abmtest.FaultHang, Status: 500},
		{Kind: abmtest.FaultHang, Operation: "/nowhere"},
		{Kind: abmtest.FaultHang, Operation: "PATCH /devices"},
		{Kind: abmtest.FaultAnswer},
		{Kind: abmtest.FaultAnswer, Status: 100},
		{Kind: abmtest.FaultLatency},
		{Kind: abmtest.FaultLatency, Duration: -time.Second},
		{Kind: abmtest.FaultLatency, Duration: time.Second, Jitter: math.MaxInt64},
		{Kind: abmtest.FaultLatency, Duration: math.MaxInt64},
		{Kind: abmtest.FaultClockSkew, Duration: math.MinInt64},
		{Kind: abmtest.FaultUnavailable, RetryAfterDate: true},
		{Kind: abmtest.FaultRejectedSerial},
		{Kind: abmtest.FaultMalformedDate, Value: json.RawMessage("{")},
		{Kind: abmtest.FaultMalformedDate, Operation: "/profile"},
		{Kind: abmtest.FaultResultMissing, Operation: "/device/activationlock"},
		{Kind: abmtest.FaultMissingFromSync, Operation: "/devices/sync"},
	} {
		_, err := s.SetFault(f)
		assert.ErrorIs(t, err, abmtest.ErrInvalid, "%+v", f)
	}
	_, err := s.SetFault(abmtest.Fault{Kind: abmtest.FaultHang, Server: "Other"})
	require.ErrorIs(t, err, abmtest.ErrUnknownServer)
	assert.Empty(t, s.Faults())
}

func TestFaultsAreListedReplacedAndCleared(t *testing.T) {
	t.Parallel()
	s, _, c := world(t)
	first := set(t, s, abmtest.Fault{Kind: abmtest.FaultServerError, Operation: "/account", Count: 2, Struck: 9})
	set(t, s, abmtest.Fault{ID: "mine", Kind: abmtest.FaultTooManyRequests, Operation: "GET /profile"})
	assert.Equal(t, 500, c.call("GET", "/account", "").status)
	assert.Equal(t, 500, c.call("GET", "/account", "").status)
	assert.Equal(t, 200, c.call("GET", "/account", "").status, "after count it is over")
	assert.Equal(t, 429, c.call("GET", "/profile", "").status)
	assert.Equal(t, 400, c.call("POST", "/profile", "{}").status)
	listed := s.Faults()
	require.Len(t, listed, 2)
	assert.Equal(t, []any{first, 2, "mine", 1}, []any{listed[0].ID, listed[0].Struck, listed[1].ID, listed[1].Struck})

	set(t, s, abmtest.Fault{ID: "mine", Kind: abmtest.FaultUnavailable, Operation: "GET /profile"})
	assert.Equal(t, 503, c.call("GET", "/profile", "").status)
	s.ClearFaults("mine", "unknown")
	assert.Equal(t, 400, c.call("GET", "/profile", "").status)
	assert.Len(t, s.Faults(), 1)
	s.ClearFaults()
	assert.Empty(t, s.Faults())

	// Faults that were listed by one service are set at another, and more are added there.
	set(t, s, abmtest.Fault{ID: "fault-2", Kind: abmtest.FaultServerError})
	for range 3 {
		set(t, s, abmtest.Fault{Kind: abmtest.FaultTooManyRequests})
	}
	assert.Len(t, s.Faults(), 4, "a name that is made up replaces none")
}

func TestFaultScope(t *testing.T) {
	t.Parallel()
	s, _, n, c, o := twoServers(t, "A", "B")
	set(t, s, abmtest.Fault{Kind: abmtest.FaultServerError, Server: n.UUID()})
	assert.Equal(t, 200, c.call("GET", "/account", "").status)
	assert.Equal(t, 500, o.call("GET", "/account", "").status)
	assert.Equal(t, 500, o.open().status, "GET /session, too")
	assert.Equal(t, 200, c.open().status)
	s.ClearFaults()

	set(t, s, abmtest.Fault{Kind: abmtest.FaultServerError, Serials: []string{"B", "C"}})
	assert.Equal(t, 200, c.call("POST", "/devices", `{"devices":["A"]}`).status)
	assert.Equal(t, 500, c.call("POST", "/devices", `{"devices":["A","C"]}`).status)
	assert.Equal(t, 500, c.call("POST", "/device/activationlock", `{"device":"B"}`).status)
	assert.Equal(t, 500, c.call("GET", "/device/replacementDetails?device=B", "").status)
	assert.Equal(t, 404, c.call("GET", "/device/replacementDetails?device=A", "").status)
	assert.Equal(t, 200, c.call("GET", "/account", "").status)
	large := `{"devices":["B","` + strings.Repeat("x", 5<<20) + `"]}`
	assert.Equal(t, http.StatusRequestEntityTooLarge, c.call("POST", "/devices", large).status, "as without a fault")
}

func TestFaultProbabilityIsRepeatable(t *testing.T) {
	t.Parallel()
	run := func() (struck []int, next []abmtest.Device) {
		s, _, c := world(t, abmtest.WithSessionRotation(0))
		set(t, s, abmtest.Fault{Kind: abmtest.FaultServerError, Operation: "/account", Probability: 0.3})
		for i := range 200 {
			if c.call("GET", "/account", "").status == 500 {
				struck = append(struck, i)
			}
		}
		return struck, s.RandomDevices(3)
	}
	struck, next := run()
	again, _ := run()
	assert.InDelta(t, 60, len(struck), 30)
	assert.Equal(t, struck, again)

	s, _, c := world(t, abmtest.WithSessionRotation(0))
	require.Equal(t, 200, c.open().status)
	assert.Equal(t, s.RandomDevices(3), next, "faults do not change what the seed gives")
}
