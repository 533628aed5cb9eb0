package abmtest

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Timestamp, nonce and keys of Apple's published example, with made-up secrets.
const (
	vectorBase = "GET&https%3A%2F%2Fmdmenrollment.apple.com%2Fsession&oauth_consumer_key%3DCK_00fadb3d36c6094cf479838455321b7c" +
		"%26oauth_nonce%3D4572616e48616d6d65724c61686176%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131200" +
		"%26oauth_token%3DAT_O2109279022Oe03b641fd6f07d7face7894211d521fd8bef09c3O137392%26oauth_version%3D1.0"
	vectorSignature = "o7jxnBXR4I4hGpHt7vRpgUd7TL8="
	vectorHeader    = `OAuth realm="ADM", oauth_consumer_key="CK_00fadb3d36c6094cf479838455321b7c", ` +
		`oauth_token="AT_O2109279022Oe03b641fd6f07d7face7894211d521fd8bef09c3O137392", oauth_signature_method="HMAC-SHA1", ` +
		`oauth_signature="o7jxnBXR4I4hGpHt7vRpgUd7TL8%3D", oauth_timestamp="137131200", ` +
		`oauth_nonce="4572616e48616d6d65724c61686176", oauth_version="1.0"`
)

func vectorRequest(t *testing.T, target string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	r.Header.Set("User-Agent", "vector")
	r.Header.Set("Authorization", vectorHeader)
	return r
}

func TestPublishedExampleVerifies(t *testing.T) {
	t.Parallel()
	clock := func() time.Time { return time.Unix(137131200, 0) }
	s, err := NewService(WithClock(clock))
	require.NoError(t, err)
	m, err := s.AddMDMServer("Fleet")
	require.NoError(t, err)
	m.creds = Credentials{
		ConsumerKey: "CK_00fadb3d36c6094cf479838455321b7c", ConsumerSecret: "CS_test_secret",
		AccessToken:  "AT_O2109279022Oe03b641fd6f07d7face7894211d521fd8bef09c3O137392",
		AccessSecret: "AS_test_secret", AccessTokenExpiry: clock().Add(time.Hour),
	}

	r := vectorRequest(t, "https://mdmenrollment.apple.com/session")
	params, err := parseAuthorization(vectorHeader)
	require.NoError(t, err)
	assert.Equal(t, vectorBase, baseString(r, params))
	assert.Equal(t, vectorSignature, base64.StdEncoding.EncodeToString(sign(vectorBase, "CS_test_secret", "AS_test_secret")))

	for target, status := range map[string]int{
		"https://mdmenrollment.apple.com/session":     http.StatusOK,
		"http://mdmenrollment.apple.com/session":      http.StatusUnauthorized,
		"https://mdmenrollment.apple.com/session?a=b": http.StatusUnauthorized,
		"https://example.org/session":                 http.StatusUnauthorized,
	} {
		clear(s.nonces)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, vectorRequest(t, target))
		assert.Equal(t, status, w.Code, "%s: %s", target, w.Body)
	}
}

func TestBaseStringFollowsTheRFC(t *testing.T) {
	t.Parallel()
	// Default ports are left out, the host is lower case, query parameters are sorted in, everything is encoded twice.
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://EXAMPLE.com:80/r%20v/X?id=123&b=%3D%253D&a3=2%20q", nil)
	got := baseString(r, []pair{{"oauth_token", "k+/="}, {"oauth_signature", "left out"}})
	assert.Equal(t, "GET&http%3A%2F%2Fexample.com%2Fr%2520v%2FX&a3%3D2%2520q%26b%3D%253D%25253D%26id%3D123%26oauth_token%3Dk%252B%252F%253D", got)
}

func FuzzAuthorization(f *testing.F) {
	f.Add(vectorHeader)
	f.Add(`OAuth a="b", realm="x"`)
	f.Add(`OAuth oauth_nonce="%`)
	f.Fuzz(func(t *testing.T, header string) {
		params, err := parseAuthorization(header)
		if err != nil {
			assert.Nil(t, params)
			return
		}
		assert.GreaterOrEqual(t, len(params), 6)
	})
}

func FuzzCursor(f *testing.F) {
	s, err := NewService(WithSeed(1))
	require.NoError(f, err)
	m, err := s.AddMDMServer("Fleet")
	require.NoError(f, err)
	valid := s.encodeCursor(m, cursor{limit: 100, position: 1, bound: 2, issued: time.UnixMilli(3)})
	f.Add(valid)
	f.Add(base64.StdEncoding.EncodeToString([]byte("1000:0:1:0:00")))
	f.Add("=")
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := s.decodeCursor(m, text)
		if !ok {
			assert.Zero(t, c)
			return
		}
		// Only what the service issued decodes, so it encodes to the same bytes but for base64's freedom.
		assert.Equal(t, valid, s.encodeCursor(m, c))
	})
}
