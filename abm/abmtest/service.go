package abmtest

import (
	"bytes"
	crand "crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxBodyBytes bounds request bodies. 1000 serial numbers take about 20 KB, a profile with a few
	// certificates less than 100 KB.
	maxBodyBytes = 4 << 20

	contentJSON = "application/json;charset=UTF8"
	contentText = "text/plain;Charset=UTF8"

	// newestProtocol is the newest X-Server-Protocol-Version documented; higher values are treated as it.
	newestProtocol = 10
)

// Service is the simulated service with all its state. It is an http.Handler for the API that MDM servers
// use; its methods do what an administrator does in the portal and what a device does. It is safe for
// concurrent use.
type Service struct {
	cfg    settings
	routes map[string]map[string]endpoint // by path, then method

	mu        sync.Mutex
	random    *rand.ChaCha8
	rng       *rand.Rand
	cursorKey []byte

	servers     []*MDMServer
	devices     map[string]*device
	serials     []string // in the order of their first arrival
	sessions    map[string]*session
	nonces      map[nonce]time.Time
	forced      map[string]forcedResult
	termsSigned bool
	stats       Stats
	intercept   func(http.ResponseWriter, *http.Request) bool

	faults     []*fault
	faultCount int        // of names that were made up
	chance     *rand.Rand // of its own: a fault must not change the identifiers that follow
	rosters    map[string][]json.RawMessage

	closed    chan struct{}
	closeOnce sync.Once
}

var _ http.Handler = (*Service)(nil)

// endpoint is one operation of the API.
type endpoint struct {
	method, path string
	hasBody      bool
	open         bool // needs no session
	limits       bool // pages, with the limits of the settings
	roster       bool // School Manager only
	serve        func(*call) (any, error)
}

// call is one request that has passed the checks common to all of them.
type call struct {
	r       *http.Request
	op      string     // "METHOD /path" of the endpoint
	server  *MDMServer // whose session it is; nil on open endpoints
	version int        // X-Server-Protocol-Version, 1 to newestProtocol
	now     time.Time
	body    []byte
}

// NewService returns a service with no MDM server entry, no device, and signed terms. It starts nothing.
func NewService(opts ...Option) (*Service, error) {
	cfg := defaults()
	for _, o := range opts {
		if o == nil {
			return nil, errors.New("abmtest: an option is nil")
		}
		if err := o(&cfg); err != nil {
			return nil, fmt.Errorf("abmtest: %w", err)
		}
	}
	seed := cfg.seed
	if seed == nil {
		seed = new([32]byte)
		if _, err := crand.Read(seed[:]); err != nil {
			return nil, fmt.Errorf("abmtest: seed: %w", err)
		}
	}
	random := rand.NewChaCha8(*seed)
	chance := *seed
	chance[len(chance)-1] ^= 1
	s := &Service{
		cfg:         cfg,
		random:      random,
		rng:         rand.New(random), //nolint:gosec // a simulator whose values must be repeatable
		cursorKey:   make([]byte, 32),
		devices:     make(map[string]*device),
		sessions:    make(map[string]*session),
		nonces:      make(map[nonce]time.Time),
		forced:      make(map[string]forcedResult),
		termsSigned: true,
		stats:       newStats(),
		chance:      rand.New(rand.NewChaCha8(chance)), //nolint:gosec // as above
		rosters:     make(map[string][]json.RawMessage),
		closed:      make(chan struct{}),
	}
	_, _ = random.Read(s.cursorKey) // never fails
	s.routes = make(map[string]map[string]endpoint)
	for _, e := range s.endpoints() {
		if s.routes[e.path] == nil {
			s.routes[e.path] = make(map[string]endpoint)
		}
		s.routes[e.path][e.method] = e
	}
	for path := range cfg.limits {
		if !s.routes[path]["POST"].limits {
			return nil, fmt.Errorf("abmtest: WithLimits: %q has no limits", path)
		}
	}
	return s, nil
}

// endpoints lists the API. The order is the one in which GET /account publishes it.
func (s *Service) endpoints() []endpoint {
	list := []endpoint{
		{method: "GET", path: "/session", open: true, serve: s.session},
		{method: "GET", path: "/account", serve: s.account},
		{method: "POST", path: "/server/devices", hasBody: true, limits: true, serve: s.fetchDevices},
		{method: "POST", path: "/devices/sync", hasBody: true, limits: true, serve: s.syncDevices},
		{method: "POST", path: "/devices", hasBody: true, limits: true, serve: s.deviceDetails},
		{method: "POST", path: "/devices/disown", hasBody: true, limits: true, serve: s.disown},
		{method: "GET", path: "/device/replacementDetails", serve: s.replacementDetails},
		{method: "POST", path: "/device/activationlock", hasBody: true, serve: s.activationLock},
		{method: "POST", path: "/profile", hasBody: true, serve: s.defineProfile},
		{method: "GET", path: "/profile", serve: s.fetchProfile},
		// PUT is what Apple documented first; production accepts both.
		{method: "POST", path: "/profile/devices", hasBody: true, limits: true, serve: s.assignProfile},
		{method: "PUT", path: "/profile/devices", hasBody: true, limits: true, serve: s.assignProfile},
		{method: "DELETE", path: "/profile/devices", hasBody: true, limits: true, serve: s.removeProfile},
		{method: "GET", path: "/os-beta-enrollment/tokens", serve: s.betaTokens},
		{method: "POST", path: "/account-driven-enrollment/profile", hasBody: true, serve: s.setDiscovery},
		{method: "GET", path: "/account-driven-enrollment/profile", serve: s.getDiscovery},
		{method: "DELETE", path: "/account-driven-enrollment/profile", serve: s.deleteDiscovery},
	}
	for _, path := range rosterPaths() {
		list = append(list, endpoint{method: "POST", path: path, hasBody: true, roster: true, serve: s.roster})
	}
	return list
}

// Close lets go of the requests that a fault holds, without an answer, and of those that one would hold later. [New]
// calls it; a program calls it before it waits for its HTTP server to stop. The service answers as before otherwise.
func (s *Service) Close() error {
	s.closeOnce.Do(func() { close(s.closed) })
	return nil
}

// ServeHTTP answers one request of an MDM server.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, below := strings.CutPrefix(r.URL.Path, s.cfg.basePath)
	methods := s.routes[path]
	if !below || methods == nil {
		writeError(w, refuse(http.StatusNotFound, http.StatusText(http.StatusNotFound)))
		return
	}
	e, ok := methods[r.Method]
	if !ok {
		allowed := make([]string, 0, len(methods))
		for m := range methods {
			allowed = append(allowed, m)
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeError(w, refuse(http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)))
		return
	}
	m := s.meter(w, e)
	defer m.end()
	s.mu.Lock()
	intercept := s.intercept
	s.mu.Unlock()
	if intercept == nil || !intercept(m, r) {
		s.trouble(r, e).serve(m)
	}
	m.served = true
}

// respond answers one request as it should be.
func (s *Service) respond(w http.ResponseWriter, r *http.Request, e endpoint) {
	answer, err := s.handle(w, r, e)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, answer)
}

// handle makes the checks common to all endpoints, in the order header, session, body.
func (s *Service) handle(w http.ResponseWriter, r *http.Request, e endpoint) (any, error) {
	if strings.TrimSpace(r.UserAgent()) == "" {
		return nil, bad("USER_AGENT_MISSING")
	}
	c := &call{
		r: r, op: e.method + " " + e.path,
		version: protocolVersion(r.Header.Get("X-Server-Protocol-Version")), now: s.cfg.now().UTC(),
	}
	if !e.open {
		server, renewed, err := s.useSession(r.Header.Get(sessionHeader), c.now)
		if renewed != "" {
			w.Header().Set(sessionHeader, renewed)
		}
		if err != nil {
			return nil, err
		}
		c.server = server
	}
	if e.hasBody {
		body, err := readBody(w, r)
		if err != nil {
			return nil, err
		}
		c.body = body
	}
	s.takeProfiles(c)
	answer, err := e.serve(c)
	if err != nil {
		return nil, err
	}
	return s.distort(c, answer)
}

// protocolVersion clamps the header to what the service knows. Absent or unreadable is taken as 1.
func protocolVersion(header string) int {
	v, err := strconv.Atoi(strings.TrimSpace(header))
	if err != nil {
		return 1
	}
	return min(max(v, 1), newestProtocol)
}

// readBody returns the body of a request that must have one. Apple does not document what happens without a
// JSON Content-Type or with an oversized body; HTTP's own statuses are used.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, http.StatusText(http.StatusUnsupportedMediaType))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, refuse(http.StatusRequestEntityTooLarge, http.StatusText(http.StatusRequestEntityTooLarge))
	case err != nil:
		return nil, malformed("the body could not be read: " + err.Error())
	}
	return body, nil
}

// decode reads the JSON object of the body into v; unknown keys are ignored.
func (c *call) decode(v any) error {
	trimmed := bytes.TrimSpace(c.body)
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return malformed("the body is not a JSON object")
	}
	if err := json.Unmarshal(trimmed, v); err != nil {
		return malformed(err.Error())
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) {
	if v == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	data, err := json.Marshal(v)
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", contentJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // the client has gone; there is nobody to tell
}

func writeError(w http.ResponseWriter, err error) {
	var e *reply
	if !errors.As(err, &e) {
		e = &reply{status: http.StatusInternalServerError, body: err.Error()}
	}
	if e.reason != "" {
		w.Header().Set("X-Abmtest-Reason", e.reason)
	}
	w.Header().Set("Content-Type", contentText)
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, e.body) // as above
}

// hexID returns n random bytes as lower-case hex. The caller holds the lock.
func (s *Service) hexID(n int) string {
	b := make([]byte, n)
	_, _ = s.random.Read(b) // never fails
	return hex.EncodeToString(b)
}

// stamp formats a time as Apple does: ISO 8601, UTC, whole seconds. The zero time is the empty string.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}
