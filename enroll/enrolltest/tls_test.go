package enrolltest_test

import (
	"context"
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/enroll/enrolltest"
)

// secure puts a TLS server with an unknown certificate in front of s.
func (s *server) secure() (*httptest.Server, string) {
	srv := httptest.NewUnstartedServer(s.srv.Config.Handler)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail here on purpose
	srv.StartTLS()
	s.t.Cleanup(srv.Close)
	s.mdm = func(p map[string]any) { p["ServerURL"] = srv.URL + "/mdm" }
	return srv, base64.StdEncoding.EncodeToString(srv.Certificate().Raw)
}

func TestAnchorCertificates(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	srv, der := s.secure()
	s.plan = []map[string]any{command("DeviceConfigured")}
	plain := &http.Client{Transport: &http.Transport{}}
	defer plain.CloseIdleConnections()

	record := `{"url": "` + srv.URL + `/enroll", "await_device_configured": true, "anchor_certs": ["` + der + `"]}`
	d := s.device(enrolltest.Mac, record, enrolltest.WithHTTPClient(plain))
	require.NoError(t, d.Boot(timeout(t)))

	stranger := s.device(enrolltest.Mac, `{"url": "`+srv.URL+`/enroll"}`, enrolltest.WithHTTPClient(plain))
	require.ErrorContains(t, stranger.Boot(timeout(t)), "certificate")

	// anchor_certs replace the built-in roots: a server the host's client trusts is not enough.
	other := base64.StdEncoding.EncodeToString(s.ca.Certificate().Raw)
	betrayed := s.device(enrolltest.Mac, `{"url": "`+srv.URL+`/enroll", "anchor_certs": ["`+other+`"]}`,
		enrolltest.WithHTTPClient(srv.Client()))
	require.ErrorContains(t, betrayed.Boot(timeout(t)), "certificate")

	bad := s.device(enrolltest.Mac, `{"url": "`+srv.URL+`/enroll", "anchor_certs": ["!"]}`)
	require.ErrorContains(t, bad.Boot(timeout(t)), "anchor_certs")
}

func TestCertificatesOfTheProfileAreTrusted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	srv, _ := s.secure()
	plain := &http.Client{Transport: &http.Transport{}}
	defer plain.CloseIdleConnections()
	d := s.device(enrolltest.Mac, byURL, enrolltest.WithHTTPClient(plain)) // the profile comes over plain loopback http
	require.ErrorContains(t, d.Boot(timeout(t)), "certificate")
	s.profile = func(top map[string]any) {
		top["PayloadContent"] = append(top["PayloadContent"].([]map[string]any), map[string]any{
			"PayloadType": "com.apple.security.root", "PayloadVersion": 1, "PayloadIdentifier": "root",
			"PayloadUUID": "uuid-root", "PayloadContent": srv.Certificate().Raw,
		})
	}
	require.NoError(t, d.Boot(timeout(t)))
	assert.True(t, d.Enrolled())
}

// inProcess serves requests without a network, so that time in a synctest bubble can pass.
type inProcess struct{ h http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func TestWaitingTakesItsTime(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.plan = []map[string]any{command("DeviceConfigured")}
	h := s.srv.Config.Handler
	synctest.Test(t, func(t *testing.T) {
		d, err := enrolltest.New(enrolltest.Mac, s.ca, s.source(byURLAwait),
			enrolltest.WithHTTPClient(&http.Client{Transport: inProcess{h}}), enrolltest.WithPollInterval(time.Minute))
		require.NoError(t, err)
		require.NoError(t, d.Script(enrolltest.NotNow("DeviceConfigured", 2), enrolltest.Delay("DeviceConfigured", 5*time.Second)))
		start := time.Now()
		require.NoError(t, d.Boot(t.Context()))
		assert.Equal(t, 2*time.Minute+5*time.Second, time.Since(start))

		// A push does not wait for the poll.
		late := newLate(t, s, h)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- late.Boot(ctx) }()
		synctest.Wait()
		before := polls(s)
		late.Push()
		synctest.Wait()
		assert.Equal(t, before+1, polls(s))
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

func newLate(t *testing.T, s *server, h http.Handler) *enrolltest.Device {
	t.Helper()
	s.plan = nil
	d, err := enrolltest.New(enrolltest.Mac, s.ca, s.source(byURLAwait),
		enrolltest.WithHTTPClient(&http.Client{Transport: inProcess{h}}), enrolltest.WithPollInterval(time.Hour))
	require.NoError(t, err)
	return d
}

func polls(s *server) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		if strings.HasPrefix(m.contentType, "application/x-apple-aspen-mdm;") {
			n++
		}
	}
	return n
}
