package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

func TestParseFault(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]abmtest.Fault{
		"hang": {Kind: abmtest.FaultHang},
		"unavailable,id=x,server=My MDM,operation=POST /devices/sync,count=3,retry_after=30s,retry_after_date=true": {
			ID: "x", Kind: abmtest.FaultUnavailable, Server: "My MDM", Operation: "POST /devices/sync", Count: 3,
			RetryAfter: 30 * time.Second, RetryAfterDate: true,
		},
		"result-failed,serials=A+B,applied=true,probability=0.5": {
			Kind: abmtest.FaultResultFailed, Serials: []string{"A", "B"}, Applied: true, Probability: 0.5,
		},
		`forbidden,status=401,body="FORBIDDEN"`:       {Kind: abmtest.FaultForbidden, Status: 401, Body: `"FORBIDDEN"`},
		"malformed-date,field=op_date,value=12":       {Kind: abmtest.FaultMalformedDate, Field: "op_date", Value: json.RawMessage("12")},
		"malformed-date,value=yesterday":              {Kind: abmtest.FaultMalformedDate, Value: json.RawMessage(`"yesterday"`)},
		"malformed-date,value=":                       {Kind: abmtest.FaultMalformedDate, Value: json.RawMessage(`""`)},
		"throttle-reassigned,window=1m,duration=1h":   {Kind: abmtest.FaultThrottleReassigned, Window: time.Minute, Duration: time.Hour},
		"latency,duration=1s,jitter=1ms":              {Kind: abmtest.FaultLatency, Duration: time.Second, Jitter: time.Millisecond},
		"oversized,bytes=1000":                        {Kind: abmtest.FaultOversized, Bytes: 1000},
		"profile-lost,profile_uuid=1F,probability=.5": {},
	} {
		got, err := parseFault(text)
		if want.Kind == "" {
			assert.Error(t, err, text)
			continue
		}
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
}

func TestHelpListsTheFaults(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-h"}, &out, io.Discard))
	for _, info := range abmtest.FaultKinds() {
		assert.Contains(t, out.String(), "\n  "+string(info.Kind)+" ")
		assert.Contains(t, out.String(), info.Help)
		for _, field := range info.Fields {
			assert.Contains(t, out.String(), field+"=", "the settings of %s are explained", info.Kind)
		}
	}
}

func TestFaultsFromTheCommandLineAndOverHTTP(t *testing.T) {
	t.Parallel()
	base, greeting := start(t, "-fault", "unavailable,operation=/account,count=2,retry_after=30s", "-fault", "reset,operation=/profile")
	assert.Contains(t, greeting, base+"/admin/faults   (applesim -h lists them; set: 2)")
	for range 2 {
		status, body := ask(t, "GET", base+"/account", nil)
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.Equal(t, "Service Unavailable", string(body))
	}
	status, _ := ask(t, "GET", base+"/account", nil)
	assert.Equal(t, http.StatusUnauthorized, status, "the fault is over")

	var faults []abmtest.Fault
	list := func() []abmtest.Fault {
		status, body := ask(t, "GET", base+"/admin/faults", nil)
		require.Equal(t, http.StatusOK, status)
		require.NoError(t, json.Unmarshal(body, &faults))
		return faults
	}
	require.Len(t, list(), 2)
	assert.Equal(t, 2, faults[0].Struck)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/profile", nil)
	require.NoError(t, err)
	_, err = http.DefaultClient.Do(r)
	require.Error(t, err)

	status, body := ask(t, "POST", base+"/admin/faults", []byte(`{"id":"mine","kind":"html","operation":"/session"}`))
	require.Equal(t, http.StatusOK, status, string(body))
	status, body = ask(t, "GET", base+"/session", nil)
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, string(body), "Maintenance")
	status, _ = ask(t, "DELETE", base+"/admin/faults/mine", nil)
	assert.Equal(t, http.StatusOK, status)
	assert.Len(t, list(), 2)
	status, _ = ask(t, "DELETE", base+"/admin/faults", nil)
	assert.Equal(t, http.StatusOK, status)
	assert.Empty(t, list())
	status, _ = ask(t, "GET", base+"/profile", nil)
	assert.Equal(t, http.StatusUnauthorized, status)

	status, body = ask(t, "GET", base+"/admin/fault-kinds", nil)
	assert.Equal(t, http.StatusOK, status)
	var kinds []abmtest.FaultInfo
	require.NoError(t, json.Unmarshal(body, &kinds))
	assert.Len(t, kinds, len(abmtest.FaultKinds()))
	status, _ = ask(t, "GET", base+"/faults", nil)
	assert.Equal(t, http.StatusNotFound, status, "Apple has no such path")
}

// A request that a fault holds does not keep the program from stopping: start waits for that.
func TestStopsWithARequestHeld(t *testing.T) {
	t.Parallel()
	held := make(chan error, 1)
	t.Cleanup(func() { assert.Error(t, <-held) }) // runs after the program has stopped
	base, _ := start(t, "-v", "-fault", "hang")
	sent := make(chan struct{})
	go func() {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, base+"/account", nil)
		if assert.NoError(t, err) {
			close(sent)
			_, err = http.DefaultClient.Do(r)
		}
		held <- err
	}()
	<-sent
	require.Eventually(t, func() bool {
		_, body := ask(t, "GET", base+"/admin/faults", nil)
		return bytes.Contains(body, []byte(`"struck":1`))
	}, 10*time.Second, time.Millisecond)
}
