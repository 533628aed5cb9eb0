package abmtest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	depclient "github.com/micromdm/nanodep/client"
	"github.com/micromdm/nanodep/godep"
	"github.com/micromdm/nanodep/tokenpki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// nanodepStore is what nanodep's client wants to know.
type nanodepStore struct {
	url    string
	tokens depclient.OAuth1Tokens
}

func (s *nanodepStore) RetrieveAuthTokens(context.Context, string) (*depclient.OAuth1Tokens, error) {
	return &s.tokens, nil
}

func (s *nanodepStore) RetrieveConfig(context.Context, string) (*depclient.Config, error) {
	return &depclient.Config{BaseURL: s.url}, nil
}

// nanodep returns a client written by others, set up from a token file as an administrator would do it. It signs
// with the wall clock, so the service runs on it, too.
func nanodep(t *testing.T, opts ...abmtest.Option) (*abmtest.Server, *abmtest.MDMServer, *godep.Client) {
	t.Helper()
	apple := abmtest.New(t, append([]abmtest.Option{abmtest.WithSessionRotation(3)}, opts...)...)
	m, err := apple.AddMDMServer("Fleet")
	require.NoError(t, err)
	key, cert, err := tokenpki.SelfSignedRSAKeypair("mdm", 1)
	require.NoError(t, err)
	require.NoError(t, m.UploadCertificate(toPEM(cert.Raw)))
	file, err := m.MintToken()
	require.NoError(t, err)
	plain, err := tokenpki.DecryptTokenJSON(file, cert, key)
	require.NoError(t, err)
	store := &nanodepStore{url: apple.URL}
	require.NoError(t, json.Unmarshal(plain, &store.tokens))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return apple, m, godep.NewClient(store, godep.WithClient(&http.Client{Transport: transport}))
}

func TestNanodepSyncs(t *testing.T) {
	t.Parallel()
	apple, m, c := nanodep(t)
	ctx := t.Context()
	account, err := c.AccountDetail(ctx, "dep")
	require.NoError(t, err)
	assert.Equal(t, m.UUID(), *account.ServerUuid)
	assert.NotEmpty(t, account.Urls)

	devices := apple.RandomDevices(25)
	require.NoError(t, apple.AddDevices(m, devices...))
	var got []godep.DeviceJson
	page, err := c.FetchDevices(ctx, "dep", godep.WithLimit(10))
	require.NoError(t, err)
	for got = page.Devices; page.MoreToFollow; got = append(got, page.Devices...) {
		page, err = c.FetchDevices(ctx, "dep", godep.WithLimit(10), godep.WithCursor(page.Cursor))
		require.NoError(t, err)
	}
	require.Len(t, got, 25)
	for i := range got {
		assert.Equal(t, devices[i].SerialNumber, got[i].SerialNumber)
		assert.Equal(t, devices[i].OS, string(*got[i].Os), "nanodep speaks protocol version 7")
		assert.Nil(t, got[i].OpType)
	}
	_, err = c.FetchDevices(ctx, "dep", godep.WithCursor(page.Cursor))
	assert.True(t, godep.IsCursorExhausted(err), "%v", err)
	_, err = c.SyncDevices(ctx, "dep", godep.WithCursor("bogus"))
	assert.True(t, godep.IsCursorInvalid(err), "%v", err)

	require.NoError(t, apple.Release(devices[3].SerialNumber))
	page, err = c.SyncDevices(ctx, "dep", godep.WithCursor(page.Cursor))
	require.NoError(t, err)
	require.Len(t, page.Devices, 1)
	assert.Equal(t, godep.DeviceJsonOpTypeDeleted, *page.Devices[0].OpType)
	assert.WithinDuration(t, time.Now(), *page.Devices[0].OpDate, time.Minute)
	assert.Positive(t, apple.Stats().Calls["GET /session"])
}

func TestNanodepSeesCursorExpiry(t *testing.T) {
	t.Parallel()
	clk := &clock{now: time.Now()}
	_, _, c := nanodep(t, abmtest.WithClock(clk.Now), abmtest.WithCursorLifetime(time.Second))
	page, err := c.FetchDevices(t.Context(), "dep")
	require.NoError(t, err)
	clk.Advance(2 * time.Second)
	_, err = c.SyncDevices(t.Context(), "dep", godep.WithCursor(page.Cursor))
	assert.True(t, godep.IsCursorExpired(err), "%v", err)
}

func TestNanodepAssigns(t *testing.T) {
	t.Parallel()
	apple, m, c := nanodep(t)
	ctx := t.Context()
	require.NoError(t, apple.AddDevices(m, machines("A", "B")...))
	name, url, await := "p", "https://mdm.example.org/", true
	defined, err := c.DefineProfile(ctx, "dep", &godep.ProfileJson{
		ProfileName: &name, Url: &url, AwaitDeviceConfigured: &await, OrgMagic: "1", IsMdmRemovable: true,
	})
	require.NoError(t, err)
	profile, err := c.GetProfile(ctx, "dep", *defined.ProfileUuid)
	require.NoError(t, err)
	assert.Equal(t, url, *profile.Url)
	assert.True(t, *profile.AwaitDeviceConfigured)
	assert.Equal(t, *defined.ProfileUuid, *profile.ProfileUuid)

	assigned, err := c.AssignProfile(ctx, "dep", *defined.ProfileUuid, "A", "B", "X")
	require.NoError(t, err)
	assert.Equal(t, map[string]godep.AssignProfileResponseJsonDevicesValue{
		"A": "SUCCESS", "B": "SUCCESS", "X": "NOT_ACCESSIBLE",
	}, assigned.Devices)
	removed, err := c.RemoveProfile(ctx, "dep", "B")
	require.NoError(t, err)
	assert.Equal(t, godep.ClearProfileResponseJsonDevicesValueSUCCESS, removed.Devices["B"])
	_, err = apple.ActivationRecord("A")
	require.NoError(t, err)

	details, err := c.DeviceDetails(ctx, "dep", "A", "B", "X")
	require.NoError(t, err)
	assert.Equal(t, godep.DeviceJsonProfileStatusPushed, *details.Devices["A"].ProfileStatus)
	assert.Equal(t, *defined.ProfileUuid, *details.Devices["A"].ProfileUuid)
	assert.WithinDuration(t, time.Now(), *details.Devices["A"].ProfilePushTime, time.Minute)
	assert.Equal(t, godep.DeviceJsonProfileStatusEmpty, *details.Devices["B"].ProfileStatus)
	assert.Equal(t, "NOT_ACCESSIBLE", *details.Devices["X"].ResponseStatus)
}

func TestNanodepCallsTheRest(t *testing.T) {
	t.Parallel()
	apple, m, c := nanodep(t)
	ctx := t.Context()
	require.NoError(t, apple.AddDevices(m, machines("A", "B")...))
	lock, err := c.ActivationLock(ctx, "dep", "A", "", "call us")
	require.NoError(t, err)
	data, err := json.Marshal(lock)
	require.NoError(t, err)
	assert.JSONEq(t, `{"serial_number":"A","response_status":"SUCCESS"}`, string(data))
	tokens, err := c.OSBetaEnrollmentTokens(ctx, "dep")
	require.NoError(t, err)
	assert.Len(t, tokens.BetaEnrollmentTokens, 6)
	require.NoError(t, c.AssignAccountDrivenEnrollmentProfile(ctx, "dep", "https://mdm.example.org/discover"))
	disowned, err := c.DisownDevices(ctx, "dep", "B")
	require.NoError(t, err)
	assert.Equal(t, godep.DeviceStatusResponseJsonDevicesValueSUCCESS, disowned.Devices["B"])

	apple.SetTermsSigned(false)
	_, err = c.AccountDetail(ctx, "dep")
	require.ErrorContains(t, err, "T_C_NOT_SIGNED")
	apple.SetTermsSigned(true)
	_, err = c.AccountDetail(ctx, "dep")
	require.NoError(t, err)
}
