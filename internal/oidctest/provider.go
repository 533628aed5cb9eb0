// Package oidctest is a small OpenID Connect provider for tests: discovery, a sign-in form, the authorization code
// flow with PKCE, RS256 ID tokens and user information. It is written from the specifications
// (https://openid.net/specs/openid-connect-core-1_0.html, RFC 7636), not from a client.
package oidctest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"math/big"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// User is somebody who can sign in.
type User struct {
	Password string
	// Claims are the claims about the user; sub is the user name unless they say otherwise.
	Claims map[string]any
	// InfoClaims are told by the user information endpoint only.
	InfoClaims map[string]any
}

// Provider is an http.Handler whose issuer is the scheme and host it is asked at. Fields are set before requests come.
type Provider struct {
	ClientID, ClientSecret string
	// Users are the people, by user name.
	Users map[string]User
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Tamper, if set, changes the claims of an ID token before it is signed.
	Tamper func(claims map[string]any)

	key *rsa.PrivateKey
	mux *http.ServeMux

	mu    sync.Mutex
	codes map[string]grant // by code
	infos map[string]string
}

// grant is what a code stands for.
type grant struct {
	user, nonce, challenge, redirect string
}

// New returns a provider with one client and a new key.
func New(clientID, clientSecret string, users map[string]User) (*Provider, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	p := &Provider{
		ClientID: clientID, ClientSecret: clientSecret, Users: users, key: key, mux: http.NewServeMux(),
		codes: map[string]grant{}, infos: map[string]string{},
	}
	p.mux.HandleFunc("GET /.well-known/openid-configuration", p.configuration)
	p.mux.HandleFunc("GET /keys", p.keys)
	p.mux.HandleFunc("GET /authorize", p.form)
	p.mux.HandleFunc("POST /authorize", p.authorize)
	p.mux.HandleFunc("POST /token", p.token)
	p.mux.HandleFunc("GET /userinfo", p.userInfo)
	return p, nil
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

func issuer(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (p *Provider) configuration(w http.ResponseWriter, r *http.Request) {
	iss := issuer(r)
	answer(w, http.StatusOK, map[string]any{
		"issuer": iss, "authorization_endpoint": iss + "/authorize", "token_endpoint": iss + "/token",
		"jwks_uri": iss + "/keys", "userinfo_endpoint": iss + "/userinfo",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "code_challenge_methods_supported": []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
	})
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"keys": []map[string]any{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1",
		"n": encode(p.key.N.Bytes()), "e": encode(big.NewInt(int64(p.key.E)).Bytes()),
	}}})
}

var formPage = template.Must(template.New("form").Parse(`<!DOCTYPE html><title>Sign in</title>
<p>{{.}}</p><form method="post"><input name="username"><input name="password" type="password"><button>Sign in</button></form>`))

// form shows the sign-in form; its answer comes to the same URL, with the same query.
func (p *Provider) form(w http.ResponseWriter, r *http.Request) {
	if problem := p.check(r.URL.Query()); problem != "" {
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = formPage.Execute(w, "") // the browser is gone if this fails
}

func (p *Provider) check(q url.Values) string {
	switch {
	case q.Get("client_id") != p.ClientID:
		return "unknown client"
	case q.Get("response_type") != "code":
		return "response_type is not code"
	case q.Get("redirect_uri") == "" || q.Get("state") == "" || q.Get("nonce") == "":
		return "redirect_uri, state and nonce are required here"
	case q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256":
		return "PKCE with S256 is required here"
	}
	return ""
}

// authorize takes the form. The user name "cancel" stands for a user who presses cancel.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if problem := p.check(q); problem != "" {
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		http.Error(w, "redirect_uri is no URL", http.StatusBadRequest)
		return
	}
	out := back.Query()
	out.Set("state", q.Get("state"))
	name := r.PostFormValue("username")
	switch u, ok := p.Users[name]; {
	case name == "cancel":
		out.Set("error", "access_denied")
	case !ok || u.Password != r.PostFormValue("password"):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = formPage.Execute(w, "Wrong name or password.")
		return
	default:
		code := rand.Text()
		p.mu.Lock()
		p.codes[code] = grant{name, q.Get("nonce"), q.Get("code_challenge"), q.Get("redirect_uri")}
		p.mu.Unlock()
		out.Set("code", code)
	}
	back.RawQuery = out.Encode()
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
}

// token redeems a code, once.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	p.mu.Lock()
	g, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case id != p.ClientID || secret != p.ClientSecret:
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	case !ok || encode(sum[:]) != g.challenge || r.PostFormValue("redirect_uri") != g.redirect:
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	claims := map[string]any{
		"iss": issuer(r), "aud": p.ClientID, "sub": g.user, "nonce": g.nonce,
		"iat": now().Unix(), "exp": now().Add(5 * time.Minute).Unix(),
	}
	for k, v := range p.Users[g.user].Claims {
		claims[k] = v
	}
	if p.Tamper != nil {
		p.Tamper(claims)
	}
	idToken, err := p.sign(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	access := rand.Text()
	p.mu.Lock()
	p.infos[access] = g.user
	p.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": idToken})
}

func (p *Provider) userInfo(w http.ResponseWriter, r *http.Request) {
	var access string
	_, _ = fmt.Sscanf(r.Header.Get("Authorization"), "Bearer %s", &access) // an empty one is unknown
	p.mu.Lock()
	name, ok := p.infos[access]
	p.mu.Unlock()
	if !ok {
		http.Error(w, "unknown access token", http.StatusUnauthorized)
		return
	}
	claims := map[string]any{"sub": name}
	for _, m := range []map[string]any{p.Users[name].Claims, p.Users[name].InfoClaims} {
		for k, v := range m {
			claims[k] = v
		}
	}
	answer(w, http.StatusOK, claims)
}

// sign returns a JSON Web Token (RFC 7519), RS256.
func (p *Provider) sign(claims map[string]any) (string, error) {
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := encode([]byte(`{"alg":"RS256","kid":"1","typ":"JWT"}`)) + "." + encode(body)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return signed + "." + encode(sig), nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone if this fails
}
