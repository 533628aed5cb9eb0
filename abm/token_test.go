package abm

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/internal/cms"
	"github.com/enrollkit/enrollkit/storage"
)

// tokenWorld is a world with an empty account "school", a server entry for it, and the certificate uploaded.
type tokenWorld struct {
	*world
	accts *Accounts
	entry *abmtest.MDMServer
	pair  storage.KeyPair
}

func newTokenWorld(t *testing.T) *tokenWorld {
	t.Helper()
	w := newWorld(t, 1)
	accts, err := NewAccounts(w.store, w.sealer, w.opts...)
	require.NoError(t, err)
	_, err = accts.Create(t.Context(), "school", "")
	require.NoError(t, err)
	pair, err := accts.CreateKeyPair(t.Context(), "school")
	require.NoError(t, err)
	entry, err := w.apple.AddMDMServer("School")
	require.NoError(t, err)
	require.NoError(t, entry.UploadCertificate(pair.Certificate))
	return &tokenWorld{world: w, accts: accts, entry: entry, pair: pair}
}

func (w *tokenWorld) mint(t *testing.T) []byte {
	t.Helper()
	file, err := w.entry.MintToken()
	require.NoError(t, err)
	return file
}

func (w *tokenWorld) get(t *testing.T) storage.Account {
	t.Helper()
	a, err := w.store.GetAccount(t.Context(), "school")
	require.NoError(t, err)
	return a
}

func TestImportAndRenewToken(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	acct, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.NoError(t, err)
	assert.Equal(t, acct, w.get(t), "what is returned is what is stored")
	assert.Equal(t, w.entry.UUID(), acct.ServerUUID)
	assert.Equal(t, w.pair.ID, acct.KeyPairID)
	assert.Equal(t, storage.HealthOK, acct.Health)
	assert.NotContains(t, string(acct.SealedToken), "CK_")
	first, err := w.accts.Client(ctx, "school")
	require.NoError(t, err)
	again, err := w.accts.Client(ctx, "school")
	require.NoError(t, err)
	assert.Same(t, first, again, "one client, one session")

	// Two more key pairs are staged; the portal still has the first certificate on record.
	for range 2 {
		_, err = w.accts.CreateKeyPair(ctx, "school")
		require.NoError(t, err)
	}
	renewed, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.NoError(t, err)
	assert.Equal(t, w.pair.ID, renewed.KeyPairID)
	assert.NotEqual(t, acct.SealedToken, renewed.SealedToken)
	fresh, err := w.accts.Client(ctx, "school")
	require.NoError(t, err)
	assert.NotSame(t, first, fresh, "the session of the old token is dropped")
	_, err = fresh.AccountDetail(ctx)
	require.NoError(t, err)
	token, err := w.accts.Token(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, w.entry.Credentials().AccessToken, token.AccessToken.Reveal())

	acts, _, err := w.store.ListActivities(ctx, storage.ActivityFilter{Account: "school", Kind: "token_imported"}, storage.Page{})
	require.NoError(t, err)
	require.Len(t, acts, 2)
	assert.Contains(t, string(acts[1].Detail), `"renewal":true`)
}

func TestTokenFilesOfNoUse(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	good := w.mint(t)
	_, body, _ := bytes.Cut(bytes.ReplaceAll(good, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(body)), ""))
	require.NoError(t, err)
	broken := bytes.Clone(der)
	broken[len(broken)/2] ^= 0xff
	for name, file := range map[string][]byte{
		"empty":              nil,
		"text":               []byte("hello"),
		"headers only":       good[:bytes.Index(good, body[:20])],
		"truncated":          good[:len(good)/2],
		"damaged":            broken,
		"truncated DER":      der[:len(der)/2],
		"too large":          bytes.Repeat([]byte("A"), maxTokenFile+1),
		"base64 of nonsense": []byte("X: y\n\n" + base64.StdEncoding.EncodeToString([]byte("nonsense"))),
		"a certificate":      testCertificate(t),
	} {
		_, err := w.accts.ImportToken(t.Context(), "school", file, ImportOptions{})
		var fileErr *TokenFileError
		require.ErrorAs(t, err, &fileErr, name)
		assert.NotContains(t, err.Error(), "CS_")
	}
	assert.Equal(t, storage.HealthNew, w.get(t).Health, "nothing was stored")
	assert.Nil(t, w.get(t).SealedToken)

	require.NoError(t, w.entry.UploadCertificate(testCertificate(t)))
	_, err = w.accts.ImportToken(t.Context(), "school", w.mint(t), ImportOptions{})
	require.ErrorIs(t, err, ErrNoKey)

	_, err = w.accts.ImportToken(t.Context(), "unknown", good, ImportOptions{})
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, err = w.accts.CreateKeyPair(t.Context(), "unknown")
	require.ErrorIs(t, err, storage.ErrNotFound)

	// Forms of the same file.
	require.NoError(t, w.entry.UploadCertificate(w.pair.Certificate))
	good = w.mint(t)
	_, body, _ = bytes.Cut(bytes.ReplaceAll(good, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	der, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(body)), ""))
	require.NoError(t, err)
	folded := "Content-Type: application/pkcs7-mime; smime-type=enveloped-\ndata\n\n" + string(body) // as Apple's sample
	for name, file := range map[string][]byte{"mime": good, "folded": []byte(folded), "der": der, "base64": body} {
		_, err := w.accts.ImportToken(t.Context(), "school", file, ImportOptions{})
		require.NoError(t, err, name)
	}
}

// A key pair that cannot be read matters only to a token that was encrypted to it.
func TestUnreadableKeyPairs(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	for _, damage := range []func(*storage.KeyPair){
		func(k *storage.KeyPair) { k.SealedKey = []byte("sealed with a lost keyset") },
		func(k *storage.KeyPair) { k.Certificate = []byte("no certificate") },
	} {
		w.clock.Add(time.Hour)
		k, err := w.accts.CreateKeyPair(ctx, "school") // the newest
		require.NoError(t, err)
		pem := k.Certificate
		require.NoError(t, w.store.DeleteKeyPair(ctx, "school", k.ID))
		damage(&k)
		require.NoError(t, w.store.CreateKeyPair(ctx, k))

		require.NoError(t, w.entry.UploadCertificate(pem))
		_, err = w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
		require.ErrorContains(t, err, k.ID, "the key that is needed")
		require.NoError(t, w.entry.UploadCertificate(w.pair.Certificate))
		acct, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
		require.NoError(t, err)
		assert.Equal(t, w.pair.ID, acct.KeyPairID)
	}
	require.NoError(t, w.entry.UploadCertificate(testCertificate(t)))
	_, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.ErrorIs(t, err, ErrNoKey)
}

// A file that is damaged after the name of its recipient is told from one for another key.
func TestDamagedTokenFile(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	der, err := unwrapTokenFile(w.mint(t))
	require.NoError(t, err)
	cert, err := parseCertificate(w.pair)
	require.NoError(t, err)
	named := bytes.Index(der, cert.RawIssuer) + len(cert.RawIssuer) + 40
	for _, at := range []int{named + 60, named + 200, len(der) - 60} { // in the encrypted key, and in the content
		broken := bytes.Clone(der)
		broken[at] ^= 0x55
		_, err = w.accts.ImportToken(t.Context(), "school", broken, ImportOptions{})
		var fileErr *TokenFileError
		require.ErrorAs(t, err, &fileErr, "byte %d", at)
	}
	signed, err := cms.Sign([]byte("x"), cert, testKey(t, w))
	require.NoError(t, err)
	_, err = w.accts.ImportToken(t.Context(), "school", signed, ImportOptions{})
	var fileErr *TokenFileError
	require.ErrorAs(t, err, &fileErr, "signed, not encrypted")
}

func testKey(t *testing.T, w *tokenWorld) crypto.Signer {
	t.Helper()
	key, err := w.accts.PrivateKey(t.Context(), w.pair)
	require.NoError(t, err)
	return key
}

func TestTokenIsTriedBeforeItIsStored(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	old := w.mint(t)
	_ = w.mint(t) // voids the first
	_, err := w.accts.ImportToken(t.Context(), "school", old, ImportOptions{})
	require.ErrorIs(t, err, ErrUnauthorized)
	assert.Nil(t, w.get(t).SealedToken)

	last := w.mint(t)
	w.apple.SetTermsSigned(false)
	_, err = w.accts.ImportToken(t.Context(), "school", last, ImportOptions{})
	require.ErrorIs(t, err, ErrTermsNotSigned)
	w.clock.Add(366 * 24 * time.Hour)
	_, err = w.accts.ImportToken(t.Context(), "school", last, ImportOptions{})
	require.ErrorIs(t, err, ErrTokenExpired)
	assert.Nil(t, w.get(t).SealedToken)
}

func TestTokenOfAnotherServer(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	_, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.NoError(t, err)
	e := w.engine(t)
	_, err = e.SyncOnce(ctx, "school")
	require.NoError(t, err)

	other, err := w.apple.AddMDMServer("Other")
	require.NoError(t, err)
	require.NoError(t, other.UploadCertificate(w.pair.Certificate))
	file, err := other.MintToken()
	require.NoError(t, err)
	before := w.get(t)
	_, err = w.accts.ImportToken(ctx, "school", file, ImportOptions{})
	var mismatch *TokenMismatchError
	require.ErrorAs(t, err, &mismatch)
	assert.Equal(t, "server_uuid", mismatch.Field)
	assert.Equal(t, before, w.get(t), "nothing was stored")

	_, err = w.accts.ImportToken(ctx, "school", file, ImportOptions{Force: true})
	require.NoError(t, err)
	cur, err := w.store.GetCursor(ctx, "school")
	require.NoError(t, err)
	assert.Empty(t, cur.Value)
	assert.Equal(t, storage.PhaseFetch, cur.Phase)

	// A server belongs to one account only.
	_, err = w.accts.Create(ctx, "twin", "")
	require.NoError(t, err)
	pair, err := w.accts.CreateKeyPair(ctx, "twin")
	require.NoError(t, err)
	require.NoError(t, other.UploadCertificate(pair.Certificate))
	file, err = other.MintToken()
	require.NoError(t, err)
	_, err = w.accts.ImportToken(ctx, "twin", file, ImportOptions{})
	require.ErrorIs(t, err, storage.ErrExists)
}

func TestAccountWithoutToken(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	_, err := w.accts.Client(t.Context(), "school")
	require.ErrorIs(t, err, ErrNoToken)
	_, err = w.engine(t).SyncOnce(t.Context(), "school")
	require.ErrorIs(t, err, ErrNoToken)
	_, err = w.accts.Client(t.Context(), "unknown")
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, err = w.accts.Create(t.Context(), "school", "")
	require.ErrorIs(t, err, storage.ErrExists)
	_, err = w.accts.Create(t.Context(), "x", "not a url")
	require.Error(t, err)
}

// A sealed token that is copied into another account does not open.
func TestSealedTokenIsBoundToAccount(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	a, err := w.store.GetAccount(t.Context(), acme)
	require.NoError(t, err)
	b := w.get(t)
	b.SealedToken = a.SealedToken
	require.NoError(t, w.store.UpdateAccount(t.Context(), b))
	_, err = w.accts.Client(t.Context(), "school")
	require.ErrorIs(t, err, storage.ErrSealed)
}

func TestParseToken(t *testing.T) {
	t.Parallel()
	good := `{"consumer_key":"CK_a","consumer_secret":"CS_b","access_token":"AT_c","access_secret":"AS_d","access_token_expiry":"2027-01-14T21:27:41Z"}`
	tok, err := ParseToken([]byte(good))
	require.NoError(t, err)
	back, err := tok.encode()
	require.NoError(t, err)
	assert.JSONEq(t, good, string(back))
	for _, member := range []string{"consumer_key", "consumer_secret", "access_token", "access_secret", "access_token_expiry"} {
		var m map[string]string
		require.NoError(t, json.Unmarshal([]byte(good), &m))
		m[member] = ""
		b, err := json.Marshal(m)
		require.NoError(t, err)
		got, err := ParseToken(b)
		require.ErrorContains(t, err, member)
		assert.Zero(t, got)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	tok := Token{ConsumerKey: "CK_a", ConsumerSecret: "CS_b", AccessToken: "AT_c", AccessSecret: "AS_d"}
	core, logs := observer.New(zap.DebugLevel)
	zap.New(core).Info("x", zap.Any("token", tok), zap.Stringer("secret", tok.AccessToken), zap.Reflect("r", tok))
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "token", tok, "secret", tok.AccessSecret)
	j, err := json.Marshal(tok)
	require.NoError(t, err)
	logged, err := json.Marshal(logs.All()[0].ContextMap())
	require.NoError(t, err)
	all := fmt.Sprintf("%v %+v %#v %s %q %x %d %v", tok, tok, tok, tok, tok, tok, tok.AccessSecret, []Secret{tok.AccessToken}) +
		out.String() + string(j) + string(logged) + fmt.Sprint(errors.Join((&sessions{token: tok}).fmtErr()))
	for _, secret := range []string{"CS_b", "AT_c", "AS_d", "43535f62", "41545f63"} {
		assert.NotContains(t, all, secret)
	}
	assert.Contains(t, all, "REDACTED")
}

func (s *sessions) fmtErr() error { return fmt.Errorf("%+v", s.token) }

// Apple's example values with made-up secrets; the signature was computed by other means.
func TestAuthorizationVector(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("https://mdmenrollment.apple.com/session")
	require.NoError(t, err)
	tok := Token{
		ConsumerKey: "CK_00fadb3d36c6094cf479838455321b7c", ConsumerSecret: "CS_test_secret",
		AccessToken: "AT_O2109279022Oe03b641fd6f07d7face7894211d521fd8bef09c3O137392", AccessSecret: "AS_test_secret",
	}
	got := authorization(tok, http.MethodGet, u, time.Unix(137131200, 0), "4572616e48616d6d65724c61686176")
	assert.Contains(t, got, `oauth_signature="o7jxnBXR4I4hGpHt7vRpgUd7TL8%3D"`)
	assert.True(t, strings.HasPrefix(got, `OAuth realm="ADM", `))
	assert.NotContains(t, got, "\n")
}

// FuzzTokenFile checks that no file, however damaged, gives anything but a token or one of the documented errors.
func FuzzTokenFile(f *testing.F) {
	pair, key, err := newKeyPair("fuzz", time.Now())
	require.NoError(f, err)
	cert, err := parseCertificate(pair)
	require.NoError(f, err)
	apple, err := abmtest.NewService()
	require.NoError(f, err)
	entry, err := apple.AddMDMServer("Fuzz")
	require.NoError(f, err)
	require.NoError(f, entry.UploadCertificate(pair.Certificate))
	file, err := entry.MintToken()
	require.NoError(f, err)
	der, err := unwrapTokenFile(file)
	require.NoError(f, err)
	for _, seed := range [][]byte{file, der, der[:len(der)/2], file[:len(file)/2], {0x30, 0x80}, bytes.Repeat([]byte{0x30, 0x80}, 5000), []byte("a: b\n\nMIAG")} {
		f.Add(seed)
	}
	keys := []tokenKey{{cert: cert, open: func() (crypto.PrivateKey, error) { return key, nil }}}
	f.Fuzz(func(t *testing.T, file []byte) {
		tok, _, err := decryptToken(file, keys)
		var fileErr *TokenFileError
		switch {
		case err == nil:
			require.NoError(t, tok.check())
			require.False(t, tok.ExpiresAt.IsZero())
		case errors.As(err, &fileErr), errors.Is(err, ErrNoKey):
			require.Zero(t, tok)
		default:
			t.Fatalf("undocumented error: %v", err)
		}
	})
}
