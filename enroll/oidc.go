package enroll

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OIDC is a [SignIn] at an OpenID Connect provider: authorization code flow with state, nonce and PKCE (S256).
type OIDC struct {
	issuer, id, secret string
	set                oidcSettings
	provider           atomic.Pointer[oidc.Provider]
}

var _ SignIn = (*OIDC)(nil)

type oidcSettings struct {
	name          string
	scopes        []string
	client        *http.Client
	now           func() time.Time
	usernameClaim string
	groupsClaim   string
}

// OIDCOption changes how [NewOIDC] works.
type OIDCOption func(*oidcSettings) error

// WithProviderName sets how activities call the provider. The default is the host of the issuer.
func WithProviderName(name string) OIDCOption {
	return func(s *oidcSettings) error {
		s.name = name
		return notEmpty("WithProviderName", name)
	}
}

// WithScopes sets the scopes asked for beside openid. The default is profile and email.
func WithScopes(scopes ...string) OIDCOption {
	return func(s *oidcSettings) error {
		s.scopes = append([]string{oidc.ScopeOpenID}, scopes...)
		return nil
	}
}

// WithOIDCHTTPClient sets the client for requests to the provider. The default has a timeout of 10 seconds.
func WithOIDCHTTPClient(c *http.Client) OIDCOption {
	return func(s *oidcSettings) error {
		if c == nil {
			return errors.New("WithOIDCHTTPClient: nil")
		}
		cp := *c
		s.client = &cp
		return nil
	}
}

// WithOIDCClock sets the clock that ID tokens are checked with. The default is the system's.
func WithOIDCClock(now func() time.Time) OIDCOption {
	return func(s *oidcSettings) error {
		if now == nil {
			return errors.New("WithOIDCClock: nil")
		}
		s.now = now
		return nil
	}
}

// WithUsernameClaim sets the claim that is the user name. The default is preferred_username, then email, then sub.
func WithUsernameClaim(claim string) OIDCOption {
	return func(s *oidcSettings) error {
		s.usernameClaim = claim
		return notEmpty("WithUsernameClaim", claim)
	}
}

// WithGroupsClaim sets the claim that lists the groups. The default is groups.
func WithGroupsClaim(claim string) OIDCOption {
	return func(s *oidcSettings) error {
		s.groupsClaim = claim
		return notEmpty("WithGroupsClaim", claim)
	}
}

func notEmpty(option, value string) error {
	if value == "" {
		return errors.New(option + ": empty")
	}
	return nil
}

// NewOIDC returns a sign-in at the provider with this issuer URL. clientSecret is empty for a public client.
// The provider's configuration is fetched when the first user signs in, and again until that works.
func NewOIDC(issuer, clientID, clientSecret string, opts ...OIDCOption) (*OIDC, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || clientID == "" {
		return nil, errors.New("enroll: new OIDC: an issuer URL and a client id are required")
	}
	o := &OIDC{issuer: issuer, id: clientID, secret: clientSecret, set: oidcSettings{
		name: u.Host, scopes: []string{oidc.ScopeOpenID, "profile", "email"},
		client: &http.Client{Timeout: 10 * time.Second}, now: time.Now, groupsClaim: "groups",
	}}
	for _, opt := range opts {
		if err := opt(&o.set); err != nil {
			return nil, fmt.Errorf("enroll: new OIDC: %w", err)
		}
	}
	return o, nil
}

// Name implements SignIn.
func (o *OIDC) Name() string { return o.set.name }

// oidcFlow is what a sign-in under way remembers.
type oidcFlow struct {
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
}

// Begin implements SignIn.
func (o *OIDC) Begin(ctx context.Context, r SignInRequest) (SignInStart, error) {
	p, err := o.discover(ctx)
	if err != nil {
		return SignInStart{}, &SignInError{Reason: "provider_unreachable", Err: err}
	}
	// Both are random texts of 256 bits; only their uses differ.
	f := oidcFlow{Nonce: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier()}
	flow, err := json.Marshal(f)
	if err != nil {
		return SignInStart{}, fmt.Errorf("enroll: begin sign-in: %w", err)
	}
	opts := []oauth2.AuthCodeOption{oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)}
	if r.LoginHint != "" {
		opts = append(opts, oauth2.SetAuthURLParam("login_hint", r.LoginHint))
	}
	to := o.config(p, r.CallbackURL).AuthCodeURL(r.State, opts...)
	return SignInStart{URL: to, Flow: flow}, nil
}

// State implements SignIn.
func (o *OIDC) State(r *http.Request) string { return r.URL.Query().Get("state") }

// Finish implements SignIn.
func (o *OIDC) Finish(ctx context.Context, r *http.Request, callbackURL string, flow []byte) (User, error) {
	var f oidcFlow
	if err := json.Unmarshal(flow, &f); err != nil {
		return User{}, &SignInError{Reason: "flow_unreadable", Err: err}
	}
	q := r.URL.Query()
	if code := q.Get("error"); code != "" {
		return User{}, &SignInError{Reason: "provider_error", Err: fmt.Errorf("provider says %.100q", code)}
	}
	p, err := o.discover(ctx)
	if err != nil {
		return User{}, &SignInError{Reason: "provider_unreachable", Err: err}
	}
	cfg := o.config(p, callbackURL)
	ctx = oidc.ClientContext(ctx, o.set.client)
	tok, err := cfg.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return User{}, &SignInError{Reason: "code_refused", Err: withoutBody(err)}
	}
	raw, _ := tok.Extra("id_token").(string)
	idToken, err := p.Verifier(&oidc.Config{ClientID: o.id, Now: o.set.now}).Verify(ctx, raw)
	if err != nil {
		return User{}, &SignInError{Reason: "id_token_refused", Err: err}
	}
	if subtle.ConstantTimeCompare([]byte(idToken.Nonce), []byte(f.Nonce)) != 1 {
		return User{}, &SignInError{Reason: "nonce_mismatch"}
	}
	return o.user(ctx, p, idToken, oauth2.StaticTokenSource(tok))
}

// withoutBody drops the answer of the token endpoint from an error: it may hold secrets.
func withoutBody(err error) error {
	var re *oauth2.RetrieveError
	if errors.As(err, &re) {
		status := 0
		if re.Response != nil {
			status = re.Response.StatusCode
		}
		return fmt.Errorf("token endpoint: status %d, error %.100q", status, re.ErrorCode)
	}
	return err
}

// user reads the claims of the ID token, and those of the user information endpoint where the token is short of them.
func (o *OIDC) user(ctx context.Context, p *oidc.Provider, t *oidc.IDToken, ts oauth2.TokenSource) (User, error) {
	claims := map[string]any{}
	if err := t.Claims(&claims); err != nil {
		return User{}, &SignInError{Reason: "claims_unreadable", Err: err}
	}
	u := o.fromClaims(t, claims)
	if (u.Name == "" || u.Email == "" || u.Groups == nil) && p.UserInfoEndpoint() != "" {
		info, err := p.UserInfo(ctx, ts)
		switch {
		case err != nil:
			return User{}, &SignInError{Reason: "user_info_unreachable", Err: err}
		case info.Subject != t.Subject:
			return User{}, &SignInError{Reason: "user_info_mismatch"}
		}
		more := map[string]any{}
		if err := info.Claims(&more); err != nil {
			return User{}, &SignInError{Reason: "claims_unreadable", Err: err}
		}
		for k, v := range more {
			if _, ok := claims[k]; !ok {
				claims[k] = v
			}
		}
		u = o.fromClaims(t, claims)
	}
	if u.Username == "" {
		return User{}, &SignInError{Reason: "username_missing"}
	}
	return u, nil
}

func (o *OIDC) fromClaims(t *oidc.IDToken, claims map[string]any) User {
	text := func(name string) string { s, _ := claims[name].(string); return s }
	u := User{Subject: t.Subject, Issuer: t.Issuer, Name: text("name"), Email: text("email")}
	names := []string{"preferred_username", "email", "sub"}
	if o.set.usernameClaim != "" {
		names = []string{o.set.usernameClaim}
	}
	for _, n := range names {
		if u.Username = text(n); u.Username != "" {
			break
		}
	}
	groups, _ := claims[o.set.groupsClaim].([]any)
	for _, g := range groups {
		if s, ok := g.(string); ok {
			u.Groups = append(u.Groups, s)
		}
	}
	return u
}

func (o *OIDC) config(p *oidc.Provider, callbackURL string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.id, ClientSecret: o.secret, Endpoint: p.Endpoint(), RedirectURL: callbackURL, Scopes: o.set.scopes,
	}
}

// discover fetches the provider's configuration once. Two first users may both fetch it; the result is the same.
func (o *OIDC) discover(ctx context.Context) (*oidc.Provider, error) {
	if p := o.provider.Load(); p != nil {
		return p, nil
	}
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, o.set.client), o.issuer)
	if err != nil {
		return nil, err
	}
	o.provider.Store(p)
	return p, nil
}
