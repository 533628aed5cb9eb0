package enrolltest_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micromdm/nanolib/log"
	"github.com/micromdm/nanomdm/cryptoutil"
	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"github.com/micromdm/nanomdm/storage/inmem"
	"github.com/smallstep/scep"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/internal/cms"
	"github.com/enrollkit/enrollkit/internal/plist"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	topic     = "com.apple.mgmt.External.11111111-2222-3333-4444-555555555555"
	challenge = "one time secret"
	user      = "jane@example.org"
	password  = "open & <sesame>"
)

// message is a request an enrolled device made.
type message struct {
	contentType, query string
	keys               map[string]any
	signed             bool
}

// server is an enrollment server after Apple's documents, with NanoMDM behind it. Fields are set before requests come.
type server struct {
	t     *testing.T
	srv   *httptest.Server
	ca    *enrolltest.DeviceCA
	store *inmem.InMem

	scepCert *x509.Certificate
	scepKey  *rsa.PrivateKey

	minOS     string                                            // demand an update to it
	profile   func(top map[string]any)                          // changes the enrollment profile
	mdm       func(payload map[string]any)                      // changes its MDM payload
	scep      func(content map[string]any)                      // changes its SCEP payload
	plan      []map[string]any                                  // commands queued at the first TokenUpdate
	refuse    func(w http.ResponseWriter, r *http.Request) bool // answers any request in place of the server
	onToken   func(udid string)                                 // called within TokenUpdate
	sign      bool                                              // sign the enrollment profile
	posts     bool                                              // SCEP announces POST
	keepQueue atomic.Bool                                       // Authenticate leaves the command queue alone

	mu       sync.Mutex
	infos    []enrolltest.MachineInfo
	sigs     []*cms.SignedData
	messages []message
	sessions map[string]bool // web sessions that brought a MachineInfo
	paths    []string
	taken    map[string]int // answers to a command that their device knows to have arrived
}

// queueKeeper can keep NanoMDM from clearing the queue at Authenticate: its in-memory store answers 500 to the result
// of a command that is gone, which a device whose enrollment profile was replaced by that command cannot avoid.
type queueKeeper struct {
	*inmem.InMem
	keep *atomic.Bool
}

func (q queueKeeper) ClearQueue(r *mdm.Request) error {
	if q.keep.Load() {
		return nil
	}
	return q.InMem.ClearQueue(r)
}

func newServer(t *testing.T) *server {
	t.Helper()
	ca, err := enrolltest.NewDeviceCA()
	require.NoError(t, err)
	s := &server{t: t, ca: ca, store: inmem.New(), posts: true, sessions: map[string]bool{}, taken: map[string]int{}}
	s.makeSCEP()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /enroll", s.enroll)
	mux.HandleFunc("GET /web", s.web)
	mux.HandleFunc("/login", s.login)
	mux.HandleFunc("/finish", s.finish)
	mux.HandleFunc("/scep", s.scepHandler)
	svc := certauth.New(nanomdm.New(queueKeeper{s.store, &s.keepQueue}), s.store)
	nano := httpmdm.CertExtractMdmSignatureMiddleware(
		httpmdm.CertVerifyMiddleware(httpmdm.CheckinAndCommandHandler(svc, log.NopLogger), s, log.NopLogger),
		httpmdm.MdmSignatureVerifierFunc(cryptoutil.VerifyMdmSignature))
	mux.Handle("PUT /mdm", s.record(nano))
	mux.HandleFunc("GET /pkg", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, pkgContent) })
	mux.HandleFunc("GET /manifest", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(s.marshal(s.manifest())) })
	s.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.paths = append(s.paths, r.Method+" "+r.URL.Path)
		refuse := s.refuse
		s.mu.Unlock()
		if refuse != nil && refuse(w, r) {
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.srv.Close)
	return s
}

// source hands every device the same activation record.
func (s *server) source(record string) enrolltest.ActivationSource {
	return enrolltest.ActivationFunc(func(context.Context, string) ([]byte, error) {
		return []byte(strings.ReplaceAll(record, "$", s.srv.URL)), nil
	})
}

const (
	byURL      = `{"url": "$/enroll"}`
	byURLAwait = `{"url": "$/enroll", "await_device_configured": true, "is_mandatory": true}`
	byWeb      = `{"url": "$/enroll", "configuration_web_url": "$/web", "await_device_configured": true}`
)

func (s *server) device(kind enrolltest.Kind, record string, opts ...enrolltest.Option) *enrolltest.Device {
	s.t.Helper()
	opts = append([]enrolltest.Option{
		enrolltest.WithHTTPClient(s.srv.Client()), enrolltest.WithPollInterval(2 * time.Millisecond),
		enrolltest.WithObserver(s.note),
	}, opts...)
	d, err := enrolltest.New(kind, s.ca, s.source(record), opts...)
	require.NoError(s.t, err)
	return d
}

// note is the observer of devices that have no other.
func (s *server) note(e enrolltest.Event) {
	if e.Kind == enrolltest.EventAnswer {
		s.mu.Lock()
		s.taken[e.CommandUUID]++
		s.mu.Unlock()
	}
}

// runUntil pushes to the device and runs it until it has delivered n answers to the command.
func (s *server) runUntil(d *enrolltest.Device, uuid string, n int) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(timeout(s.t))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	d.Push()
	require.Eventually(s.t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.taken[uuid] >= n
	}, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(s.t, <-ended, context.Canceled)
}

// accept verifies a signed MachineInfo as Apple describes: the signer's chain must reach the device CA.
func (s *server) accept(body []byte) (enrolltest.MachineInfo, bool) {
	var info enrolltest.MachineInfo
	sd, err := cms.Verify(body)
	if !assert.NoError(s.t, err) || !assert.NoError(s.t, plist.Unmarshal(sd.Content, &info)) {
		return info, false
	}
	leaf := sd.Signer
	ok := assert.NoError(s.t, s.ca.Certificate().CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.infos, s.sigs = append(s.infos, info), append(s.sigs, sd)
	return info, ok
}

func (s *server) enroll(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	assert.NoError(s.t, err)
	assert.Equal(s.t, "application/pkcs7-signature", r.Header.Get("Content-Type"))
	info, ok := s.accept(body)
	switch {
	case !ok:
		http.Error(w, "who are you", http.StatusBadRequest)
	case s.minOS != "" && info.OSVersion != s.minOS:
		s.demandUpdate(w)
	default:
		s.writeProfile(w)
	}
}

func (s *server) demandUpdate(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_, _ = fmt.Fprintf(w, `{"code": "com.apple.softwareupdate.required", "message": "too old", "details": {"OSVersion": %q}}`, s.minOS)
}

func (s *server) writeProfile(w http.ResponseWriter) {
	body := s.enrollmentProfile()
	if s.sign {
		id, err := s.ca.Issue("profile signer", time.Now().AddDate(1, 0, 0))
		assert.NoError(s.t, err)
		body, err = id.Sign(body, enrolltest.ChainLeaf)
		assert.NoError(s.t, err)
	}
	w.Header().Set("Content-Type", "application/x-apple-aspen-config")
	_, _ = w.Write(body)
}

func (s *server) enrollmentProfile() []byte {
	fp := sha1.Sum(s.scepCert.Raw)
	content := map[string]any{
		"URL": s.srv.URL + "/scep", "Name": "Test CA", "Challenge": challenge, "Keysize": 1024, "Key Type": "RSA",
		"Key Usage": 5, "CAFingerprint": fp[:],
		"Subject":        [][][]string{{{"O", "Example"}}, {{"CN", "a device"}, {"2.5.4.5", "42"}}},
		"SubjectAltName": map[string]any{"dNSName": []string{"a.example", "b.example"}, "rfc822Name": user},
	}
	if s.scep != nil {
		s.scep(content)
	}
	mdmPayload := map[string]any{
		"PayloadType": "com.apple.mdm", "PayloadVersion": 1, "PayloadIdentifier": "org.example.mdm",
		"PayloadUUID": "uuid-mdm", "IdentityCertificateUUID": "uuid-scep", "Topic": topic,
		"ServerURL": s.srv.URL + "/mdm?session=abc&x=1", "AccessRights": 8191, "SignMessage": true, "CheckOutWhenRemoved": true,
		"ServerCapabilities": []string{"com.apple.mdm.bootstraptoken"},
	}
	if s.mdm != nil {
		s.mdm(mdmPayload)
	}
	top := map[string]any{
		"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "org.example.enroll",
		"PayloadUUID": "uuid-top", "PayloadDisplayName": "Enrollment",
		"PayloadContent": []map[string]any{
			{
				"PayloadType": "com.apple.security.scep", "PayloadVersion": 1, "PayloadIdentifier": "org.example.scep",
				"PayloadUUID": "uuid-scep", "PayloadContent": content,
			},
			mdmPayload,
		},
	}
	if s.profile != nil {
		s.profile(top)
	}
	return s.marshal(top)
}

func (s *server) marshal(v any) []byte {
	b, err := plist.Marshal(v)
	assert.NoError(s.t, err)
	return b
}

func (s *server) makeSCEP() {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(s.t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test SCEP CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(s.t, err)
	s.scepKey = key
	s.scepCert, err = x509.ParseCertificate(der)
	require.NoError(s.t, err)
}

func (s *server) scepHandler(w http.ResponseWriter, r *http.Request) {
	switch op := r.URL.Query().Get("operation"); op {
	case "GetCACert":
		assert.Equal(s.t, "Test CA", r.URL.Query().Get("message"))
		w.Header().Set("Content-Type", "application/x-x509-ca-cert")
		_, _ = w.Write(s.scepCert.Raw)
	case "GetCACaps":
		_, _ = io.WriteString(w, "SHA-256\nAES\n")
		if s.posts {
			_, _ = io.WriteString(w, "POSTPKIOperation\n")
		}
	case "PKIOperation":
		s.pkiOperation(w, r)
	default:
		http.Error(w, "unknown operation "+op, http.StatusBadRequest)
	}
}

func (s *server) pkiOperation(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if r.Method == http.MethodGet {
		body, err = base64.StdEncoding.DecodeString(r.URL.Query().Get("message"))
	}
	assert.NoError(s.t, err)
	assert.Equal(s.t, s.posts, r.Method == http.MethodPost)
	msg, err := scep.ParsePKIMessage(body)
	if !assert.NoError(s.t, err) || !assert.NoError(s.t, msg.DecryptPKIEnvelope(s.scepCert, s.scepKey)) {
		http.Error(w, "bad message", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-pki-message")
	if msg.ChallengePassword != challenge {
		rep, err := msg.Fail(s.scepCert, s.scepKey, scep.BadRequest)
		assert.NoError(s.t, err)
		_, _ = w.Write(rep.Raw)
		return
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	assert.NoError(s.t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, RawSubject: msg.CSR.RawSubject, DNSNames: msg.CSR.DNSNames, EmailAddresses: msg.CSR.EmailAddresses,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}, s.scepCert, msg.CSR.PublicKey, s.scepKey)
	assert.NoError(s.t, err)
	cert, err := x509.ParseCertificate(der)
	assert.NoError(s.t, err)
	rep, err := msg.Success(s.scepCert, s.scepKey, cert)
	assert.NoError(s.t, err)
	_, _ = w.Write(rep.Raw)
}

// Verify lets NanoMDM take only identities of the SCEP authority.
func (s *server) Verify(_ context.Context, cert *x509.Certificate) error {
	if cert == nil {
		return fmt.Errorf("no certificate")
	}
	return cert.CheckSignatureFrom(s.scepCert)
}

// record notes what devices say, and queues the plan behind the first TokenUpdate.
func (s *server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(s.t, err)
		m := message{
			contentType: r.Header.Get("Content-Type"), query: r.URL.RawQuery, signed: r.Header.Get("Mdm-Signature") != "",
		}
		assert.NoError(s.t, plist.Unmarshal(body, &m.keys))
		s.mu.Lock()
		first := m.keys["MessageType"] == "TokenUpdate" && s.countLocked("TokenUpdate", m.keys["UDID"]) == 0
		s.messages = append(s.messages, m)
		s.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		next.ServeHTTP(w, r)
		if first {
			udid, _ := m.keys["UDID"].(string)
			for i, c := range s.plan {
				s.enqueue(udid, fmt.Sprintf("plan-%d", i+1), c)
			}
			if s.onToken != nil {
				s.onToken(udid)
			}
		}
	})
}

func (s *server) countLocked(messageType string, udid any) (n int) {
	for _, m := range s.messages {
		if m.keys["MessageType"] == messageType && m.keys["UDID"] == udid {
			n++
		}
	}
	return n
}

func (s *server) enqueue(udid, uuid string, command map[string]any) {
	raw := s.marshal(map[string]any{"CommandUUID": uuid, "Command": command})
	cmd, err := mdm.DecodeCommand(raw)
	assert.NoError(s.t, err)
	_, err = s.store.EnqueueCommand(s.t.Context(), []string{udid}, cmd)
	assert.NoError(s.t, err)
}

// checkIns returns the check-in messages received, by type and in order.
func (s *server) checkIns() (types []string, messages []message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		if mt, ok := m.keys["MessageType"].(string); ok {
			types, messages = append(types, mt), append(messages, m)
		}
	}
	return types, messages
}

// results returns the answers to the command, in order.
func (s *server) results(uuid string) (out []map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		if m.keys["CommandUUID"] == uuid {
			out = append(out, m.keys)
		}
	}
	return out
}

func (s *server) setRefuse(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

func command(requestType string, keys ...any) map[string]any {
	c := map[string]any{"RequestType": requestType}
	for i := 0; i < len(keys); i += 2 {
		c[keys[i].(string)] = keys[i+1]
	}
	return c
}

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
