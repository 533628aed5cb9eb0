package abmtest

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Apple's only signature method is HMAC-SHA1
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSkew is how far oauth_timestamp may be from the service's clock. Apple refuses skewed clocks but does not
// publish its bound.
const maxSkew = 10 * time.Minute

// nonce is one use of oauth_nonce; the combination must be unique (RFC 5849 section 3.3).
type nonce struct{ token, timestamp, value string }

type pair struct{ key, value string }

// verifyOAuth checks the OAuth 1.0a signature of a request and returns the entry it was made for. Malformed
// parameters are 400, wrong ones 401, as Apple lists them. The caller holds the lock.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/authenticating-for-automated-device-enrollment
func (s *Service) verifyOAuth(r *http.Request, now time.Time) (*MDMServer, error) {
	header := r.Header.Values("Authorization")
	if len(header) != 1 {
		return nil, bad("Missing authorization parameter")
	}
	params, err := parseAuthorization(header[0])
	if err != nil {
		return nil, err
	}
	get := func(key string) string {
		for _, p := range params {
			if p.key == key {
				return p.value
			}
		}
		return ""
	}
	server := s.byConsumerKey(get("oauth_consumer_key"))
	if server == nil {
		return nil, unauthorized("unknown oauth_consumer_key")
	}
	creds := server.creds
	if !hmac.Equal([]byte(creds.AccessToken), []byte(get("oauth_token"))) {
		return nil, unauthorized("oauth_token is not the newest access token of this server")
	}
	if !now.Before(creds.AccessTokenExpiry) {
		return nil, unauthorized("the access token has expired")
	}
	seconds, err := strconv.ParseInt(get("oauth_timestamp"), 10, 64)
	if err != nil || seconds <= 0 {
		return nil, unauthorized("oauth_timestamp is not a positive number")
	}
	if f := s.strike(FaultClockSkew, server, opSession); f != nil {
		now = now.Add(cmp.Or(f.Duration, f.info.duration))
	}
	if skew := now.Sub(time.Unix(seconds, 0)); skew > maxSkew || skew < -maxSkew {
		return nil, unauthorized("oauth_timestamp is too far from the time of the service")
	}
	want := sign(baseString(r, params), creds.ConsumerSecret, creds.AccessSecret)
	got, err := base64.StdEncoding.DecodeString(get("oauth_signature"))
	if err != nil || !hmac.Equal(got, want) {
		return nil, unauthorized("oauth_signature does not fit; base string: " + baseString(r, params))
	}
	return server, s.useNonce(nonce{creds.AccessToken, get("oauth_timestamp"), get("oauth_nonce")}, now)
}

// useNonce refuses a nonce seen before. Nonces older than the accepted skew are forgotten: their timestamp
// fails first.
func (s *Service) useNonce(n nonce, now time.Time) error {
	if _, seen := s.nonces[n]; seen {
		return unauthorized("oauth_nonce was used before")
	}
	if len(s.nonces) >= maxSessions {
		for old, at := range s.nonces {
			if now.Sub(at) > 2*maxSkew {
				delete(s.nonces, old)
			}
		}
	}
	s.nonces[n] = now
	return nil
}

// parseAuthorization reads the parameters of an OAuth Authorization header without realm, and checks that all
// needed ones are there, once, and no unknown one.
func parseAuthorization(header string) ([]pair, error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	if !strings.EqualFold(scheme, "OAuth") {
		return nil, bad("Missing authorization parameter")
	}
	required := map[string]bool{
		"oauth_consumer_key": true, "oauth_token": true, "oauth_signature_method": true, "oauth_timestamp": true,
		"oauth_nonce": true, "oauth_signature": true, "oauth_version": false,
	}
	seen := make(map[string]string)
	var params []pair
	for rest = strings.TrimSpace(rest); rest != ""; {
		p, after, err := nextParameter(rest)
		if err != nil {
			return nil, bad("Missing authorization parameter")
		}
		rest = after
		if p.key == "realm" {
			continue
		}
		if _, known := required[p.key]; !known {
			return nil, bad("Unsupported OAuth parameter")
		}
		if _, twice := seen[p.key]; twice {
			return nil, bad("Duplicated OAuth protocol parameter")
		}
		seen[p.key] = p.value
		params = append(params, p)
	}
	for key, needed := range required {
		if needed && seen[key] == "" {
			return nil, bad("Missing authorization parameter")
		}
	}
	if seen["oauth_signature_method"] != "HMAC-SHA1" {
		return nil, bad("Unsupported signature method")
	}
	if v, given := seen["oauth_version"]; given && v != "1.0" {
		return nil, bad("Unsupported OAuth parameter")
	}
	return params, nil
}

// nextParameter reads `key="value"` up to and including a following comma, percent-decoded.
func nextParameter(s string) (p pair, rest string, err error) {
	syntax := errors.New("syntax")
	key, after, ok := strings.Cut(s, `="`)
	if !ok {
		return pair{}, "", syntax
	}
	value, rest, ok := strings.Cut(after, `"`)
	if !ok {
		return pair{}, "", syntax
	}
	rest = strings.TrimSpace(rest)
	if rest != "" {
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return pair{}, "", syntax
		}
		rest = strings.TrimSpace(rest)
	}
	if p.key, err = url.PathUnescape(strings.TrimSpace(key)); err != nil {
		return pair{}, "", err
	}
	if p.value, err = url.PathUnescape(value); err != nil {
		return pair{}, "", err
	}
	return p, rest, nil
}

// baseString is the signature base string of RFC 5849 section 3.4.1. The path is the one on the request line, so
// that a handler mounted with http.StripPrefix sees what the client signed.
func baseString(r *http.Request, oauth []pair) string {
	target := r.URL
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
		target = u
	}
	scheme, port := "http", ":80"
	if r.TLS != nil {
		scheme, port = "https", ":443"
	}
	host := strings.TrimSuffix(strings.ToLower(r.Host), port)
	path := cmp.Or(target.EscapedPath(), "/")

	params := make([]pair, 0, len(oauth))
	for _, p := range oauth {
		if p.key != "oauth_signature" {
			params = append(params, pair{percentEncode(p.key), percentEncode(p.value)})
		}
	}
	for key, values := range target.Query() {
		for _, v := range values {
			params = append(params, pair{percentEncode(key), percentEncode(v)})
		}
	}
	slices.SortFunc(params, func(a, b pair) int {
		return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.value, b.value))
	})
	joined := make([]string, len(params))
	for i, p := range params {
		joined[i] = p.key + "=" + p.value
	}
	return strings.ToUpper(r.Method) + "&" + percentEncode(scheme+"://"+host+path) + "&" + percentEncode(strings.Join(joined, "&"))
}

func sign(base, consumerSecret, accessSecret string) []byte {
	mac := hmac.New(sha1.New, []byte(percentEncode(consumerSecret)+"&"+percentEncode(accessSecret)))
	mac.Write([]byte(base))
	return mac.Sum(nil)
}

// percentEncode encodes as RFC 5849 section 3.6 demands, which differs from net/url: everything but letters,
// digits and "-._~" in upper-case hex.
func percentEncode(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}
