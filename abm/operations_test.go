package abm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// Every method of the client that is an operation says which, and the list in testdata has each of them.
func TestOperationsMatchAppleList(t *testing.T) {
	t.Parallel()
	f, err := os.Open(filepath.Join("testdata", "operations.txt"))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	var want []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := strings.TrimSpace(sc.Text()); line != "" && line[0] != '#' {
			want = append(want, line)
		}
	}
	var got []string
	files, err := filepath.Glob("operations_*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		require.NoError(t, err)
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || !fn.Name.IsExported() || receiver(fn) != "Client" {
				continue
			}
			op := ""
			for _, c := range fn.Doc.List {
				if s, ok := strings.CutPrefix(c.Text, "//abm:operation "); ok {
					op = s
				}
			}
			require.NotEmpty(t, op, "%s has no //abm:operation line", fn.Name.Name)
			got = append(got, op+" "+fn.Name.Name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	assert.Equal(t, want, got)
}

func receiver(fn *ast.FuncDecl) string {
	star, ok := fn.Recv.List[0].Type.(*ast.StarExpr)
	if !ok {
		return ""
	}
	id, _ := star.X.(*ast.Ident)
	return id.Name
}

// operation is a call of the client, what it must send, and a body Apple answers it with.
type operation struct {
	name, method, uri, in, out string
	call                       func(context.Context, *Client) (any, error)
	want                       any
	noBody                     bool
}

func operations() []operation {
	results := map[string]Result{"S1": ResultSuccess}
	return []operation{
		{name: "AccountDetail", method: "GET", uri: "/account", out: `{"server_uuid":"U","server_name":"N"}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				d, err := c.AccountDetail(ctx)
				if err != nil {
					return "", err
				}
				return d.ServerUUID + d.ServerName, nil
			}, want: "UN"},
		{name: "FetchDevices", method: "POST", uri: "/server/devices", in: `{"limit":5}`, out: `{"cursor":"c2","devices":[{"serial_number":"S1"}]}`,
			call: func(ctx context.Context, c *Client) (any, error) { return pageText(c.FetchDevices(ctx, "", 5)) }, want: "c2 S1"},
		{name: "SyncDevices", method: "POST", uri: "/devices/sync", in: `{"cursor":"c1"}`, out: `{"cursor":"c2","devices":null}`,
			call: func(ctx context.Context, c *Client) (any, error) { return pageText(c.SyncDevices(ctx, "c1", 0)) }, want: "c2"},
		{name: "DeviceDetails", method: "POST", uri: "/devices", in: `{"devices":["S1"]}`, out: `{"devices":{"S1":{"model":"iMac"}}}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				m, err := c.DeviceDetails(ctx, "S1")
				return m["S1"].SerialNumber + m["S1"].Model, err
			}, want: "S1iMac"},
		{name: "DisownDevices", method: "POST", uri: "/devices/disown", in: `{"devices":["S1"]}`, out: `{"devices":{"S1":"SUCCESS"}}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				return c.DisownDevices(ctx, DisownConfirmation{"S1"}, "S1")
			}, want: results},
		{name: "ReplacementDetails", method: "GET", uri: "/device/replacementDetails?device=S1", out: `{"serial_number":"S1","original_device_serial_number":"S0"}`,
			call: func(ctx context.Context, c *Client) (any, error) { return c.ReplacementDetails(ctx, "S1") },
			want: Replacement{SerialNumber: "S1", OriginalDeviceSerialNumber: "S0"}},
		{name: "ActivationLock", method: "POST", uri: "/device/activationlock", in: `{"device":"S1","escrow_key":"k","lost_message":"m"}`, out: `{"response_status":"SUCCESS"}`,
			call: func(ctx context.Context, c *Client) (any, error) { return c.ActivationLock(ctx, "S1", "k", "m") }, want: ResultSuccess},
		{name: "DefineProfile", method: "POST", uri: "/profile", in: `{"profile_name":"x"}`, out: `{"profile_uuid":"P"}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				return c.DefineProfile(ctx, []byte(`{"profile_name":"x"}`))
			}, want: "P"},
		{name: "FetchProfile", method: "GET", uri: "/profile?profile_uuid=P", out: `{"profile_name":"x","profile_uuid":"P"}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				p, err := c.FetchProfile(ctx, "P")
				if err != nil {
					return "", err
				}
				return p.ProfileName, nil
			}, want: "x"},
		{name: "AssignProfile", method: "POST", uri: "/profile/devices", in: `{"profile_uuid":"P","devices":["S1"]}`, out: `{"devices":{"S1":"SUCCESS"}}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				a, err := c.AssignProfile(ctx, "P", "S1")
				return a.Devices, err
			}, want: results},
		{name: "RemoveProfile", method: "DELETE", uri: "/profile/devices", in: `{"devices":["S1"]}`, out: `{"devices":{"S1":"SUCCESS"}}`,
			call: func(ctx context.Context, c *Client) (any, error) { return c.RemoveProfile(ctx, "S1") }, want: results},
		{name: "BetaEnrollmentTokens", method: "GET", uri: "/os-beta-enrollment/tokens", out: `{"seedBuildTokens":[{"token":"T","title":"Beta","os":"iOS"}]}`,
			call: func(ctx context.Context, c *Client) (any, error) { return c.BetaEnrollmentTokens(ctx) },
			want: []BetaToken{{Token: "T", Title: "Beta", OS: "iOS"}}},
		{name: "AssignAccountDrivenEnrollmentProfile", method: "POST", uri: "/account-driven-enrollment/profile", in: `{"mdm_service_discovery_url":"https://x"}`, noBody: true,
			call: func(ctx context.Context, c *Client) (any, error) {
				return "", c.AssignAccountDrivenEnrollmentProfile(ctx, "https://x")
			}, want: ""},
		{name: "FetchAccountDrivenEnrollmentProfile", method: "GET", uri: "/account-driven-enrollment/profile", out: `{"mdm_service_discovery_url":"https://x"}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				u, _, err := c.FetchAccountDrivenEnrollmentProfile(ctx)
				return u, err
			}, want: "https://x"},
		{name: "RemoveAccountDrivenEnrollmentProfile", method: "DELETE", uri: "/account-driven-enrollment/profile", noBody: true,
			call: func(ctx context.Context, c *Client) (any, error) {
				return "", c.RemoveAccountDrivenEnrollmentProfile(ctx)
			}, want: ""},
		{name: "RosterClasses", method: "POST", uri: "/roster/class", in: `{"cursor":"c1","limit":7}`, out: `{"cursor":"c2","more_to_follow":true,"classes":[{"a":1}]}`,
			call: func(ctx context.Context, c *Client) (any, error) { return rosterText(c.RosterClasses(ctx, "c1", 7)) }, want: `c2 true {"a":1}`},
		{name: "RosterClassesSync", method: "POST", uri: "/roster/class/sync", in: `{"cursor":"c1","limit":7}`, out: `{"cursor":"c2","more_to_follow":true,"classes":[{"a":1}]}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				return rosterText(c.RosterClassesSync(ctx, "c1", 7))
			}, want: `c2 true {"a":1}`},
		{name: "RosterCourses", method: "POST", uri: "/roster/class/course", in: `{"cursor":"c1","limit":7}`, out: `{"cursor":"c2","more_to_follow":true,"courses":[{"a":1}]}`,
			call: func(ctx context.Context, c *Client) (any, error) { return rosterText(c.RosterCourses(ctx, "c1", 7)) }, want: `c2 true {"a":1}`},
		{name: "RosterPersons", method: "POST", uri: "/roster/class/person", in: `{"cursor":"c1","limit":7}`, out: `{"cursor":"c2","more_to_follow":true,"persons":[{"a":1}]}`,
			call: func(ctx context.Context, c *Client) (any, error) { return rosterText(c.RosterPersons(ctx, "c1", 7)) }, want: `c2 true {"a":1}`},
		{name: "RosterPersonsSync", method: "POST", uri: "/roster/class/person/sync", in: `{"cursor":"c1","limit":7}`, out: `{"cursor":"c2","more_to_follow":true,"persons":[{"a":1}]}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				return rosterText(c.RosterPersonsSync(ctx, "c1", 7))
			}, want: `c2 true {"a":1}`},
		{name: "RosterLocations", method: "POST", uri: "/roster/class/location", in: `{"cursor":"c1","limit":7}`, out: `{"cursor":"c2","more_to_follow":true,"locations":[{"a":1}]}`,
			call: func(ctx context.Context, c *Client) (any, error) { return rosterText(c.RosterLocations(ctx, "c1", 7)) }, want: `c2 true {"a":1}`},
	}
}

func rosterText(p *RosterPage, err error) (any, error) {
	if err != nil {
		return "", err
	}
	s := fmt.Sprint(p.Cursor, " ", p.MoreToFollow)
	for _, item := range p.Items {
		s += " " + string(item)
	}
	return s, nil
}

func pageText(p *DevicePage, err error) (any, error) {
	if err != nil {
		return "", err
	}
	s := p.Cursor
	for _, d := range p.Devices {
		s += " " + d.SerialNumber
	}
	return s, nil
}

// Each operation through success, an error of Apple's, bodies that are no use, a dead network and a caller that left.
func TestOperations(t *testing.T) {
	t.Parallel()
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			status, body := 200, op.out
			_, c := newFakeApple(t, 401, func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, op.method, r.Method)
				assert.Equal(t, "/proxy/acme"+op.uri, r.URL.RequestURI())
				assert.Equal(t, "10", r.Header.Get("X-Server-Protocol-Version"))
				assert.Equal(t, "test/1", r.Header.Get("User-Agent"))
				in, _ := io.ReadAll(r.Body)
				if op.in != "" {
					assert.JSONEq(t, op.in, string(in))
					assert.Equal(t, "application/json;charset=UTF8", r.Header.Get("Content-Type"))
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			}, WithUserAgent("test/1"))
			got, err := op.call(t.Context(), c)
			require.NoError(t, err)
			assert.Equal(t, op.want, got)

			status, body = 400, `"SOME_CODE"`
			got, err = op.call(t.Context(), c)
			apiErr, ok := errors.AsType[*APIError](err)
			require.True(t, ok, err)
			assert.Equal(t, op.name, apiErr.Op)
			assert.Equal(t, "SOME_CODE", apiErr.Code)
			assert.False(t, apiErr.Temporary())
			assert.Empty(t, got, "on error all other results are zero")

			if !op.noBody {
				status = 200
				for _, body = range []string{"<html>", op.out[:len(op.out)-1], "", "[]", op.out + "x"} {
					got, err = op.call(t.Context(), c)
					require.ErrorIs(t, err, ErrBadResponse, body)
					assert.True(t, temporary(err))
					assert.Empty(t, got)
				}
			}

			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = op.call(ctx, c)
			require.ErrorIs(t, err, context.Canceled)

			dead, err := NewClient(testToken(), WithTransport(deadNetwork{}), WithTries(1, 1, 1))
			require.NoError(t, err)
			_, err = op.call(t.Context(), dead)
			_, ok = errors.AsType[*TransportError](err)
			require.True(t, ok, err)
		})
	}
}

type deadNetwork struct{}

func (deadNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route")
}

func TestPublishedLimit(t *testing.T) {
	t.Parallel()
	d, err := ParseAccountDetail([]byte(`{"server_uuid":"x","urls":[
		{"uri":"https://mdmenrollment.apple.com/server/devices","http_method":["POST"],"limit":{"default":100,"maximum":1000}},
		{"uri":"/devices/sync","limit":{"maximum":500}},
		{"uri":"devices","http_method":["POST"],"limit":{"maximum":200}},
		{"uri":"/proxy/acme/profile/devices","http_method":["POST","PUT"],"limit":{"maximum":50}},
		{"uri":"/account","http_method":["GET"]},{"uri":"/devices/disown","limit":{"maximum":-1}},{"uri":"%"}]}`))
	require.NoError(t, err)
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/server/devices", 1000}, {"POST", "/devices/sync", 500}, {"POST", "/devices", 200}, {"GET", "/devices", 0},
		{"POST", "/profile/devices", 0}, {"GET", "/account", 0}, {"POST", "/devices/disown", 0}, {"POST", "/profile", 0},
		{"POST", "", 0}, {"POST", "/sync", 0},
	} {
		assert.Equal(t, tt.want, d.Limit(tt.method, tt.path), "%s %s", tt.method, tt.path)
	}
	d.basePath = "/proxy/acme/"
	assert.Equal(t, 50, d.Limit("POST", "/profile/devices"))
	assert.Equal(t, 0, d.Limit("DELETE", "/profile/devices"))
	assert.Equal(t, 200, d.Limit("POST", "/devices"), "a proxy may pass on what Apple says")
}

// Each call keeps to the limit that is published for it.
func TestEngineKeepsPublishedLimits(t *testing.T) {
	t.Parallel()
	const n = 120
	w := newWorld(t, n, abmtest.WithLimits("/server/devices", 10, 90), abmtest.WithLimits("/devices/sync", 10, 80),
		abmtest.WithLimits("/devices", 10, 30), abmtest.WithLimits("/profile/devices", 10, 40))
	e := w.engine(t)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	_, err = e.SweepOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: n}, w.states(t))
	assert.Empty(t, w.apple.Stats().OverLimit)
	assert.Equal(t, 4, w.apple.Stats().Calls["POST /server/devices"], "twice two pages")
}
