package setupexp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/storage"
)

// Bounds of the agent API.
const (
	maxAgentBody = 1 << 20
	maxWait      = 25 * time.Second
	reread       = 2 * time.Second // how often a waiting request looks for changes of other processes
	maxResults   = 100
	maxEventID   = 128
)

// AgentHandler serves the agent on the device. All requests carry "Authorization: Bearer" and a token of
// [AgentKeys.Token], bodies are JSON of at most 1 MiB. Mount it with http.StripPrefix where you like.
//
//	POST /hello    the agent is there: AgentHelloRequest in, AgentStatus out
//	GET  /status   AgentStatus; with If-None-Match, or since=VERSION, 304 if nothing has changed; with wait=SECONDS
//	               (at most 25) the answer comes when something has changed
//	POST /results  AgentResultsRequest in, AgentResultsResponse out; may be repeated
//	POST /actions  AgentActionRequest in, 204; 409 if it is not possible now
//
// Errors are {"error": CODE, "message": TEXT}: 401 unauthorized, 404 not_found before the device has a run, 409
// superseded when the device has enrolled anew since the token was made (the agent has to say hello with its new token),
// 400, 413 and 405 for requests that are wrong, 500 internal.
//
// Reading the status changes nothing, and nothing waits for it to be read.
func (t *Tracker) AgentHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hello", t.agent(t.serveHello))
	mux.HandleFunc("GET /status", t.agent(t.serveStatus))
	mux.HandleFunc("POST /results", t.agent(t.serveResults))
	mux.HandleFunc("POST /actions", t.agent(t.serveAction))
	return mux
}

// AgentHelloRequest is what an agent says of itself.
type AgentHelloRequest struct {
	Version      string   `json:"version"`
	Capabilities []string `json:"capabilities"`
}

// AgentStatus is a View and what the agent is to do.
type AgentStatus struct {
	View
	Work []AgentWork `json:"work"`
}

// AgentWork is an execution for the agent. It stays in the status until its result is reported or its time is over; the
// agent does each ExecutionID once.
type AgentWork struct {
	ExecutionID    string `json:"execution_id"`
	Item           string `json:"item"`
	Kind           Kind   `json:"kind"`
	Capability     string `json:"capability"` // what it takes
	TimeoutSeconds int    `json:"timeout_seconds"`
	// Spec is the item's Spec, such as a ScriptSpec.
	Spec json.RawMessage `json:"spec"`
}

// AgentResultsRequest is a batch of what an agent has to report.
type AgentResultsRequest struct {
	Events []AgentReport `json:"events"`
}

// AgentReport is one thing an agent reports.
type AgentReport struct {
	// EventID is the agent's name for the report. One that is sent twice counts once.
	EventID string `json:"event_id"`
	// ExecutionID is set for outcomes "done" and "progress".
	ExecutionID string `json:"execution_id,omitempty"`
	// Item is set for outcomes "installed", "installing" and "absent".
	Item     string `json:"item,omitempty"`
	Outcome  string `json:"outcome"`
	ExitCode int    `json:"exit_code,omitempty"`
	Output   string `json:"output,omitempty"`
	Percent  int    `json:"percent,omitempty"`
}

// AgentResultsResponse answers each report.
type AgentResultsResponse struct {
	Results []AgentReportResult `json:"results"`
}

// AgentReportResult is what became of a report: "applied", "duplicate", "over" (the run is over: nothing waits for the
// report), "stale_generation" (the device has enrolled anew), "unknown" (no such item or execution), or "invalid".
type AgentReportResult struct {
	EventID string `json:"event_id"`
	Result  string `json:"result"`
}

// AgentActionRequest is what the user asks for through the agent: "retry" the failed items. Releasing a device takes an
// administrator.
type AgentActionRequest struct {
	Action string   `json:"action"`
	Items  []string `json:"items,omitempty"`
}

// agentError is an error answer.
type agentError struct {
	status        int
	code, message string
}

func (e *agentError) Error() string { return e.code + ": " + e.message }

var (
	errAgentAuth       = &agentError{http.StatusUnauthorized, "unauthorized", "the token is missing or not valid"}
	errAgentNoRun      = &agentError{http.StatusNotFound, "not_found", "the device has no setup run"}
	errAgentSuperseded = &agentError{http.StatusConflict, "superseded", "the device has enrolled anew; say hello with the new token"}
	errAgentTooLarge   = &agentError{http.StatusRequestEntityTooLarge, "too_large", "the body is too large"}
)

func badRequest(message string) *agentError {
	return &agentError{http.StatusBadRequest, "bad_request", message}
}

// caller is who sends a request.
type caller struct {
	enrollmentID string
	generation   int64
}

// agent checks the token and writes the error a handler returns.
func (t *Tracker) agent(serve func(w http.ResponseWriter, r *http.Request, c caller) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		err := error(errAgentAuth)
		token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if keys := t.settings.agentKeys; keys != nil && isBearer {
			if id, gen, bad := keys.Verify(token); bad == nil {
				r.Body = http.MaxBytesReader(w, r.Body, maxAgentBody)
				err = serve(w, r, caller{id, gen})
			}
		}
		if err == nil || r.Context().Err() != nil {
			return
		}
		var e *agentError
		if !errors.As(err, &e) {
			t.settings.log.Error("agent request", zap.String("path", r.URL.Path), zap.Error(err))
			e = &agentError{http.StatusInternalServerError, "internal", "try again"}
		}
		writeJSON(w, e.status, map[string]string{"error": e.code, "message": e.message})
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the agent is gone
}

// readJSON reads a body. Keys it does not know are left alone, so that agents may be newer than the server.
func readJSON(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return errAgentTooLarge
	case err != nil:
		return badRequest("the body could not be read")
	}
	if err := json.Unmarshal(body, v); err != nil {
		return badRequest("the body is not the JSON it should be")
	}
	return nil
}

// current returns the caller's run.
func (t *Tracker) current(ctx context.Context, c caller) (State, error) {
	run, err := t.store.GetRun(ctx, RunID(c.enrollmentID, c.generation))
	if err == nil && RunState(run.State) != StateSuperseded {
		return t.load(run)
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return State{}, err
	}
	if err == nil || t.stale(ctx, c) {
		return State{}, errAgentSuperseded
	}
	return State{}, errAgentNoRun
}

func (t *Tracker) stale(ctx context.Context, c caller) bool {
	enr, err := t.store.GetEnrollment(ctx, c.enrollmentID)
	return err == nil && enr.Generation > c.generation
}

func (t *Tracker) serveHello(w http.ResponseWriter, r *http.Request, c caller) error {
	var req AgentHelloRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	if len(req.Capabilities) > 32 || slices.ContainsFunc(req.Capabilities, func(c string) bool { return len(c) > 64 }) {
		return badRequest("too many or too long capabilities")
	}
	if _, err := t.current(r.Context(), c); err != nil {
		return err
	}
	ev := Event{EnrollmentID: c.enrollmentID, Generation: c.generation, Body: AgentHello(req)}
	if err := t.Observe(r.Context(), ev); err != nil {
		return err
	}
	s, err := t.current(r.Context(), c)
	if err != nil {
		return err
	}
	return t.writeStatus(r.Context(), w, &s)
}

func (t *Tracker) writeStatus(ctx context.Context, w http.ResponseWriter, s *State) error {
	v := s.view()
	if len(s.agentWork()) > 0 { // nothing else needs the specs
		if err := t.open(ctx, s); err != nil {
			return err
		}
	}
	w.Header().Set("ETag", `"`+v.Version+`"`)
	writeJSON(w, http.StatusOK, AgentStatus{View: v, Work: s.agentWork()})
	return nil
}

// agentWork is what the agent is to do now.
func (s *State) agentWork() []AgentWork {
	work := []AgentWork{}
	for i := range s.Items {
		w, it := &s.Items[i], &s.Plan.Items[i]
		if s.State.Live() && it.Capability != "" && (w.State == ItemDispatched || w.State == ItemAccepted) {
			work = append(work, AgentWork{
				ExecutionID: w.execution(), Item: it.ID, Kind: it.Kind, Capability: it.Capability,
				TimeoutSeconds: int(it.Timeout.Seconds()), Spec: it.Spec,
			})
		}
	}
	return work
}

func (t *Tracker) serveStatus(w http.ResponseWriter, r *http.Request, c caller) error {
	ctx := r.Context()
	since := strings.Trim(strings.TrimPrefix(r.Header.Get("If-None-Match"), "W/"), `"`)
	if q := r.URL.Query().Get("since"); q != "" {
		since = q
	}
	var wait time.Duration
	if q := r.URL.Query().Get("wait"); q != "" {
		n, err := strconv.Atoi(q)
		if err != nil || n < 0 {
			return badRequest("wait is not a number of seconds")
		}
		wait = min(time.Duration(min(n, 3600))*time.Second, maxWait)
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		s, more, err := t.changed(ctx, c, since, timeout.C)
		switch {
		case err != nil:
			return err
		case since == "" || since != s.view().Version:
			return t.writeStatus(ctx, w, &s)
		case !more:
			w.Header().Set("ETag", `"`+since+`"`)
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
}

// changed returns the caller's run. If it is as since says, it first waits until the run may have changed; more is
// false when the time is over.
func (t *Tracker) changed(ctx context.Context, c caller, since string, over <-chan time.Time) (s State, more bool, err error) {
	changed, stop := t.watchers.watch(RunID(c.enrollmentID, c.generation)) // before looking, so that nothing is missed
	defer stop()
	s, err = t.current(ctx, c)
	if err != nil || since == "" || since != s.view().Version {
		return s, true, err
	}
	again := time.NewTimer(reread)
	defer again.Stop()
	select {
	case <-changed:
	case <-again.C:
	case <-ctx.Done():
		return State{}, false, ctx.Err()
	case <-over:
		return s, false, nil
	}
	return s, true, nil
}

func (t *Tracker) serveAction(w http.ResponseWriter, r *http.Request, c caller) error {
	var req AgentActionRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	if req.Action != string(ActionRetry) {
		return badRequest("unknown action")
	}
	if _, err := t.current(r.Context(), c); err != nil {
		return err
	}
	err := t.Observe(r.Context(), Event{EnrollmentID: c.enrollmentID, Generation: c.generation, Body: Admin{
		Action: ActionRetry, Actor: "device:" + c.enrollmentID, Items: req.Items, ByAgent: true,
	}})
	switch {
	case errors.Is(err, ErrNotAllowed), errors.Is(err, ErrRunOver):
		return &agentError{http.StatusConflict, "not_allowed", "not possible now"}
	case errors.Is(err, ErrUnknownItem):
		return badRequest("unknown item")
	case err != nil:
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
