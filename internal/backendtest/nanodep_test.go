package backendtest_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/micromdm/nanodep/client"
	nanotest "github.com/micromdm/nanodep/storage/test"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/abm/depstore"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// nanodep's own suite.
func TestNanoDEPConformanceOnSQLite(t *testing.T) {
	t.Parallel()
	_, sealer := newSealer(t)
	s, err := depstore.New(tempSQLite(t), sealer)
	require.NoError(t, err)
	nanotest.TestWithStorages(t, t.Context(), s)
}

func newSealer(t *testing.T) (keyset []byte, sealer storage.Sealer) {
	t.Helper()
	keyset, err := storage.NewKeyset()
	require.NoError(t, err)
	sealer, err = storage.NewKeysetSealer(keyset)
	require.NoError(t, err)
	return keyset, sealer
}

// shared is an engine and nanodep's programs on one SQLite file, and the server at Apple that both work for.
type shared struct {
	apple    *abmtest.Server
	portal   *abmtest.MDMServer
	store    storage.Store
	engine   *abm.Engine
	programs string
	flags    []string // of the programs
	dep      depserver
}

func newShared(t *testing.T, devices int) *shared {
	t.Helper()
	w := &shared{programs: nanodepPrograms(t)}
	dir := t.TempDir()
	keyset, sealer := newSealer(t)
	file := filepath.Join(dir, "enrollkit.db")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keyset"), keyset, 0o600))
	w.flags = []string{"-storage", "enrollkit", "-storage-dsn", file, "-storage-options", filepath.Join(dir, "keyset")}

	w.apple = abmtest.New(t, abmtest.WithPageLimits(50, 50))
	var err error
	w.portal, err = w.apple.AddMDMServer("MDM")
	require.NoError(t, err)
	require.NoError(t, w.apple.AddDevices(w.portal, w.apple.RandomDevices(devices)...))

	store, db := openSQLite(t, file)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	w.store = store
	resolver, err := abm.ForAll(depprofile.Default("https://mdm.example.com/mdm/sso"))
	require.NoError(t, err)
	w.engine, err = abm.New(store, sealer, resolver)
	require.NoError(t, err)
	w.dep = startDepserver(t, w.programs, w.flags...)
	return w
}

// exchange lets depserver make a key pair and import a token that the portal encrypts to it.
func (w *shared) exchange(t *testing.T) {
	t.Helper()
	require.NoError(t, w.portal.UploadCertificate(w.dep.call(t, http.MethodGet, "/v1/tokenpki/acme", nil)))
	w.dep.call(t, http.MethodPut, "/v1/tokenpki/acme", w.mint(t))
}

func (w *shared) mint(t *testing.T) []byte {
	t.Helper()
	file, err := w.portal.MintToken()
	require.NoError(t, err)
	return file
}

func (w *shared) account(t *testing.T) storage.Account {
	t.Helper()
	a, err := w.store.GetAccount(t.Context(), "acme")
	require.NoError(t, err)
	return a
}

// cursors returns the places of the engine and of nanodep.
func (w *shared) cursors(t *testing.T) (engine, nanodep string) {
	t.Helper()
	c, err := w.store.GetCursor(t.Context(), "acme")
	require.NoError(t, err)
	n, err := w.store.GetNanoDEP(t.Context(), "acme")
	require.NoError(t, err)
	return c.Value, n.Cursor
}

// known returns the serials the engine knows.
func (w *shared) known(t *testing.T) map[string]bool {
	t.Helper()
	serials, next, err := w.store.ListSerials(t.Context(), storage.DeviceFilter{Account: "acme"}, storage.Page{Limit: storage.MaxPageSize})
	require.NoError(t, err)
	require.Empty(t, next)
	m := make(map[string]bool)
	for _, s := range serials {
		m[s] = true
	}
	return m
}

// nanodep's depserver and depsyncer work on an account of the engine's database beside the engine: with one token, which
// either may renew, and with a cursor each.
func TestNanoDEPPrograms(t *testing.T) {
	t.Parallel()
	const n = 230
	w := newShared(t, n)
	ctx := t.Context()

	config, err := json.Marshal(client.Config{BaseURL: w.apple.URL})
	require.NoError(t, err)
	w.dep.call(t, http.MethodPut, "/v1/config/acme", config)
	w.exchange(t)
	require.Empty(t, w.account(t).ServerUUID, "nanodep does not ask whose token it is")

	// Both read everything at the same time.
	var told map[string]bool
	var wg sync.WaitGroup
	wg.Go(func() { told = depsync(t, w.programs, "acme", w.flags...) })
	_, err = w.engine.SyncOnce(ctx, "acme")
	require.NoError(t, err)
	wg.Wait()
	assert.Len(t, told, n)
	assert.Equal(t, told, w.known(t))
	acct := w.account(t)
	assert.Equal(t, w.portal.UUID(), acct.ServerUUID, "learnt from Apple")
	assert.Equal(t, storage.HealthOK, acct.Health)
	engineAt, nanodepAt := w.cursors(t)
	require.NotEmpty(t, engineAt)
	require.NotEmpty(t, nanodepAt)

	// Each goes on from its own place: what one has read, the other still reads.
	require.NoError(t, w.apple.AddDevices(w.portal, w.apple.RandomDevices(3)...))
	res, err := w.engine.SyncOnce(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, 3, res.Devices)
	engineMoved, nanodepStays := w.cursors(t)
	assert.NotEqual(t, engineAt, engineMoved)
	assert.Equal(t, nanodepAt, nanodepStays)
	told = depsync(t, w.programs, "acme", w.flags...)
	assert.Len(t, told, 3)
	assert.Subset(t, slices.Collect(maps.Keys(w.known(t))), slices.Collect(maps.Keys(told)))
	engineStays, nanodepMoved := w.cursors(t)
	assert.Equal(t, engineMoved, engineStays)
	assert.NotEqual(t, nanodepAt, nanodepMoved)

	w.renewals(t)
	w.maid(t)
}

// renewals imports a token through each of the two, and lets the other work with it.
func (w *shared) renewals(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	_, err := w.engine.Accounts().ImportToken(ctx, "acme", w.mint(t), abm.ImportOptions{})
	require.NoError(t, err, "encrypted to depserver's key pair")
	var tokens client.OAuth1Tokens
	require.NoError(t, json.Unmarshal(w.dep.call(t, http.MethodGet, "/v1/tokens/acme", nil), &tokens))
	assert.Equal(t, w.portal.Credentials().AccessToken, tokens.AccessToken)
	assert.Contains(t, string(w.dep.call(t, http.MethodGet, "/proxy/acme/account", nil)), w.portal.UUID())
	assert.Empty(t, depsync(t, w.programs, "acme", w.flags...), "nothing new, and no error")

	before := w.account(t)
	w.exchange(t)
	after := w.account(t)
	assert.NotEqual(t, before.KeyPairID, after.KeyPairID)
	assert.Equal(t, before.ServerUUID, after.ServerUUID)
	_, err = w.engine.SyncOnce(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, storage.HealthOK, w.account(t).Health)

	// Another server's token is refused by the engine, though nanodep was told to take it.
	other, err := w.apple.AddMDMServer("Other")
	require.NoError(t, err)
	mine := w.portal
	w.portal = other
	require.NoError(t, other.UploadCertificate(w.dep.call(t, http.MethodGet, "/v1/tokenpki/acme", nil)))
	w.dep.call(t, http.MethodPut, "/v1/tokenpki/acme?force=1", w.mint(t))
	known := w.known(t)
	_, err = w.engine.SyncOnce(ctx, "acme")
	require.ErrorIs(t, err, abm.ErrOtherServer)
	assert.Equal(t, storage.HealthRejected, w.account(t).Health)
	assert.Contains(t, w.account(t).HealthReason, other.UUID())
	assert.Equal(t, known, w.known(t))

	w.portal = mine
	require.NoError(t, mine.UploadCertificate(w.dep.call(t, http.MethodGet, "/v1/tokenpki/acme", nil)))
	w.dep.call(t, http.MethodPut, "/v1/tokenpki/acme?force=1", w.mint(t))
	_, err = w.engine.SyncOnce(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, storage.HealthOK, w.account(t).Health)
}

// maid compares what the two make for the GetToken check-in.
func (w *shared) maid(t *testing.T) {
	t.Helper()
	theirs := string(w.dep.call(t, http.MethodGet, "/v1/maidjwt/acme", nil))
	ours, err := w.engine.Accounts().MAIDToken(t.Context(), "acme")
	require.NoError(t, err)
	pairs, err := w.store.ListKeyPairs(t.Context(), "acme")
	require.NoError(t, err)
	var key *rsa.PublicKey
	for _, k := range pairs {
		if k.ID == w.account(t).KeyPairID {
			block, _ := pem.Decode(k.Certificate)
			cert, err := x509.ParseCertificate(block.Bytes)
			require.NoError(t, err)
			key = cert.PublicKey.(*rsa.PublicKey)
		}
	}
	require.NotNil(t, key, "the key pair in use")
	claims := make([]jwt.MapClaims, 2)
	for i, token := range []string{theirs, ours} {
		_, err := jwt.ParseWithClaims(token, &claims[i], func(*jwt.Token) (any, error) { return key, nil }, jwt.WithValidMethods([]string{"RS256"}))
		require.NoError(t, err)
		assert.InDelta(t, time.Now().Unix(), claims[i]["iat"], 60)
		assert.Len(t, claims[i]["jti"], 36)
		delete(claims[i], "iat")
	}
	assert.NotEqual(t, claims[0]["jti"], claims[1]["jti"])
	delete(claims[0], "jti")
	delete(claims[1], "jti")
	assert.Equal(t, claims[0], claims[1])
}
