package abm

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Nothing is released that is not confirmed to the letter.
func TestDisownWantsConfirmation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	c, err := NewClient(tokenOf(w.server), w.opts...)
	require.NoError(t, err)
	page, err := c.FetchDevices(t.Context(), "", 0)
	require.NoError(t, err)
	a, b := page.Devices[0].SerialNumber, page.Devices[1].SerialNumber
	for _, tt := range []struct {
		confirmed DisownConfirmation
		serials   []string
	}{
		{nil, nil}, {nil, []string{a}}, {DisownConfirmation{a}, nil}, {DisownConfirmation{a}, []string{a, b}}, {DisownConfirmation{a, b}, []string{a}},
		{DisownConfirmation{b}, []string{a}}, {DisownConfirmation{strings.ToLower(a)}, []string{a}}, {DisownConfirmation{""}, []string{""}},
		{make(DisownConfirmation, MaxLimit+1), make([]string, MaxLimit+1)},
	} {
		_, err := c.DisownDevices(t.Context(), tt.confirmed, tt.serials...)
		require.ErrorIs(t, err, ErrNotConfirmed)
		assert.NotContains(t, err.Error(), a)
	}
	assert.Zero(t, w.apple.Stats().Calls["POST /devices/disown"])

	got, err := c.DisownDevices(t.Context(), DisownConfirmation{b, a}, a, b)
	require.NoError(t, err)
	assert.Equal(t, map[string]Result{a: ResultSuccess, b: ResultSuccess}, got)
	got, err = c.DisownDevices(t.Context(), DisownConfirmation{a}, a)
	require.NoError(t, err)
	assert.Equal(t, map[string]Result{a: ResultNotAccessible}, got)
}

func TestBetaTokensUnderBothKeys(t *testing.T) {
	t.Parallel()
	const token = `[{"token":"T","title":"Beta","os":"OSX"}]`
	var body atomic.Value
	_, c := newFakeApple(t, 401, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body.Load().(string)) })
	for doc, n := range map[string]int{
		`{"betaEnrollmentTokens":` + token + `}`:                           1,
		`{"seedBuildTokens":` + token + `}`:                                1,
		`{"betaEnrollmentTokens":` + token + `,"seedBuildTokens":[{},{}]}`: 1,
		`{"betaEnrollmentTokens":[],"seedBuildTokens":` + token + `}`:      1,
		`{"betaEnrollmentTokens":[]}`:                                      0,
	} {
		body.Store(doc)
		got, err := c.BetaEnrollmentTokens(t.Context())
		require.NoError(t, err)
		require.Len(t, got, n, doc)
		if n > 0 {
			assert.Equal(t, BetaToken{Token: "T", Title: "Beta", OS: "OSX"}, got[0])
		}
	}
}

func TestDecodeRoster(t *testing.T) {
	t.Parallel()
	p, err := decodeRoster([]byte(`{"persons":[{"a": 1},{"b":"é"}],"cursor":"c","more_to_follow":"true","fetched_until":"2016-05-09T02:30:00Z"}`), "persons")
	require.NoError(t, err)
	assert.Len(t, p.Items, 2)
	assert.Equal(t, `{"a": 1}`, string(p.Items[0]), "as received")
	assert.True(t, p.MoreToFollow)
	assert.Equal(t, time.Date(2016, 5, 9, 2, 30, 0, 0, time.UTC), p.FetchedUntil)
	p, err = decodeRoster([]byte(`{"persons":null,"more_to_follow":"false"}`), "persons")
	require.NoError(t, err)
	assert.Equal(t, &RosterPage{}, p)
	for _, bad := range []string{`{}`, `{"classes":[]}`, `{"persons":{}}`, `{"persons":[],"more_to_follow":true}`, `null`} {
		_, err := decodeRoster([]byte(bad), "persons")
		require.Error(t, err, bad)
	}
}

func FuzzRoster(f *testing.F) {
	f.Add([]byte(`{"persons":[{"a":1}],"cursor":"c","more_to_follow":true}`))
	f.Add([]byte(`{"persons":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodeRoster(body, "persons")
		if (err == nil) != (p != nil) || p != nil && p.MoreToFollow && p.Cursor == "" {
			t.Errorf("%q: %v %v", body, p, err)
		}
	})
}
