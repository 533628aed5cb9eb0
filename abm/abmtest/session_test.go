package abmtest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

func TestSessionIsRequired(t *testing.T) {
	t.Parallel()
	_, _, c := world(t)
	a := c.send("GET", "/account", "", c.header())
	assert.Equal(t, http.StatusUnauthorized, a.status)
	assert.Equal(t, "UNAUTHORIZED", a.body)

	c.session = "made-up"
	a = c.send("GET", "/account", "", c.header())
	assert.Equal(t, http.StatusForbidden, a.status)
	assert.Equal(t, "FORBIDDEN", a.body)
}

func TestSessionExpiresByInactivity(t *testing.T) {
	t.Parallel()
	_, _, c := world(t, abmtest.WithSessionLifetime(time.Minute))
	for range 3 {
		assert.Equal(t, http.StatusOK, c.call("GET", "/account", "").status)
		c.clock.Advance(time.Minute) // a used session lives on
	}
	c.clock.Advance(time.Second)
	a := c.call("GET", "/account", "")
	assert.Equal(t, http.StatusUnauthorized, a.status)
	assert.Equal(t, "UNAUTHORIZED", a.body)
	assert.Equal(t, http.StatusUnauthorized, c.call("GET", "/account", "").status, "it stays dead")
}

func TestSessionRotates(t *testing.T) {
	t.Parallel()
	_, _, c := world(t, abmtest.WithSessionRotation(2))
	require.Equal(t, http.StatusOK, c.open().status)
	first := c.session
	assert.Empty(t, c.call("GET", "/account", "").header.Get("X-ADM-Auth-Session"))
	a := c.call("GET", "/profile", "") // errors rotate, too
	assert.Equal(t, http.StatusBadRequest, a.status)
	renewed := a.header.Get("X-ADM-Auth-Session")
	assert.NotEmpty(t, renewed)
	assert.Equal(t, http.StatusOK, c.call("GET", "/account", "").status)

	c.session = first
	assert.Equal(t, http.StatusUnauthorized, c.call("GET", "/account", "").status)
}

func TestSessionsLiveSideBySideUnlessForbidden(t *testing.T) {
	t.Parallel()
	for _, single := range []bool{false, true} {
		var opts []abmtest.Option
		if single {
			opts = append(opts, abmtest.WithSingleSession())
		}
		_, _, c := world(t, opts...)
		require.Equal(t, http.StatusOK, c.open().status)
		first := c.session
		require.Equal(t, http.StatusOK, c.open().status)
		c.session = first
		want := http.StatusOK
		if single {
			want = http.StatusUnauthorized
		}
		assert.Equal(t, want, c.call("GET", "/account", "").status)
	}
}

func TestUnsignedTermsStopEverything(t *testing.T) {
	t.Parallel()
	s, _, c := world(t)
	require.Equal(t, http.StatusOK, c.call("GET", "/account", "").status)
	assert.True(t, s.TermsSigned())
	s.SetTermsSigned(false)
	assert.False(t, s.TermsSigned())
	assert.Equal(t, http.StatusUnauthorized, c.call("GET", "/account", "").status)
	a := c.open()
	assert.Equal(t, http.StatusForbidden, a.status)
	assert.Equal(t, "T_C_NOT_SIGNED", a.body)
	s.SetTermsSigned(true)
	assert.Equal(t, http.StatusOK, c.open().status)
	assert.Equal(t, http.StatusOK, c.call("GET", "/account", "").status)
}
