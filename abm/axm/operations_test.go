package axm

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
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
			if !ok || fn.Recv == nil || !fn.Name.IsExported() {
				continue
			}
			op := ""
			for _, c := range fn.Doc.List {
				if s, ok := strings.CutPrefix(c.Text, "//axm:operation "); ok {
					op = s
				}
			}
			require.NotEmpty(t, op, "%s has no //axm:operation line", fn.Name.Name)
			got = append(got, op+" "+fn.Name.Name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	assert.Equal(t, want, got)
}

// operation is a call of the client, what it must send, and a body Apple answers it with.
type operation struct {
	name, method, uri, in, out string
	status                     int
	call                       func(context.Context, *Client) (any, error)
	want                       any
	noBody                     bool
}

func text[T any](v *T, err error, f func(*T) string) (any, error) {
	if err != nil || v == nil {
		return "", err
	}
	return f(v), nil
}

func pageText[T any](p *Page[T], err error, f func(T) string) (any, error) {
	if err != nil {
		return "", err
	}
	s := p.NextCursor
	for _, item := range p.Items {
		s += " " + f(item)
	}
	return s, nil
}

func seqText[T any](seq func(func(T, error) bool), f func(T) string) (any, error) {
	items, err := collect(seq)
	s := ""
	for _, item := range items {
		s += f(item)
	}
	return s, err
}

const (
	deviceDoc = `{"data":{"type":"orgDevices","id":"S1","attributes":{"deviceModel":"iMac"}}}`
	serverDoc = `{"data":{"type":"mdmServers","id":"AB","attributes":{"serverName":"N"}}}`
	listDoc   = `{"data":[{"type":"x","id":"I1"}],"meta":{"paging":{"limit":5,"nextCursor":"c2"}}}`
	lastDoc   = `{"data":[{"type":"x","id":"I1","attributes":{"status":"ACTIVE"}}],"links":{"self":"x"}}`
	actDoc    = `{"data":{"type":"orgDeviceActivities","id":"A1","attributes":{"status":"IN_PROGRESS","subStatus":"SUBMITTED"}}}`
)

func readOperations() []operation {
	device := func(d Device) string { return d.SerialNumber + d.DeviceModel }
	server := func(m *MDMServer) string { return m.ID + m.ServerName }
	return []operation{
		{name: "OrgDevices", method: "GET", uri: "/v1/orgDevices?fields%5BorgDevices%5D=status%2Ccolor&limit=5", out: lastDoc,
			call: func(ctx context.Context, c *Client) (any, error) {
				return seqText(c.OrgDevices(ctx, ListOptions{Fields: []string{"status", "color"}, Limit: 5}), device)
			}, want: "I1"},
		{name: "OrgDevices", method: "GET", uri: "/v1/orgDevices?cursor=c1", out: listDoc,
			call: func(ctx context.Context, c *Client) (any, error) {
				p, err := c.OrgDevicesPage(ctx, ListOptions{Cursor: "c1"})
				return pageText(p, err, device)
			}, want: "c2 I1"},
		{name: "OrgDevice", method: "GET", uri: "/v1/orgDevices/S%2F1?fields%5BorgDevices%5D=deviceModel", out: deviceDoc,
			call: func(ctx context.Context, c *Client) (any, error) {
				d, err := c.OrgDevice(ctx, "S/1", "deviceModel")
				return text(d, err, func(d *Device) string { return device(*d) })
			}, want: "S1iMac"},
		{name: "AppleCareCoverage", method: "GET", uri: "/v1/orgDevices/S1/appleCareCoverage", out: lastDoc,
			call: func(ctx context.Context, c *Client) (any, error) {
				list, err := c.AppleCareCoverage(ctx, "S1")
				if len(list) == 0 {
					return "", err
				}
				return list[0].ID + list[0].Status, err
			}, want: "I1ACTIVE"},
		{name: "AssignedServer", method: "GET", uri: "/v1/orgDevices/S1/assignedServer", out: serverDoc,
			call: func(ctx context.Context, c *Client) (any, error) {
				m, err := c.AssignedServer(ctx, "S1")
				return text(m, err, server)
			}, want: "ABN"},
		{name: "AssignedServerID", method: "GET", uri: "/v1/orgDevices/S1/relationships/assignedServer", out: serverDoc,
			call: func(ctx context.Context, c *Client) (any, error) { return c.AssignedServerID(ctx, "S1") }, want: "AB"},
		{name: "MDMServers", method: "GET", uri: "/v1/mdmServers?limit=7", out: lastDoc,
			call: func(ctx context.Context, c *Client) (any, error) {
				return seqText(c.MDMServers(ctx, ListOptions{Limit: 7}), func(m MDMServer) string { return m.ID + m.Status })
			}, want: "I1ACTIVE"},
		{name: "MDMServer", method: "GET", uri: "/v1/mdmServers/AB", out: serverDoc,
			call: func(ctx context.Context, c *Client) (any, error) {
				m, err := c.MDMServer(ctx, "AB")
				return text(m, err, server)
			}, want: "ABN"},
		{name: "DeviceSerials", method: "GET", uri: "/v1/mdmServers/AB/relationships/devices", out: lastDoc,
			call: func(ctx context.Context, c *Client) (any, error) {
				return seqText(c.DeviceSerials(ctx, "AB", ListOptions{}), func(s string) string { return s })
			}, want: "I1"},
		{name: "Activity", method: "GET", uri: "/v1/orgDeviceActivities/A1", out: actDoc,
			call: func(ctx context.Context, c *Client) (any, error) {
				a, err := c.Activity(ctx, "A1")
				return text(a, err, func(a *Activity) string { return a.ID + a.SubStatus })
			}, want: "A1SUBMITTED"},
		{name: "MDMDevices", method: "GET", uri: "/v1/mdmDevices", out: lastDoc,
			call: func(ctx context.Context, c *Client) (any, error) {
				return seqText(c.MDMDevices(ctx, ListOptions{}), func(d MDMDevice) string { return d.ID })
			}, want: "I1"},
		{name: "MDMDeviceDetails", method: "GET", uri: "/v1/mdmDevices/D1/details",
			out: `{"data":{"type":"mdmDeviceDetails","id":"D1","attributes":{"osVersion":"26.1","storageTotalCapacity":5.5}}}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				d, err := c.MDMDeviceDetails(ctx, "D1")
				return text(d, err, func(d *MDMDeviceDetails) string { return d.OSVersion + d.StorageTotalCapacity.String() })
			}, want: "26.15.5"},
	}
}

func writeOperations() []operation {
	server := func(m *MDMServer) string { return m.ID + m.ServerName }
	activity := func(call func(context.Context, *Client) ([]Activity, error)) func(context.Context, *Client) (any, error) {
		return func(ctx context.Context, c *Client) (any, error) {
			list, err := call(ctx, c)
			if len(list) == 0 {
				return "", err
			}
			return list[0].ID + strings.Join(list[0].Serials, ","), err
		}
	}
	devices := `"devices":{"data":[{"type":"orgDevices","id":"S1"},{"type":"orgDevices","id":"S2"}]}`
	body := func(attrs, server string) string {
		return `{"data":{"type":"orgDeviceActivities","attributes":{` + attrs + `},"relationships":{` + server + devices + `}}}`
	}
	toServer := `"mdmServer":{"data":{"type":"mdmServers","id":"AB"}},`
	serials := []string{"S1", "S2"}
	deadline := time.Date(2026, 10, 1, 14, 0, 0, 0, time.FixedZone("", 7200))
	meta := `,"activityTypeMetadata":{"mdmMigrationDeadlineDateTime":"2026-10-01T12:00:00.000Z"}`
	post := func(in string, call func(context.Context, *Client) ([]Activity, error)) operation {
		return operation{name: "CreateActivity", method: "POST", uri: "/v1/orgDeviceActivities", in: in, out: actDoc, status: 201, call: activity(call), want: "A1S1,S2"}
	}
	name, disown := "N", true
	cert := &ServerCertificate{Name: "mdm.cer", Certificate: &x509.Certificate{Raw: []byte{1, 2, 3}}}
	return []operation{
		post(body(`"activityType":"ASSIGN_DEVICES"`, toServer), func(ctx context.Context, c *Client) ([]Activity, error) {
			return c.AssignDevices(ctx, "AB", serials)
		}),
		post(body(`"activityType":"UNASSIGN_DEVICES"`, toServer), func(ctx context.Context, c *Client) ([]Activity, error) {
			return c.UnassignDevices(ctx, "AB", serials)
		}),
		post(body(`"activityType":"ASSIGN_DEVICES_WITH_MDM_MIGRATION_DEADLINE"`+meta, toServer), func(ctx context.Context, c *Client) ([]Activity, error) {
			return c.AssignDevicesWithMDMMigrationDeadline(ctx, "AB", deadline, serials)
		}),
		post(body(`"activityType":"UPDATE_MDM_MIGRATION_DEADLINE"`+meta, ""), func(ctx context.Context, c *Client) ([]Activity, error) {
			return c.UpdateMDMMigrationDeadline(ctx, deadline, serials)
		}),
		post(body(`"activityType":"CANCEL_MDM_MIGRATION"`, ""), func(ctx context.Context, c *Client) ([]Activity, error) {
			return c.CancelMDMMigration(ctx, serials)
		}),
		post(body(`"activityType":"RELEASE_DEVICES"`, ""), func(ctx context.Context, c *Client) ([]Activity, error) {
			return c.ReleaseDevices(ctx, ConfirmRelease, serials)
		}),
		{name: "CreateMDMServer", method: "POST", uri: "/v1/mdmServers", status: 201, out: serverDoc, want: "ABN",
			in: `{"data":{"type":"mdmServers","attributes":{"serverName":"N","serverCertificate":{"name":"mdm.cer","data":"AQID"}}}}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				m, err := c.CreateMDMServer(ctx, MDMServerUpdate{ServerName: &name, ServerCertificate: cert})
				return text(m, err, server)
			}},
		{name: "UpdateMDMServer", method: "PATCH", uri: "/v1/mdmServers/AB", out: serverDoc, want: "ABN",
			in: `{"data":{"type":"mdmServers","id":"AB","attributes":{"enableMdmDisownFlag":true,"defaultProductFamilies":[]}}}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				m, err := c.UpdateMDMServer(ctx, "AB", MDMServerUpdate{EnableMDMDisown: &disown, DefaultProductFamilies: []string{}})
				return text(m, err, server)
			}},
		{name: "DeleteMDMServer", method: "DELETE", uri: "/v1/mdmServers/AB", status: 204, noBody: true, want: "",
			call: func(ctx context.Context, c *Client) (any, error) { return "", c.DeleteMDMServer(ctx, "AB") }},
	}
}

// Each operation through success, an error of Apple's, bodies that are no use, a dead network and a caller that left.
func TestOperations(t *testing.T) {
	t.Parallel()
	for _, op := range append(readOperations(), writeOperations()...) {
		t.Run(op.method+op.uri+op.in, func(t *testing.T) {
			t.Parallel()
			status, body := op.status, op.out
			if status == 0 {
				status = 200
			}
			c, _ := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, op.method, r.Method)
				assert.Equal(t, "api-business.apple.com", r.URL.Host)
				assert.Equal(t, op.uri, r.URL.RequestURI())
				assert.Equal(t, "application/json", r.Header.Get("Accept"))
				assert.Equal(t, "test/1", r.Header.Get("User-Agent"))
				assert.Equal(t, "Bearer token-1", r.Header.Get("Authorization"))
				in, _ := io.ReadAll(r.Body)
				if op.in != "" {
					assert.JSONEq(t, op.in, string(in))
					assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			}, WithUserAgent("test/1"))
			got, err := op.call(t.Context(), c)
			require.NoError(t, err)
			assert.Equal(t, op.want, got)

			status, body = 403, `{"errors":[{"id":"e1","status":"403","code":"FORBIDDEN_ERROR","title":"t","detail":"S1"}]}`
			got, err = op.call(t.Context(), c)
			apiErr, ok := errors.AsType[*APIError](err)
			require.True(t, ok, err)
			require.ErrorIs(t, err, ErrForbidden)
			assert.Equal(t, op.name, apiErr.Op)
			assert.Equal(t, "axm: "+op.name+": HTTP 403 FORBIDDEN_ERROR (id e1): not allowed for this API account", err.Error())
			assert.False(t, apiErr.Temporary())
			assert.Empty(t, got, "on error all other results are zero")

			if !op.noBody {
				status = 200
				for _, body = range []string{"<html>", op.out[:len(op.out)-1], "", "[]", op.out + "x", "{}", `{"data":5}`} {
					got, err = op.call(t.Context(), c)
					require.ErrorIs(t, err, ErrBadResponse, body)
					assert.Empty(t, got)
				}
			}

			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = op.call(ctx, c)
			require.ErrorIs(t, err, context.Canceled)

			dead, err := New(testCredentials(t), WithTransport(deadNetwork{}), WithTries(1, 1, 1))
			require.NoError(t, err)
			_, err = op.call(t.Context(), dead)
			_, ok = errors.AsType[*TransportError](err)
			require.True(t, ok, err)
		})
	}
}

func TestRequestsAreCheckedBeforeTheyAreSent(t *testing.T) {
	t.Parallel()
	c, f := newFake(t, func(http.ResponseWriter, *http.Request) { t.Error("nothing may be sent") })
	ctx, empty, name := t.Context(), "", "N"
	cert := &ServerCertificate{Name: "mdm.cer", Certificate: &x509.Certificate{Raw: []byte{1, 2, 3}}}
	for name, call := range map[string]func() error{
		"no serials":   func() error { _, err := c.AssignDevices(ctx, "AB", nil); return err },
		"empty serial": func() error { _, err := c.AssignDevices(ctx, "AB", []string{"S1", ""}); return err },
		"long serial":  func() error { _, err := c.CancelMDMMigration(ctx, []string{strings.Repeat("x", 200)}); return err },
		"no server":    func() error { _, err := c.AssignDevices(ctx, "", []string{"S1"}); return err },
		"no deadline":  func() error { _, err := c.UpdateMDMMigrationDeadline(ctx, time.Time{}, []string{"S1"}); return err },
		"unasked deadline": func() error {
			_, err := c.CreateActivity(ctx, ActivityRequest{Type: CancelMDMMigration, Serials: []string{"S1"}, Deadline: time.Now()})
			return err
		},
		"unasked server": func() error {
			_, err := c.CreateActivity(ctx, ActivityRequest{Type: CancelMDMMigration, Serials: []string{"S1"}, ServerID: "AB"})
			return err
		},
		"unknown type": func() error {
			_, err := c.CreateActivity(ctx, ActivityRequest{Type: "ERASE", Serials: []string{"S1"}})
			return err
		},
		"no id":           func() error { _, err := c.OrgDevice(ctx, ""); return err },
		"climbing id":     func() error { _, err := c.OrgDevice(ctx, ".."); return err },
		"no id to delete": func() error { return c.DeleteMDMServer(ctx, "") },
		"no id to update": func() error { _, err := c.UpdateMDMServer(ctx, "", MDMServerUpdate{}); return err },
		"no certificate":  func() error { _, err := c.CreateMDMServer(ctx, MDMServerUpdate{ServerName: &empty}); return err },
		"families of a new server": func() error {
			u := MDMServerUpdate{ServerName: &name, ServerCertificate: cert, DefaultProductFamilies: []string{"MAC"}}
			_, err := c.CreateMDMServer(ctx, u)
			return err
		},
		"empty name": func() error { _, err := c.UpdateMDMServer(ctx, "AB", MDMServerUpdate{ServerName: &empty}); return err },
		"bad certificate": func() error {
			_, err := c.UpdateMDMServer(ctx, "AB", MDMServerUpdate{ServerCertificate: &ServerCertificate{Name: "x"}})
			return err
		},
	} {
		require.Error(t, call(), name)
	}
	_, err := c.ReleaseDevices(ctx, "", []string{"S1"})
	require.ErrorIs(t, err, ErrNotConfirmed)
	_, err = c.CreateActivity(ctx, ActivityRequest{Type: ReleaseDevices, Serials: []string{"S1"}, Confirm: "yes"})
	require.ErrorIs(t, err, ErrNotConfirmed)
	assert.Zero(t, f.tokens.Load())
}
