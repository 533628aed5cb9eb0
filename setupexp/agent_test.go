package setupexp

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// call sends a request to a tracker's agent API.
func call(t testing.TB, h http.Handler, token, method, path, body string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func read[T any](t testing.TB, resp *http.Response) T {
	t.Helper()
	var v T
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&v))
	require.NoError(t, resp.Body.Close())
	return v
}

// agentBench has a run with a script for the agent.
func agentBench(t *testing.T) (b *bench, h http.Handler, token string) {
	t.Helper()
	b = newBench(t, &Plan{Items: []Item{scriptItem("s")}})
	b.waits()
	b.work()
	return b, b.AgentHandler(), b.keys.Token(testDevice, 1)
}

func TestAgentRunsAScript(t *testing.T) {
	t.Parallel()
	b, h, token := agentBench(t)
	hello := call(t, h, token, "POST", "/hello", `{"version":"1.0","capabilities":["scripts"],"new_key":1}`)
	require.Equal(t, http.StatusOK, hello.StatusCode)
	status := read[AgentStatus](t, hello)
	require.Len(t, status.Work, 1)
	assert.JSONEq(t, `{"body":"#!/bin/sh\ntrue\n"}`, string(status.Work[0].Spec))
	exec := status.Work[0].ExecutionID

	batch := `{"events":[
		{"event_id":"1","execution_id":"` + exec + `","outcome":"progress","percent":30},
		{"event_id":"2","execution_id":"` + exec + `","outcome":"done","exit_code":0,"output":"ok"},
		{"event_id":"3","execution_id":"other","outcome":"done"},
		{"event_id":"4","outcome":"dance"},
		{"event_id":"","execution_id":"` + exec + `","outcome":"done"}]}`
	results := func() (r []string) {
		for _, x := range read[AgentResultsResponse](t, call(t, h, token, "POST", "/results", batch)).Results {
			r = append(r, x.Result)
		}
		return r
	}
	assert.Equal(t, []string{"applied", "applied", "unknown", "invalid", "invalid"}, results())
	assert.Equal(t, StateReleasing, b.view().State)
	assert.Equal(t, []string{"duplicate", "duplicate", "unknown", "invalid", "invalid"}, results())
	b.enroll(2)
	b.observe(Authenticated{})
	assert.Equal(t, []string{"stale_generation", "stale_generation", "stale_generation", "invalid", "invalid"}, results())
	resp := call(t, h, token, "GET", "/status", "")
	assert.Equal(t, http.StatusConflict, resp.StatusCode)
	assert.Equal(t, "superseded", read[map[string]string](t, resp)["error"])
}

func TestReadingTheStatusChangesNothing(t *testing.T) {
	t.Parallel()
	b, h, token := agentBench(t)
	before, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	first := call(t, h, token, "GET", "/status", "")
	etag := first.Header.Get("ETag")
	require.NotEmpty(t, etag)
	again := call(t, h, token, "GET", "/status", "", "If-None-Match", etag)
	assert.Equal(t, http.StatusNotModified, again.StatusCode)
	after, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	assert.Equal(t, before, after)
	b.observe(AgentHello{Version: "1"})
	assert.Equal(t, http.StatusOK, call(t, h, token, "GET", "/status", "", "If-None-Match", etag).StatusCode)
}

func TestAgentRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	b, h, token := agentBench(t)
	other := b.keys.Token(testDevice, 7)
	parts := strings.Split(token, ".")
	for _, tt := range []struct {
		name, token, method, path, body string
		want                            int
	}{
		{"no token", "", "GET", "/status", "", 401},
		{"another generation in a token", parts[0] + "." + parts[1] + ".2." + parts[3], "GET", "/status", "", 401},
		{"another device in a token", parts[0] + ".eA." + parts[2] + "." + parts[3], "GET", "/status", "", 401},
		{"garbage", "a.b.c", "GET", "/status", "", 401},
		{"a generation without a run", other, "GET", "/status", "", 404},
		{"bad wait", token, "GET", "/status?wait=x", "", 400},
		{"bad JSON", token, "POST", "/results", `{"events":`, 400},
		{"wrong type", token, "POST", "/hello", `[]`, 400},
		{"too large", token, "POST", "/results", `{"x":"` + strings.Repeat("x", maxAgentBody) + `"}`, 413},
		{"too many", token, "POST", "/results", `{"events":[` + strings.Repeat(`{},`, maxResults) + `{}]}`, 400},
		{"wrong method", token, "GET", "/results", "", 405},
		{"unknown action", token, "POST", "/actions", `{"action":"release"}`, 400},
		{"unknown item", token, "POST", "/actions", `{"action":"retry","items":["x"]}`, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, call(t, h, tt.token, tt.method, tt.path, tt.body).StatusCode)
		})
	}
}

func TestTheUserRetriesThroughTheAgent(t *testing.T) {
	t.Parallel()
	it := scriptItem("s")
	it.Class, it.OnFailure = Required, PolicyHold
	b := newBench(t, &Plan{Items: []Item{it}})
	b.waits()
	b.work()
	b.observe(AgentHello{Version: "1", Capabilities: []string{CapabilityScripts}})
	token := b.keys.Token(testDevice, 1)
	h := b.AgentHandler()
	work := func() AgentWork { return read[AgentStatus](t, call(t, h, token, "GET", "/status", "")).Work[0] }
	first := work()
	call(t, h, token, "POST", "/results", `{"events":[{"event_id":"1","outcome":"done","exit_code":3,"execution_id":"`+first.ExecutionID+`"}]}`)
	assert.Equal(t, StateHeld, b.view().State)
	assert.Equal(t, http.StatusNoContent, call(t, h, token, "POST", "/actions", `{"action":"retry"}`).StatusCode)
	assert.Equal(t, StateRunning, b.view().State)
	assert.NotEqual(t, first.ExecutionID, work().ExecutionID)
}

func TestOutputOfScriptsIsKeptShortAndRecordedNowhere(t *testing.T) {
	t.Parallel()
	it := scriptItem("s")
	it.Class, it.OnFailure = Required, PolicyHold
	b := newBench(t, &Plan{Items: []Item{it}})
	b.waits()
	b.work()
	b.observe(AgentHello{Version: "1", Capabilities: []string{CapabilityScripts}})
	h, token := b.AgentHandler(), b.keys.Token(testDevice, 1)
	exec := read[AgentStatus](t, call(t, h, token, "GET", "/status", "")).Work[0].ExecutionID
	const end = "the token is hunter2"
	output := strings.Repeat("x", 3000) + end
	resp := call(t, h, token, "POST", "/results", `{"events":[{"event_id":"1","outcome":"done","exit_code":3,"execution_id":"`+
		exec+`","output":"`+output+`"}]}`)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, StateHeld, b.view().State)
	state := func() State {
		run, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
		require.NoError(t, err)
		s, err := b.load(run)
		require.NoError(t, err)
		return s
	}
	s := state()
	assert.Equal(t, output[len(output)-maxKeptOutput:], s.Items[0].Output)
	assert.Contains(t, s.Items[0].Detail, "exit code 3")
	acts, _, err := b.store.ListActivities(t.Context(), storage.ActivityFilter{}, storage.Page{Limit: 100})
	require.NoError(t, err)
	all := jsonOf(t, acts)
	for _, a := range acts {
		all += string(a.Detail)
	}
	assert.Contains(t, all, "exit code 3")
	assert.NotContains(t, all, end)
	b.observe(CheckedOut{})
	assert.Empty(t, state().Items[0].Output)
}

func TestReportsForARunThatIsOver(t *testing.T) {
	t.Parallel()
	b, h, token := agentBench(t)
	b.observe(AgentHello{Version: "1", Capabilities: []string{CapabilityScripts}})
	exec := read[AgentStatus](t, call(t, h, token, "GET", "/status", "")).Work[0].ExecutionID
	b.clock.add(2 * time.Hour)
	b.work()
	b.ack(b.queue.of("DeviceConfigured")[0])
	b.clock.add(3 * time.Hour)
	b.work()
	require.Equal(t, StateClosed, b.view().State)
	for range 2 {
		for _, id := range []string{exec, "x"} {
			r := call(t, h, token, "POST", "/results", `{"events":[{"event_id":"1","execution_id":"`+id+`","outcome":"done"}]}`)
			assert.Contains(t, []string{"over", "duplicate"}, read[AgentResultsResponse](t, r).Results[0].Result)
		}
	}
	assert.Empty(t, b.watchers.m, "nobody waits any more")
}

// TestLongPoll waits in the time of a bubble, over real HTTP handlers.
func TestLongPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h, token := agentBench(t)
		version := b.view().Version
		poll := func() <-chan *http.Response {
			got := make(chan *http.Response, 1)
			go func() { got <- call(t, h, token, "GET", "/status?wait=60&since="+version, "") }()
			return got
		}
		began := time.Now()
		resp := <-poll()
		assert.Equal(t, http.StatusNotModified, resp.StatusCode)
		assert.Equal(t, maxWait, time.Since(began), "a longer wait is cut")

		got := poll()
		time.Sleep(time.Second)
		synctest.Wait()
		began = time.Now()
		b.observe(AgentHello{Version: "1"})
		assert.Equal(t, http.StatusOK, (<-got).StatusCode)
		assert.Zero(t, time.Since(began), "a change in this process is seen at once")

		version = b.view().Version
		got = poll()
		synctest.Wait()
		other := b.tracker(b.store)
		require.NoError(t, other.Observe(t.Context(), Event{EnrollmentID: testDevice, Body: CheckedOut{}}))
		began = time.Now()
		assert.Equal(t, http.StatusConflict, (<-got).StatusCode)
		assert.LessOrEqual(t, time.Since(began), reread, "a change of another process within two seconds")
		assert.Empty(t, b.watchers.m, "nobody waits any more")
	})
}

func TestAgentOverRealHTTP(t *testing.T) {
	t.Parallel()
	b, _, token := agentBench(t)
	srv := httptest.NewServer(http.StripPrefix("/agent", b.AgentHandler()))
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/agent/status", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Contains(t, string(body), `"state":"running"`)
	srv.Client().CloseIdleConnections()
}

func FuzzAgentBodies(f *testing.F) {
	f.Add("/hello", `{"version":"1","capabilities":["scripts"]}`)
	f.Add("/results", `{"events":[{"event_id":"1","execution_id":"x","outcome":"done","exit_code":-1}]}`)
	f.Add("/results", `{"events":[{"event_id":"1","item":"s","outcome":"installed"}]}`)
	f.Add("/actions", `{"action":"retry","items":["s"]}`)
	f.Add("/results", `{"events":null}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		if path != "/hello" && path != "/results" && path != "/actions" {
			t.Skip()
		}
		b, h, token := agentBench(t)
		resp := call(t, h, token, "POST", path, body)
		require.Contains(t, []int{200, 204, 400, 409, 413}, resp.StatusCode)
		if resp.StatusCode == http.StatusBadRequest {
			assert.Equal(t, StateRunning, b.view().State)
		}
		run, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
		require.NoError(t, err)
		_, err = b.load(run)
		require.NoError(t, err)
	})
}
