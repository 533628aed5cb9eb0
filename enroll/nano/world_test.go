package nano_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/micromdm/nanolib/log"
	"github.com/micromdm/nanomdm/cryptoutil"
	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"github.com/micromdm/nanomdm/storage/inmem"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/enroll"
	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/enroll/nano"
	"github.com/enrollkit/enrollkit/internal/oidctest"
	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

const topic = "com.apple.mgmt.External.11111111-2222-3333-4444-555555555555"

// world is a whole server, from the enrollment endpoints over SCEP and NanoMDM to the setup experience, on one HTTPS
// listener, and an identity provider on another.
type world struct {
	t        *testing.T
	store    *memory.Store
	nano     *inmem.InMem
	ca       *enrolltest.DeviceCA
	scep     *authority
	provider *oidctest.Provider
	server   *httptest.Server
	idp      *httptest.Server
	tracker  *setupexp.Tracker
	checkIns *enroll.CheckIns
	phones   *phones
}

// phones stands for Apple's push service: it wakes simulated devices.
type phones struct {
	mu      sync.Mutex
	devices map[string]*enrolltest.Device
	pushes  int
	err     error
}

// Push implements push.Pusher.
func (p *phones) Push(_ context.Context, ids []string) (map[string]*push.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushes++
	if p.err != nil {
		return nil, p.err
	}
	out := map[string]*push.Response{}
	for _, id := range ids {
		out[id] = &push.Response{Id: "1"}
		if d := p.devices[id]; d != nil {
			d.Push()
		} else {
			out[id].Err = errors.New("no such device")
		}
	}
	return out, nil
}

type worldOptions struct {
	signIn bool
	gate   *enroll.OSGate
	plan   func(s setupexp.Subject) *setupexp.Plan
}

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	w := &world{t: t, store: memory.New(), nano: inmem.New(), scep: newAuthority(t), phones: &phones{devices: map[string]*enrolltest.Device{}}}
	var err error
	w.ca, err = enrolltest.NewDeviceCA()
	require.NoError(t, err)
	require.NoError(t, w.store.CreateAccount(t.Context(), storage.Account{Name: "acme"}))
	mux := http.NewServeMux()
	w.server = httptest.NewTLSServer(mux)
	t.Cleanup(w.server.Close)
	keys, err := enroll.NewSessionKeys([]byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)

	// The setup experience.
	queue := nano.Serialize(w.nano)
	commander, err := nano.NewCommander(queue, w.phones)
	require.NoError(t, err)
	w.tracker, err = setupexp.New(w.store, setupexp.PlannerFunc(func(_ context.Context, s setupexp.Subject) (*setupexp.Plan, error) {
		if o.plan == nil {
			return nil, nil
		}
		return o.plan(s), nil
	}), commander, setupexp.InsecureNoSealer{}, setupexp.WithPoll(5*time.Millisecond))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.tracker.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})

	// NanoMDM with the check-ins around it.
	w.checkIns, err = enroll.NewCheckIns(w.store, keys, enroll.WithObserver(w.tracker), enroll.WithCommander(commander))
	require.NoError(t, err)
	wrapped, err := nano.Wrap(certauth.New(nanomdm.New(queue), queue), w.checkIns)
	require.NoError(t, err)
	mux.Handle("PUT /mdm", httpmdm.CertExtractMdmSignatureMiddleware(
		httpmdm.CertVerifyMiddleware(httpmdm.CheckinAndCommandHandler(wrapped, log.NopLogger), w.scep, log.NopLogger),
		httpmdm.MdmSignatureVerifierFunc(cryptoutil.VerifyMdmSignature)))
	mux.Handle("/scep", w.scep)

	// The enrollment endpoints.
	identity, err := enroll.NewSCEP(enroll.SCEPSettings{URL: w.server.URL + "/scep", CAFingerprint: w.scep.fingerprint()}, w.scep)
	require.NoError(t, err)
	opts := []enroll.Option{enroll.WithDeviceCAs(w.ca.Certificate())}
	if o.gate != nil {
		opts = append(opts, enroll.WithOSGate(o.gate))
	}
	if o.signIn {
		opts = append(opts, w.signIn())
	}
	h, err := enroll.New(w.server.URL+"/mdm/sso", w.store, keys, enroll.ProfileSettings{
		Identifier: "org.example.mdm", DisplayName: "Example", Topic: topic, ServerURL: w.server.URL + "/mdm", Signer: w.signer(),
		Payloads: []enroll.Payload{enroll.RootCertificate("tls", w.server.Certificate())},
	}, identity, opts...)
	require.NoError(t, err)
	mux.Handle("/mdm/sso", h)
	mux.Handle("/mdm/sso/", h)
	return w
}

func (w *world) signer() *enroll.Signer {
	return &enroll.Signer{Certificate: w.scep.cert, Key: w.scep.key}
}

func (w *world) signIn() enroll.Option {
	w.t.Helper()
	var err error
	w.provider, err = oidctest.New("enrollkit", rand.Text(), map[string]oidctest.User{
		"jane": {Password: "sesame", Claims: map[string]any{"preferred_username": "jane", "name": "Jane Doe", "email": "jane@example.org"}},
	})
	require.NoError(w.t, err)
	w.idp = httptest.NewTLSServer(w.provider)
	w.t.Cleanup(w.idp.Close)
	oidc, err := enroll.NewOIDC(w.idp.URL, "enrollkit", w.provider.ClientSecret, enroll.WithOIDCHTTPClient(w.idp.Client()))
	require.NoError(w.t, err)
	keyset, err := storage.NewKeyset()
	require.NoError(w.t, err)
	sealer, err := storage.NewKeysetSealer(keyset)
	require.NoError(w.t, err)
	return enroll.WithSignIn(oidc, sealer)
}

// device makes a device, in the inventory unless it is a stranger.
func (w *world) device(kind enrolltest.Kind, serial string, stranger bool, opts ...enrolltest.Option) *enrolltest.Device {
	w.t.Helper()
	source := enrolltest.ActivationFunc(func(context.Context, string) ([]byte, error) {
		record := map[string]any{
			"url": w.server.URL + "/mdm/sso", "await_device_configured": true,
			"anchor_certs": []string{base64.StdEncoding.EncodeToString(w.server.Certificate().Raw)},
		}
		if w.provider != nil {
			record["configuration_web_url"] = record["url"]
		}
		return json.Marshal(record)
	})
	d, err := enrolltest.New(kind, w.ca, source, append([]enrolltest.Option{
		enrolltest.WithSerial(serial), enrolltest.WithHTTPClient(w.server.Client()), enrolltest.WithPollInterval(20 * time.Millisecond),
	}, opts...)...)
	require.NoError(w.t, err)
	if !stranger {
		require.NoError(w.t, w.store.CommitInventory(w.t.Context(), storage.InventoryChange{
			Account: "acme", Devices: []storage.Device{{Account: "acme", Serial: serial, Family: kind.String()}},
		}))
	}
	w.phones.mu.Lock()
	defer w.phones.mu.Unlock()
	w.phones.devices[d.UDID()] = d
	return d
}

// kinds returns the kinds of the activities of a serial that are not about the setup experience.
func (w *world) kinds(serial string) (out []string) {
	w.t.Helper()
	list, _, err := w.store.ListActivities(w.t.Context(), storage.ActivityFilter{Serial: serial}, storage.Page{})
	require.NoError(w.t, err)
	for _, a := range list {
		out = append(out, a.Kind)
	}
	return out
}

func (w *world) enrollment(d *enrolltest.Device) (storage.Enrollment, error) {
	return w.store.GetEnrollment(w.t.Context(), d.UDID())
}

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
