package abmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// adminHelp is what GET / of the admin handler answers.
const adminHelp = `Simulated Apple Business Manager, administration. JSON unless said otherwise.
Paths are below this one. {server} is the UUID or the name of an MDM server entry.

GET  /servers                            list the entries
POST /servers                            {"name": "Fleet"}: create one
PUT  /servers/{server}/certificate       body: the MDM server's certificate, PEM
POST /servers/{server}/token             answer: a new .p7m token file; the old token is void.
                                         Body, if any: {"expires_in": "144h"} for one that does not last a year
GET  /devices?offset=0&limit=100         list devices in order of arrival
POST /devices                            {"server": "Fleet", "devices": [{"serial_number": "X", "model": "iMac"}]}
                                         or {"server": "Fleet", "random": 10}; without server: unassigned.
                                         device_family and os follow from the model if they are missing
GET  /devices/{serial}                   state of one device
POST /devices/{serial}/activation-record what the device gets at its first boot; 404 if nothing waits for it
POST /assign                             {"server": "Fleet", "devices": ["X"]}: assign, move or re-assign
POST /unassign                           {"devices": ["X"]}
POST /release                            {"devices": ["X"]}: out of the organization for good
POST /migrate                            {"server": "Fleet", "devices": ["X"], "deadline": "2026-10-01T00:00:00Z"}
POST /cancel-migration                   {"devices": ["X"]}
POST /replace                            {"original": "X", "replacement": {"serial_number": "Y", "model": "iMac"}}
GET  /terms                              {"signed": true}
PUT  /terms                              {"signed": false}: GET /session answers T_C_NOT_SIGNED
POST /force-assign-result                {"device": "X", "result": "THROTTLED", "seconds": 86400}
POST /roster                             {"path": "/roster/class/person", "entries": [{}]}: what School Manager returns
GET  /stats                              counters: calls, answers by status, logins, assignments per device
GET  /fault-kinds                        what can go wrong, with the members each kind of fault takes
GET  /faults                             the faults that are set, and how often each has struck
POST /faults                             {"kind": "unavailable", "count": 3, "retry_after": "30s"}; answer: {"id": "fault-1"}
DELETE /faults                           clear all
DELETE /faults/{id}                      clear one
`

// adminRequest has the members of all request bodies of the admin API.
type adminRequest struct {
	Server      string          `json:"server"`
	Name        string          `json:"name"`
	Devices     json.RawMessage `json:"devices"`
	Random      int             `json:"random"`
	Deadline    time.Time       `json:"deadline"`
	Original    string          `json:"original"`
	Replacement Device          `json:"replacement"`
	Signed      *bool           `json:"signed"`
	Device      string          `json:"device"`
	Result      string          `json:"result"`
	Seconds     int64           `json:"seconds"`
	ExpiresIn   string          `json:"expires_in"`

	Path    string            `json:"path"`
	Entries []json.RawMessage `json:"entries"`
}

// adminServer is an entry as the admin API shows it.
type adminServer struct {
	UUID           string `json:"uuid"`
	Name           string `json:"name"`
	ConsumerKey    string `json:"consumer_key"`
	HasCertificate bool   `json:"has_certificate"`
}

// AdminHandler returns a handler that does over HTTP what the administrator's and the device's methods do, for other
// processes. It asks for no credentials. GET / explains its routes; mount it with http.StripPrefix. Errors are
// JSON: {"error": "…"}, with 404 for what does not exist, 409 for what does already, and 400 for the rest.
func (s *Service) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
			out, err := f(r)
			writeAdmin(w, out, err)
		})
	}
	// body is for routes that have a JSON body and answer with their effect alone.
	body := func(pattern string, f func(in *adminRequest, serials []string) error) {
		handle(pattern, func(r *http.Request) (any, error) {
			in, err := decodeAdmin(r)
			if err != nil {
				return nil, err
			}
			var serials []string
			if len(in.Devices) > 0 {
				if err := json.Unmarshal(in.Devices, &serials); err != nil {
					return nil, fmt.Errorf("devices: %w: %w", err, ErrInvalid)
				}
			}
			return map[string]string{"status": "ok"}, f(in, serials)
		})
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, adminHelp) // the client has gone; there is nobody to tell
	})
	handle("GET /servers", s.adminServers)
	handle("POST /servers", s.adminAddServer)
	handle("PUT /servers/{server}/certificate", s.adminCertificate)
	handle("POST /servers/{server}/token", s.adminToken)
	handle("GET /devices", s.adminDevices)
	handle("POST /devices", s.adminAddDevices)
	handle("GET /devices/{serial}", func(r *http.Request) (any, error) { return s.Device(r.PathValue("serial")) })
	handle("POST /devices/{serial}/activation-record", func(r *http.Request) (any, error) {
		return s.ActivationRecord(r.PathValue("serial"))
	})
	handle("GET /terms", func(*http.Request) (any, error) { return map[string]bool{"signed": s.TermsSigned()}, nil })
	handle("GET /stats", func(*http.Request) (any, error) { return s.Stats(), nil })
	body("POST /unassign", func(_ *adminRequest, serials []string) error { return s.Unassign(serials...) })
	body("POST /release", func(_ *adminRequest, serials []string) error { return s.Release(serials...) })
	body("POST /cancel-migration", func(_ *adminRequest, serials []string) error { return s.CancelMigration(serials...) })
	body("POST /assign", func(in *adminRequest, serials []string) error {
		m, err := s.MDMServer(in.Server)
		if err != nil {
			return err
		}
		return s.Assign(m, serials...)
	})
	body("POST /migrate", func(in *adminRequest, serials []string) error {
		m, err := s.MDMServer(in.Server)
		if err != nil {
			return err
		}
		return s.Migrate(m, in.Deadline, serials...)
	})
	body("POST /replace", func(in *adminRequest, _ []string) error { return s.Replace(in.Original, in.Replacement) })
	body("PUT /terms", func(in *adminRequest, _ []string) error {
		if in.Signed == nil {
			return fmt.Errorf("signed is missing: %w", ErrInvalid)
		}
		s.SetTermsSigned(*in.Signed)
		return nil
	})
	body("POST /roster", func(in *adminRequest, _ []string) error { return s.SetRoster(in.Path, in.Entries...) })
	handle("GET /fault-kinds", func(*http.Request) (any, error) { return FaultKinds(), nil })
	handle("GET /faults", func(*http.Request) (any, error) { return s.Faults(), nil })
	handle("POST /faults", s.adminSetFault)
	handle("DELETE /faults", s.adminClearFaults)
	handle("DELETE /faults/{id}", s.adminClearFaults)
	body("POST /force-assign-result", func(in *adminRequest, _ []string) error {
		return s.ForceAssignResult(in.Device, in.Result, time.Duration(in.Seconds)*time.Second)
	})
	return mux
}

func (s *Service) adminServers(*http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]adminServer, len(s.servers))
	for i, m := range s.servers {
		out[i] = m.listed()
	}
	return out, nil
}

// listed returns the entry as the admin API shows it. The caller holds the lock.
func (m *MDMServer) listed() adminServer {
	return adminServer{m.uuid, m.name, m.creds.ConsumerKey, m.cert != nil}
}

func (s *Service) adminAddServer(r *http.Request) (any, error) {
	in, err := decodeAdmin(r)
	if err != nil {
		return nil, err
	}
	m, err := s.AddMDMServer(in.Name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.listed(), nil
}

func (s *Service) adminCertificate(r *http.Request) (any, error) {
	m, err := s.MDMServer(r.PathValue("server"))
	if err != nil {
		return nil, err
	}
	certPEM, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w: %w", err, ErrInvalid)
	}
	return map[string]string{"status": "ok"}, m.UploadCertificate(certPEM)
}

// download is an answer that is a file.
type download struct {
	name string
	data []byte
}

func (s *Service) adminToken(r *http.Request) (any, error) {
	m, err := s.MDMServer(r.PathValue("server"))
	if err != nil {
		return nil, err
	}
	lifetime, err := expiresIn(r)
	if err != nil {
		return nil, err
	}
	file, err := m.MintTokenFor(lifetime)
	name := fmt.Sprintf("%s_Token_%s_smime.p7m", m.Name(), s.cfg.now().UTC().Format("2006-01-02T15-04-05Z"))
	return download{name, file}, err
}

// expiresIn returns how long a token shall be valid: as the body says, or as Apple does it if there is none.
func expiresIn(r *http.Request) (time.Duration, error) {
	in, err := decodeAdmin(r)
	switch {
	case errors.Is(err, io.EOF): // no body
		return tokenLifetime, nil
	case err != nil:
		return 0, err
	case in.ExpiresIn == "":
		return tokenLifetime, nil
	}
	d, err := time.ParseDuration(in.ExpiresIn)
	if err != nil {
		return 0, fmt.Errorf("expires_in: want a duration such as 144h: %w", ErrInvalid)
	}
	return d, nil
}

func (s *Service) adminDevices(r *http.Request) (any, error) {
	numbers := map[string]int{"offset": 0, "limit": 100}
	for key := range numbers {
		text := r.URL.Query().Get(key)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s is not a number: %w", key, ErrInvalid)
		}
		numbers[key] = n
	}
	return s.Devices(numbers["offset"], numbers["limit"]), nil
}

func (s *Service) adminAddDevices(r *http.Request) (any, error) {
	in, err := decodeAdmin(r)
	if err != nil {
		return nil, err
	}
	var m *MDMServer
	if in.Server != "" {
		if m, err = s.MDMServer(in.Server); err != nil {
			return nil, err
		}
	}
	var devices []Device
	if len(in.Devices) > 0 {
		if err := json.Unmarshal(in.Devices, &devices); err != nil {
			return nil, fmt.Errorf("devices: %w: %w", err, ErrInvalid)
		}
	}
	if in.Random < 0 || in.Random > 1_000_000 {
		return nil, fmt.Errorf("random must be 0 to 1000000: %w", ErrInvalid)
	}
	devices = append(devices, s.RandomDevices(in.Random)...)
	if err := s.AddDevices(m, devices...); err != nil {
		return nil, err
	}
	serials := make([]string, len(devices))
	for i := range devices {
		serials[i] = devices[i].SerialNumber
	}
	return map[string][]string{"added": serials}, nil
}

func (s *Service) adminSetFault(r *http.Request) (any, error) {
	var f Fault
	if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
		return nil, fmt.Errorf("body: %w: %w", err, ErrInvalid)
	}
	id, err := s.SetFault(f)
	return map[string]string{"id": id}, err
}

func (s *Service) adminClearFaults(r *http.Request) (any, error) {
	if id := r.PathValue("id"); id != "" {
		s.ClearFaults(id)
	} else {
		s.ClearFaults()
	}
	return map[string]string{"status": "ok"}, nil
}

func decodeAdmin(r *http.Request) (*adminRequest, error) {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	var in adminRequest
	if err := dec.Decode(&in); err != nil {
		return nil, fmt.Errorf("body: %w: %w", err, ErrInvalid)
	}
	return &in, nil
}

func writeAdmin(w http.ResponseWriter, out any, err error) {
	if err == nil {
		if file, ok := out.(download); ok {
			w.Header().Set("Content-Type", "application/pkcs7-mime")
			w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", file.name))
			_, _ = w.Write(file.data) // the client has gone; there is nobody to tell
			return
		}
		writeJSON(w, out)
		return
	}
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, ErrUnknownDevice), errors.Is(err, ErrUnknownServer), errors.Is(err, ErrNoProfile):
		status = http.StatusNotFound
	case errors.Is(err, ErrExists):
		status = http.StatusConflict
	}
	data, err := json.Marshal(map[string]string{"error": err.Error()})
	if err != nil {
		data = []byte(`{"error": "unknown"}`)
	}
	w.Header().Set("Content-Type", contentJSON)
	w.WriteHeader(status)
	_, _ = w.Write(data) // as above
}
