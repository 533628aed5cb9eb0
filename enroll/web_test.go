package enroll

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/internal/oidctest"
	"github.com/enrollkit/enrollkit/storage"
)

// webFixture is a fixture whose users sign in at a provider of its own.
type webFixture struct {
	*fixture
	provider *oidctest.Provider
	idp      *httptest.Server
}

func newSealer(t testing.TB) storage.Sealer {
	t.Helper()
	set, err := storage.NewKeyset()
	require.NoError(t, err)
	s, err := storage.NewKeysetSealer(set)
	require.NoError(t, err)
	return s
}

func newWebFixture(t testing.TB, opts ...Option) *webFixture {
	t.Helper()
	w := &webFixture{}
	var err error
	w.provider, err = oidctest.New("enrollkit", "secret", map[string]oidctest.User{
		"jane": {Password: "sesame", Claims: map[string]any{
			"preferred_username": "jane", "name": "Jane Doe", "email": "jane@example.org", "groups": []string{"staff", "mac"},
		}},
	})
	require.NoError(t, err)
	w.idp = httptest.NewTLSServer(w.provider)
	t.Cleanup(w.idp.Close)
	w.fixture = newFixture(t, func(f *fixture) []Option {
		w.provider.Now = f.clock.Now
		o, err := NewOIDC(w.idp.URL, "enrollkit", "secret", WithOIDCHTTPClient(w.idp.Client()), WithOIDCClock(f.clock.Now), WithProviderName("idp"))
		require.NoError(t, err)
		return append([]Option{WithSignIn(o, newSealer(t)), WithBranding(Branding{Organization: "Example & Sons", Support: "Call 555"})}, opts...)
	})
	// One client for both servers: a web view trusts what anchor_certs say.
	w.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(w.idp.Certificate())
	return w
}

// submit signs in on the form at the URL and returns where the provider sends the browser.
func (w *webFixture) submit(c *http.Client, form, user, password string) response {
	w.t.Helper()
	body := url.Values{"username": {user}, "password": {password}}.Encode()
	return w.do(c, http.MethodPost, form, []byte(body), map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	w := newWebFixture(t)
	c := w.browser(false)
	r := w.open(c, w.sign(nil))
	require.Equal(t, http.StatusSeeOther, r.status, string(r.body))
	assert.Equal(t, "no-referrer", r.header.Get("Referrer-Policy"))
	cookie := r.header.Get("Set-Cookie")
	for _, want := range []string{"; Path=/mdm/sso", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		assert.Contains(t, cookie, want)
	}
	form := r.header.Get("Location")
	require.True(t, strings.HasPrefix(form, w.idp.URL+"/authorize?"), form)
	s, err := w.session()
	require.NoError(t, err)
	assert.Equal(t, storage.SessionSigningIn, s.State)
	q, err := url.ParseQuery(form[strings.Index(form, "?")+1:])
	require.NoError(t, err)
	assert.NotContains(t, string(s.SealedFlow), q.Get("nonce"), "secrets are sealed")

	r = w.submit(c, form, "jane", "sesame")
	require.Equal(t, http.StatusSeeOther, r.status)
	callback := r.header.Get("Location")
	r = w.get(c, callback)
	require.Equal(t, http.StatusSeeOther, r.status, string(r.body))
	profileURL := r.header.Get("Location")
	require.Equal(t, w.server.URL+base+"/profile", profileURL, "on the host of configuration_web_url")

	for range 2 { // going back and forth
		r = w.get(c, profileURL)
		require.Equal(t, http.StatusOK, r.status, string(r.body))
		assert.Equal(t, "application/x-apple-aspen-config", r.header.Get("Content-Type"))
	}
	s, err = w.session()
	require.NoError(t, err)
	u, err := ParseUser(s.User)
	require.NoError(t, err)
	assert.Equal(t, &User{Subject: "jane", Issuer: w.idp.URL, Username: "jane", Name: "Jane Doe", Email: "jane@example.org", Groups: []string{"staff", "mac"}}, u)
	kinds, events := w.acts()
	assert.Equal(t, []string{"enrollment_started", "sign_in_started", "signed_in", "enrollment_profile_issued", "enrollment_profile_issued"}, kinds)
	assert.Equal(t, &activity.SignedIn{On: activity.On{Account: "acme", Serial: serial}, SessionID: s.ID, Provider: "idp", Username: "jane"}, events[2])

	// The answer of the provider counts once, and what follows is not a dead end.
	r = w.get(c, callback)
	assert.Equal(t, http.StatusBadRequest, r.status)
	assert.Contains(t, string(r.body), `action="/mdm/sso/restart"`)
	r = w.get(c, w.server.URL+base)
	assert.Equal(t, profileURL, r.header.Get("Location"), "the web view's first URL leads on without the header")
}

func TestSignInCannotBeGoneAround(t *testing.T) {
	t.Parallel()
	w := newWebFixture(t)
	r := w.post(w.sign(nil))
	assert.Equal(t, http.StatusForbidden, r.status)
	_, events := w.acts()
	require.Len(t, events, 1)
	assert.Equal(t, "sign_in_required", events[0].(*activity.EnrollmentRefused).Reason)

	c := w.browser(false)
	r = w.open(c, w.sign(nil))
	form := r.header.Get("Location")
	assert.Equal(t, http.StatusBadRequest, w.get(c, w.server.URL+base+"/profile").status, "not signed in yet")

	// A user lured to the sign-in of somebody else's device ends at a page, and that device gets nothing.
	victim := w.browser(false)
	callback := w.submit(victim, form, "jane", "sesame").header.Get("Location")
	r = w.get(victim, callback)
	assert.Equal(t, http.StatusBadRequest, r.status)
	assert.NotContains(t, string(r.body), "/restart", "there is nothing of the victim's to start again")
	assert.Equal(t, http.StatusBadRequest, w.get(c, w.server.URL+base+"/profile").status)

	// A state that was not made here, for this session, or is missing.
	for _, state := range []string{"", "x", w.keys.CheckInToken("x"), w.keys.sign(forState, "other:nonce")} {
		r = w.get(c, w.server.URL+base+"/callback?code=x&state="+url.QueryEscape(state))
		assert.Equal(t, http.StatusBadRequest, r.status, state)
	}
	assert.Zero(t, w.issuer.n.Load())
}

func TestSignInCanBeStartedAgain(t *testing.T) {
	t.Parallel()
	w := newWebFixture(t)
	c := w.browser(false)
	form := w.open(c, w.sign(nil)).header.Get("Location")

	// Cancelled at the provider.
	callback := w.submit(c, form, "cancel", "").header.Get("Location")
	r := w.get(c, callback)
	assert.Equal(t, http.StatusBadGateway, r.status)
	for _, want := range []string{`action="/mdm/sso/restart"`, "Example &amp; Sons", "Call 555", "prefers-color-scheme: dark"} {
		assert.Contains(t, string(r.body), want)
	}
	assert.NotContains(t, string(r.body), "access_denied")
	assert.Contains(t, r.header.Get("Content-Security-Policy"), "default-src 'none'")

	// Started again, and left alone for too long.
	r = w.get(c, w.server.URL+base+"/restart")
	require.Equal(t, http.StatusSeeOther, r.status)
	callback = w.submit(c, r.header.Get("Location"), "jane", "sesame").header.Get("Location")
	w.clock.Add(2 * time.Hour)
	r = w.get(c, callback)
	assert.Equal(t, http.StatusBadRequest, r.status)
	assert.Contains(t, string(r.body), "expired")

	// And again, in time.
	r = w.get(c, w.server.URL+base+"/restart")
	require.Equal(t, http.StatusSeeOther, r.status)
	callback = w.submit(c, r.header.Get("Location"), "jane", "sesame").header.Get("Location")
	require.Equal(t, http.StatusSeeOther, w.get(c, callback).status)
	require.Equal(t, http.StatusOK, w.get(c, w.server.URL+base+"/profile").status)

	// The sign-in is good for a while only.
	w.clock.Add(2 * time.Hour)
	r = w.get(c, w.server.URL+base+"/profile")
	assert.Equal(t, http.StatusBadRequest, r.status)
	kinds, _ := w.acts()
	assert.Equal(t, []string{
		"enrollment_started", "sign_in_started", "sign_in_failed", "sign_in_started", "sign_in_started", "signed_in", "enrollment_profile_issued",
	}, kinds)
}

func TestSignInWithProviderDown(t *testing.T) {
	t.Parallel()
	w := newWebFixture(t)
	w.idp.Config.Handler = http.NotFoundHandler()
	c := w.browser(false)
	r := w.open(c, w.sign(nil))
	assert.Equal(t, http.StatusBadGateway, r.status)
	assert.Contains(t, string(r.body), "/restart")
	w.idp.Config.Handler = w.provider
	r = w.get(c, w.server.URL+base+"/restart")
	require.Equal(t, http.StatusSeeOther, r.status, string(r.body))
	_, events := w.acts()
	assert.Equal(t, "provider_unreachable", events[1].(*activity.SignInFailed).Reason)
}

func TestUserMayBeRefused(t *testing.T) {
	t.Parallel()
	w := newWebFixture(t, WithAuthorizers(usersOf("board")))
	c := w.browser(false)
	form := w.open(c, w.sign(nil)).header.Get("Location")
	require.NotEmpty(t, form, "before the sign-in nobody can tell")
	callback := w.submit(c, form, "jane", "sesame").header.Get("Location")
	r := w.get(c, callback)
	assert.Equal(t, http.StatusForbidden, r.status)
	assert.Contains(t, string(r.body), "This device may not enroll here.")
	s, err := w.session()
	require.NoError(t, err)
	assert.Equal(t, storage.SessionRefused, s.State)
	assert.NotEqual(t, http.StatusOK, w.get(c, w.server.URL+base+"/profile").status)
	assert.Zero(t, w.issuer.n.Load())
	kinds, _ := w.acts()
	assert.Equal(t, []string{"enrollment_started", "sign_in_started", "signed_in", "enrollment_refused"}, kinds)
}

// TestPostDoesNotDisturbASignIn has the same device POST while its user signs in.
func TestPostDoesNotDisturbASignIn(t *testing.T) {
	t.Parallel()
	w := newWebFixture(t)
	c := w.browser(false)
	form := w.open(c, w.sign(nil)).header.Get("Location")
	require.Equal(t, http.StatusForbidden, w.post(w.sign(nil)).status)
	callback := w.submit(c, form, "jane", "sesame").header.Get("Location")
	require.Equal(t, http.StatusSeeOther, w.get(c, callback).status)
	require.Equal(t, http.StatusOK, w.get(c, w.server.URL+base+"/profile").status)
}

// TestStartAgainAfterKeyRotation rotates the keys of sessions while a user is at the identity provider.
func TestStartAgainAfterKeyRotation(t *testing.T) {
	t.Parallel()
	f := newWebFixture(t)
	browser := f.browser(false)
	require.Equal(t, http.StatusSeeOther, f.open(browser, f.sign(nil)).status)
	rotated, err := NewSessionKeys(bytes.Repeat([]byte{9}, 32), f.keys.keys[0])
	require.NoError(t, err)
	f.handler.keys = rotated
	assert.Equal(t, http.StatusSeeOther, f.get(browser, f.server.URL+base+pathRestart).status)
	_, err = f.session()
	require.NoError(t, err, "it is the session the device began with")
}

func TestWebSessionsWithoutATimeNeverExpire(t *testing.T) {
	t.Parallel()
	f := newWebFixture(t)
	browser := f.browser(false)
	require.Equal(t, http.StatusSeeOther, f.open(browser, f.sign(nil)).status)
	s, err := f.session()
	require.NoError(t, err)
	s.ExpiresAt = time.Time{}
	require.NoError(t, f.store.UpdateSession(t.Context(), s))
	assert.Equal(t, http.StatusSeeOther, f.get(browser, f.server.URL+base+pathRestart).status)
}
