package abm

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Apple accepts HMAC-SHA1 only
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// authorization returns the Authorization header of a request without body and query: an OAuth 1.0a signature with
// HMAC-SHA1 (RFC 5849), the only one Apple accepts. nanodep has this too, but takes time and nonce from the system.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/authenticating-for-automated-device-enrollment
func authorization(t Token, method string, u *url.URL, now time.Time, nonce string) string {
	p := map[string]string{
		"oauth_consumer_key":     t.ConsumerKey,
		"oauth_token":            t.AccessToken.Reveal(),
		"oauth_signature_method": "HMAC-SHA1",
		"oauth_timestamp":        strconv.FormatInt(now.Unix(), 10),
		"oauth_nonce":            nonce,
		"oauth_version":          "1.0",
	}
	pairs := make([]string, 0, len(p))
	for _, k := range slices.Sorted(maps.Keys(p)) {
		pairs = append(pairs, k+"="+percent(p[k]))
	}
	base := method + "&" + percent(u.Scheme+"://"+host(u)+u.EscapedPath()) + "&" + percent(strings.Join(pairs, "&"))
	mac := hmac.New(sha1.New, []byte(percent(t.ConsumerSecret.Reveal())+"&"+percent(t.AccessSecret.Reveal())))
	mac.Write([]byte(base))
	p["oauth_signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))

	parts := make([]string, 0, len(p)+1)
	parts = append(parts, `realm="ADM"`)
	for _, k := range slices.Sorted(maps.Keys(p)) {
		parts = append(parts, k+`="`+percent(p[k])+`"`)
	}
	return "OAuth " + strings.Join(parts, ", ")
}

// host returns the host as it is signed: lower case, without the port that goes without saying.
func host(u *url.URL) string {
	port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	return strings.TrimSuffix(strings.ToLower(u.Host), port)
}

// percent encodes s as RFC 5849 section 3.6 demands: all but letters, digits, "-", ".", "_" and "~".
func percent(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// authorize signs a request for a session.
func (s *sessions) authorize(r *http.Request, nonce string) {
	r.Header.Set("Authorization", authorization(s.token, r.Method, r.URL, s.now(), nonce))
}
