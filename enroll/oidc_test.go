package enroll

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/internal/oidctest"
)

// usersOf allows the members of a group.
func usersOf(group string) Authorizer {
	return AuthorizerFunc("group", func(_ context.Context, c Candidate) (Verdict, error) {
		switch {
		case c.SignInAhead:
			return Allow("to be asked again"), nil
		case c.User != nil && slices.Contains(c.User.Groups, group):
			return Allow("member of " + group), nil
		}
		return Deny("not_in_group"), nil
	})
}

const callbackURL = "https://mdm.example.org/mdm/sso/callback"

// flow is one sign-in at a provider, as a browser makes it.
type flow struct {
	oidc *OIDC
	idp  *httptest.Server
}

func newFlow(t *testing.T, p *oidctest.Provider, opts ...OIDCOption) flow {
	t.Helper()
	idp := httptest.NewTLSServer(p)
	t.Cleanup(idp.Close)
	o, err := NewOIDC(idp.URL, "client", "secret", append([]OIDCOption{WithOIDCHTTPClient(idp.Client())}, opts...)...)
	require.NoError(t, err)
	return flow{o, idp}
}

// signIn goes to the provider as jane and returns the request that comes back, and the flow.
func (f flow) signIn(t *testing.T) (*http.Request, []byte) {
	t.Helper()
	start, err := f.oidc.Begin(t.Context(), SignInRequest{State: "the state", CallbackURL: callbackURL, LoginHint: "jane@example.org"})
	require.NoError(t, err)
	require.Contains(t, start.URL, "login_hint=jane%40example.org")
	c := *f.idp.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, start.URL, strings.NewReader("username=jane&password=p"))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	back, err := http.NewRequestWithContext(t.Context(), http.MethodGet, resp.Header.Get("Location"), http.NoBody)
	require.NoError(t, err)
	return back, start.Flow
}

func provider(t *testing.T, claims, info map[string]any) *oidctest.Provider {
	t.Helper()
	p, err := oidctest.New("client", "secret", map[string]oidctest.User{"jane": {Password: "p", Claims: claims, InfoClaims: info}})
	require.NoError(t, err)
	return p
}

func TestOIDCClaims(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		claims, info map[string]any
		opts         []OIDCOption
		want         User
	}{
		{
			"from the token", map[string]any{"preferred_username": "j", "name": "Jane", "email": "j@e.org", "groups": []string{"a"}}, nil, nil,
			User{Username: "j", Name: "Jane", Email: "j@e.org", Groups: []string{"a"}},
		},
		{
			"from user information", map[string]any{"preferred_username": "j"}, map[string]any{"name": "Jane", "email": "j@e.org", "groups": []string{"b"}, "preferred_username": "other"}, nil,
			User{Username: "j", Name: "Jane", Email: "j@e.org", Groups: []string{"b"}},
		},
		{"email is the name", map[string]any{"email": "j@e.org"}, nil, nil, User{Username: "j@e.org", Email: "j@e.org"}},
		{"nothing but the subject", nil, nil, nil, User{Username: "jane"}},
		{
			"own claims", map[string]any{"upn": "u", "roles": []any{"r", 7}}, nil,
			[]OIDCOption{WithUsernameClaim("upn"), WithGroupsClaim("roles")}, User{Username: "u", Groups: []string{"r"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFlow(t, provider(t, tc.claims, tc.info), tc.opts...)
			r, flow := f.signIn(t)
			assert.Equal(t, "the state", f.oidc.State(r))
			u, err := f.oidc.Finish(t.Context(), r, callbackURL, flow)
			require.NoError(t, err)
			tc.want.Subject, tc.want.Issuer = "jane", f.idp.URL
			assert.Equal(t, tc.want, u)
		})
	}
}

func TestOIDCRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		tamper func(map[string]any)
		opts   []OIDCOption
		query  func(url.Values)
		flow   []byte
		reason string
	}{
		{"another nonce", func(c map[string]any) { c["nonce"] = "x" }, nil, nil, nil, "nonce_mismatch"},
		{"another audience", func(c map[string]any) { c["aud"] = "x" }, nil, nil, nil, "id_token_refused"},
		{"another issuer", func(c map[string]any) { c["iss"] = "https://evil.example" }, nil, nil, nil, "id_token_refused"},
		{"expired", func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }, nil, nil, nil, "id_token_refused"},
		{"another code", nil, nil, func(q url.Values) { q.Set("code", "x") }, nil, "code_refused"},
		{"denied", nil, nil, func(q url.Values) { q.Set("error", "access_denied") }, nil, "provider_error"},
		{"another verifier", nil, nil, nil, []byte(`{"nonce":"n","verifier":"v"}`), "code_refused"},
		{"damaged flow", nil, nil, nil, []byte(`{`), "flow_unreadable"},
		{"no user name", nil, []OIDCOption{WithUsernameClaim("upn")}, nil, nil, "username_missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := provider(t, nil, nil)
			p.Tamper = tc.tamper
			f := newFlow(t, p, tc.opts...)
			r, flow := f.signIn(t)
			if tc.query != nil {
				q := r.URL.Query()
				tc.query(q)
				r.URL.RawQuery = q.Encode()
			}
			if tc.flow != nil {
				flow = tc.flow
			}
			u, err := f.oidc.Finish(t.Context(), r, callbackURL, flow)
			var se *SignInError
			require.ErrorAs(t, err, &se)
			assert.Equal(t, tc.reason, se.Reason)
			assert.Zero(t, u)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestNewOIDCChecks(t *testing.T) {
	t.Parallel()
	for _, bad := range [][2]string{{"", "id"}, {"no url", "id"}, {"https://idp.example", ""}} {
		_, err := NewOIDC(bad[0], bad[1], "")
		require.Error(t, err)
	}
	for _, opt := range []OIDCOption{WithProviderName(""), WithOIDCHTTPClient(nil), WithOIDCClock(nil), WithUsernameClaim(""), WithGroupsClaim("")} {
		_, err := NewOIDC("https://idp.example", "id", "", opt)
		require.Error(t, err)
	}
	o, err := NewOIDC("https://idp.example", "id", "", WithScopes("profile", "groups"))
	require.NoError(t, err)
	assert.Equal(t, "idp.example", o.Name())
	assert.Equal(t, []string{"openid", "profile", "groups"}, o.set.scopes)
}
