package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/setupexp"
)

// agent is what runs on a Mac once the agent's package is installed: it says hello, follows the status of the setup,
// and does the work it finds there. It knows the server from its configuration profile only.
type agent struct {
	url, token string
	client     *http.Client
	device     *enrolltest.Device
	screen     *screen
	done       map[string]bool // executions done and items found
}

var errNoConfig = errors.New("agent: no configuration profile on the device")

// newAgent returns the agent of a device, configured by the profile it finds there.
func newAgent(d *enrolltest.Device, client *http.Client, dir string) (*agent, error) {
	for _, p := range d.Profiles() {
		for _, payload := range p.Payloads {
			if payload.Type != agentID {
				continue
			}
			url, _ := payload.Content["URL"].(string)
			token, _ := payload.Content["Token"].(string)
			if url == "" || token == "" {
				continue
			}
			screen, err := newScreen(dir, d.Serial())
			if err != nil {
				return nil, err
			}
			return &agent{url: url, token: token, client: client, device: d, screen: screen, done: map[string]bool{}}, nil
		}
	}
	return nil, errNoConfig
}

// run works until the setup is over or ctx ends.
func (a *agent) run(ctx context.Context) error {
	var status setupexp.AgentStatus
	hello := setupexp.AgentHelloRequest{Version: "1.0", Capabilities: []string{setupexp.CapabilityScripts}}
	if err := a.call(ctx, http.MethodPost, "/hello", hello, &status); err != nil {
		return err
	}
	for {
		if err := a.screen.show(status.View); err != nil {
			return err
		}
		if status.Done {
			return nil
		}
		reports, err := a.work(status.Work)
		if err != nil {
			return err
		}
		reports = append(reports, a.look(status.Items)...)
		if len(reports) > 0 {
			var answer setupexp.AgentResultsResponse
			if err := a.call(ctx, http.MethodPost, "/results", setupexp.AgentResultsRequest{Events: reports}, &answer); err != nil {
				return err
			}
			for _, r := range answer.Results {
				if r.Result != "applied" && r.Result != "duplicate" {
					return fmt.Errorf("agent: report %s: %s", r.EventID, r.Result)
				}
			}
		}
		next := setupexp.AgentStatus{} // a new one: decoding into the old would change what the screen was shown
		if err := a.call(ctx, http.MethodGet, "/status?wait=1&since="+status.Version, nil, &next); err != nil {
			return err
		}
		if next.Version != "" { // it has changed
			status = next
		}
	}
}

// work does what has not been done yet. Its scripts run nowhere: this is a simulated Mac.
func (a *agent) work(todo []setupexp.AgentWork) ([]setupexp.AgentReport, error) {
	var reports []setupexp.AgentReport
	for _, w := range todo {
		if a.done[w.ExecutionID] {
			continue
		}
		a.done[w.ExecutionID] = true
		var script setupexp.ScriptSpec
		if err := json.Unmarshal(w.Spec, &script); err != nil {
			return nil, fmt.Errorf("agent: work %s: %w", w.Item, err)
		}
		reports = append(reports, setupexp.AgentReport{
			EventID: "done-" + w.ExecutionID, ExecutionID: w.ExecutionID, Outcome: "done",
			Output: fmt.Sprintf("simulated a script of %d bytes", len(script.Body)),
		})
	}
	return reports, nil
}

// look finds items on the device whose id is the bundle id of what they install.
func (a *agent) look(items []setupexp.ItemView) []setupexp.AgentReport {
	var reports []setupexp.AgentReport
	for _, p := range a.device.Packages() {
		wanted := slices.ContainsFunc(items, func(it setupexp.ItemView) bool { return it.ID == p.Identifier })
		if !wanted || p.Err != nil || a.done[p.Identifier] {
			continue
		}
		a.done[p.Identifier] = true
		reports = append(reports, setupexp.AgentReport{EventID: "found-" + p.Identifier, Item: p.Identifier, Outcome: "installed"})
	}
	return reports
}

// call sends one request, again and again while the server cannot answer it.
func (a *agent) call(ctx context.Context, method, path string, in, out any) error {
	retry := backoff.WithContext(backoff.NewExponentialBackOff(backoff.WithMaxInterval(5*time.Second)), ctx)
	return backoff.Retry(func() error { return a.try(ctx, method, path, in, out) }, retry)
}

// try sends a request once. A status that has not changed leaves out as it is.
func (a *agent) try(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(resp.Body).Decode(out)
	case http.StatusNotModified:
		return nil
	}
	err = fmt.Errorf("agent: %s %s: %s", method, path, resp.Status)
	if resp.StatusCode < http.StatusInternalServerError {
		return backoff.Permanent(err)
	}
	return err
}
