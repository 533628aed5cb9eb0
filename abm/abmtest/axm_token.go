package abmtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	axmAudience = "https://account.apple.com/auth/oauth2/v2/token"
	// maxAssertion is how long an assertion may be good.
	maxAssertion = 180 * 24 * time.Hour
)

// apiAccount is an API account of the organization, as the portal lists it.
type apiAccount struct {
	clientID, keyID, scope string
	key                    *ecdsa.PublicKey // nil once revoked
}

// axmToken is an access token.
type axmToken struct {
	account *apiAccount
	until   time.Time
}

// APIAccount is what the portal gives out for an API account.
type APIAccount struct {
	ClientID string
	KeyID    string
	// PrivateKey is the file: PEM with an EC key in SEC 1 form. It can be downloaded once.
	PrivateKey []byte
}

// AddAPIAccount creates an API account. kind is BUSINESSAPI or SCHOOLAPI, the beginning of its client id.
func (a *AXM) AddAPIAccount(kind string) (APIAccount, error) {
	scope, ok := map[string]string{"BUSINESSAPI": "business.api", "SCHOOLAPI": "school.api"}[kind]
	if !ok {
		return APIAccount{}, fmt.Errorf("abmtest: add API account: unknown kind %q: %w", kind, ErrInvalid)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return APIAccount{}, fmt.Errorf("abmtest: add API account: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return APIAccount{}, fmt.Errorf("abmtest: add API account: %w", err)
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	account := &apiAccount{clientID: kind + "." + a.s.uuid(), keyID: a.s.uuid(), scope: scope, key: &key.PublicKey}
	a.accounts[account.clientID] = account
	return APIAccount{
		account.clientID, account.keyID, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
	}, nil
}

// uuid returns a random identifier in the form of a UUID. The caller holds the lock.
func (s *Service) uuid() string {
	id := s.hexID(16)
	return strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-")
}

// RevokeAPIAccount revokes the key of an API account. Access tokens it has got are void.
func (a *AXM) RevokeAPIAccount(clientID string) error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	account, ok := a.accounts[clientID]
	if !ok {
		return fmt.Errorf("abmtest: API account %q: %w", clientID, ErrInvalid)
	}
	account.key = nil
	for token, t := range a.tokens {
		if t.account == account {
			delete(a.tokens, token)
		}
	}
	return nil
}

// RevokeTokens voids all access tokens; new ones can be got.
func (a *AXM) RevokeTokens() {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	clear(a.tokens)
}

// authenticate finds the account of a bearer token. The caller holds the lock.
func (a *AXM) authenticate(r *http.Request, now time.Time) (*apiAccount, error) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	token, known := a.tokens[bearer]
	if !ok || !known || !now.Before(token.until) {
		return nil, &axmError{status: http.StatusUnauthorized, code: "NOT_AUTHORIZED", detail: "the access token is missing, unknown or expired"}
	}
	return token.account, nil
}

// serveToken exchanges a client assertion for an access token. Parameters may be in the query, as in Apple's example, or in a
// form (RFC 6749, RFC 7523).
//
// Apple: https://developer.apple.com/documentation/apple-school-and-business-manager-api/implementing-oauth-for-the-apple-school-and-business-manager-api
func (a *AXM) serveToken(w http.ResponseWriter, r *http.Request) {
	a.s.mu.Lock()
	a.s.stats.Calls["POST /auth/oauth2/token"]++
	a.s.mu.Unlock()
	refuse := func(code, why string) {
		writeAXM(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": why})
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		refuse("invalid_request", "the content type is not that of a form")
		return
	}
	if err := r.ParseForm(); err != nil {
		refuse("invalid_request", "not a form")
		return
	}
	switch {
	case r.Form.Get("grant_type") != "client_credentials":
		refuse("unsupported_grant_type", "grant_type")
		return
	case r.Form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
		refuse("invalid_request", "client_assertion_type")
		return
	}
	now := a.s.cfg.now()
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	account, why := a.verify(r.Form.Get("client_assertion"), r.Form.Get("client_id"), now)
	if account == nil {
		refuse("invalid_client", why)
		return
	}
	if r.Form.Get("scope") != account.scope {
		refuse("invalid_scope", "this account has another scope")
		return
	}
	token := a.s.hexID(32)
	a.tokens[token] = axmToken{account, now.Add(a.cfg.tokenLifetime)}
	writeAXM(w, http.StatusOK, map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int(a.cfg.tokenLifetime / time.Second), "scope": account.scope,
	})
}

// verify checks an assertion: JWS compact serialization (RFC 7515), ES256 with the raw signature (RFC 7518, section 3.4). It
// returns the account, or why there is none. The caller holds the lock.
func (a *AXM) verify(assertion, clientID string, now time.Time) (*apiAccount, string) {
	account, ok := a.accounts[clientID]
	if !ok || account.key == nil {
		return nil, "unknown client or revoked key"
	}
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return nil, "not a JWS"
	}
	var raw [3][]byte
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			return nil, "not a JWS"
		}
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub, Aud, Jti string
		Iat, Exp           int64
	}
	if json.Unmarshal(raw[0], &header) != nil || json.Unmarshal(raw[1], &claims) != nil {
		return nil, "header or claims are not what is documented"
	}
	if header.Alg != "ES256" || header.Kid != account.keyID {
		return nil, "alg or kid"
	}
	if len(raw[2]) != 64 {
		return nil, "the signature is not 64 bytes long"
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(account.key, digest[:], new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:])) {
		return nil, "signature"
	}
	issued, expires := time.Unix(claims.Iat, 0), time.Unix(claims.Exp, 0)
	switch {
	case claims.Iss != clientID || claims.Sub != clientID:
		return nil, "iss or sub"
	case claims.Aud != axmAudience:
		return nil, "aud"
	case claims.Jti == "":
		return nil, "jti"
	case claims.Iat == 0 || issued.After(now.Add(time.Minute)):
		return nil, "iat"
	case !expires.After(now) || expires.Sub(issued) > maxAssertion:
		return nil, "exp"
	}
	return account, ""
}
