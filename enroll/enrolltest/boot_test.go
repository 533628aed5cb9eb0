package enrolltest_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/enroll/enrolltest"
)

func TestUnmanagedDeviceGoesToTheDesktop(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, source := range map[string]enrolltest.ActivationFunc{
		"sentinel": func(context.Context, string) ([]byte, error) { return nil, enrolltest.ErrNoProfile },
		"empty":    func(context.Context, string) ([]byte, error) { return nil, nil },
	} {
		d, err := enrolltest.New(enrolltest.IPhone, s.ca, source)
		require.NoError(t, err, name)
		require.NoError(t, d.Boot(timeout(t)), name)
		assert.Equal(t, enrolltest.StateDesktop, d.State())
		assert.False(t, d.Enrolled())
		assert.ErrorIs(t, d.Run(timeout(t)), enrolltest.ErrNotEnrolled)
		assert.ErrorIs(t, d.CheckOut(timeout(t)), enrolltest.ErrNotEnrolled)
	}
	assert.Empty(t, s.paths)
}

func TestEnrollByURL(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.sign = true
	d := s.device(enrolltest.IPhone, byURL, enrolltest.WithSerial("F2LXX0AAAA"), enrolltest.WithOS("18.6", "22G86"))
	require.NoError(t, d.Boot(timeout(t)))

	assert.Equal(t, enrolltest.StateDesktop, d.State())
	require.Len(t, s.infos, 1)
	assert.Equal(t, d.Info(), s.infos[0])
	assert.Equal(t, "F2LXX0AAAA", s.infos[0].Serial)
	assert.Len(t, s.sigs[0].Certificates, 4, "an iPhone sends its whole chain")

	types, msgs := s.checkIns()
	assert.Equal(t, []string{"Authenticate", "TokenUpdate"}, types)
	auth, token := msgs[0], msgs[1]
	assert.Equal(t, "application/x-apple-aspen-mdm-checkin", auth.contentType)
	assert.Equal(t, "session=abc&x=1", auth.query)
	assert.True(t, auth.signed)
	info := d.Info()
	for k, v := range map[string]any{
		"UDID": info.UDID, "Topic": topic, "SerialNumber": "F2LXX0AAAA", "OSVersion": "18.6", "BuildVersion": "22G86",
		"ProductName": info.Product, "IMEI": info.IMEI, "DeviceName": "iPhone",
	} {
		assert.Equal(t, v, auth.keys[k], k)
	}
	assert.NotContains(t, auth.keys, "ModelName", "macOS only")
	assert.NotContains(t, token.keys, "AwaitingConfiguration", "absent is false")
	assert.Contains(t, token.keys, "UnlockToken")

	push, magic := d.PushToken()
	assert.Equal(t, push, token.keys["Token"])
	assert.Equal(t, magic, token.keys["PushMagic"])
	stored, err := s.store.RetrievePushInfo(t.Context(), []string{info.UDID})
	require.NoError(t, err)
	assert.Equal(t, magic, stored[info.UDID].PushMagic)

	cert := d.MDMIdentity().Certificate
	assert.Equal(t, "a device", cert.Subject.CommonName)
	assert.Equal(t, []string{"a.example", "b.example"}, cert.DNSNames)
	assert.Equal(t, []string{user}, cert.EmailAddresses)
	require.Len(t, d.Profiles(), 1)
	assert.Len(t, d.Profiles()[0].Signers, 1)
	require.NoError(t, d.Boot(timeout(t)), "a device that is set up stays so")
	assert.Len(t, s.infos, 1)
}

func TestAwaitingMacIsHeldUntilDeviceConfigured(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.posts = false
	s.plan = []map[string]any{
		command("DeviceInformation", "Queries", []string{"AwaitingConfiguration", "SerialNumber", "OSVersion", "Nonsense"}),
		command("DeviceConfigured"),
		command("DeviceInformation", "Queries", []string{"AwaitingConfiguration"}),
		command("DeviceConfigured"),
	}
	var states []enrolltest.State
	d := s.device(enrolltest.Mac, byWeb, enrolltest.WithUser(user, password), enrolltest.WithObserver(func(e enrolltest.Event) {
		if e.Kind == enrolltest.EventState {
			states = append(states, e.State)
		}
	}))
	require.NoError(t, d.Boot(timeout(t)))
	assert.Equal(t, []enrolltest.State{
		enrolltest.StateActivating, enrolltest.StateWebView, enrolltest.StateEnrolling, enrolltest.StateAwaiting,
		enrolltest.StateDesktop,
	}, states)
	assert.Len(t, s.sigs[0].Certificates, 2, "a Mac sends its certificate and the device CA")

	types, msgs := s.checkIns()
	assert.Equal(t, []string{"Authenticate", "TokenUpdate", "SetBootstrapToken"}, types)
	assert.Contains(t, msgs[0].keys, "ModelName")
	assert.NotContains(t, msgs[1].keys, "UnlockToken")
	assert.Equal(t, true, msgs[1].keys["AwaitingConfiguration"])
	assert.Equal(t, true, msgs[2].keys["AwaitingConfiguration"])
	assert.NotEmpty(t, msgs[2].keys["BootstrapToken"])

	assert.Equal(t, map[string]any{
		"AwaitingConfiguration": true, "SerialNumber": d.Serial(), "OSVersion": "26.0",
	}, s.results("plan-1")[0]["QueryResponses"])
	assert.Equal(t, "Acknowledged", s.results("plan-2")[0]["Status"])
	assert.Equal(t, map[string]any{"AwaitingConfiguration": false}, s.results("plan-3")[0]["QueryResponses"])
	assert.Equal(t, "Error", s.results("plan-4")[0]["Status"])
	again := d.Answers()[3]
	assert.Equal(t, 101, again.ErrorChain[0].Code)
	assert.Equal(t, "MDMDeviceEnrollment", again.ErrorChain[0].Domain)
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.messages[len(s.messages)-1]
	assert.Equal(t, "application/x-apple-aspen-mdm; charset=UTF-8", last.contentType)
	assert.Equal(t, "session=abc&x=1", last.query)
}

func TestDeviceIsNeverReleasedByItself(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	polled := make(chan struct{}, 100)
	s.setRefuse(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/mdm" && r.Header.Get("Content-Type") == "application/x-apple-aspen-mdm; charset=UTF-8" {
			polled <- struct{}{}
		}
		return false
	})
	d := s.device(enrolltest.IPad, byURLAwait)
	ctx, cancel := context.WithCancel(timeout(t))
	defer cancel()
	go func() {
		for range 5 {
			<-polled
		}
		cancel()
	}()
	require.ErrorIs(t, d.Boot(ctx), context.Canceled)
	assert.True(t, d.Awaiting())
	assert.Equal(t, enrolltest.StateAwaiting, d.State())

	// Switched on again, it goes on waiting: a TokenUpdate, no new enrollment.
	s.enqueue(d.UDID(), "late", command("DeviceConfigured"))
	require.NoError(t, d.Boot(timeout(t)))
	types, _ := s.checkIns()
	assert.Equal(t, []string{"Authenticate", "TokenUpdate", "TokenUpdate"}, types)
}

func TestOSUpdate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, record string
		opts         []enrolltest.Option
		want         error
		requests     int
	}{
		{"by url", byURL, nil, nil, 2},
		{"web view", byWeb, []enrolltest.Option{enrolltest.WithUser(user, password)}, nil, 2},
		{"not able", byURL, []enrolltest.Option{enrolltest.WithMachineInfo(func(m *enrolltest.MachineInfo) {
			m.CanRequestSoftwareUpdate = false
		})}, enrolltest.ErrUpdate, 1},
		{"failing", byURL, []enrolltest.Option{enrolltest.WithSoftwareUpdate(
			func(context.Context, enrolltest.MachineInfo, enrolltest.SoftwareUpdate) error {
				return errors.New("no space")
			},
		)}, enrolltest.ErrUpdate, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.minOS, s.plan = "26.1", []map[string]any{command("DeviceConfigured")}
			d := s.device(enrolltest.Mac, tt.record, append(tt.opts, enrolltest.WithOS("15.1", "24B83"))...)
			err := d.Boot(timeout(t))
			require.Len(t, s.infos, tt.requests)
			assert.Equal(t, "15.1", s.infos[0].OSVersion)
			if tt.want == nil {
				require.NoError(t, err)
				assert.Equal(t, "26.1", s.infos[1].OSVersion)
				assert.Regexp(t, `^25B\d{3}$`, s.infos[1].Build)
				return
			}
			require.ErrorIs(t, err, tt.want)
			assert.Equal(t, enrolltest.StateFailed, d.State())
			var se *enrolltest.SetupError
			require.ErrorAs(t, err, &se)
			assert.Equal(t, "com.apple.softwareupdate.required", se.Code)
		})
	}
}

func TestServerThatAlwaysWantsAnUpdateIsAnError(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.minOS = "99"
	d := s.device(enrolltest.Mac, byURL, enrolltest.WithSoftwareUpdate(
		func(context.Context, enrolltest.MachineInfo, enrolltest.SoftwareUpdate) error {
			s.minOS += "9"
			return nil
		}))
	require.ErrorIs(t, d.Boot(timeout(t)), enrolltest.ErrUpdate)
	assert.Len(t, s.infos, 4)
}

func TestSetupErrors(t *testing.T) {
	t.Parallel()
	refuse := func(path string, status int, contentType, body string) func(*server) {
		return func(s *server) {
			s.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != path {
					return false
				}
				w.Header().Set("Content-Type", contentType)
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
				return true
			}
		}
	}
	for _, tt := range []struct {
		name, record string
		prepare      func(*server)
		step         enrolltest.Step
		status       int
		message      string
		is           error
	}{
		{"no url", `{}`, nil, enrolltest.StepActivation, 0, "", nil},
		{"plain http", `{"url": "http://mdm.example/enroll"}`, nil, enrolltest.StepRemote, 0, "", nil},
		{"server error", byURL, refuse("/enroll", 500, "text/plain", "oops"), enrolltest.StepRemote, 500, "", nil},
		{"unlabelled 403", byURL, refuse("/enroll", 403, "text/plain", `{"code": "x", "message": "m"}`), enrolltest.StepRemote, 403, "", nil},
		{"error document", byURL, refuse("/enroll", 403, "application/json; charset=utf-8", `{"code": "x", "message": "Call IT"}`),
			enrolltest.StepRemote, 403, "Call IT", nil},
		{"error plist", byURL, refuse("/enroll", 403, "application/xml",
			`<plist version="1.0"><dict><key>code</key><string>x</string><key>message</key><string>Call us</string></dict></plist>`),
			enrolltest.StepRemote, 403, "Call us", nil},
		{"wrong type", byURL, refuse("/enroll", 200, "text/html", "hello"), enrolltest.StepRemote, 200, "", nil},
		{"rubbish", byURL, refuse("/enroll", 200, "application/x-apple-aspen-config", "hello"), enrolltest.StepProfile, 0, "", enrolltest.ErrProfile},
		{"page without a way on", byWeb, refuse("/web", 200, "text/html", "<p>Not <b>your</b>&nbsp;device</p>"),
			enrolltest.StepWebView, 200, "Not your device", enrolltest.ErrSignIn},
		{"circle", byWeb, func(s *server) {
			s.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, "/web", http.StatusFound)
				return true
			}
		}, enrolltest.StepWebView, 0, "", enrolltest.ErrSignIn},
		{"check-in refused", byURL, refuse("/mdm", 500, "text/plain", ""), enrolltest.StepCheckIn, 500, "", nil},
		{"wrong challenge", byURL, func(s *server) {
			s.scep = func(c map[string]any) { c["Challenge"] = "guess" }
		}, enrolltest.StepIdentity, 0, "", enrolltest.ErrSCEP},
		{"wrong fingerprint", byURL, func(s *server) {
			s.scep = func(c map[string]any) { c["CAFingerprint"] = make([]byte, 20) }
		}, enrolltest.StepIdentity, 0, "", enrolltest.ErrFingerprint},
		{"scep down", byURL, refuse("/scep", 503, "text/plain", ""), enrolltest.StepIdentity, 0, "", enrolltest.ErrSCEP},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			if tt.prepare != nil {
				tt.prepare(s)
			}
			d := s.device(enrolltest.IPad, tt.record, enrolltest.WithUser(user, password))
			err := d.Boot(timeout(t))
			var se *enrolltest.SetupError
			require.ErrorAs(t, err, &se)
			assert.Equal(t, tt.step, se.Step)
			assert.Equal(t, tt.status, se.StatusCode)
			assert.Equal(t, tt.message, se.Message)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			assert.Equal(t, enrolltest.StateFailed, d.State())
			assert.False(t, d.Enrolled())
			assert.NotContains(t, err.Error(), "session=abc", "queries may carry secrets")

			if tt.prepare != nil && tt.record == byURL { // the user tries again, and the server is well
				s.setRefuse(nil)
				s.scep = nil
				require.NoError(t, d.Boot(timeout(t)))
				assert.True(t, d.Enrolled())
			}
		})
	}
}

func TestWrongPasswordShowsThePage(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(enrolltest.Mac, byWeb, enrolltest.WithUser(user, "wrong"))
	err := d.Boot(timeout(t))
	require.ErrorIs(t, err, enrolltest.ErrSignIn)
	var se *enrolltest.SetupError
	require.ErrorAs(t, err, &se)
	assert.Equal(t, "Sign in Wrong password. Sign in Cancel", se.Message)
	assert.NotContains(t, err.Error(), "wrong\"")

	nobody := s.device(enrolltest.Mac, byWeb)
	require.ErrorIs(t, nobody.Boot(timeout(t)), enrolltest.ErrSignIn)
	assert.NotContains(t, s.paths, "POST /trap", "comments and scripts are no forms")
}

func TestProfileFromForeignHost(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.writeProfile(w) }))
	defer other.Close()
	foreign := "http://localhost" + other.URL[len("http://127.0.0.1"):]
	s.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, foreign, http.StatusSeeOther)
		return true
	}
	d := s.device(enrolltest.Mac, byWeb)
	require.ErrorIs(t, d.Boot(timeout(t)), enrolltest.ErrOrigin)
}

func TestBasicChallenge(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		u, p, ok := r.BasicAuth()
		if r.URL.Path != "/enroll" || ok && u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="mdm"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	require.NoError(t, s.device(enrolltest.Mac, byURL, enrolltest.WithUser(user, password)).Boot(timeout(t)))
	require.Error(t, s.device(enrolltest.Mac, byURL).Boot(timeout(t)))
}

func TestExpiredIdentityAndChain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	d := s.device(enrolltest.IPhone, byURL, enrolltest.WithExpiredIdentity(), enrolltest.WithChain(enrolltest.ChainLeaf),
		enrolltest.WithClock(func() time.Time { return now }))
	require.NoError(t, d.Boot(timeout(t)))
	require.Len(t, s.sigs, 1)
	assert.Len(t, s.sigs[0].Certificates, 1)
	assert.True(t, s.sigs[0].Signer.NotAfter.Before(now))
	assert.Equal(t, x509.SHA1WithRSA, s.sigs[0].Signer.SignatureAlgorithm)
}
