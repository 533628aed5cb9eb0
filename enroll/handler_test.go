package enroll

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/internal/plist"
	"github.com/enrollkit/enrollkit/storage"
)

func TestDeviceGetsItsProfileAsOftenAsItAsks(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	var serverURLs, uuids, challenges []string
	for range 2 {
		r := f.post(f.sign(nil))
		require.Equal(t, http.StatusOK, r.status, string(r.body))
		assert.Equal(t, "application/x-apple-aspen-config", r.header.Get("Content-Type"))
		p := readProfile(t, r.body)
		serverURLs = append(serverURLs, p.mdm["ServerURL"].(string))
		uuids = append(uuids, p.top["PayloadUUID"].(string))
		challenges = append(challenges, p.scep["Challenge"].(string))
	}
	assert.Equal(t, serverURLs[0], serverURLs[1], "an installed profile can be replaced only if ServerURL stays")
	assert.NotEqual(t, uuids[0], uuids[1])
	assert.Equal(t, []string{"challenge-1", "challenge-2"}, challenges)

	s, err := f.session()
	require.NoError(t, err)
	assert.Equal(t, storage.SessionIssued, s.State)
	assert.Equal(t, []string{"acme", serial, udid, "iPhone17,2", "18.0"}, []string{s.Account, s.Serial, s.UDID, s.Product, s.OSVersion})
	assert.True(t, f.clock.Now().Add(7*24*time.Hour).Equal(s.ExpiresAt))
	kinds, events := f.acts()
	assert.Equal(t, []string{"enrollment_started", "enrollment_profile_issued", "enrollment_started", "enrollment_profile_issued"}, kinds)
	assert.Equal(t, &activity.EnrollmentStarted{
		On: activity.On{Account: "acme", Serial: serial}, SessionID: s.ID, Product: "iPhone17,2", OSVersion: "18.0",
	}, events[0])
}

func TestProfileIsWhatAppleDocuments(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	r := f.post(f.sign(func(m map[string]any) { m["PRODUCT"] = "Mac15,12" }))
	require.Equal(t, http.StatusOK, r.status)
	p := readProfile(t, r.body)
	_, token := f.keys.device(serial, udid, "")
	assert.Equal(t, map[string]any{
		"PayloadType": "com.apple.mdm", "PayloadVersion": uint64(1), "PayloadIdentifier": "org.example.mdm.com.apple.mdm",
		"PayloadUUID": p.mdm["PayloadUUID"], "PayloadDisplayName": "Example MDM",
		"IdentityCertificateUUID": p.identity["PayloadUUID"], "Topic": topic,
		"ServerURL":    f.server.URL + "/mdm?enrollment_session=" + token + "&site=1",
		"CheckInURL":   f.server.URL + "/checkin?enrollment_session=" + token,
		"AccessRights": uint64(8191), "SignMessage": true, "CheckOutWhenRemoved": true,
		"ServerCapabilities": []any{"com.apple.mdm.per-user-connections", "com.apple.mdm.bootstraptoken"},
	}, p.mdm)
	assert.Equal(t, map[string]any{
		"URL": f.server.URL + "/scep", "Name": "CA", "Challenge": "challenge-1", "Subject": []any{[]any{[]any{"CN", serial}}},
		"Keysize": uint64(2048), "Key Type": "RSA", "Key Usage": uint64(5), "KeyIsExtractable": false, "CAFingerprint": []byte{1, 2},
	}, p.scep)
	assert.Equal(t, "Configuration", p.top["PayloadType"])
	assert.Equal(t, "org.example.mdm", p.top["PayloadIdentifier"])

	r = f.post(f.sign(nil))
	assert.Equal(t, []any{"com.apple.mdm.per-user-connections"}, readProfile(t, r.body).mdm["ServerCapabilities"], "an iPhone has no bootstrap token")
}

func TestBadRequestsLeaveNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(*fixture) []Option { return []Option{WithMaxBody(8 << 10)} })
	signed := f.sign(nil)
	stranger, err := enrolltest.NewDeviceCA()
	require.NoError(t, err)
	id, err := stranger.Issue("device", time.Now())
	require.NoError(t, err)
	raw, err := plist.Marshal(fullInfo())
	require.NoError(t, err)
	foreign, err := id.Sign(raw, enrolltest.ChainFull)
	require.NoError(t, err)
	unreadable, refused := "The request cannot be read.\n", "This device may not enroll here.\n"
	for _, tc := range []struct {
		name   string
		body   []byte
		status int
		text   string
	}{
		{"empty", nil, http.StatusBadRequest, unreadable},
		{"unsigned", raw, http.StatusBadRequest, unreadable},
		{"tampered", bytes.Replace(signed, []byte(serial), []byte("C02XK1JDJGH6"), 1), http.StatusBadRequest, unreadable},
		{"truncated", signed[:100], http.StatusBadRequest, unreadable},
		{"without serial", f.sign(func(m map[string]any) { delete(m, "SERIAL") }), http.StatusBadRequest, unreadable},
		{"another authority", foreign, http.StatusForbidden, refused},
		{"oversized", make([]byte, 8<<10+1), http.StatusRequestEntityTooLarge, "The request is too large.\n"},
	} {
		r := f.post(tc.body)
		assert.Equal(t, tc.status, r.status, tc.name)
		assert.Equal(t, tc.text, string(r.body), tc.name)
		web := f.open(f.browser(false), tc.body)
		if tc.name != "empty" { // without a header it is somebody without a device
			assert.Equal(t, tc.status, web.status, tc.name)
		}
		assert.Contains(t, web.header.Get("Content-Type"), "text/html", tc.name)
	}
	kinds, _ := f.acts()
	assert.Empty(t, kinds)
	_, err = f.session()
	require.ErrorIs(t, err, storage.ErrNotFound)
	assert.Zero(t, f.issuer.n.Load(), "no challenge was spent")
}

func TestRefusalsAreOneAnswerAndSayWhyInActivities(t *testing.T) {
	t.Parallel()
	blocked := NotBlocked(func(_ context.Context, serial string) (string, error) {
		if serial == "C02XK1JDJGH5" {
			return "stolen", nil
		}
		return "", nil
	})
	f := newFixture(t, func(*fixture) []Option { return []Option{WithAuthorizers(blocked)} })
	var answers []response
	for _, s := range []string{"UNKNOWN", "LEFT", serial} {
		answers = append(answers, f.post(f.sign(func(m map[string]any) { m["SERIAL"] = s })))
	}
	for _, a := range answers {
		assert.Equal(t, http.StatusForbidden, a.status)
		assert.Equal(t, answers[0].body, a.body)
		a.header.Del("Date")
		assert.Equal(t, answers[0].header.Get("Content-Type"), a.header.Get("Content-Type"))
	}
	_, events := f.acts()
	require.Len(t, events, 3)
	for i, want := range []string{"inventory: unknown_serial", "inventory: left_account", "block_list: stolen"} {
		e := events[i].(*activity.EnrollmentRefused)
		assert.Equal(t, want, e.By+": "+e.Reason)
	}
	_, err := f.session()
	require.ErrorIs(t, err, storage.ErrNotFound, "a device that was never let in leaves no session")
	assert.Zero(t, f.issuer.n.Load())
}

func TestRefusalEndsASession(t *testing.T) {
	t.Parallel()
	allow := true
	f := newFixture(t, func(*fixture) []Option {
		return []Option{WithAuthorizers(AuthorizerFunc("host", func(context.Context, Candidate) (Verdict, error) {
			if allow {
				return Allow("fine"), nil
			}
			return Deny("no_more"), nil
		}))}
	})
	require.Equal(t, http.StatusOK, f.post(f.sign(nil)).status)
	allow = false
	require.Equal(t, http.StatusForbidden, f.post(f.sign(nil)).status)
	s, err := f.session()
	require.NoError(t, err)
	assert.Equal(t, storage.SessionRefused, s.State)
	assert.Equal(t, "no_more", s.Reason)
	allow = true
	require.Equal(t, http.StatusOK, f.post(f.sign(nil)).status, "a refusal is no dead end")
	s, err = f.session()
	require.NoError(t, err)
	assert.Equal(t, storage.SessionIssued, s.State)
	assert.Empty(t, s.Reason)
}

func TestAuthorizerThatCannotTell(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(*fixture) []Option {
		return []Option{WithAuthorizers(AuthorizerFunc("host", func(context.Context, Candidate) (Verdict, error) {
			return Verdict{}, errors.New("database password is hunter2")
		}))}
	})
	r := f.post(f.sign(nil))
	assert.Equal(t, http.StatusInternalServerError, r.status)
	assert.NotContains(t, string(r.body), "hunter2")
	kinds, _ := f.acts()
	assert.Empty(t, kinds)
}

func TestOSGateAnswers(t *testing.T) {
	t.Parallel()
	gate := func(mode FailMode) func(*fixture) []Option {
		return func(*fixture) []Option {
			g, err := NewOSGate(mode, MinimumByFamily(map[string]OSMinimum{"iPhone": {Version: "18.1", Update: "18.2", Message: "Update first."}}))
			require.NoError(t, err)
			return []Option{WithOSGate(g)}
		}
	}
	f := newFixture(t, gate(FailClosed))
	for _, r := range []response{f.post(f.sign(nil)), f.open(f.browser(false), f.sign(nil))} {
		assert.Equal(t, http.StatusForbidden, r.status)
		assert.Equal(t, "application/json", r.header.Get("Content-Type"))
		var doc map[string]any
		require.NoError(t, json.Unmarshal(r.body, &doc))
		assert.Equal(t, "com.apple.softwareupdate.required", doc["code"])
		assert.Equal(t, map[string]any{"OSVersion": "18.2"}, doc["details"])
		assert.Equal(t, "Update first.", doc["message"])
	}
	s, err := f.session()
	require.NoError(t, err)
	assert.Equal(t, storage.SessionOSRequired, s.State)
	_, events := f.acts()
	assert.Equal(t, &activity.OSUpdateRequired{
		On: activity.On{Account: "acme", Serial: serial}, SessionID: s.ID, From: "18.0", To: "18.2", Reason: "below_minimum",
	}, events[1])

	require.Equal(t, http.StatusOK, f.post(f.sign(func(m map[string]any) { m["OS_VERSION"] = "18.2" })).status, "updated")

	cannot := func(m map[string]any) { delete(m, "MDM_CAN_REQUEST_SOFTWARE_UPDATE") }
	r := f.post(f.sign(cannot))
	assert.Equal(t, http.StatusForbidden, r.status)
	assert.NotContains(t, string(r.body), "softwareupdate", "the document is for devices that ask for it")

	open := newFixture(t, gate(FailOpen))
	require.Equal(t, http.StatusOK, open.post(open.sign(cannot)).status)
	kinds, events := open.acts()
	assert.Equal(t, []string{"enrollment_started", "os_update_required", "enrollment_profile_issued"}, kinds)
	assert.Equal(t, "passed: cannot_request_update", events[1].(*activity.OSUpdateRequired).Reason)
}

func TestRouting(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c := f.browser(false)
	for _, tc := range []struct {
		method, path string
		want         int
	}{
		{http.MethodPut, base, http.StatusMethodNotAllowed},
		{http.MethodPost, base + "/profile", http.StatusMethodNotAllowed},
		{http.MethodGet, base + "/elsewhere", http.StatusNotFound},
		{http.MethodGet, base + "/callback", http.StatusNotFound}, // no sign-in
		{http.MethodGet, base, http.StatusBadRequest},             // no device
		{http.MethodGet, base + "/profile", http.StatusBadRequest},
		{http.MethodGet, base + "/restart", http.StatusBadRequest},
	} {
		assert.Equal(t, tc.want, f.do(c, tc.method, f.server.URL+tc.path, nil, nil).status, "%s %s", tc.method, tc.path)
	}
	r := f.open(c, f.sign(nil))
	assert.Equal(t, http.StatusOK, r.status, "without a sign-in the web view gets the profile at once")
	assert.Equal(t, contentTypeProfile, r.header.Get("Content-Type"))
}

func TestDeleteExpired(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(*fixture) []Option { return []Option{WithSessionTTL(time.Hour)} })
	require.Equal(t, http.StatusOK, f.post(f.sign(nil)).status)
	n, err := f.handler.DeleteExpired(t.Context(), 10)
	require.NoError(t, err)
	assert.Zero(t, n)
	f.clock.Add(time.Hour + time.Second)
	n, err = f.handler.DeleteExpired(t.Context(), 10)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
}
