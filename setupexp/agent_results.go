package setupexp

import (
	"errors"
	"net/http"
	"slices"
)

func (t *Tracker) serveResults(w http.ResponseWriter, r *http.Request, c caller) error {
	var req AgentResultsRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	if len(req.Events) > maxResults {
		return badRequest("too many events")
	}
	resp := AgentResultsResponse{Results: make([]AgentReportResult, 0, len(req.Events))}
	for _, rep := range req.Events {
		result, err := t.report(r, c, rep)
		if err != nil {
			return err // the agent repeats the batch: what was applied counts once
		}
		resp.Results = append(resp.Results, AgentReportResult{EventID: rep.EventID, Result: result})
	}
	writeJSON(w, http.StatusOK, resp)
	return nil
}

// report takes one report.
func (t *Tracker) report(r *http.Request, c caller, rep AgentReport) (string, error) {
	body, ok := rep.body()
	if !ok {
		return "invalid", nil
	}
	ctx := r.Context()
	id := "agent:" + rep.EventID
	s, err := t.current(ctx, c)
	var known *agentError
	switch {
	case errors.As(err, &known) && known == errAgentSuperseded:
		return "stale_generation", nil
	case err != nil:
		return "", err
	case slices.Contains(s.Seen, id):
		return "duplicate", nil
	case !s.State.Live() && !s.concerns(body):
		return "over", nil
	case !s.State.Live():
		ev := Event{ID: id, EnrollmentID: c.enrollmentID, Generation: c.generation, Body: body}
		return "over", t.Observe(ctx, ev) // recorded
	case !s.concerns(body):
		if err := t.Observe(ctx, Event{EnrollmentID: c.enrollmentID, Generation: c.generation, Body: body}); err != nil {
			return "", err // recorded as ignored
		}
		return "unknown", nil
	}
	err = t.Observe(ctx, Event{ID: id, EnrollmentID: c.enrollmentID, Generation: c.generation, Body: body})
	return "applied", err
}

// concerns reports whether the run has the item or execution of a report.
func (s *State) concerns(b EventBody) bool {
	switch b := b.(type) {
	case AgentResult:
		return s.byExecution(b.ExecutionID) >= 0
	case AgentProgress:
		return s.byExecution(b.ExecutionID) >= 0
	case Evidence:
		return s.index(b.Item) >= 0
	}
	return false
}

// body is the event of a report, and whether it is well-formed.
func (r AgentReport) body() (EventBody, bool) {
	if r.EventID == "" || len(r.EventID) > maxEventID {
		return nil, false
	}
	switch r.Outcome {
	case "done":
		return AgentResult{ExecutionID: r.ExecutionID, ExitCode: r.ExitCode, Output: bounded(r.Output)}, r.ExecutionID != ""
	case "progress":
		return AgentProgress{ExecutionID: r.ExecutionID, Percent: r.Percent}, r.ExecutionID != "" && r.Percent >= 0 && r.Percent <= 100
	case string(Installed), string(Installing), string(Absent):
		return Evidence{Item: r.Item, Presence: Presence(r.Outcome), Detail: bounded(r.Output)}, r.Item != ""
	}
	return nil, false
}
