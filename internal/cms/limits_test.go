package cms

import (
	"bytes"
	"errors"
	"testing"

	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzCheckNesting holds the walker against the library's reader: what the walker calls malformed, that must not take.
func FuzzCheckNesting(f *testing.F) {
	sd, err := pkcs7.NewSignedData([]byte("content"))
	require.NoError(f, err)
	signed, err := sd.Finish()
	require.NoError(f, err)
	f.Add(signed)
	f.Add(append(bytes.Repeat([]byte{0x30, 0x80}, 3), 5, 0, 0, 0, 0, 0, 0, 0))
	f.Add([]byte{0x30, 0x04, 0x30, 0x03, 0x05, 0x00, 0x05, 0x00})
	f.Add([]byte{0x3f, 0x81, 0x01, 0x02, 0x05, 0x00})
	f.Add([]byte{0x30, 0x85, 1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<8 || !errors.Is(checkNesting(data), errBER) {
			return // the library may take long over more, which is what the walker is for
		}
		assert.False(t, readable(data))
	})
}

// readable reports whether the library takes the document, without this package's limits.
func readable(data []byte) (ok bool) {
	defer func() { _ = recover() }()
	_, err := pkcs7.Parse(data)
	return err == nil
}

func TestNestingLimits(t *testing.T) {
	t.Parallel()
	nested := func(n int) []byte {
		return append(append(bytes.Repeat([]byte{0x30, 0x80}, n), 5, 0), make([]byte, 2*n)...)
	}
	require.NoError(t, checkNesting(nested(maxDepth-1)))
	require.ErrorIs(t, checkNesting(nested(maxDepth)), ErrLimits)
	// An element that reaches beyond its parent is read again by its grandparent, here twice a level: 2^14 in 200 bytes.
	again := append([]byte{0x30, 0x7f}, bytes.Repeat([]byte{0x30, 0x02, 0x30, 0x7f}, 14)...)
	require.ErrorContains(t, checkNesting(append(again, bytes.Repeat([]byte{0x05, 0x00}, 80)...)), "16385 elements")
	for _, b := range [][]byte{nil, {0x30}, {0x1f}, {0x1f, 0x80}, {0x30, 0x05, 0x05}, {0x05, 0x80}, {0x30, 0x82, 0x01}, {0x30, 0x80, 0x05, 0x00, 0x00}} {
		assert.ErrorIs(t, checkNesting(b), errBER)
	}
}
