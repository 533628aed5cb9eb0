package abmtest

import (
	"bufio"
	"maps"
	"net"
	"net/http"
)

// Stats counts what MDM servers asked for since the service began. It does not count what the methods and the
// admin handler do. Of the calls of [AXM] it has Calls and LargestBatch.
type Stats struct {
	// Calls is the number of requests per endpoint, such as "POST /devices/sync", whatever the answer was.
	Calls map[string]int `json:"calls"`
	// Statuses is the number of answers per endpoint and HTTP status; 0 is for requests that got none.
	Statuses map[string]map[int]int `json:"statuses"`
	// Logins is the number of sessions that GET /session opened. Calls has the attempts.
	Logins int `json:"logins"`
	// Assigns is the number of requests to assign a profile, by POST or PUT, whatever the answer was.
	Assigns int `json:"assigns"`
	// LargestBatch is the largest number of devices in one request per endpoint. Apple asks for at most 1000.
	LargestBatch map[string]int `json:"largest_batch"`
	// OverLimit is the number of requests per endpoint that named, or asked for, more devices than GET /account
	// publishes for it. What Apple does with them is not documented; here they are answered.
	OverLimit map[string]int `json:"over_limit"`
	// AssignCalls is how often a profile assignment was asked for per serial number, whatever its result was and also if a
	// fault answered. Requests that [Service.Intercept] answers, or the service refuses as a whole, are not in it.
	AssignCalls map[string]int `json:"assign_calls"`
}

func newStats() Stats {
	return Stats{
		Calls: make(map[string]int), Statuses: make(map[string]map[int]int), LargestBatch: make(map[string]int),
		OverLimit: make(map[string]int), AssignCalls: make(map[string]int),
	}
}

// Stats returns a copy of the counters. An answer is counted before its client can see it.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Calls, out.LargestBatch = maps.Clone(out.Calls), maps.Clone(out.LargestBatch)
	out.OverLimit, out.AssignCalls = maps.Clone(out.OverLimit), maps.Clone(out.AssignCalls)
	out.Statuses = make(map[string]map[int]int, len(s.stats.Statuses))
	for op, statuses := range s.stats.Statuses {
		out.Statuses[op] = maps.Clone(statuses)
	}
	return out
}

// AssignCalls returns how often MDM servers asked to assign a profile to the device: more than once for the same
// profile is what gets a client throttled.
func (s *Service) AssignCalls(serial string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats.AssignCalls[serial]
}

// countAssigns counts devices of a request to assign a profile. The caller holds the lock.
func (s *Service) countAssigns(serials []string) {
	for _, serial := range serials {
		s.stats.AssignCalls[serial]++
	}
}

// meter counts one request and its answer.
type meter struct {
	http.ResponseWriter
	s       *Service
	op      string
	served  bool // the handler has returned
	counted bool
}

// meter counts a request; its method end must be called.
func (s *Service) meter(w http.ResponseWriter, e endpoint) *meter {
	m := &meter{ResponseWriter: w, s: s, op: e.method + " " + e.path}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Calls[m.op]++
	if m.op == opAssign || m.op == opAssignV1 {
		s.stats.Assigns++
	}
	return m
}

// end counts a request that has no status yet: what returns without writing is a 200 to net/http, and what panics is
// aborted without an answer.
func (m *meter) end() {
	if m.served {
		m.count(http.StatusOK)
		return
	}
	m.count(0)
}

func (m *meter) count(status int) {
	if m.counted {
		return
	}
	m.counted = true
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	if m.s.stats.Statuses[m.op] == nil {
		m.s.stats.Statuses[m.op] = make(map[int]int)
	}
	m.s.stats.Statuses[m.op][status]++
}

func (m *meter) WriteHeader(status int) {
	m.count(status)
	m.ResponseWriter.WriteHeader(status)
}

func (m *meter) Write(b []byte) (int, error) {
	m.count(http.StatusOK)
	return m.ResponseWriter.Write(b)
}

// Hijack takes over the connection. Functions given to Intercept may ask for it as for that of net/http.
func (m *meter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(m.ResponseWriter).Hijack()
	if err == nil {
		m.count(0)
	}
	return conn, rw, err
}

// Flush is for those functions, too.
func (m *meter) Flush() { _ = http.NewResponseController(m.ResponseWriter).Flush() }

// Unwrap lets http.ResponseController find the rest.
func (m *meter) Unwrap() http.ResponseWriter { return m.ResponseWriter }
