package abm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// asked is one call of a client at the simulated Apple, and what has to come of it.
type asked struct {
	op   string // as the simulator names it
	call func(context.Context, *Client) (any, error)
	want any // nil: anything
}

// school is an organization that takes part in everything, with two devices, a defined profile and a roster, on a real
// connection: some faults need one.
func school(t *testing.T) (apple *abmtest.Server, client func(...Option) *Client, a, b, uuid string) {
	t.Helper()
	apple = abmtest.New(t, abmtest.WithOrganization(abmtest.Organization{Name: "School", ID: "1", AdminID: "x@example.org", Type: "edu", Version: "v2"}))
	server, err := apple.AddMDMServer("MDM")
	require.NoError(t, err)
	require.NoError(t, apple.AddDevices(server, apple.RandomDevices(2)...))
	for _, path := range []string{"class", "class/sync", "class/course", "class/person", "class/person/sync", "class/location"} {
		require.NoError(t, apple.SetRoster("/roster/"+path, json.RawMessage(fmt.Sprintf(`{"of":%q}`, path))))
	}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	client = func(opts ...Option) *Client {
		c, err := NewClient(tokenOf(server), append([]Option{WithBaseURL(apple.URL), WithTransport(tr), WithTries(1, 1, 1)}, opts...)...)
		require.NoError(t, err)
		return c
	}
	c := client()
	page, err := c.FetchDevices(t.Context(), "", 0)
	require.NoError(t, err)
	doc, err := testProfile("P").Canonical()
	require.NoError(t, err)
	uuid, err = c.DefineProfile(t.Context(), doc)
	require.NoError(t, err)
	return apple, client, page.Devices[0].SerialNumber, page.Devices[1].SerialNumber, uuid
}

func roster(path string, call func(*Client, context.Context, string, int) (*RosterPage, error)) asked {
	return asked{op: "POST /roster/" + path, want: fmt.Sprintf(` {"of":%q}`, path), call: func(ctx context.Context, c *Client) (any, error) {
		p, err := call(c, ctx, "", 0)
		if err != nil {
			return "", err
		}
		return " " + string(p.Items[0]), nil
	}}
}

// successes are calls of every operation that succeed, in an order in which they do.
func successes(a, b, uuid string) []asked {
	one := map[string]Result{b: ResultSuccess}
	return []asked{
		{op: "GET /account", call: func(ctx context.Context, c *Client) (any, error) {
			d, err := c.AccountDetail(ctx)
			if err != nil {
				return "", err
			}
			return d.OrgName, nil
		}, want: "School"},
		{op: "POST /server/devices", call: func(ctx context.Context, c *Client) (any, error) {
			p, err := c.FetchDevices(ctx, "", 0)
			if err != nil {
				return 0, err
			}
			return len(p.Devices), nil
		}, want: 2},
		{op: "POST /devices", call: func(ctx context.Context, c *Client) (any, error) {
			m, err := c.DeviceDetails(ctx, a)
			return m[a].ResponseStatus, err
		}, want: ResultSuccess},
		{op: "POST /profile", call: func(ctx context.Context, c *Client) (any, error) {
			return c.DefineProfile(ctx, []byte(`{"profile_name":"Q","url":"https://mdm.example.org/"}`))
		}},
		{op: "GET /profile", call: func(ctx context.Context, c *Client) (any, error) {
			p, err := c.FetchProfile(ctx, uuid)
			if err != nil {
				return "", err
			}
			return p.ProfileName, nil
		}, want: "P"},
		{op: "POST /profile/devices", call: func(ctx context.Context, c *Client) (any, error) {
			r, err := c.AssignProfile(ctx, uuid, b)
			return r.Devices, err
		}, want: one},
		{op: "DELETE /profile/devices", call: func(ctx context.Context, c *Client) (any, error) { return c.RemoveProfile(ctx, b) }, want: one},
		{op: "POST /device/activationlock", call: func(ctx context.Context, c *Client) (any, error) { return c.ActivationLock(ctx, a, "", "") }, want: ResultSuccess},
		{op: "GET /os-beta-enrollment/tokens", call: func(ctx context.Context, c *Client) (any, error) { return c.BetaEnrollmentTokens(ctx) }},
		{op: "POST /account-driven-enrollment/profile", call: func(ctx context.Context, c *Client) (any, error) {
			return "", c.AssignAccountDrivenEnrollmentProfile(ctx, "https://mdm.example.org/wk")
		}, want: ""},
		{op: "GET /account-driven-enrollment/profile", call: func(ctx context.Context, c *Client) (any, error) {
			u, _, err := c.FetchAccountDrivenEnrollmentProfile(ctx)
			return u, err
		}, want: "https://mdm.example.org/wk"},
		{op: "DELETE /account-driven-enrollment/profile", call: func(ctx context.Context, c *Client) (any, error) {
			return "", c.RemoveAccountDrivenEnrollmentProfile(ctx)
		}, want: ""},
		roster("class", (*Client).RosterClasses), roster("class/sync", (*Client).RosterClassesSync), roster("class/course", (*Client).RosterCourses),
		roster("class/person", (*Client).RosterPersons), roster("class/person/sync", (*Client).RosterPersonsSync),
		roster("class/location", (*Client).RosterLocations),
		{op: "POST /devices/disown", call: func(ctx context.Context, c *Client) (any, error) {
			return c.DisownDevices(ctx, DisownConfirmation{b}, b)
		}, want: one},
	}
}

// Every operation against the simulator: success, and each way in which an answer can fail to come.
func TestOperationsAtSimulatedApple(t *testing.T) {
	t.Parallel()
	apple, client, a, b, uuid := school(t)
	c := client(WithCircuitBreaker(1000, time.Second))
	page, err := c.FetchDevices(t.Context(), "", 0)
	require.NoError(t, err)
	faults := []struct {
		fault abmtest.Fault
		is    error // nil: a TransportError
	}{
		{abmtest.Fault{Kind: abmtest.FaultAnswer, Status: 400, Body: `"USER_AGENT_INVALID"`}, ErrUserAgentInvalid},
		{abmtest.Fault{Kind: abmtest.FaultForbidden}, ErrForbidden},
		{abmtest.Fault{Kind: abmtest.FaultTermsNotSigned}, ErrTermsNotSigned},
		{abmtest.Fault{Kind: abmtest.FaultTooManyRequests}, ErrRateLimited},
		{abmtest.Fault{Kind: abmtest.FaultUnavailable}, ErrUnavailable},
		{abmtest.Fault{Kind: abmtest.FaultServerError}, ErrUnavailable},
		{abmtest.Fault{Kind: abmtest.FaultHTML}, ErrBadResponse},
		{abmtest.Fault{Kind: abmtest.FaultTruncated}, nil},
		{abmtest.Fault{Kind: abmtest.FaultReset}, nil},
	}
	for _, op := range append(successes(a, b, uuid), asked{op: "POST /devices/sync", want: page.Cursor != "",
		call: func(ctx context.Context, c *Client) (any, error) {
			p, err := c.SyncDevices(ctx, page.Cursor, 0)
			if err != nil {
				return false, err
			}
			return p.Cursor != "", nil
		}}) {
		got, err := op.call(t.Context(), c)
		require.NoError(t, err, op.op)
		if op.want != nil {
			assert.Equal(t, op.want, got, op.op)
		}
		for _, f := range faults {
			f.fault.ID, f.fault.Operation = "one", op.op
			if f.fault.Kind == abmtest.FaultTermsNotSigned {
				f.fault.Operation = ""
			}
			_, err := apple.SetFault(f.fault)
			require.NoError(t, err, f.fault.Kind)
			got, err := op.call(t.Context(), c)
			apple.ClearFaults("one")
			// What is in the body of a mere success does not matter.
			if quiet := op.want == "" && (f.fault.Kind == abmtest.FaultHTML || f.fault.Kind == abmtest.FaultTruncated); quiet {
				continue
			}
			if f.is == nil {
				var lost *TransportError
				require.ErrorAs(t, err, &lost, "%s %s", op.op, f.fault.Kind)
			} else {
				require.ErrorIs(t, err, f.is, "%s %s", op.op, f.fault.Kind)
			}
			assert.Empty(t, got, "%s %s", op.op, f.fault.Kind)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = op.call(ctx, c)
		require.ErrorIs(t, err, context.Canceled, op.op)
	}
}

// The codes that the simulator, which knows Apple's documents and not this package, answers by itself.
func TestErrorsOfSimulatedApple(t *testing.T) {
	t.Parallel()
	_, client, a, _, _ := school(t)
	c := client()
	profile := func(doc string) func(context.Context) error {
		return func(ctx context.Context) error { _, err := c.DefineProfile(ctx, []byte(doc)); return err }
	}
	const base = `"profile_name":"x","url":"https://x.example/"`
	for name, tt := range map[string]struct {
		call func(context.Context) error
		is   error
	}{
		"no cursor":    {func(ctx context.Context) error { _, err := c.SyncDevices(ctx, "", 0); return err }, ErrCursorRequired},
		"bad cursor":   {func(ctx context.Context) error { _, err := c.SyncDevices(ctx, "zz", 0); return err }, ErrCursorInvalid},
		"bad fetch":    {func(ctx context.Context) error { _, err := c.FetchDevices(ctx, "zz", 0); return err }, ErrCursorInvalid},
		"no serials":   {func(ctx context.Context) error { _, err := c.DeviceDetails(ctx); return err }, ErrDeviceIDRequired},
		"assign none":  {func(ctx context.Context) error { _, err := c.AssignProfile(ctx, "P"); return err }, ErrDeviceIDRequired},
		"assign what":  {func(ctx context.Context) error { _, err := c.AssignProfile(ctx, "", a); return err }, ErrProfileUUIDRequired},
		"assign lost":  {func(ctx context.Context) error { _, err := c.AssignProfile(ctx, "NONE", a); return err }, ErrProfileNotFound},
		"remove none":  {func(ctx context.Context) error { _, err := c.RemoveProfile(ctx); return err }, ErrDeviceIDRequired},
		"profile lost": {func(ctx context.Context) error { _, err := c.FetchProfile(ctx, "NONE"); return err }, ErrProfileNotFound},
		"profile what": {func(ctx context.Context) error { _, err := c.FetchProfile(ctx, ""); return err }, ErrProfileUUIDRequired},
		"replaces":     {func(ctx context.Context) error { _, err := c.ReplacementDetails(ctx, a); return err }, ErrDeviceNotFound},
		"url":          {func(ctx context.Context) error { return c.AssignAccountDrivenEnrollmentProfile(ctx, "") }, ErrDiscoveryURLRequired},
		"http url":     {func(ctx context.Context) error { return c.AssignAccountDrivenEnrollmentProfile(ctx, "http://x") }, ErrDiscoveryURLNotValid},
		"no url":       {func(ctx context.Context) error { _, _, err := c.FetchAccountDrivenEnrollmentProfile(ctx); return err }, ErrNotFound},
		"no name":      {profile(`{"url":"https://x.example/"}`), ErrConfigNameRequired},
		"empty name":   {profile(`{"profile_name":"","url":"https://x.example/"}`), ErrConfigNameInvalid},
		"no mdm url":   {profile(`{"profile_name":"x"}`), ErrConfigURLRequired},
		"bad mdm url":  {profile(`{"profile_name":"x","url":""}`), ErrConfigURLInvalid},
		"department":   {profile(`{` + base + `,"department":""}`), ErrDepartmentInvalid},
		"phone":        {profile(`{` + base + `,"support_phone_number":""}`), ErrSupportPhoneInvalid},
		"email":        {profile(`{` + base + `,"support_email_address":""}`), ErrSupportEmailInvalid},
		"magic":        {profile(`{` + base + `,"org_magic":""}`), ErrMagicInvalid},
		"flags":        {profile(`{` + base + `,"is_supervised":false,"is_mdm_removable":false}`), ErrFlagsInvalid},
		"locale":       {profile(`{` + base + `,"language":"english","region":"x"}`), ErrLocaleInvalid},
		"array":        {profile(`[]`), ErrMalformedBody},
	} {
		require.ErrorIs(t, tt.call(t.Context()), tt.is, name)
	}
}
