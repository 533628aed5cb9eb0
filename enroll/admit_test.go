package enroll

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/storage"
)

// queue is a device's queue of commands.
type queue struct {
	commands map[string][]byte
	err      error
}

func (q *queue) Enqueue(_ context.Context, _, commandUUID string, command []byte) error {
	if q.err != nil {
		return q.err
	}
	if q.commands == nil {
		q.commands = map[string][]byte{}
	}
	q.commands[commandUUID] = command
	return nil
}

func (q *queue) Push(context.Context, string) error { return errors.New("nobody has to push") }

func (q *queue) ids() (out []string) {
	for id := range q.commands {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

const foreign = "ffff" // the hash of another certificate

// from returns a message as another identity sends it, without the session.
func from(certificate string, m Message) Message {
	m.Certificate, m.Params = certificate, nil
	return m
}

// TestForeignIdentitiesAreKeptOut has somebody with an identity of the same authority speak for an enrolled device.
func TestForeignIdentitiesAreKeptOut(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c, o := newCheckIns(t, f)
	ctx := t.Context()
	params := f.enrolled()
	require.NoError(t, c.Authenticated(ctx, authenticate(params, "a")))
	require.NoError(t, c.TokenUpdated(ctx, tokenUpdate(params, storage.AwaitingFalse)))
	before, heard := f.enrollment(), len(o.events)

	user := connect()
	user.UserChannel = true
	checkOut := Message{Type: "CheckOut", EnrollmentID: udid, UDID: udid}
	bootstrap := Message{Type: "GetBootstrapToken", EnrollmentID: udid, UDID: udid, Awaiting: storage.AwaitingTrue}
	for _, tc := range []struct {
		m      Message
		handle func(context.Context, Message) error
		want   error
	}{
		{from(foreign, authenticate(nil, "x")), c.Authenticated, ErrNoSession},
		{from(foreign, tokenUpdate(nil, storage.AwaitingTrue)), c.TokenUpdated, ErrIdentity},
		{from("", tokenUpdate(nil, storage.AwaitingTrue)), c.TokenUpdated, ErrIdentity},
		{from(foreign, connect()), c.Idle, ErrIdentity},
		{from(foreign, checkOut), c.CheckedOut, ErrIdentity},
		{from(foreign, bootstrap), c.BootstrapToken, ErrIdentity},
		{from(foreign, user), nil, ErrIdentity},
	} {
		require.ErrorIs(t, c.Admit(ctx, tc.m), tc.want, tc.m.Type)
		if tc.handle != nil {
			require.ErrorIs(t, tc.handle(ctx, tc.m), tc.want, tc.m.Type)
		}
	}
	stolen := from(foreign, tokenUpdate(nil, storage.AwaitingTrue))
	stolen.Params = params
	require.ErrorIs(t, c.Admit(ctx, stolen), ErrIdentity, "the session alone does not replace the identity")
	assert.Equal(t, before, f.enrollment())
	assert.Len(t, o.events, heard)

	require.NoError(t, c.Admit(ctx, connect()))
	require.NoError(t, c.Admit(ctx, Message{Type: "Connect"}), "a message of nobody is the MDM server's to refuse")
}

// TestUnknownDevicesNeedASession leaves out Authenticate.
func TestUnknownDevicesNeedASession(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c, _ := newCheckIns(t, f)
	ctx := t.Context()
	require.ErrorIs(t, c.TokenUpdated(ctx, tokenUpdate(nil, storage.AwaitingTrue)), ErrNoSession)
	require.ErrorIs(t, c.Idle(ctx, connect()), ErrNoSession)
	_, err := f.store.GetEnrollment(ctx, udid)
	require.ErrorIs(t, err, storage.ErrNotFound)

	params := f.enrolled()
	without := authenticate(params, "a")
	without.Certificate = ""
	require.ErrorIs(t, c.Admit(ctx, without), ErrIdentity)
	without.Certificate, without.Serial = identity, ""
	require.ErrorIs(t, c.Admit(ctx, without), ErrSessionMismatch)
	m := connect()
	m.Params = params
	require.NoError(t, c.Admit(ctx, m))
	require.NoError(t, c.Idle(ctx, m))
	assert.Equal(t, []string{serial, "acme"}, []string{f.enrollment().Serial, f.enrollment().Account})
}

// TestSessionOfAnotherSerial has a device of the inventory claim the UDID of another one in its MachineInfo.
func TestSessionOfAnotherSerial(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c, _ := newCheckIns(t, f)
	params := f.enrolled()
	require.NoError(t, c.Authenticated(t.Context(), authenticate(params, "a")))
	require.NoError(t, f.store.CreateSession(t.Context(), storage.EnrollmentSession{
		ID: "s2", Serial: "OTHER", UDID: udid, ExpiresAt: f.clock.Now().Add(time.Hour),
	}))
	m := from(foreign, authenticate(nil, "b"))
	m.Serial, m.Params = "OTHER", map[string]string{SessionParam: f.keys.CheckInToken("s2")}
	require.ErrorIs(t, c.Admit(t.Context(), m), ErrSessionMismatch)
}

func TestSessionsWithoutATimeNeverExpire(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c, _ := newCheckIns(t, f)
	params := f.enrolled()
	s, err := f.session()
	require.NoError(t, err)
	s.ExpiresAt = time.Time{}
	require.NoError(t, f.store.UpdateSession(t.Context(), s))
	require.NoError(t, c.Authenticated(t.Context(), authenticate(params, "a")))
}

// TestLostTokenUpdate asks a device whose TokenUpdate never came, and opens its setup by the answer.
func TestLostTokenUpdate(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	q := &queue{err: errors.New("down")}
	c, o := newCheckIns(t, f, WithCommander(q))
	ctx := t.Context()
	require.NoError(t, c.Authenticated(ctx, authenticate(f.enrolled(), "a")))
	require.NoError(t, c.Admit(ctx, connect()), "that it cannot be asked now is no reason to refuse it")
	q.err = nil
	for range 3 {
		f.clock.Add(time.Minute)
		require.NoError(t, c.Admit(ctx, connect()))
		require.NoError(t, c.Idle(ctx, connect()))
	}
	assert.Equal(t, storage.EnrollmentEnrolled, f.enrollment().State, "a device that asks for commands can be reached")
	require.Len(t, q.ids(), 1, "asked once")
	assert.Contains(t, string(q.commands[q.ids()[0]]), "AwaitingConfiguration")

	m := connect()
	m.Awaiting = storage.AwaitingTrue
	require.NoError(t, c.CommandReported(ctx, m, setupexp.CommandResult{CommandUUID: q.ids()[0], Status: "Acknowledged"}))
	assert.Equal(t, setupexp.AwaitingSeen{Awaiting: storage.AwaitingTrue, Source: "DeviceInformation"}, o.events[len(o.events)-1].Body)
	delete(q.commands, q.ids()[0])
	require.NoError(t, c.Admit(ctx, connect()))
	assert.Empty(t, q.ids(), "known now")
}

// released has the fixture's device enroll and leave Setup Assistant.
func (f *fixture) released(c *CheckIns, params map[string]string) storage.Enrollment {
	f.t.Helper()
	ctx := context.Background()
	require.NoError(f.t, c.Authenticated(ctx, authenticate(params, "a")))
	require.NoError(f.t, c.TokenUpdated(ctx, tokenUpdate(params, storage.AwaitingTrue)))
	e := f.enrollment()
	e.State, e.ReleasedAt = storage.EnrollmentReleased, f.clock.Now()
	require.NoError(f.t, f.store.PutEnrollment(ctx, e))
	f.clock.Add(300 * 24 * time.Hour)
	f.enrolled()
	return f.enrollment()
}

// TestRenewalIsNoReset replaces the profile of a device in place, which sends Authenticate with a new identity.
func TestRenewalIsNoReset(t *testing.T) {
	t.Parallel()
	for _, awaiting := range []storage.Awaiting{storage.AwaitingFalse, storage.AwaitingUnknown} {
		f := newFixture(t, nil)
		q := &queue{}
		c, o := newCheckIns(t, f, WithCommander(q))
		ctx := t.Context()
		params := f.enrolled()
		before := f.released(c, params)
		again := authenticate(params, "b")
		again.Certificate = "22"
		for range 2 {
			require.NoError(t, c.Admit(ctx, again))
			require.NoError(t, c.Authenticated(ctx, again))
		}
		require.NoError(t, c.Idle(ctx, connect()), "the replacement may still fail")
		update := tokenUpdate(params, awaiting)
		update.Certificate = "22"
		require.NoError(t, c.Admit(ctx, update))
		require.NoError(t, c.TokenUpdated(ctx, update))
		require.ErrorIs(t, c.Admit(ctx, connect()), ErrIdentity, "the old identity is void")

		answer := connect()
		answer.Certificate = "22"
		require.NoError(t, c.Admit(ctx, answer))
		if awaiting == storage.AwaitingUnknown {
			require.Len(t, q.ids(), 1, "it did not say whether it was erased")
			answer.Awaiting = storage.AwaitingFalse
			require.NoError(t, c.CommandReported(ctx, answer, setupexp.CommandResult{CommandUUID: q.ids()[0], Status: "Acknowledged"}))
		} else {
			require.Empty(t, q.ids())
		}
		e := f.enrollment()
		assert.Equal(t, []any{before.State, before.ReleasedAt, before.Generation, before.AuthenticatedAt, "22", "", time.Time{}},
			[]any{e.State, e.ReleasedAt, e.Generation, e.AuthenticatedAt, e.CertificateHash, e.NextCertificateHash, e.RenewingAt})
		assert.Equal(t, "authenticated", o.kinds()[0])
		assert.NotContains(t, o.kinds()[1:], "authenticated")
		kinds, _ := f.acts()
		assert.Contains(t, kinds, "identity_renewed")
	}
}

// TestRenewalOutlivesTheSession renews the identity of a device long after its session has ended.
func TestRenewalOutlivesTheSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c, _ := newCheckIns(t, f)
	ctx := t.Context()
	params := f.enrolled()
	require.NoError(t, c.Authenticated(ctx, authenticate(params, "a")))
	require.NoError(t, c.TokenUpdated(ctx, tokenUpdate(params, storage.AwaitingFalse)))
	f.clock.Add(300 * 24 * time.Hour)

	again := authenticate(params, "b")
	again.Certificate = "22"
	require.NoError(t, c.Admit(ctx, again))
	_, err := f.store.DeleteExpiredSessions(ctx, f.clock.Now(), 10)
	require.NoError(t, err)
	require.NoError(t, c.Admit(ctx, again), "nor does it matter that the session is forgotten")
	require.NoError(t, c.Authenticated(ctx, again))

	other := again
	other.Serial = "C02OTHER"
	require.ErrorIs(t, c.Admit(ctx, other), ErrNoSession)
	require.NoError(t, c.CheckedOut(ctx, from("22", Message{Type: "CheckOut", EnrollmentID: udid, UDID: udid})))
	require.ErrorIs(t, c.Admit(ctx, again), ErrSessionExpired, "a device that has left begins anew")
}

// TestErasedAfterRelease is told from a renewal by the device waiting again, in its TokenUpdate or its answer.
func TestErasedAfterRelease(t *testing.T) {
	t.Parallel()
	for _, certificate := range []string{"22", identity} {
		for _, inAnswer := range []bool{false, true} {
			f := newFixture(t, nil)
			c, o := newCheckIns(t, f)
			ctx := t.Context()
			params := f.enrolled()
			before := f.released(c, params)
			again := authenticate(params, "b")
			again.Certificate, again.OSVersion = certificate, "19.0"
			require.NoError(t, c.Authenticated(ctx, again))
			erased := f.clock.Now()
			update := tokenUpdate(params, storage.AwaitingTrue)
			update.Certificate = certificate
			if inAnswer {
				update.Awaiting = storage.AwaitingUnknown
			}
			require.NoError(t, c.TokenUpdated(ctx, update))
			if inAnswer {
				answer := connect()
				answer.Certificate, answer.Awaiting = certificate, storage.AwaitingTrue
				require.NoError(t, c.CommandReported(ctx, answer, setupexp.CommandResult{CommandUUID: "q", Status: "Acknowledged"}))
			}
			e := f.enrollment()
			assert.Equal(t, before.Generation+1, e.Generation)
			assert.Equal(t, []any{storage.EnrollmentEnrolled, time.Time{}, erased, certificate, "", time.Time{}, storage.AwaitingTrue},
				[]any{e.State, e.ReleasedAt, e.AuthenticatedAt, e.CertificateHash, e.NextCertificateHash, e.RenewingAt, e.Awaiting})
			last := o.events[len(o.events)-1]
			assert.Equal(t, e.Generation, last.Generation)
			assert.Equal(t, "awaiting_seen", last.Body.EventKind())
			_, events := f.acts()
			assert.Contains(t, events, &activity.DeviceAuthenticated{
				On: activity.On{Account: "acme", Serial: serial, EnrollmentID: udid}, SessionID: e.SessionID, Generation: 2, Reenrollment: true,
			})
		}
	}
}

func TestCertificateHash(t *testing.T) {
	t.Parallel()
	assert.Empty(t, CertificateHash(nil))
	assert.Len(t, CertificateHash(mustApple(t)), 64)
	_, err := NewCheckIns(newFixture(t, nil).store, newKeys(t, 1), WithCommander(nil))
	require.Error(t, err)
}
