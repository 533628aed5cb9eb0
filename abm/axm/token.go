package axm

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/enrollkit/enrollkit/internal/retry"
)

const (
	// audience is what assertions are for, whatever URL they are posted to.
	audience = "https://account.apple.com/auth/oauth2/v2/token"
	// assertionLifetime leaves room for a clock that is some minutes off. Apple allows 180 days, in which a leaked assertion
	// would be as good as the key.
	assertionLifetime = 10 * time.Minute
	// tokenLifetime is Apple's, for an answer that does not say.
	tokenLifetime = time.Hour
	// earlyExpiry is how long before its end a token is replaced, so that none ends on its way to Apple.
	earlyExpiry = time.Minute

	opToken = "Token"
)

// issuer gets access tokens: it signs a client assertion (RFC 7523) and exchanges it.
//
// Apple: https://developer.apple.com/documentation/apple-school-and-business-manager-api/implementing-oauth-for-the-apple-school-and-business-manager-api
type issuer struct {
	clientID, scope, url string
	signer               jose.Signer
	http                 *http.Client
	s                    settings
}

func newIssuer(creds Credentials, scope string, client *http.Client, s settings) (*issuer, error) {
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: creds.PrivateKey, KeyID: creds.KeyID}}
	signer, err := jose.NewSigner(key, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("axm: credentials: %w", ErrKeyType)
	}
	return &issuer{clientID: creds.ClientID, scope: scope, url: s.tokenURL, signer: signer, http: client, s: s}, nil
}

// assertion returns a new client assertion.
func (i *issuer) assertion() (string, error) {
	id := make([]byte, 16)
	if _, err := io.ReadFull(i.s.random, id); err != nil {
		return "", fmt.Errorf("axm: assertion: randomness: %w", err)
	}
	now := i.s.now()
	// A struct of our own: that of go-jose writes the audience as a list, which Apple does not document.
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"` // not in Apple's table, but in its sample
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		IssuedAt int64  `json:"iat"`
		Expiry   int64  `json:"exp"`
		ID       string `json:"jti"`
	}{i.clientID, i.clientID, audience, now.Unix(), now.Add(assertionLifetime).Unix(), hex.EncodeToString(id)})
	if err != nil {
		return "", fmt.Errorf("axm: assertion: %w", err)
	}
	signed, err := i.signer.Sign(claims)
	if err != nil {
		return "", errors.New("axm: assertion: cannot sign")
	}
	return signed.CompactSerialize()
}

// source returns an oauth2.TokenSource whose calls end with ctx, or when the time for one exchange is over.
func (i *issuer) source(ctx context.Context) oauth2.TokenSource { return tokenSource{ctx, i} }

// tokenSource asks Apple for a new access token each time. [tokens] keeps it.
type tokenSource struct {
	ctx context.Context // as all sources of x/oauth2 have it: Token takes none
	i   *issuer
}

// Token implements oauth2.TokenSource.
func (t tokenSource) Token() (*oauth2.Token, error) {
	assertion, err := t.i.assertion()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.i.s.timeout)
	defer cancel()
	config := clientcredentials.Config{
		ClientID: t.i.clientID, TokenURL: t.i.url, Scopes: []string{t.i.scope}, AuthStyle: oauth2.AuthStyleInParams,
		EndpointParams: url.Values{
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {assertion},
		},
	}
	asked := t.i.s.now()
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, t.i.http))
	if err != nil {
		return nil, t.i.tokenError(t.ctx, err, assertion)
	}
	// x/oauth2 reckons with the system's clock.
	lifetime := tokenLifetime
	if seconds, ok := token.Extra("expires_in").(float64); ok && seconds > 0 {
		lifetime = time.Duration(min(seconds, (24*time.Hour).Seconds())) * time.Second
	}
	token.Expiry = asked.Add(lifetime - min(earlyExpiry, lifetime/2))
	return token, nil
}

// tokenError sorts out why there is no access token. No error of x/oauth2 is passed on: they quote the answer.
func (i *issuer) tokenError(ctx context.Context, err error, assertion string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		return &TransportError{Op: opToken, Err: urlErr.Err}
	}
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return &TokenError{cause: ErrBadResponse}
	}
	// An answer may repeat what it was asked.
	clean := func(s string) string { return short(strings.ReplaceAll(s, assertion, "REDACTED")) }
	e := &TokenError{
		Code: word(clean(refused.ErrorCode)), Description: clean(refused.ErrorDescription), URI: clean(refused.ErrorURI),
		cause: ErrCredentials,
	}
	if refused.Response != nil {
		e.StatusCode = refused.Response.StatusCode
		e.RetryAfter = retry.After(refused.Response.Header, i.s.now())
	}
	switch {
	case e.StatusCode == http.StatusTooManyRequests:
		e.cause = ErrRateLimited
	case e.StatusCode >= 500:
		e.cause = ErrUnavailable
	case e.StatusCode < 400 && refused.ErrorCode == "":
		e.cause = ErrBadResponse // a redirect, which is not followed
	}
	return e
}

// tokens keeps the current access token, and gets a new one once however many requests wait for it. oauth2.ReuseTokenSource
// cannot do it: it has no way to drop a token that was refused, knows the system's clock only, and lets those who wait
// neither leave nor outlive the one that asks.
type tokens struct {
	source func(context.Context) oauth2.TokenSource
	now    func() time.Time

	mu      sync.Mutex
	current *oauth2.Token
	fetch   *fetch // under way, or nil
}

// fetch is one exchange that any number of requests wait for.
type fetch struct {
	done  chan struct{}
	token *oauth2.Token
	err   error
	left  bool // whoever asked has left, so err says nothing about Apple
}

// get returns the token to use. refused is one that Apple has refused: unless it was replaced already, a new one is got.
func (t *tokens) get(ctx context.Context, refused string) (string, error) {
	for {
		t.mu.Lock()
		if c := t.current; c != nil && c.AccessToken != refused && t.now().Before(c.Expiry) {
			t.mu.Unlock()
			return c.AccessToken, nil
		}
		f := t.fetch
		if f == nil {
			f = &fetch{done: make(chan struct{})}
			t.fetch, t.current = f, nil
			t.mu.Unlock()
			t.lead(ctx, f)
			if f.err != nil {
				return "", f.err
			}
			return f.token.AccessToken, nil
		}
		t.mu.Unlock()
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-f.done:
		}
		switch {
		case f.err == nil:
			return f.token.AccessToken, nil
		case !f.left:
			return "", f.err // Apple's answer, or none, counts for all
		}
	}
}

// lead asks for a token and tells those who wait.
func (t *tokens) lead(ctx context.Context, f *fetch) {
	f.token, f.err = t.source(ctx).Token()
	f.left = f.err != nil && ctx.Err() != nil
	t.mu.Lock()
	t.fetch = nil
	if f.err == nil {
		t.current = f.token
	}
	t.mu.Unlock()
	close(f.done)
}
