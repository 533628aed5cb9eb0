package abm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// put stores the token of server in the account "school", as a program does that shares the store.
func (w *tokenWorld) put(t *testing.T, server *abmtest.MDMServer) storage.Account {
	t.Helper()
	acct, err := w.accts.PutToken(t.Context(), "school", tokenOf(server))
	require.NoError(t, err)
	return acct
}

// A token that was stored without asking Apple: the engine asks whose it is before anything else.
func TestPutTokenIsIdentified(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	require.NoError(t, w.apple.AddDevices(w.entry, w.apple.RandomDevices(4)...))
	acct := w.put(t, w.entry)
	assert.Equal(t, acct, w.get(t))
	assert.Empty(t, acct.ServerUUID)
	assert.Equal(t, storage.HealthNew, acct.Health)
	assert.NotContains(t, string(acct.SealedToken), "CK_")
	assert.Equal(t, acct, w.put(t, w.entry), "the same token again is no change")
	_, err := w.accts.MAIDToken(ctx, "school")
	require.ErrorIs(t, err, ErrServerUnknown)

	e := w.engine(t)
	res, err := e.SyncOnce(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, 4, res.Devices)
	acct = w.get(t)
	assert.Equal(t, w.entry.UUID(), acct.ServerUUID)
	assert.NotEmpty(t, acct.Detail)
	assert.Equal(t, storage.HealthOK, acct.Health)
	calls := w.apple.Stats().Calls["GET /account"]
	_, err = e.SyncOnce(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, calls, w.apple.Stats().Calls["GET /account"], "asked once per token")

	// A renewal by the other program.
	w.mint(t)
	w.put(t, w.entry)
	_, err = e.SyncOnce(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, storage.HealthOK, w.get(t).Health)
	assert.Equal(t, calls+1, w.apple.Stats().Calls["GET /account"])
}

// Another server's token leaves the inventory alone, until the right one is back.
func TestPutTokenOfAnotherServer(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	require.NoError(t, w.apple.AddDevices(w.entry, w.apple.RandomDevices(2)...))
	w.put(t, w.entry)
	e := w.engine(t)
	_, err := e.SyncOnce(ctx, "school")
	require.NoError(t, err)

	other, err := w.apple.AddMDMServer("Other")
	require.NoError(t, err)
	require.NoError(t, w.apple.AddDevices(other, w.apple.RandomDevices(9)...))
	w.put(t, other)
	fetched := w.apple.Stats().Calls["POST /devices/sync"]
	for _, do := range []func() error{
		func() error { _, err := e.SyncOnce(ctx, "school"); return err },
		func() error { _, err := e.SweepOnce(ctx, "school"); return err },
		func() error { _, err := e.AssignOnce(ctx, "school"); return err },
		func() error { _, err := e.work(ctx, "school", false); return err },
	} {
		err := do()
		require.ErrorIs(t, err, ErrOtherServer)
		assert.True(t, stops(err))
		acct := w.get(t)
		assert.Equal(t, storage.HealthRejected, acct.Health)
		assert.Contains(t, acct.HealthReason, other.UUID())
		assert.Contains(t, acct.HealthReason, w.entry.UUID())
		assert.Equal(t, w.entry.UUID(), acct.ServerUUID)
		w.clock.Add(25 * time.Hour)
	}
	assert.Equal(t, fetched, w.apple.Stats().Calls["POST /devices/sync"])
	present, _, err := w.store.CountDevices(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, 2, present)

	w.put(t, w.entry)
	_, err = e.SyncOnce(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, storage.HealthOK, w.get(t).Health)
}

// A server that is another account's is refused as well.
func TestPutTokenOfAnotherAccount(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	w.put(t, w.server) // of the account acme
	_, err := w.engine(t).SyncOnce(t.Context(), "school")
	require.ErrorIs(t, err, ErrOtherServer)
	acct := w.get(t)
	assert.Equal(t, storage.HealthRejected, acct.Health)
	assert.Contains(t, acct.HealthReason, "another account")
	assert.Empty(t, acct.ServerUUID)
}

// Terms that are not signed stay so whatever token comes; only a success shows that they are.
func TestPutTokenDoesNotSignTerms(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	w.put(t, w.entry)
	w.apple.SetTermsSigned(false)
	e := w.engine(t)
	_, err := e.SyncOnce(t.Context(), "school")
	require.ErrorIs(t, err, ErrTermsNotSigned)
	w.mint(t)
	assert.Equal(t, storage.HealthTermsNotSigned, w.put(t, w.entry).Health)
	w.apple.SetTermsSigned(true)
	_, err = e.SyncOnce(t.Context(), "school")
	require.NoError(t, err)
	assert.Equal(t, storage.HealthOK, w.get(t).Health)
}

func TestPutTokenRefuses(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	before := w.get(t)
	good := tokenOf(w.entry)
	for name, damage := range map[string]func(*Token){
		"consumer_secret":     func(t *Token) { t.ConsumerSecret = "" },
		"access_token":        func(t *Token) { t.AccessToken = "" },
		"access_token_expiry": func(t *Token) { t.ExpiresAt = time.Time{} },
	} {
		token := good
		damage(&token)
		_, err := w.accts.PutToken(t.Context(), "school", token)
		require.ErrorContains(t, err, name)
	}
	_, err := w.accts.PutToken(t.Context(), "unknown", good)
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.ErrorIs(t, w.accts.UseKeyPair(t.Context(), "school", "unknown"), storage.ErrNotFound)
	assert.Equal(t, before, w.get(t))
}

// Another place is asked again whose token it is.
func TestSetBaseURL(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	w.put(t, w.entry)
	e := w.engine(t)
	_, err := e.SyncOnce(ctx, "school")
	require.NoError(t, err)
	before, err := e.Accounts().Client(ctx, "school")
	require.NoError(t, err)
	require.NoError(t, w.accts.SetBaseURL(ctx, "school", "https://proxy.test"))
	calls := w.apple.Stats().Calls["GET /account"]
	_, err = e.SyncOnce(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, calls+1, w.apple.Stats().Calls["GET /account"])
	after, err := e.Accounts().Client(ctx, "school")
	require.NoError(t, err)
	assert.NotSame(t, before, after)
	assert.Equal(t, "proxy.test", after.base.Host)
	require.Error(t, w.accts.SetBaseURL(ctx, "school", "nonsense"))
	require.ErrorIs(t, w.accts.SetBaseURL(ctx, "unknown", ""), storage.ErrNotFound)
}
