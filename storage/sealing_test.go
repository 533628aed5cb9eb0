package storage_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

func sealer(t *testing.T) *storage.KeysetSealer {
	t.Helper()
	keyset, err := storage.NewKeyset()
	require.NoError(t, err)
	s, err := storage.NewKeysetSealer(keyset)
	require.NoError(t, err)
	return s
}

func TestSealOpensOnlyForItsRecord(t *testing.T) {
	t.Parallel()
	s := sealer(t)
	secret := []byte("consumer secret CS_1234")
	sealed, err := s.Seal(t.Context(), secret, []byte("account/acme/token"))
	require.NoError(t, err)
	assert.False(t, bytes.Contains(sealed, []byte("CS_1234")))

	got, err := s.Open(t.Context(), sealed, []byte("account/acme/token"))
	require.NoError(t, err)
	assert.Equal(t, secret, got)

	_, err = s.Open(t.Context(), sealed, []byte("account/other/token"))
	require.ErrorIs(t, err, storage.ErrSealed)
	_, err = sealer(t).Open(t.Context(), sealed, []byte("account/acme/token"))
	require.ErrorIs(t, err, storage.ErrSealed)
	sealed[len(sealed)-1] ^= 1
	_, err = s.Open(t.Context(), sealed, []byte("account/acme/token"))
	require.ErrorIs(t, err, storage.ErrSealed)
}

func TestNewKeysetSealerRefusesGarbage(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "{}", "not json", `{"primaryKeyId":1,"key":[]}`} {
		_, err := storage.NewKeysetSealer([]byte(in))
		assert.Error(t, err, in)
	}
}

func TestPageSize(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]int{
		-1: storage.DefaultPageSize, 0: storage.DefaultPageSize, 1: 1,
		storage.MaxPageSize: storage.MaxPageSize, storage.MaxPageSize + 1: storage.MaxPageSize,
	} {
		assert.Equal(t, want, storage.Page{Limit: limit}.Size(), limit)
	}
}
