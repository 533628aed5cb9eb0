package abm

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/micromdm/nanodep/cryptoutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// claimsOf verifies a token with the public key that Apple has on record, by another library than the one that signs.
func claimsOf(t *testing.T, cert *x509.Certificate, token string) (header map[string]any, claims jwt.MapClaims) {
	t.Helper()
	parsed, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return cert.PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256"}))
	require.NoError(t, err)
	return parsed.Header, claims
}

func TestMAIDToken(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	_, err := w.accts.MAIDToken(ctx, "school")
	require.ErrorIs(t, err, ErrNoToken)
	_, err = w.accts.MAIDToken(ctx, "unknown")
	require.ErrorIs(t, err, storage.ErrNotFound)
	keyless := w.acct(t)
	keyless.KeyPairID = "elsewhere" // not in the store
	require.NoError(t, w.store.UpdateAccount(ctx, keyless))
	_, err = w.accts.MAIDToken(ctx, acme)
	require.ErrorIs(t, err, storage.ErrNotFound)

	acct, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.NoError(t, err)
	cert, err := parseCertificate(w.pair)
	require.NoError(t, err)
	ours, err := w.accts.MAIDToken(ctx, "school")
	require.NoError(t, err)
	header, claims := claimsOf(t, cert, ours)
	assert.Equal(t, map[string]any{"alg": "RS256", "typ": "JWT"}, header)
	id, err := uuid.Parse(claims["jti"].(string))
	require.NoError(t, err)
	assert.EqualValues(t, 4, id.Version(), "random")
	assert.Equal(t, jwt.MapClaims{
		"iss": acct.ServerUUID, "iat": float64(w.clock.Now().Unix()), "jti": id.String(), "service_type": "com.apple.maid",
	}, claims)
	again, err := w.accts.MAIDToken(ctx, "school")
	require.NoError(t, err)
	_, other := claimsOf(t, cert, again)
	assert.NotEqual(t, claims["jti"], other["jti"], "used once")

	// nanodep makes the same of the same claims.
	key, err := w.accts.PrivateKey(ctx, w.pair)
	require.NoError(t, err)
	theirs, err := cryptoutil.NewMAIDJWT(key, acct.ServerUUID, w.clock.Now(), id.String())
	require.NoError(t, err)
	theirHeader, theirClaims := claimsOf(t, cert, theirs)
	assert.Equal(t, theirHeader, header)
	assert.Equal(t, theirClaims, claims)

	// After a renewal with another key pair, the new key signs.
	w.clock.Add(time.Hour)
	next, err := w.accts.CreateKeyPair(ctx, "school")
	require.NoError(t, err)
	staged, err := w.accts.MAIDToken(ctx, "school")
	require.NoError(t, err)
	claimsOf(t, cert, staged) // a staged one does not
	require.NoError(t, w.entry.UploadCertificate(next.Certificate))
	_, err = w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.NoError(t, err)
	renewed, err := w.accts.MAIDToken(ctx, "school")
	require.NoError(t, err)
	nextCert, err := parseCertificate(next)
	require.NoError(t, err)
	claimsOf(t, nextCert, renewed)
}

// A key pair of another program is the account's as one of ours is.
func TestImportKeyPair(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	made, key, err := newKeyPair("elsewhere", w.clock.Now())
	require.NoError(t, err)
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	k, err := w.accts.ImportKeyPair(ctx, "school", slices.Concat([]byte("a comment\n"), made.Certificate, private), key)
	require.NoError(t, err)
	assert.Equal(t, made.ID, k.ID)
	assert.Equal(t, made.Certificate, k.Certificate, "it is uploaded, and is not sealed: no private key may be in it")
	require.NoError(t, w.entry.UploadCertificate(made.Certificate))
	acct, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.NoError(t, err)
	assert.Equal(t, made.ID, acct.KeyPairID)

	_, err = w.accts.ImportKeyPair(ctx, "school", made.Certificate, key)
	require.ErrorIs(t, err, storage.ErrExists)
	_, err = w.accts.ImportKeyPair(ctx, "unknown", made.Certificate, key)
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, err = w.accts.ImportKeyPair(ctx, "school", w.pair.Certificate, key)
	require.ErrorContains(t, err, "not the certificate's")
	for _, none := range []*rsa.PrivateKey{nil, {}} {
		_, err = w.accts.ImportKeyPair(ctx, "school", made.Certificate, none)
		require.Error(t, err)
	}
}
