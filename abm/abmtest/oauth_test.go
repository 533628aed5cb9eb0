package abmtest_test

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Apple's signature method
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// authorization signs GET /session by the steps of RFC 5849, written independently of the service: the parameters are
// in their sorted order and contain nothing that needs encoding twice. edit changes parameters before signing.
func (c *client) authorization(edit map[string]string) string {
	order := []string{
		"oauth_consumer_key", "oauth_nonce", "oauth_signature_method", "oauth_timestamp", "oauth_token", "oauth_version",
	}
	values := map[string]string{
		"oauth_consumer_key": c.creds.ConsumerKey, "oauth_nonce": "n" + strconv.Itoa(c.nonces),
		"oauth_signature_method": "HMAC-SHA1", "oauth_timestamp": strconv.FormatInt(c.clock.Now().Unix(), 10),
		"oauth_token": c.creds.AccessToken, "oauth_version": "1.0",
	}
	for k, v := range edit {
		values[k] = v
	}
	var query, header []string
	for _, k := range order {
		query = append(query, k+"="+url.QueryEscape(values[k]))
		header = append(header, fmt.Sprintf("%s=%q", k, url.QueryEscape(values[k])))
	}
	base := "GET&" + url.QueryEscape("http://apple.test"+c.base+"/session") + "&" + url.QueryEscape(strings.Join(query, "&"))
	mac := hmac.New(sha1.New, []byte(c.creds.ConsumerSecret+"&"+c.creds.AccessSecret))
	mac.Write([]byte(base))
	signature := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return `OAuth realm="ADM", ` + strings.Join(header, ", ") + `, oauth_signature="` + url.QueryEscape(signature) + `"`
}

func TestSessionRefusesBadAuthorization(t *testing.T) {
	t.Parallel()
	without := func(key string) func(string) string {
		return func(h string) string {
			i := strings.Index(h, key)
			require.Positive(t, i)
			end := strings.Index(h[i:], `"`) + i + 1
			end += strings.Index(h[end:], `"`) + 1
			return strings.TrimSuffix(h[:i]+strings.TrimPrefix(h[end:], ", "), ", ")
		}
	}
	tests := []struct {
		name   string
		edit   map[string]string   // before signing
		mangle func(string) string // after signing
		status int
		body   string
	}{
		{name: "correct", status: 200},
		{name: "no realm", mangle: func(h string) string { return strings.Replace(h, `realm="ADM", `, "", 1) }, status: 200},
		{name: "no header", mangle: func(string) string { return "" }, status: 400, body: "Missing authorization parameter"},
		{name: "basic", mangle: func(string) string { return "Basic Zm9vOmJhcg==" }, status: 400, body: "Missing authorization parameter"},
		{name: "cut off", mangle: func(h string) string { return h[:len(h)-3] }, status: 400, body: "Missing authorization parameter"},
		{name: "bad escape", mangle: func(h string) string { return h[:len(h)-2] + `%zz"` }, status: 400, body: "Missing authorization parameter"},
		{name: "no consumer key", mangle: without("oauth_consumer_key"), status: 400, body: "Missing authorization parameter"},
		{name: "no token", mangle: without("oauth_token"), status: 400, body: "Missing authorization parameter"},
		{name: "no nonce", mangle: without("oauth_nonce"), status: 400, body: "Missing authorization parameter"},
		{name: "no timestamp", mangle: without("oauth_timestamp"), status: 400, body: "Missing authorization parameter"},
		{name: "no method", mangle: without("oauth_signature_method"), status: 400, body: "Missing authorization parameter"},
		{name: "no signature", mangle: without("oauth_signature="), status: 400, body: "Missing authorization parameter"},
		{name: "unknown parameter", mangle: func(h string) string { return h + `, oauth_callback="x"` }, status: 400, body: "Unsupported OAuth parameter"},
		{name: "version 2", edit: map[string]string{"oauth_version": "2.0"}, status: 400, body: "Unsupported OAuth parameter"},
		{name: "duplicate", mangle: func(h string) string { return h + `, oauth_nonce="x"` }, status: 400, body: "Duplicated OAuth protocol parameter"},
		{name: "method", edit: map[string]string{"oauth_signature_method": "PLAINTEXT"}, status: 400, body: "Unsupported signature method"},
		{name: "consumer key", edit: map[string]string{"oauth_consumer_key": "CK_other"}, status: 401, body: "UNAUTHORIZED"},
		{name: "token", edit: map[string]string{"oauth_token": "AT_other"}, status: 401, body: "UNAUTHORIZED"},
		{name: "timestamp is text", edit: map[string]string{"oauth_timestamp": "now"}, status: 401, body: "UNAUTHORIZED"},
		{name: "timestamp is early", edit: map[string]string{"oauth_timestamp": "1"}, status: 401, body: "UNAUTHORIZED"},
		{name: "timestamp is late", edit: map[string]string{"oauth_timestamp": "99999999999"}, status: 401, body: "UNAUTHORIZED"},
		{name: "signature", mangle: func(h string) string { return strings.Replace(h, `oauth_nonce="`, `oauth_nonce="x`, 1) }, status: 401, body: "UNAUTHORIZED"},
		{name: "signature is not base64", mangle: func(h string) string { return strings.Replace(h, `oauth_signature="`, `oauth_signature="!`, 1) }, status: 401, body: "UNAUTHORIZED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, c := world(t)
			h := c.header()
			header := c.authorization(tt.edit)
			if tt.mangle != nil {
				header = tt.mangle(header)
			}
			if header != "" {
				h.Set("Authorization", header)
			}
			a := c.send("GET", "/session", "", h)
			assert.Equal(t, tt.status, a.status, a.body)
			if tt.body != "" {
				assert.Equal(t, tt.body, a.body)
				assert.Equal(t, "text/plain;Charset=UTF8", a.header.Get("Content-Type"))
			}
		})
	}
}

func TestNonceIsUsedOnce(t *testing.T) {
	t.Parallel()
	_, _, c := world(t)
	h := c.header()
	h.Set("Authorization", c.authorization(nil))
	assert.Equal(t, http.StatusOK, c.send("GET", "/session", "", h).status)
	again := c.send("GET", "/session", "", h)
	assert.Equal(t, http.StatusUnauthorized, again.status)
	assert.Contains(t, again.header.Get("X-Abmtest-Reason"), "oauth_nonce")

	c.clock.Advance(time.Second) // the same nonce with another timestamp is a new one
	h.Set("Authorization", c.authorization(nil))
	assert.Equal(t, http.StatusOK, c.send("GET", "/session", "", h).status)
}

func TestClientClockMayBeTenMinutesOff(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-601, -600, 600, 601} {
		_, _, c := world(t)
		h := c.header()
		at := c.clock.Now().Add(off * time.Second).Unix()
		h.Set("Authorization", c.authorization(map[string]string{"oauth_timestamp": strconv.FormatInt(at, 10)}))
		want := http.StatusOK
		if off < -600 || off > 600 {
			want = http.StatusUnauthorized
		}
		assert.Equal(t, want, c.send("GET", "/session", "", h).status, "%d seconds", off)
	}
}

func TestTokenExpiresAfterAYear(t *testing.T) {
	t.Parallel()
	_, _, c := world(t)
	c.clock.Advance(365*24*time.Hour - time.Second)
	require.Equal(t, http.StatusOK, c.open().status)
	c.clock.Advance(time.Second)
	a := c.open()
	assert.Equal(t, http.StatusUnauthorized, a.status)
	assert.Contains(t, a.header.Get("X-Abmtest-Reason"), "expired")
}
