package abmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AXM simulates the Apple Business API and the Apple School Manager API over the organization of a [Service]: what is assigned
// here shows up in the device assignment service of the MDM server entry. It is an http.Handler with the token endpoint
// (/auth/oauth2/token and /auth/oauth2/v2/token), the API (/v1/…), and the results of activities (/results/…). It is safe for
// concurrent use.
//
// Ids of MDM servers are their UUIDs without dashes; whether this is so at Apple is not documented. Activities are carried out
// in its own requests, also when they end by the clock.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi
type AXM struct {
	s   *Service
	cfg axmSettings
	mux *http.ServeMux

	// Below is guarded by the lock of the service.
	accounts   map[string]*apiAccount // by client id
	tokens     map[string]axmToken
	activities map[string]*axmActivity
	running    []*axmActivity // in the order of their creation
	details    map[*MDMServer]*axmServer
	lagging    map[string]axmLag    // by serial number
	since      map[string]time.Time // when a device was first seen here, by serial number, or "released " and that
	failing    map[string]string    // the word for devices that activities fail for
	nextEnd    string               // how the next activity ends instead of COMPLETED
	refusals   []axmRefusal
}

var _ http.Handler = (*AXM)(nil)

// axmRefusal is an answer that the next request gets whatever it asks.
type axmRefusal struct {
	status     int
	retryAfter time.Duration
}

type axmSettings struct {
	polls         int
	duration      time.Duration
	lag           time.Duration
	tokenLifetime time.Duration
	pages         pageLimits
	unassigned404 bool
	resultsURL    string
}

// AXMOption changes one setting of an [AXM]. An option given a value it cannot use makes the constructor fail.
type AXMOption func(*axmSettings) error

// WithAXMPolls lets an activity end when it is looked at for the n-th time; its subStatus moves on with each look. The default
// is 3.
func WithAXMPolls(n int) AXMOption {
	return func(s *axmSettings) error {
		if n < 1 {
			return fmt.Errorf("WithAXMPolls: %d is not positive", n)
		}
		s.polls, s.duration = n, 0
		return nil
	}
}

// WithAXMDuration lets an activity end d after its creation by the service's clock, however often it is looked at.
func WithAXMDuration(d time.Duration) AXMOption {
	return func(s *axmSettings) error {
		if d <= 0 {
			return fmt.Errorf("WithAXMDuration: %v is not positive", d)
		}
		s.polls, s.duration = 0, d
		return nil
	}
}

// WithAXMLag lets assignments show d after the activity has completed, in the relationships and lists of this API; the device
// assignment service has them at once. Lags of 15 seconds and more were observed. The default is none.
func WithAXMLag(d time.Duration) AXMOption {
	return func(s *axmSettings) error {
		if d < 0 {
			return fmt.Errorf("WithAXMLag: %v is negative", d)
		}
		s.lag = d
		return nil
	}
}

// WithAXMTokenLifetime sets how long access tokens are good. The default is Apple's hour.
func WithAXMTokenLifetime(d time.Duration) AXMOption {
	return func(s *axmSettings) error {
		if d < time.Second {
			return fmt.Errorf("WithAXMTokenLifetime: %v is less than a second", d)
		}
		s.tokenLifetime = d
		return nil
	}
}

// WithAXMPageLimits sets how long a page is by default and at most. The defaults are Apple's 100 and 1000.
func WithAXMPageLimits(byDefault, maximum int) AXMOption {
	return func(s *axmSettings) error {
		s.pages = pageLimits{byDefault, maximum}
		return s.pages.check("WithAXMPageLimits")
	}
}

// WithAXMUnassigned404 answers 404 for the assigned server of a device that has none. Otherwise its id is empty; both were
// observed.
func WithAXMUnassigned404() AXMOption {
	return func(s *axmSettings) error {
		s.unassigned404 = true
		return nil
	}
}

// WithAXMResultsURL sets the scheme and host that downloadUrl names, without a slash at its end. The default is that of the
// request; at Apple it is another host.
func WithAXMResultsURL(base string) AXMOption {
	return func(s *axmSettings) error {
		if base == "" || strings.HasSuffix(base, "/") {
			return fmt.Errorf("WithAXMResultsURL: %q is empty or ends with a slash", base)
		}
		s.resultsURL = base
		return nil
	}
}

// NewAXM returns the API over s, with no API account. It starts nothing.
func NewAXM(s *Service, opts ...AXMOption) (*AXM, error) {
	if s == nil {
		return nil, errors.New("abmtest: NewAXM: no service")
	}
	a := &AXM{
		s: s, cfg: axmSettings{polls: 3, tokenLifetime: time.Hour, pages: pageLimits{100, 1000}}, mux: http.NewServeMux(),
		accounts: make(map[string]*apiAccount), tokens: make(map[string]axmToken), activities: make(map[string]*axmActivity),
		details: make(map[*MDMServer]*axmServer), lagging: make(map[string]axmLag), since: make(map[string]time.Time),
		failing: make(map[string]string),
	}
	for _, o := range opts {
		if o == nil {
			return nil, errors.New("abmtest: an option is nil")
		}
		if err := o(&a.cfg); err != nil {
			return nil, fmt.Errorf("abmtest: %w", err)
		}
	}
	a.routes()
	return a, nil
}

// axmCall is one request to the API that has passed the checks common to all of them.
type axmCall struct {
	r    *http.Request
	now  time.Time
	base string // scheme and host it was asked at
	body []byte
}

// axmEndpoint serves a request with the lock held. It returns the status and the document of a success; nil has no body.
type axmEndpoint func(c *axmCall) (status int, doc any, err error)

func (a *AXM) routes() {
	a.mux.HandleFunc("POST /auth/oauth2/token", a.serveToken)
	a.mux.HandleFunc("POST /auth/oauth2/v2/token", a.serveToken)
	a.mux.HandleFunc("GET /results/{file}", a.serveResults)
	both := func(pattern string, e axmEndpoint) { a.handle(pattern, true, e) }
	business := func(pattern string, e axmEndpoint) { a.handle(pattern, false, e) }
	both("GET /v1/orgDevices", a.orgDevices)
	both("GET /v1/orgDevices/{id}", a.orgDevice)
	both("GET /v1/orgDevices/{id}/appleCareCoverage", a.coverage)
	both("GET /v1/orgDevices/{id}/assignedServer", a.assignedServer)
	both("GET /v1/orgDevices/{id}/relationships/assignedServer", a.assignedServerID)
	both("GET /v1/mdmServers", a.mdmServers)
	both("GET /v1/mdmServers/{id}/relationships/devices", a.serverDevices)
	both("POST /v1/orgDeviceActivities", a.createActivity)
	both("GET /v1/orgDeviceActivities/{id}", a.activity)
	business("GET /v1/mdmServers/{id}", a.mdmServer)
	business("POST /v1/mdmServers", a.createServer)
	business("PATCH /v1/mdmServers/{id}", a.updateServer)
	business("DELETE /v1/mdmServers/{id}", a.deleteServer)
	business("GET /v1/mdmDevices", a.mdmDevices)
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeAXMError(w, axmNotFound("no such path: "+r.Method+" "+r.URL.Path))
	})
}

// ServeHTTP answers one request.
func (a *AXM) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// handle adds an endpoint of the API. school tells that it is in the Apple School Manager API, too.
func (a *AXM) handle(pattern string, school bool, serve axmEndpoint) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		a.s.mu.Lock()
		a.s.stats.Calls[pattern]++
		a.s.mu.Unlock()
		c := &axmCall{r: r, now: a.s.cfg.now().UTC(), base: "http://" + r.Host}
		if r.TLS != nil || r.URL.Scheme == "https" {
			c.base = "https://" + r.Host
		}
		if r.Method == http.MethodPost || r.Method == http.MethodPatch {
			body, err := readBody(w, r)
			if err != nil {
				writeAXMError(w, &axmError{status: http.StatusBadRequest, code: "REQUEST_ERROR.INVALID", detail: err.Error()})
				return
			}
			c.body = body
		}
		status, doc, err := a.serve(w, c, school, serve)
		if err != nil {
			writeAXMError(w, err)
			return
		}
		writeAXM(w, status, doc)
	})
}

func (a *AXM) serve(w http.ResponseWriter, c *axmCall, school bool, serve axmEndpoint) (int, any, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.settle(c.now)
	if len(a.refusals) > 0 {
		refusal := a.refusals[0]
		a.refusals = a.refusals[1:]
		if refusal.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(refusal.retryAfter/time.Second)))
		}
		return 0, nil, &axmError{status: refusal.status, code: "REQUEST_ERROR", detail: "as the test has set"}
	}
	// Observed; Apple does not document it.
	if accept := c.r.Header.Get("Accept"); !strings.HasPrefix(accept, "application/json") {
		return 0, nil, &axmError{status: http.StatusNotAcceptable, code: "NOT_ACCEPTABLE", detail: "Accept must be application/json"}
	}
	account, err := a.authenticate(c.r, c.now)
	if err != nil {
		return 0, nil, err
	}
	if !school && account.scope == "school.api" {
		return 0, nil, axmNotFound("not in this API")
	}
	return serve(c)
}

// Refuse lets the next n requests to the API end with a status such as 429 or 503, without effect and before anything else
// is checked. retryAfter is told in whole seconds; 0 is not told.
func (a *AXM) Refuse(n, status int, retryAfter time.Duration) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	for range n {
		a.refusals = append(a.refusals, axmRefusal{status, retryAfter})
	}
}

// axmError is one error object of the API. Apple does not publish its codes; they are in the style of its other services.
type axmError struct {
	status                           int
	code, detail, pointer, parameter string
}

func (e *axmError) Error() string { return e.detail }

func axmNotFound(detail string) error {
	return &axmError{status: http.StatusNotFound, code: "NOT_FOUND", detail: detail}
}

func axmConflict(pointer, detail string) error {
	return &axmError{status: http.StatusConflict, code: "ENTITY_ERROR.RELATIONSHIP.INVALID", detail: detail, pointer: pointer}
}

func writeAXMError(w http.ResponseWriter, err error) {
	var e *axmError
	if !errors.As(err, &e) {
		e = &axmError{status: http.StatusInternalServerError, code: "UNEXPECTED_ERROR", detail: err.Error()}
	}
	object := map[string]any{
		"id": "abmtest", "status": strconv.Itoa(e.status), "code": e.code, "title": http.StatusText(e.status), "detail": e.detail,
	}
	if e.pointer != "" {
		object["source"] = map[string]string{"pointer": e.pointer}
	}
	if e.parameter != "" {
		object["source"] = map[string]string{"parameter": e.parameter}
	}
	writeAXM(w, e.status, map[string]any{"errors": []any{object}})
}

func writeAXM(w http.ResponseWriter, status int, doc any) {
	if doc == nil {
		w.WriteHeader(status)
		return
	}
	data, err := json.Marshal(doc)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"errors":[]}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client has gone; there is nobody to tell
}

// axmStamp formats a time as this API does, with milliseconds; the zero time is null.
func axmStamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// selected leaves the attributes that fields[…] names, if it names any.
func (c *axmCall) selected(resourceType string, attrs map[string]any) map[string]any {
	names := c.r.URL.Query().Get("fields[" + resourceType + "]")
	if names == "" {
		return attrs
	}
	keep := strings.Split(names, ",")
	out := make(map[string]any)
	for name, v := range attrs {
		if slices.Contains(keep, name) {
			out[name] = v
		}
	}
	return out
}
