package abm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testCertificate returns a certificate, PEM, whose key nobody has.
func testCertificate(t testing.TB) []byte {
	t.Helper()
	k, _, err := newKeyPair("nobody", time.Now())
	require.NoError(t, err)
	return k.Certificate
}
