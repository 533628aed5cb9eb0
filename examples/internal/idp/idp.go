// Package idp is a small OpenID Connect provider for the examples: discovery, an authorization endpoint with a
// sign-in form, a token endpoint with PKCE, and its keys. It knows the users it is given and one client.
package idp

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// User is someone who can sign in.
type User struct {
	Username, Password, Name, Email string
}

// Client is the application that asks for sign-ins.
type Client struct {
	ID, Secret, RedirectURL string
}

// Provider is the identity provider; it is an http.Handler to be mounted at the path of its issuer.
type Provider struct {
	issuer string
	client Client
	users  map[string]User
	now    func() time.Time
	key    *rsa.PrivateKey
	mux    *http.ServeMux

	mu    sync.Mutex
	codes map[string]grant
}

// grant is a signed-in user on the way back to the client.
type grant struct {
	user        User
	nonce       string
	challenge   string
	redirectURL string
	end         time.Time
}

const (
	keyID     = "example"
	codeLife  = time.Minute
	tokenLife = 5 * time.Minute
)

// New returns a provider whose issuer is the given URL, without a slash at its end.
func New(issuer string, client Client, users []User, now func() time.Time) (*Provider, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, fmt.Errorf("idp: issuer: %w", err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("idp: %w", err)
	}
	p := &Provider{
		issuer: issuer, client: client, users: map[string]User{}, now: now, key: key,
		mux: http.NewServeMux(), codes: map[string]grant{},
	}
	for _, usr := range users {
		p.users[usr.Username] = usr
	}
	p.mux.HandleFunc("GET "+u.Path+"/.well-known/openid-configuration", p.discovery)
	p.mux.HandleFunc("GET "+u.Path+"/keys", p.keys)
	p.mux.HandleFunc("GET "+u.Path+"/authorize", p.form)
	p.mux.HandleFunc("POST "+u.Path+"/authorize", p.signIn)
	p.mux.HandleFunc("POST "+u.Path+"/token", p.token)
	return p, nil
}

// ServeHTTP serves the provider's endpoints.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"issuer":                                p.issuer,
		"authorization_endpoint":                p.issuer + "/authorize",
		"token_endpoint":                        p.issuer + "/token",
		"jwks_uri":                              p.issuer + "/keys",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{string(jose.RS256)},
		"scopes_supported":                      []string{"openid", "profile", "email"},
		"code_challenge_methods_supported":      []string{"S256"},
	})
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{
		Key: p.key.Public(), KeyID: keyID, Algorithm: string(jose.RS256), Use: "sig",
	}}})
}

var page = template.Must(template.New("sign in").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in</title><style>
:root{color-scheme:light dark} body{font:18px system-ui;max-width:22rem;margin:10vh auto;padding:0 1rem}
label{display:block;margin:1rem 0 .3rem} input,button{font:inherit;width:100%;padding:.6rem;box-sizing:border-box}
button{margin-top:1.5rem} [role=alert]{color:#c22}</style></head><body>
<h1>Sign in</h1>{{with .Error}}<p role="alert">{{.}}</p>{{end}}
<form method="post" action="authorize"><input type="hidden" name="request" value="{{.Request}}">
<label for="u">User name</label><input id="u" name="username" autocomplete="username" autofocus>
<label for="p">Password</label><input id="p" name="password" type="password" autocomplete="current-password">
<button>Sign in</button></form></body></html>`))

// form shows the sign-in page for an authorization request, which travels in it as one hidden field.
func (p *Provider) form(w http.ResponseWriter, r *http.Request) {
	if err := p.check(r.URL.Query()); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.show(w, r.URL.RawQuery, "")
}

func (p *Provider) show(w http.ResponseWriter, request, problem string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = page.Execute(w, map[string]string{"Request": request, "Error": problem})
}

// check refuses requests that this provider would not answer as the client expects.
func (p *Provider) check(q url.Values) error {
	switch {
	case q.Get("client_id") != p.client.ID:
		return fmt.Errorf("unknown client_id")
	case q.Get("redirect_uri") != p.client.RedirectURL:
		return fmt.Errorf("redirect_uri is not the registered one")
	case q.Get("response_type") != "code":
		return fmt.Errorf("response_type must be code")
	case q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256":
		return fmt.Errorf("PKCE with S256 is required")
	case !strings.Contains(" "+q.Get("scope")+" ", " openid "):
		return fmt.Errorf("scope must contain openid")
	}
	return nil
}

func (p *Provider) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	raw := r.PostFormValue("request")
	q, err := url.ParseQuery(raw)
	if err == nil {
		err = p.check(q)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	user, ok := p.users[r.PostFormValue("username")]
	if subtle.ConstantTimeCompare([]byte(user.Password), []byte(r.PostFormValue("password"))) != 1 || !ok {
		w.WriteHeader(http.StatusUnauthorized)
		p.show(w, raw, "User name or password is wrong.")
		return
	}
	code := random()
	p.mu.Lock()
	for c, g := range p.codes {
		if g.end.Before(p.now()) {
			delete(p.codes, c)
		}
	}
	p.codes[code] = grant{
		user: user, nonce: q.Get("nonce"), challenge: q.Get("code_challenge"),
		redirectURL: q.Get("redirect_uri"), end: p.now().Add(codeLife),
	}
	p.mu.Unlock()
	back := url.Values{"code": {code}, "state": {q.Get("state")}}
	http.Redirect(w, r, p.client.RedirectURL+"?"+back.Encode(), http.StatusFound)
}

// token trades a code for an ID token, once.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if id != p.client.ID || subtle.ConstantTimeCompare([]byte(secret), []byte(p.client.Secret)) != 1 {
		tokenError(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	p.mu.Lock()
	g, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || g.end.Before(p.now()) || r.PostFormValue("redirect_uri") != g.redirectURL ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
		tokenError(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	idToken, err := p.idToken(g)
	if err != nil {
		tokenError(w, http.StatusInternalServerError, "server_error")
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, map[string]any{
		"access_token": random(), "token_type": "Bearer", "expires_in": int(tokenLife.Seconds()), "id_token": idToken,
	})
}

func (p *Provider) idToken(g grant) (string, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: p.key, KeyID: keyID}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	now := p.now()
	claims, err := json.Marshal(map[string]any{
		"iss": p.issuer, "aud": p.client.ID, "sub": g.user.Username, "nonce": g.nonce,
		"iat": now.Unix(), "exp": now.Add(tokenLife).Unix(),
		"preferred_username": g.user.Username, "name": g.user.Name, "email": g.user.Email, "email_verified": true,
	})
	if err != nil {
		return "", err
	}
	sig, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return sig.CompactSerialize()
}

func tokenError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func random() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}
