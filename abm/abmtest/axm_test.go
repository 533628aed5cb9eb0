package abmtest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// axmClient speaks to the API as Apple's documents say, with the standard library.
type axmClient struct {
	t       *testing.T
	api     *abmtest.AXM
	clk     *clock
	account abmtest.APIAccount
	key     *ecdsa.PrivateKey
	token   string
}

func newAXMClient(t *testing.T, clk *clock, s *abmtest.Service, opts ...abmtest.AXMOption) *axmClient {
	t.Helper()
	api, err := abmtest.NewAXM(s, opts...)
	require.NoError(t, err)
	account, err := api.AddAPIAccount("BUSINESSAPI")
	require.NoError(t, err)
	block, _ := pem.Decode(account.PrivateKey)
	require.NotNil(t, block)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	require.NoError(t, err)
	c := &axmClient{t: t, api: api, clk: clk, account: account, key: key}
	c.login()
	return c
}

// sign returns a JWS of header and claims.
func (c *axmClient) sign(header, claims map[string]any) string {
	c.t.Helper()
	part := func(v any) string {
		data, err := json.Marshal(v)
		require.NoError(c.t, err)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	input := part(header) + "." + part(claims)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, digest[:])
	require.NoError(c.t, err)
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// parts returns a header, claims and form that are right.
func (c *axmClient) parts() (header, claims map[string]any, form url.Values) {
	now := c.clk.Now()
	return map[string]any{"alg": "ES256", "kid": c.account.KeyID}, map[string]any{
			"iss": c.account.ClientID, "sub": c.account.ClientID, "aud": "https://account.apple.com/auth/oauth2/v2/token",
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": "1",
		}, url.Values{
			"grant_type": {"client_credentials"}, "client_id": {c.account.ClientID}, "scope": {"business.api"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}
}

func (c *axmClient) post(path, body string) (int, map[string]any) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(r)
}

func (c *axmClient) do(r *http.Request) (int, map[string]any) {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.api.ServeHTTP(w, r)
	var out map[string]any
	if w.Body.Len() > 0 && strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		require.NoError(c.t, json.Unmarshal(w.Body.Bytes(), &out), w.Body.String())
	}
	return w.Code, out
}

func (c *axmClient) login() {
	c.t.Helper()
	header, claims, form := c.parts()
	form.Set("client_assertion", c.sign(header, claims))
	status, out := c.post("/auth/oauth2/token", form.Encode())
	require.Equal(c.t, http.StatusOK, status, out)
	assert.EqualValues(c.t, 3600, out["expires_in"])
	c.token, _ = out["access_token"].(string)
}

// call makes a request to the API and wants a status.
func (c *axmClient) call(want int, method, path, body string) map[string]any {
	c.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Accept", "application/json")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	status, out := c.do(r)
	require.Equal(c.t, want, status, "%s %s: %v", method, path, out)
	return out
}

func axmActivity(kind, server string, deadline time.Time, serials ...string) string {
	var devices []map[string]string
	for _, s := range serials {
		devices = append(devices, map[string]string{"type": "orgDevices", "id": s})
	}
	relationships := map[string]any{"devices": map[string]any{"data": devices}}
	if server != "" {
		relationships["mdmServer"] = map[string]any{"data": map[string]string{"type": "mdmServers", "id": server}}
	}
	attrs := map[string]any{"activityType": kind}
	if !deadline.IsZero() {
		attrs["activityTypeMetadata"] = map[string]string{"mdmMigrationDeadlineDateTime": deadline.Format("2006-01-02T15:04:05.000Z")}
	}
	data, err := json.Marshal(map[string]any{"data": map[string]any{"type": "orgDeviceActivities", "attributes": attrs, "relationships": relationships}})
	if err != nil {
		panic(err)
	}
	return string(data)
}

// dig returns a value inside nested objects.
func dig(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func axmID(m *abmtest.MDMServer) string { return strings.ReplaceAll(m.UUID(), "-", "") }

// An assignment through the API is an event of the device assignment service, with an empty profile status.
func TestAXMAssignmentShowsInSync(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s, err := abmtest.NewService(abmtest.WithClock(clk.Now), abmtest.WithSeed(1))
	require.NoError(t, err)
	from, err := s.AddMDMServer("From")
	require.NoError(t, err)
	to, err := s.AddMDMServer("To")
	require.NoError(t, err)
	require.NoError(t, s.AddDevices(from, machines("A", "B")...))
	old, young := newTestClient(t, s, from, clk), newTestClient(t, s, to, clk)
	_, oldCursor := old.all("/server/devices", "", 0)
	_, youngCursor := young.all("/server/devices", "", 0)

	c := newAXMClient(t, clk, s)
	out := c.call(201, "POST", "/v1/orgDeviceActivities", axmActivity("ASSIGN_DEVICES", axmID(to), time.Time{}, "A"))
	id, _ := dig(out, "data", "id").(string)
	assert.Equal(t, "SUBMITTED", dig(out, "data", "attributes", "subStatus"))
	var steps []any
	for range 3 {
		out = c.call(200, "GET", "/v1/orgDeviceActivities/"+id, "")
		steps = append(steps, dig(out, "data", "attributes", "subStatus"))
	}
	assert.Equal(t, []any{"PRE_PROCESSING", "PENDING", "COMPLETED_WITH_SUCCESS"}, steps)

	added, youngCursor := young.all("/devices/sync", youngCursor, 0)
	assert.Equal(t, []string{"added A"}, opsOf(added))
	assert.Equal(t, "empty", added[0]["profile_status"])
	assert.Nil(t, added[0]["mdm_migration_deadline"])
	deleted, _ := old.all("/devices/sync", oldCursor, 0)
	assert.Equal(t, []string{"deleted A"}, opsOf(deleted))

	deadline := clk.Now().Add(30 * 24 * time.Hour)
	out = c.call(201, "POST", "/v1/orgDeviceActivities",
		axmActivity("ASSIGN_DEVICES_WITH_MDM_MIGRATION_DEADLINE", axmID(to), deadline, "B"))
	id, _ = dig(out, "data", "id").(string)
	for range 3 {
		c.call(200, "GET", "/v1/orgDeviceActivities/"+id, "")
	}
	added, _ = young.all("/devices/sync", youngCursor, 0)
	assert.Equal(t, []string{"B"}, serialsOf(added))
	assert.Equal(t, deadline.UTC().Format("2006-01-02T15:04:05Z"), added[0]["mdm_migration_deadline"])
}

// Each thing that can be wrong with an assertion is refused.
func TestAXMTokenEndpoint(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s, err := abmtest.NewService(abmtest.WithClock(clk.Now))
	require.NoError(t, err)
	c := newAXMClient(t, clk, s)
	now := clk.Now()
	for name, edit := range map[string]func(h, p map[string]any, f url.Values){
		"invalid_client alg":      func(h, _ map[string]any, _ url.Values) { h["alg"] = "HS256" },
		"invalid_client kid":      func(h, _ map[string]any, _ url.Values) { h["kid"] = "x" },
		"invalid_client aud":      func(_, p map[string]any, _ url.Values) { p["aud"] = "https://account.apple.com/auth/oauth2/token" },
		"invalid_client iss":      func(_, p map[string]any, _ url.Values) { p["iss"] = "x" },
		"invalid_client sub":      func(_, p map[string]any, _ url.Values) { delete(p, "sub") },
		"invalid_client jti":      func(_, p map[string]any, _ url.Values) { delete(p, "jti") },
		"invalid_client iat":      func(_, p map[string]any, _ url.Values) { p["iat"] = now.Add(time.Hour).Unix() },
		"invalid_client past":     func(_, p map[string]any, _ url.Values) { p["exp"] = now.Unix() },
		"invalid_client long":     func(_, p map[string]any, _ url.Values) { p["exp"] = now.Add(181 * 24 * time.Hour).Unix() },
		"invalid_client client":   func(_, _ map[string]any, f url.Values) { f.Set("client_id", "BUSINESSAPI.x") },
		"invalid_scope":           func(_, _ map[string]any, f url.Values) { f.Set("scope", "school.api") },
		"unsupported_grant_type":  func(_, _ map[string]any, f url.Values) { f.Set("grant_type", "password") },
		"invalid_request of type": func(_, _ map[string]any, f url.Values) { f.Del("client_assertion_type") },
	} {
		header, claims, form := c.parts()
		edit(header, claims, form)
		form.Set("client_assertion", c.sign(header, claims))
		status, out := c.post("/auth/oauth2/v2/token", form.Encode())
		assert.Equal(t, 400, status, name)
		assert.Equal(t, strings.Fields(name)[0], out["error"], name)
	}
	header, claims, form := c.parts()
	good := c.sign(header, claims)
	digest := sha256.Sum256([]byte(good[:strings.LastIndex(good, ".")]))
	der, err := ecdsa.SignASN1(rand.Reader, c.key, digest[:])
	require.NoError(t, err)
	other := *c
	other.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, assertion := range map[string]string{
		"DER": good[:strings.LastIndex(good, ".")] + "." + base64.RawURLEncoding.EncodeToString(der),
		"key": other.sign(header, claims), "parts": "a.b", "base64": "%.%.%", "JSON": "YQ.YQ.YQ", "none": "",
	} {
		form.Set("client_assertion", assertion)
		status, _ := c.post("/auth/oauth2/token", form.Encode())
		assert.Equal(t, 400, status, name)
	}
	form.Set("client_assertion", good)
	status, _ := c.post("/auth/oauth2/token?"+form.Encode(), "")
	assert.Equal(t, 200, status, "Apple's example has the parameters in the query")
	r := httptest.NewRequest(http.MethodPost, "/auth/oauth2/token", strings.NewReader(form.Encode()))
	status, _ = c.do(r)
	assert.Equal(t, 400, status, "no content type")
	require.NoError(t, c.api.RevokeAPIAccount(c.account.ClientID))
	status, _ = c.post("/auth/oauth2/token", form.Encode())
	assert.Equal(t, 400, status, "revoked")
	require.ErrorIs(t, c.api.RevokeAPIAccount("x"), abmtest.ErrInvalid)
	_, err = c.api.AddAPIAccount("OTHERAPI")
	require.ErrorIs(t, err, abmtest.ErrInvalid)
}

func TestAXMChecksRequests(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s, err := abmtest.NewService(abmtest.WithClock(clk.Now), abmtest.WithSeed(1))
	require.NoError(t, err)
	m, err := s.AddMDMServer("Fleet")
	require.NoError(t, err)
	require.NoError(t, s.AddDevices(m, machines("A", "B", "C")...))
	require.NoError(t, s.AddDevices(nil, machines("D")...))
	c := newAXMClient(t, clk, s, abmtest.WithAXMPageLimits(2, 3), abmtest.WithAXMTokenLifetime(time.Hour))

	r := httptest.NewRequest(http.MethodGet, "/v1/orgDevices", nil)
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Accept", "*/*")
	status, _ := c.do(r)
	assert.Equal(t, 406, status)

	page := c.call(200, "GET", "/v1/orgDevices?fields[orgDevices]=status", "")
	assert.Len(t, page["data"], 2)
	cursor, _ := dig(page, "meta", "paging", "nextCursor").(string)
	require.NotEmpty(t, cursor)
	next, _ := dig(page, "links", "next").(string)
	u, err := url.Parse(next)
	require.NoError(t, err)
	page = c.call(200, "GET", u.RequestURI(), "")
	devices, _ := page["data"].([]any)
	require.Len(t, devices, 2)
	assert.Equal(t, map[string]any{"status": "UNASSIGNED"}, dig(devices[1], "attributes"))
	assert.Nil(t, dig(page, "links", "next"))
	for path, want := range map[string]int{
		"/v1/orgDevices?limit=4": 400, "/v1/orgDevices?limit=x": 400, "/v1/orgDevices?cursor=x": 400,
		"/v1/mdmServers?cursor=" + cursor: 400, "/v1/orgDevices/X": 404, "/v1/mdmServers/X": 404, "/v1/users": 404,
		"/v1/orgDeviceActivities/X": 404, "/v1/orgDevices/D/assignedServer": 404, "/v1/orgDevices/D/relationships/assignedServer": 200,
		"/v1/mdmDevices": 200, "/v1/orgDevices/A/appleCareCoverage": 200,
	} {
		c.call(want, "GET", path, "")
	}
	day := 24 * time.Hour
	for name, body := range map[string]string{
		"server": axmActivity("ASSIGN_DEVICES", strings.Repeat("0", 32), time.Time{}, "A"),
		"none":   axmActivity("UNASSIGN_DEVICES", "", time.Time{}, "A"),
		"serial": axmActivity("ASSIGN_DEVICES", axmID(m), time.Time{}, "A", "X"),
		"empty":  axmActivity("ASSIGN_DEVICES", axmID(m), time.Time{}),
		"type":   axmActivity("ERASE_DEVICES", axmID(m), time.Time{}, "A"),
		"past":   axmActivity("ASSIGN_DEVICES_WITH_MDM_MIGRATION_DEADLINE", axmID(m), clk.Now().Add(-day), "A"),
		"far":    axmActivity("UPDATE_MDM_MIGRATION_DEADLINE", "", clk.Now().Add(91*day), "A"),
		"when":   axmActivity("UPDATE_MDM_MIGRATION_DEADLINE", "", time.Time{}, "A"),
	} {
		out := c.call(409, "POST", "/v1/orgDeviceActivities", body)
		errs, _ := out["errors"].([]any)
		require.Len(t, errs, 1, name)
		assert.Equal(t, "409", dig(errs[0], "status"), name)
	}
	c.call(400, "POST", "/v1/orgDeviceActivities", "{")
	c.call(409, "DELETE", "/v1/mdmServers/"+axmID(m), "")
	c.call(409, "POST", "/v1/mdmServers", `{"data":{"type":"mdmServers","attributes":{"serverName":"New"}}}`)
	c.call(409, "POST", "/v1/mdmServers", `{"data":{"type":"mdmServers","attributes":{"serverName":"New","serverCertificate":{"name":"x","data":"AQID"}}}}`)
	assert.Len(t, s.MDMServers(), 1, "an entry that could not be made is not left behind")
	c.call(409, "PATCH", "/v1/mdmServers/"+axmID(m), `{"data":{"type":"mdmServers","id":"X","attributes":{}}}`)

	c.api.Refuse(1, 429, 30*time.Second)
	c.call(429, "GET", "/v1/orgDevices", "")
	c.call(200, "GET", "/v1/orgDevices", "")
	c.api.RevokeTokens()
	c.call(401, "GET", "/v1/orgDevices", "")
	c.login()
	clk.Advance(time.Hour)
	c.call(401, "GET", "/v1/orgDevices", "")
}

// Results are a file at a URL that needs no credentials and takes none.
func TestAXMResults(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s, err := abmtest.NewService(abmtest.WithClock(clk.Now), abmtest.WithSeed(1))
	require.NoError(t, err)
	m, err := s.AddMDMServer("Fleet")
	require.NoError(t, err)
	require.NoError(t, s.AddDevices(nil, machines("A", "B")...))
	c := newAXMClient(t, clk, s, abmtest.WithAXMDuration(time.Minute), abmtest.WithAXMLag(time.Minute))
	c.api.FailDevice("B", "INTERNAL_ERROR")
	out := c.call(201, "POST", "/v1/orgDeviceActivities", axmActivity("ASSIGN_DEVICES", axmID(m), time.Time{}, "A", "B"))
	path := fmt.Sprint("/v1/orgDeviceActivities/", dig(out, "data", "id"))
	c.call(200, "GET", path, "")
	assert.Equal(t, "IN_PROGRESS", dig(c.call(200, "GET", path, ""), "data", "attributes", "status"))
	clk.Advance(time.Minute)
	out = c.call(200, "GET", path, "")
	assert.Equal(t, "COMPLETED_WITH_FAILURE", dig(out, "data", "attributes", "subStatus"))
	u, err := url.Parse(fmt.Sprint(dig(out, "data", "attributes", "downloadUrl")))
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, u.RequestURI(), nil)
	w := httptest.NewRecorder()
	c.api.ServeHTTP(w, r)
	assert.Equal(t, "Serial Number,Status\nA,UPDATED\nB,INTERNAL_ERROR\n", w.Body.String())
	r.Header.Set("Authorization", "Bearer "+c.token)
	status, _ := c.do(r)
	assert.Equal(t, 400, status)
	status, _ = c.do(httptest.NewRequest(http.MethodGet, "/results/x", nil))
	assert.Equal(t, 403, status)

	assigned := func() any {
		return dig(c.call(200, "GET", "/v1/orgDevices/A/relationships/assignedServer", ""), "data", "id")
	}
	assert.Empty(t, assigned(), "the relationship lags")
	clk.Advance(time.Minute)
	assert.Equal(t, axmID(m), assigned())

	require.NoError(t, c.api.EndNextActivity("FAILED"))
	require.ErrorIs(t, c.api.EndNextActivity("COMPLETED"), abmtest.ErrInvalid)
	out = c.call(201, "POST", "/v1/orgDeviceActivities", axmActivity("RELEASE_DEVICES", "", time.Time{}, "A"))
	clk.Advance(time.Minute)
	out = c.call(200, "GET", fmt.Sprint("/v1/orgDeviceActivities/", dig(out, "data", "id")), "")
	assert.Equal(t, "FAILED", dig(out, "data", "attributes", "status"))
	d, err := s.Device("A")
	require.NoError(t, err)
	assert.False(t, d.Released)
}

// A device that comes back and is released again has the newer time.
func TestAXMReleasesTwice(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s, err := abmtest.NewService(abmtest.WithClock(clk.Now), abmtest.WithSeed(1))
	require.NoError(t, err)
	c := newAXMClient(t, clk, s, abmtest.WithAXMPolls(1))
	for _, want := range []string{"2026-09-01T12:01:00.000Z", "2026-09-01T12:02:00.000Z"} {
		require.NoError(t, s.AddDevices(nil, machines("A")...))
		clk.Advance(time.Minute)
		out := c.call(201, "POST", "/v1/orgDeviceActivities", axmActivity("RELEASE_DEVICES", "", time.Time{}, "A"))
		c.call(200, "GET", fmt.Sprint("/v1/orgDeviceActivities/", dig(out, "data", "id")), "")
		assert.Equal(t, want, dig(c.call(200, "GET", "/v1/orgDevices/A", ""), "data", "attributes", "releasedFromOrgDateTime"))
	}
}

func TestAXMOptions(t *testing.T) {
	t.Parallel()
	s, err := abmtest.NewService()
	require.NoError(t, err)
	for i, o := range []abmtest.AXMOption{
		nil, abmtest.WithAXMPolls(0), abmtest.WithAXMDuration(0), abmtest.WithAXMLag(-1), abmtest.WithAXMTokenLifetime(0),
		abmtest.WithAXMPageLimits(0, 1), abmtest.WithAXMResultsURL("https://x/"),
	} {
		_, err := abmtest.NewAXM(s, o)
		assert.Error(t, err, i)
	}
	_, err = abmtest.NewAXM(nil)
	assert.Error(t, err)
}
