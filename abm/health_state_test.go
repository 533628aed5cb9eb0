package abm

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// The states of an account and what leads from one to the other. Since is when the state began, and LastOKAt moves only
// with a success.
func TestHealthTransitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	accts := w.engine(t).Accounts()
	down := &TransportError{Op: "SyncDevices", Err: http.ErrServerClosed}
	for i, step := range []struct {
		err    error
		want   storage.Health
		why    string
		reason string
	}{
		{nil, storage.HealthOK, "a success", ""},
		{down, storage.HealthUnreachable, "no answer", "SyncDevices"},
		{fmt.Errorf("x: %w", ErrTermsNotSigned), storage.HealthTermsNotSigned, "terms", "accept Apple's terms"},
		{down, storage.HealthTermsNotSigned, "an outage does not sign terms", "accept Apple's terms"},
		{nil, storage.HealthOK, "terms signed", ""},
		{ErrUnauthorized, storage.HealthRejected, "refused", "refuses the server token"},
		{down, storage.HealthRejected, "an outage does not mend a token", "refuses the server token"},
		{ErrCursorInvalid, storage.HealthRejected, "what tells nothing of the account changes nothing", "refuses"},
		{ErrTermsNotSigned, storage.HealthTermsNotSigned, "terms are looked at after the token: that is accepted", "accept Apple's terms"},
		{ErrForbidden, storage.HealthRejected, "refused again", "refuses the session"},
		{nil, storage.HealthOK, "a renewal works", ""},
		{ErrOtherServer, storage.HealthRejected, "another server's token", "another server's"},
		{nil, storage.HealthOK, "a success", ""},
	} {
		w.clock.Add(time.Hour)
		before := w.acct(t)
		require.NoError(t, accts.noteHealth(t.Context(), acme, before.SealedToken, step.err))
		after := w.acct(t)
		name := fmt.Sprintf("%d: %s", i, step.why)
		assert.Equal(t, step.want, after.Health, name)
		assert.Contains(t, after.HealthReason, step.reason, name)
		if before.Health == after.Health {
			assert.Equal(t, before.HealthSince, after.HealthSince, name)
		} else {
			assert.Equal(t, w.clock.Now(), after.HealthSince, name)
		}
		if step.err == nil {
			assert.Equal(t, w.clock.Now(), after.LastOKAt, name)
		} else {
			assert.Equal(t, before.LastOKAt, after.LastOKAt, name)
		}
	}
}

// The reason is that of the newest refusal, though the state is the same: whoever has set the clock must not be told to set
// it again. The state began with the first, and is told once.
func TestHealthReasonIsTheNewest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	accts := w.engine(t).Accounts()
	token := w.acct(t).SealedToken
	note := func(err error) storage.Account {
		w.clock.Add(time.Minute)
		require.NoError(t, accts.noteHealth(t.Context(), acme, token, err))
		return w.acct(t)
	}
	refusal := newAPIError(opSession, http.StatusUnauthorized, []byte("UNAUTHORIZED"), 0)
	refusal.Skew = 3*time.Hour + 2*time.Second
	first := note(refusal)
	require.Contains(t, first.HealthReason, "the clock of this machine is 3h0m0s behind")
	refusal.Skew += 5 * time.Second
	same := note(refusal)
	assert.Equal(t, first.Version, same.Version, "nothing new is not written")
	later := note(ErrOtherServer)
	assert.Equal(t, storage.HealthRejected, later.Health)
	assert.Equal(t, ErrOtherServer.Error(), later.HealthReason)
	assert.Equal(t, first.HealthSince, later.HealthSince)
	assert.Equal(t, 2, w.kinds(t)["account_health_changed"], "of the first token, and of the refusal")
}

// dated adds the date of Apple's clock to answers, as servers do.
type dated struct {
	next http.RoundTripper
	now  func() time.Time
}

func (d dated) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(r)
	if err == nil {
		resp.Header.Set("Date", d.now().UTC().Format(http.TimeFormat))
	}
	return resp, err
}

// A clock that is wrong is named as the reason why Apple refuses to sign us in, and only then.
func TestHealthNamesWrongClock(t *testing.T) {
	t.Parallel()
	for wrong, want := range map[time.Duration]string{
		20 * time.Minute: "the clock of this machine is 20m0s ahead of Apple's",
		-3 * time.Hour:   "the clock of this machine is 3h0m0s behind Apple's",
	} {
		w := newWorld(t, 0)
		ours := newClock()
		ours.now = w.clock.Now().Add(wrong)
		w.opts = append(w.opts, WithTransport(dated{direct{w.apple}, w.clock.Now}), WithClock(ours.Now))
		e := w.engine(t)
		_, err := e.SyncOnce(t.Context(), acme)
		require.ErrorIs(t, err, ErrUnauthorized)
		assert.Equal(t, storage.HealthRejected, w.health(t))
		assert.Contains(t, w.acct(t).HealthReason, want)

		ours.now = w.clock.Now()
		_, err = e.SyncOnce(t.Context(), acme)
		require.NoError(t, err)
		assert.Equal(t, storage.HealthOK, w.health(t))
		require.NoError(t, w.server.UploadCertificate(testCertificate(t)))
		_, err = w.server.MintToken()
		require.NoError(t, err)
		_, err = e.SyncOnce(t.Context(), acme)
		require.ErrorIs(t, err, ErrUnauthorized)
		assert.NotContains(t, w.acct(t).HealthReason, "clock of this machine", "the clock is right, the token is void")
	}
}
