package abmtest

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"time"
)

const (
	// oversizedBytes is the default size of an oversized body: more than any client should want to read.
	oversizedBytes = 64 << 20

	maintenancePage = "<!DOCTYPE html><html><head><title>Maintenance</title></head><body>We'll be back soon.</body></html>"
)

// delay is the wait that one fault wants.
type delay struct {
	time.Duration // below zero: for ever
	cleared       <-chan struct{}
}

// trouble is what the faults of classCall do to one request.
type trouble struct {
	s       *Service
	r       *http.Request
	e       endpoint
	delays  []delay
	fault   *fault   // decides the answer; nil if it is the service's own
	assigns []string // the devices of a request to assign a profile
	reached bool     // the service was asked, or the devices were counted
}

// trouble finds the faults that happen to a request.
func (s *Service) trouble(r *http.Request, e endpoint) *trouble {
	t := &trouble{s: s, r: r, e: e}
	s.mu.Lock()
	armed := s.armed(classCall)
	s.mu.Unlock()
	if !armed {
		return t
	}
	op, serials := e.method+" "+e.path, askedSerials(r, e)
	if op == opAssign || op == opAssignV1 {
		t.assigns = serials
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	server := s.caller(r, e)
	for _, f := range s.faults {
		late := f.Kind != FaultLatency && t.fault != nil // another one has the answer
		if f.info.class != classCall || late || !f.meant(e) || !s.strikes(f, server, op, serials) {
			continue
		}
		if f.Kind != FaultLatency {
			t.fault = f
			continue
		}
		d := f.Duration
		if f.Jitter > 0 {
			d += time.Duration(s.chance.Int64N(int64(f.Jitter) + 1))
		}
		t.delays = append(t.delays, delay{d, f.cleared})
	}
	return t
}

// serve answers the request. What is left of it when the client gives up is aborted.
func (t *trouble) serve(w http.ResponseWriter) {
	defer t.missed()
	for _, d := range t.delays {
		t.s.wait(t.r, d)
	}
	if t.fault == nil {
		t.respond(w)
		return
	}
	t.misbehave(w)
}

// respond lets the service answer.
func (t *trouble) respond(w http.ResponseWriter) {
	t.reached = true
	t.s.respond(w, t.r, t.e)
}

// missed counts the devices of a request that the service does not get to see.
func (t *trouble) missed() {
	if t.reached {
		return
	}
	t.reached = true
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.countAssigns(t.assigns)
}

// meant tells whether f is about the endpoint at all: without an operation the two about sessions that ended leave
// GET /session alone, or clients could never get to the call that fails.
func (f *fault) meant(e endpoint) bool {
	return f.ops != nil || !e.open || f.Kind != FaultUnauthorized && f.Kind != FaultForbidden
}

// askedSerials returns the devices a request names and leaves its body as it was. The body is read to its end, since
// net/http notices only then that a client has gone.
func askedSerials(r *http.Request, e endpoint) []string {
	serials := r.URL.Query()["device"]
	if !e.hasBody {
		return serials
	}
	rest := r.Body
	data, err := io.ReadAll(io.LimitReader(rest, maxBodyBytes+1))
	again := io.Reader(bytes.NewReader(data))
	if err != nil || len(data) > maxBodyBytes {
		again = io.MultiReader(again, rest)
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{again, rest}
	var in struct {
		Device  string   `json:"device"`
		Devices []string `json:"devices"`
	}
	if json.Unmarshal(data, &in) != nil {
		return serials // the service will say what is wrong with it
	}
	if in.Device != "" {
		serials = append(serials, in.Device)
	}
	serials = append(serials, in.Devices...)
	slices.Sort(serials)
	return slices.Compact(serials)
}

// caller returns the entry a request claims to come from, nil if it cannot be told. The caller holds the lock.
func (s *Service) caller(r *http.Request, e endpoint) *MDMServer {
	if !e.open {
		if ses := s.sessions[r.Header.Get(sessionHeader)]; ses != nil {
			return ses.server
		}
		return nil
	}
	params, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return nil
	}
	for _, p := range params {
		if p.key == "oauth_consumer_key" {
			return s.byConsumerKey(p.value)
		}
	}
	return nil
}

// wait blocks until d is over or its fault is cleared. It aborts the request when the client gives up or the service is
// closed.
func (s *Service) wait(r *http.Request, d delay) {
	var over <-chan time.Time
	if d.Duration >= 0 {
		timer := time.NewTimer(d.Duration)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
	case <-d.cleared:
	case <-r.Context().Done():
		abort()
	case <-s.closed:
		abort()
	}
}

// abort ends a request without an answer, as net/http lets handlers do.
func abort() { panic(http.ErrAbortHandler) }

// misbehave answers as the fault wants.
func (t *trouble) misbehave(w http.ResponseWriter) {
	f := t.fault
	unseen := httptest.NewRecorder()
	if f.Applied || f.Kind == FaultTruncated {
		t.respond(unseen)
	}
	switch {
	case f.Kind == FaultTruncated:
		truncate(w, unseen)
	case f.Kind == FaultHang && f.Applied:
		t.s.wait(t.r, delay{-1, f.cleared})
		replay(w, unseen)
	case f.Kind == FaultHang:
		t.s.wait(t.r, delay{-1, f.cleared})
		t.respond(w)
	default:
		t.missed()
		t.s.fail(w, f, t.e)
	}
}

// fail sends the answer of a fault, or none.
func (s *Service) fail(w http.ResponseWriter, f *fault, e endpoint) {
	w.Header().Set("X-Abmtest-Reason", "fault "+f.ID+": "+string(f.Kind))
	switch f.Kind {
	case FaultReset:
		reset(w)
	case FaultOversized:
		oversize(w, cmp.Or(f.Status, f.info.status), cmp.Or(f.Bytes, oversizedBytes))
	default:
		status, body := cmp.Or(f.Status, f.info.status), cmp.Or(f.Body, f.info.body)
		if f.Operation == "" && !e.open && f.info.elsewhere.status != 0 {
			status, body = f.info.elsewhere.status, f.info.elsewhere.body
		}
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", s.retryAfter(f))
		}
		w.Header().Set("Content-Type", bodyType(f.Kind, status))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client has gone; there is nobody to tell
	}
}

func bodyType(kind FaultKind, status int) string {
	switch {
	case kind == FaultHTML:
		return "text/html; charset=utf-8"
	case status == http.StatusOK:
		return contentJSON
	}
	return contentText
}

// retryAfter is the header in one of its two forms (RFC 9110 section 10.2.3).
func (s *Service) retryAfter(f *fault) string {
	if f.RetryAfterDate {
		return s.cfg.now().Add(f.RetryAfter).UTC().Format(http.TimeFormat)
	}
	return strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10)
}

// reset closes the connection so that the client's TCP sees a reset, not an orderly end. Where there is no connection
// to take over (HTTP/2, or no network at all) the request is aborted.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		abort()
	}
	raw := conn
	if t, ok := conn.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the end is orderly, and an end all the same
	}
	_ = conn.Close()
}

// replay sends an answer that was recorded.
func replay(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	for key, values := range answer.Header() {
		w.Header()[key] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // the client has gone; there is nobody to tell
}

// truncate announces all of an answer and sends half of it.
func truncate(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	body := answer.Body.Bytes()
	for key, values := range answer.Header() {
		w.Header()[key] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush() // or the abort would drop it
	abort()
}

// oversize sends a JSON object of n bytes without having it in memory.
func oversize(w http.ResponseWriter, status int, n int64) {
	const head, tail = `{"cursor":"`, `"}`
	w.Header().Set("Content-Type", contentJSON)
	w.WriteHeader(status)
	fill := bytes.Repeat([]byte("A"), 32<<10)
	_, err := io.WriteString(w, head)
	for left := n - int64(len(head)+len(tail)); left > 0 && err == nil; left -= int64(len(fill)) {
		_, err = w.Write(fill[:min(left, int64(len(fill)))])
	}
	if err == nil {
		_, _ = io.WriteString(w, tail)
	}
}
