package webapi

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	u, err := ParseURL("https://apple.example:8443/dep/v1")
	require.NoError(t, err)
	assert.Equal(t, "/dep/v1", u.Path)
	for _, text := range []string{
		"", "apple.example", "ftp://apple.example", "https:///path", "https://a.example?q=1", "https://a.example#f",
		"https://user:secret@a.example", "https://a.example/%zz",
	} {
		_, err := ParseURL(text)
		require.Error(t, err, text)
		assert.NotContains(t, err.Error(), "secret")
	}
}

type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func TestDrain(t *testing.T) {
	t.Parallel()
	rest := strings.NewReader(strings.Repeat("x", maxDrain+10))
	b := &body{Reader: rest}
	Drain(b)
	assert.True(t, b.closed)
	assert.Equal(t, 10, rest.Len(), "no more than is worth it")
}
