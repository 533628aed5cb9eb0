package depstore_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/micromdm/nanodep/client"
	"github.com/micromdm/nanodep/cryptoutil"
	nanodep "github.com/micromdm/nanodep/storage"
	nanotest "github.com/micromdm/nanodep/storage/test"
	"github.com/micromdm/nanodep/tokenpki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/abm/depstore"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

func testSealer(t *testing.T) storage.Sealer {
	t.Helper()
	keys, err := storage.NewKeyset()
	require.NoError(t, err)
	s, err := storage.NewKeysetSealer(keys)
	require.NoError(t, err)
	return s
}

func newStorage(t *testing.T) (*depstore.Storage, *abm.Accounts, *memory.Store) {
	t.Helper()
	store, sealer := memory.New(), testSealer(t)
	s, err := depstore.New(store, sealer)
	require.NoError(t, err)
	accts, err := abm.NewAccounts(store, sealer)
	require.NoError(t, err)
	return s, accts, store
}

func newPKI(t *testing.T) (certPEM, keyPEM []byte, key *rsa.PrivateKey) {
	t.Helper()
	key, cert, err := tokenpki.SelfSignedRSAKeypair("depserver", 1)
	require.NoError(t, err)
	return cryptoutil.PEMCertificate(cert.Raw), cryptoutil.PEMRSAPrivateKey(key), key
}

func tokens(n int) *client.OAuth1Tokens {
	return &client.OAuth1Tokens{
		ConsumerKey: "CK_same", ConsumerSecret: fmt.Sprint("CS_", n), AccessToken: fmt.Sprint("AT_", n),
		AccessSecret: fmt.Sprint("AS_", n), AccessTokenExpiry: time.Date(2100, 1, n, 0, 0, 0, 0, time.UTC),
	}
}

// nanodep's own suite.
func TestNanoDEPConformance(t *testing.T) {
	t.Parallel()
	s, _, _ := newStorage(t)
	nanotest.TestWithStorages(t, t.Context(), s)
}

// What nanodep stores is the account's, and the other way round.
func TestSharedWithAccounts(t *testing.T) {
	t.Parallel()
	s, accts, store := newStorage(t)
	ctx := t.Context()
	cert, key, _ := newPKI(t)
	require.NoError(t, s.StoreTokenPKI(ctx, "acme", cert, key))
	require.NoError(t, s.UpstageTokenPKI(ctx, "acme"))
	require.NoError(t, s.StoreAuthTokens(ctx, "acme", tokens(1)))
	require.NoError(t, s.StoreConfig(ctx, "acme", &client.Config{BaseURL: "https://apple.test/base"}))

	acct, err := store.GetAccount(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, "https://apple.test/base", acct.BaseURL)
	assert.Equal(t, tokens(1).AccessTokenExpiry, acct.TokenExpiresAt)
	assert.NotContains(t, string(acct.SealedToken), "CS_1")
	assert.Equal(t, storage.HealthNew, acct.Health)
	pairs, err := store.ListKeyPairs(ctx, "acme")
	require.NoError(t, err)
	require.Len(t, pairs, 1)
	assert.Equal(t, pairs[0].ID, acct.KeyPairID)
	assert.Equal(t, cert, pairs[0].Certificate)
	assert.NotContains(t, string(pairs[0].SealedKey), string(key))
	token, err := accts.Token(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, "AS_1", token.AccessSecret.Reveal())

	// A renewal by us is seen at once.
	token.AccessToken, token.ExpiresAt = "AT_renewed", token.ExpiresAt.AddDate(1, 0, 0)
	_, err = accts.PutToken(ctx, "acme", token)
	require.NoError(t, err)
	got, err := s.RetrieveAuthTokens(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, "AT_renewed", got.AccessToken)
	assert.True(t, got.Valid())

	// An account that nanodep has never heard of.
	_, err = accts.Create(ctx, "ours", "https://apple.test")
	require.NoError(t, err)
	config, err := s.RetrieveConfig(ctx, "ours")
	require.NoError(t, err)
	assert.Equal(t, &client.Config{BaseURL: "https://apple.test"}, config)
	require.NoError(t, s.StoreConfig(ctx, "ours", nil))
	config, err = s.RetrieveConfig(ctx, "ours")
	require.NoError(t, err)
	assert.Nil(t, config, "the default is none")
	_, err = s.RetrieveAuthTokens(ctx, "ours")
	require.ErrorIs(t, err, nanodep.ErrNotFound)
	_, _, err = s.RetrieveCurrentTokenPKI(ctx, "ours")
	require.ErrorIs(t, err, nanodep.ErrNotFound)
	require.ErrorIs(t, s.UpstageTokenPKI(ctx, "ours"), nanodep.ErrNotFound)

	// Deleting takes all of it.
	require.NoError(t, s.StoreCursor(ctx, "acme", "c"))
	require.NoError(t, accts.Delete(ctx, "acme"))
	nanotest.TestEmpty(t, ctx, "acme", s)
}

// Staging another key pair keeps the one before; staging the same again changes nothing.
func TestStagedKeyPairs(t *testing.T) {
	t.Parallel()
	s, _, store := newStorage(t)
	ctx := t.Context()
	cert1, key1, rsaKey := newPKI(t)
	cert2, key2, _ := newPKI(t)
	require.NoError(t, s.StoreTokenPKI(ctx, "acme", cert1, key1))
	require.NoError(t, s.UpstageTokenPKI(ctx, "acme"))
	require.NoError(t, s.StoreTokenPKI(ctx, "acme", cert2, key2))
	for range 2 {
		gotCert, gotKey, err := s.RetrieveStagingTokenPKI(ctx, "acme")
		require.NoError(t, err)
		assert.Equal(t, cert2, gotCert)
		assert.Equal(t, key2, gotKey)
		gotCert, gotKey, err = s.RetrieveCurrentTokenPKI(ctx, "acme")
		require.NoError(t, err)
		assert.Equal(t, cert1, gotCert)
		assert.Equal(t, key1, gotKey)
		// The same key pair, and so is it in a file that is written in another way.
		require.NoError(t, s.StoreTokenPKI(ctx, "acme", slices.Concat([]byte("a comment\n"), cert2, key2), key2))
	}
	pairs, err := store.ListKeyPairs(ctx, "acme")
	require.NoError(t, err)
	assert.Len(t, pairs, 2)

	der, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	require.NoError(t, err)
	require.NoError(t, s.StoreTokenPKI(ctx, "other", cert1, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	_, gotKey, err := s.RetrieveStagingTokenPKI(ctx, "other")
	require.NoError(t, err)
	assert.Equal(t, key1, gotKey, "in the form nanodep reads")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s, _, store := newStorage(t)
	ctx := t.Context()
	cert, key, _ := newPKI(t)
	_, otherKey, _ := newPKI(t)
	for name, pair := range map[string][2][]byte{
		"no certificate": {nil, key}, "no key": {cert, nil}, "another's key": {cert, otherKey},
		"key is a certificate": {cert, cert}, "certificate is a key": {key, key},
		"key of no use": {cert, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("x")})},
	} {
		err := s.StoreTokenPKI(ctx, "acme", pair[0], pair[1])
		require.Error(t, err, name)
		assert.NotContains(t, err.Error(), "PRIVATE KEY--", name)
	}
	_, _, err := s.RetrieveStagingTokenPKI(ctx, "acme")
	require.ErrorIs(t, err, nanodep.ErrNotFound)

	late := tokens(1)
	late.AccessTokenExpiry = time.Time{}
	require.ErrorContains(t, s.StoreAuthTokens(ctx, "acme", late), "access_token_expiry")
	require.ErrorContains(t, s.StoreAuthTokens(ctx, "acme", &client.OAuth1Tokens{ConsumerKey: "CK", ConsumerSecret: "hidden"}), "access_token")
	require.Error(t, s.StoreAuthTokens(ctx, "acme", nil))
	require.Error(t, s.StoreConfig(ctx, "acme", &client.Config{BaseURL: "ftp://x"}))
	require.Error(t, s.StoreCursor(ctx, "", "c"))
	_, err = s.RetrieveAuthTokens(ctx, "acme")
	require.ErrorIs(t, err, nanodep.ErrNotFound, "nothing was stored")

	_, err = depstore.New(nil, testSealer(t))
	require.Error(t, err)
	_, err = depstore.New(store, nil)
	require.Error(t, err)
	_, err = depstore.New(store, testSealer(t), nil)
	require.Error(t, err)
	_, err = depstore.New(store, testSealer(t), depstore.WithClock(nil))
	require.Error(t, err)
}

// A keyset that is lost is an error, not a missing token: nanodep's handlers would store over it.
func TestLostKeyset(t *testing.T) {
	t.Parallel()
	s, _, store := newStorage(t)
	ctx := t.Context()
	cert, key, _ := newPKI(t)
	require.NoError(t, s.StoreTokenPKI(ctx, "acme", cert, key))
	require.NoError(t, s.StoreAuthTokens(ctx, "acme", tokens(1)))
	s, err := depstore.New(store, testSealer(t))
	require.NoError(t, err)
	_, err = s.RetrieveAuthTokens(ctx, "acme")
	require.ErrorIs(t, err, storage.ErrSealed)
	require.NotErrorIs(t, err, nanodep.ErrNotFound)
	_, _, err = s.RetrieveStagingTokenPKI(ctx, "acme")
	require.ErrorIs(t, err, storage.ErrSealed)
}

func TestQueryDEPNames(t *testing.T) {
	t.Parallel()
	s, accts, _ := newStorage(t)
	ctx := t.Context()
	var all []string
	for i := range 150 {
		name := fmt.Sprintf("n%03d", i)
		all = append(all, name)
		_, err := accts.Create(ctx, name, "")
		require.NoError(t, err)
	}
	query := func(filter []string, p *nanodep.Pagination) *nanodep.DEPNamesQueryResult {
		req := &nanodep.DEPNamesQueryRequest{Pagination: p}
		if filter != nil {
			req.Filter = &nanodep.DEPNamesQueryFilter{DEPNames: filter}
		}
		res, err := s.QueryDEPNames(ctx, req)
		require.NoError(t, err)
		return res
	}
	res, err := s.QueryDEPNames(ctx, nil)
	require.NoError(t, err)
	assert.Equal(t, all[:100], res.DEPNames)
	require.NotNil(t, res.NextCursor)
	assert.Equal(t, all[100:], query(nil, &nanodep.Pagination{Cursor: res.NextCursor}).DEPNames)

	for _, filter := range [][]string{nil, append([]string{"unknown", "n003"}, all...)} {
		for _, limit := range []int{1, 7, 150, 2000} {
			var got []string
			cursor := new(string)
			for cursor != nil {
				res := query(filter, &nanodep.Pagination{Cursor: cursor, Limit: &limit})
				assert.LessOrEqual(t, len(res.DEPNames), limit)
				got, cursor = append(got, res.DEPNames...), res.NextCursor
			}
			assert.Equal(t, all, got)
		}
		for _, offset := range []int{0, 1, 149, 150, 1000} {
			limit := 7
			res := query(filter, &nanodep.Pagination{Offset: &offset, Limit: &limit})
			from := min(offset, len(all))
			assert.ElementsMatch(t, all[from:min(from+limit, len(all))], res.DEPNames)
			assert.Nil(t, res.NextCursor)
		}
	}
	assert.Empty(t, query([]string{"unknown"}, nil).DEPNames)
	zero, cursor := 0, "not a cursor"
	_, err = s.QueryDEPNames(ctx, &nanodep.DEPNamesQueryRequest{Pagination: &nanodep.Pagination{Offset: &zero, Cursor: &cursor}})
	require.ErrorIs(t, err, nanodep.ErrBothCursorAndOffset)
	_, err = s.QueryDEPNames(ctx, &nanodep.DEPNamesQueryRequest{Pagination: &nanodep.Pagination{Cursor: &cursor}})
	require.ErrorIs(t, err, storage.ErrBadCursor)
}

// Writers of different fields lose nothing of each other's, whoever makes the account.
func TestConcurrentState(t *testing.T) {
	t.Parallel()
	s, _, _ := newStorage(t)
	cert, key, _ := newPKI(t)
	var wg sync.WaitGroup
	for _, write := range []func(context.Context) error{
		func(ctx context.Context) error { return s.StoreCursor(ctx, "acme", "cursor") },
		func(ctx context.Context) error { return s.StoreAssignerProfile(ctx, "acme", "profile") },
		func(ctx context.Context) error { return s.StoreTokenPKI(ctx, "acme", cert, key) },
		func(ctx context.Context) error { return s.StoreAuthTokens(ctx, "acme", tokens(1)) },
		func(ctx context.Context) error {
			return s.StoreConfig(ctx, "acme", &client.Config{BaseURL: "https://apple.test"})
		},
	} {
		wg.Go(func() { assert.NoError(t, write(t.Context())) })
	}
	wg.Wait()
	ctx := t.Context()
	cursor, err := s.RetrieveCursor(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, "cursor", cursor)
	profile, _, err := s.RetrieveAssignerProfile(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, "profile", profile)
	_, _, err = s.RetrieveStagingTokenPKI(ctx, "acme")
	require.NoError(t, err)
	_, err = s.RetrieveAuthTokens(ctx, "acme")
	require.NoError(t, err)
	config, err := s.RetrieveConfig(ctx, "acme")
	require.NoError(t, err)
	assert.NotNil(t, config)
}
