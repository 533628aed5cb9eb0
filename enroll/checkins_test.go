package enroll

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/storage"
)

// identity is the hash of the certificate the fixture's device checks in with.
const identity = "00ff"

// observer records what it hears, and fails when told to.
type observer struct {
	events []setupexp.Event
	err    error
}

func (o *observer) Observe(_ context.Context, ev setupexp.Event) error {
	if o.err != nil {
		return o.err
	}
	o.events = append(o.events, ev)
	return nil
}

func (o *observer) kinds() (out []string) {
	for _, e := range o.events {
		out = append(out, e.Body.EventKind())
	}
	return out
}

func newCheckIns(t *testing.T, f *fixture, opts ...CheckInOption) (*CheckIns, *observer) {
	t.Helper()
	o := &observer{}
	c, err := NewCheckIns(f.store, f.keys, append([]CheckInOption{WithObserver(o), WithCheckInClock(f.clock.Now)}, opts...)...)
	require.NoError(t, err)
	return c, o
}

// enrolled has the device fetch its profile and returns the parameters of its ServerURL.
func (f *fixture) enrolled() map[string]string {
	f.t.Helper()
	require.Equal(f.t, http.StatusOK, f.post(f.sign(nil)).status)
	_, token := f.keys.device(serial, udid, "")
	return map[string]string{SessionParam: token}
}

func (f *fixture) enrollment() storage.Enrollment {
	f.t.Helper()
	e, err := f.store.GetEnrollment(context.Background(), udid)
	require.NoError(f.t, err)
	return e
}

func authenticate(params map[string]string, id string) Message {
	return Message{
		ID: id, Type: "Authenticate", EnrollmentID: udid, UDID: udid, Certificate: identity, Serial: serial, Product: "iPhone17,2", OSVersion: "18.0", Params: params,
	}
}

func tokenUpdate(params map[string]string, a storage.Awaiting) Message {
	return Message{ID: "token", Type: "TokenUpdate", EnrollmentID: udid, UDID: udid, Certificate: identity, Params: params, Awaiting: a}
}

func connect() Message {
	return Message{Type: "Connect", EnrollmentID: udid, UDID: udid, Certificate: identity}
}

func TestCheckInsFollowADevice(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c, o := newCheckIns(t, f)
	ctx := t.Context()
	params := f.enrolled()
	start := f.clock.Now()

	require.NoError(t, c.Authenticated(ctx, authenticate(params, "a1")))
	e := f.enrollment()
	session, err := f.session()
	require.NoError(t, err)
	assert.Equal(t, storage.Enrollment{
		ID: udid, UDID: udid, Serial: serial, Account: "acme", SessionID: session.ID, Product: "iPhone17,2", OSVersion: "18.0",
		State: storage.EnrollmentEnrolling, Generation: 1, CertificateHash: identity, AuthenticatedAt: start, LastSeenAt: start, UpdatedAt: start, Version: 1,
	}, e)
	assert.Equal(t, storage.SessionEnrolled, session.State)

	f.clock.Add(time.Second)
	require.NoError(t, c.TokenUpdated(ctx, tokenUpdate(params, storage.AwaitingTrue)))
	e = f.enrollment()
	assert.Equal(t, storage.EnrollmentEnrolled, e.State)
	assert.Equal(t, storage.AwaitingTrue, e.Awaiting)
	assert.Equal(t, start.Add(time.Second), e.EnrolledAt)

	require.NoError(t, c.TokenUpdated(ctx, tokenUpdate(params, storage.AwaitingUnknown)))
	assert.Equal(t, storage.AwaitingTrue, f.enrollment().Awaiting, "a message without the key is unknown, not false")
	require.NoError(t, c.Idle(ctx, Message{ID: "i", Type: "Connect", EnrollmentID: udid, UDID: udid, Certificate: identity}))
	require.NoError(t, c.CommandReported(ctx, Message{ID: "r", Type: "Connect", EnrollmentID: udid, UDID: udid, Certificate: identity, Awaiting: storage.AwaitingFalse},
		setupexp.CommandResult{CommandUUID: "c1", Status: "Acknowledged"}))
	assert.Equal(t, storage.AwaitingFalse, f.enrollment().Awaiting)
	require.NoError(t, c.BootstrapToken(ctx, Message{ID: "b", Type: "SetBootstrapToken", EnrollmentID: udid, UDID: udid, Certificate: identity}))
	require.NoError(t, c.CheckedOut(ctx, Message{ID: "o", Type: "CheckOut", EnrollmentID: udid, UDID: udid, Certificate: identity}))
	require.NoError(t, c.CheckedOut(ctx, Message{ID: "o", Type: "CheckOut", EnrollmentID: udid, UDID: udid, Certificate: identity}))
	assert.Equal(t, storage.EnrollmentUnenrolled, f.enrollment().State)

	assert.Equal(t, []string{
		"authenticated", "awaiting_seen", "awaiting_seen", "device_contact", "command_result", "awaiting_seen", "checked_out", "checked_out",
	}, o.kinds())
	assert.Equal(t, setupexp.AwaitingSeen{Awaiting: storage.AwaitingUnknown, Source: "TokenUpdate"}, o.events[2].Body)
	assert.Equal(t, "a1/1/authenticated", o.events[0].ID)
	assert.Equal(t, o.events[6].ID, o.events[7].ID, "a message heard twice is one event")
	assert.Equal(t, setupexp.AwaitingSeen{Awaiting: storage.AwaitingFalse, Source: "DeviceInformation"}, o.events[5].Body)
	for _, ev := range o.events {
		assert.Equal(t, int64(1), ev.Generation)
	}
	kinds, events := f.acts()
	assert.Equal(t, []string{"device_authenticated", "device_enrolled", "awaiting_changed", "awaiting_changed", "device_unenrolled"}, kinds[2:])
	assert.Equal(t, &activity.DeviceEnrolled{
		On: activity.On{Account: "acme", Serial: serial, EnrollmentID: udid}, SessionID: session.ID, Generation: 1, Awaiting: "true",
	}, events[3])
}

func TestGenerations(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c, o := newCheckIns(t, f)
	ctx := t.Context()
	params := f.enrolled()
	for range 2 { // the device repeats what it got no answer to
		require.NoError(t, c.Authenticated(ctx, authenticate(params, "a1")))
	}
	assert.Equal(t, int64(1), f.enrollment().Generation)
	require.NoError(t, c.TokenUpdated(ctx, tokenUpdate(params, storage.AwaitingTrue)))

	require.NoError(t, c.Authenticated(ctx, authenticate(params, "a2"))) // erased, enrolls again
	e := f.enrollment()
	assert.Equal(t, int64(2), e.Generation)
	assert.Equal(t, storage.AwaitingUnknown, e.Awaiting, "nothing of the generation before is known of this one")
	assert.True(t, e.EnrolledAt.IsZero())
	require.NoError(t, c.TokenUpdated(ctx, tokenUpdate(params, storage.AwaitingTrue)))

	require.NoError(t, c.CheckedOut(ctx, Message{Type: "CheckOut", EnrollmentID: udid, UDID: udid, Certificate: identity}))
	require.NoError(t, c.TokenUpdated(ctx, tokenUpdate(params, storage.AwaitingFalse))) // restored from its backup
	e = f.enrollment()
	assert.Equal(t, int64(3), e.Generation)
	assert.Equal(t, storage.EnrollmentEnrolled, e.State)
	assert.True(t, e.UnenrolledAt.IsZero())
	assert.Equal(t, serial, e.Serial)
	assert.Equal(t, o.events[0].ID, o.events[1].ID)

	kinds, events := f.acts()
	assert.Equal(t, []string{
		"device_authenticated", "device_enrolled", "awaiting_changed", "device_authenticated", "device_enrolled", "awaiting_changed",
		"device_unenrolled", "device_enrolled", "awaiting_changed",
	}, kinds[2:])
	assert.True(t, events[5].(*activity.DeviceAuthenticated).Reenrollment)
}

// TestFailuresAreRetried stops after the store and before the observer, and comes again as a device would.
func TestFailuresAreRetried(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c, o := newCheckIns(t, f)
	ctx := t.Context()
	params := f.enrolled()
	down := errors.New("down")
	steps := []func() error{
		func() error { return c.Authenticated(ctx, authenticate(params, "a1")) },
		func() error { return c.TokenUpdated(ctx, tokenUpdate(params, storage.AwaitingTrue)) },
		func() error {
			return c.CheckedOut(ctx, Message{ID: "o", Type: "CheckOut", EnrollmentID: udid, UDID: udid, Certificate: identity})
		},
	}
	for _, step := range steps {
		o.err = down
		require.ErrorIs(t, step(), down)
		o.err = nil
		require.NoError(t, step())
	}
	assert.Equal(t, []string{"authenticated", "awaiting_seen", "checked_out"}, o.kinds())
	assert.Equal(t, int64(1), f.enrollment().Generation)
	kinds, _ := f.acts()
	assert.Equal(t, []string{"device_authenticated", "device_enrolled", "awaiting_changed", "device_unenrolled"}, kinds[2:])
}

func TestSessionsAreBound(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	noted, _ := newCheckIns(t, f, WithoutSessionCheck())
	strict, o := newCheckIns(t, f)
	params := f.enrolled()
	other := authenticate(params, "x")
	other.UDID, other.EnrollmentID = "OTHER", "OTHER"
	otherSerial := authenticate(params, "x")
	otherSerial.Serial = "LEFT"
	forged := authenticate(map[string]string{SessionParam: params[SessionParam] + "x"}, "x")
	unknown := authenticate(map[string]string{SessionParam: f.keys.CheckInToken("unknown")}, "x")
	for name, m := range map[string]Message{
		"none": authenticate(nil, "x"), "another device": other, "another serial": otherSerial, "forged": forged, "unknown": unknown,
	} {
		require.ErrorIs(t, strict.Authenticated(t.Context(), m), ErrNoSession, name)
	}
	_, err := f.store.GetEnrollment(t.Context(), udid)
	require.ErrorIs(t, err, storage.ErrNotFound, "a refused device leaves nothing")
	assert.Empty(t, o.events)

	require.NoError(t, noted.Authenticated(t.Context(), otherSerial))
	e := f.enrollment()
	assert.Empty(t, e.SessionID)
	assert.Empty(t, e.Account, "that serial has left")

	f.clock.Add(8 * 24 * time.Hour)
	require.ErrorIs(t, strict.Authenticated(t.Context(), authenticate(params, "x")), ErrSessionExpired)
}

func TestUserChannelsChangeNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c, o := newCheckIns(t, f)
	m := tokenUpdate(nil, storage.AwaitingTrue)
	m.UserChannel = true
	ctx := t.Context()
	require.NoError(t, c.Authenticated(ctx, m))
	require.NoError(t, c.TokenUpdated(ctx, m))
	require.NoError(t, c.CheckedOut(ctx, m))
	require.NoError(t, c.BootstrapToken(ctx, m))
	require.NoError(t, c.Idle(ctx, m))
	require.NoError(t, c.CommandReported(ctx, m, setupexp.CommandResult{}))
	_, err := f.store.GetEnrollment(ctx, udid)
	require.ErrorIs(t, err, storage.ErrNotFound)
	assert.Empty(t, o.events)
}

// TestDevicesThatWereThereBefore has a device connect that enrolled without this package; any message will do.
func TestDevicesThatWereThereBefore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	q := &queue{}
	c, o := newCheckIns(t, f, WithoutSessionCheck(), WithCommander(q))
	ctx := t.Context()
	require.NoError(t, c.CheckedOut(ctx, Message{Type: "CheckOut", EnrollmentID: "unknown", UDID: "unknown"}))
	_, err := f.store.GetEnrollment(ctx, "unknown")
	require.ErrorIs(t, err, storage.ErrNotFound)
	assert.Empty(t, o.events, "there is no enrollment to speak of")

	require.NoError(t, c.Admit(ctx, connect()))
	require.NoError(t, c.Idle(ctx, connect()))
	e := f.enrollment()
	assert.Equal(t, storage.EnrollmentEnrolled, e.State)
	assert.Equal(t, int64(1), e.Generation)
	assert.Equal(t, identity, e.CertificateHash, "from now on it is the device's")
	assert.Equal(t, []string{"device_contact"}, o.kinds())
	kinds, _ := f.acts()
	assert.Equal(t, []string{"device_without_session", "device_enrolled"}, kinds)
	require.NoError(t, c.Admit(ctx, connect()))
	assert.Len(t, q.ids(), 1, "asked once")

	require.NoError(t, c.TokenUpdated(ctx, tokenUpdate(nil, storage.AwaitingUnknown)))
	assert.Equal(t, int64(1), f.enrollment().Generation)
}

// racing changes the enrollment under the feet of the first writers.
type racing struct {
	CheckInStore
	times int
}

func (r *racing) PutEnrollment(ctx context.Context, e storage.Enrollment, acts ...storage.Activity) error {
	if r.times > 0 {
		r.times--
		return storage.ErrConflict
	}
	return r.CheckInStore.PutEnrollment(ctx, e, acts...)
}

func TestConflictsAreTriedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	r := &racing{CheckInStore: f.store, times: maxTries - 1}
	c, err := NewCheckIns(r, f.keys, WithoutSessionCheck())
	require.NoError(t, err)
	require.NoError(t, c.Authenticated(t.Context(), authenticate(nil, "a")))
	assert.Equal(t, int64(1), f.enrollment().Generation)
	r.times = maxTries
	require.ErrorIs(t, c.TokenUpdated(t.Context(), tokenUpdate(nil, storage.AwaitingTrue)), storage.ErrConflict)
}

func TestLastSeenIsWrittenNowAndThen(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	c, _ := newCheckIns(t, f, WithoutSessionCheck())
	ctx := t.Context()
	require.NoError(t, c.TokenUpdated(ctx, tokenUpdate(nil, storage.AwaitingTrue)))
	v := f.enrollment().Version
	idle := connect()
	f.clock.Add(lastSeenStep - time.Second)
	require.NoError(t, c.Idle(ctx, idle))
	assert.Equal(t, v, f.enrollment().Version)
	f.clock.Add(time.Second)
	require.NoError(t, c.Idle(ctx, idle))
	assert.Equal(t, f.clock.Now(), f.enrollment().LastSeenAt)
}

func TestReadMessage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, plist string
		want        Message
	}{
		{
			"Authenticate", `<key>MessageType</key><string>Authenticate</string><key>UDID</key><string>U</string>
				<key>SerialNumber</key><string>S</string><key>ProductName</key><string>Mac15,12</string><key>OSVersion</key><string>26.1</string>`,
			Message{Type: "Authenticate", UDID: "U", EnrollmentID: "U", Serial: "S", Product: "Mac15,12", OSVersion: "26.1"},
		},
		{
			"waiting", `<key>MessageType</key><string>TokenUpdate</string><key>UDID</key><string>U</string><key>AwaitingConfiguration</key><true/>`,
			Message{Type: "TokenUpdate", UDID: "U", EnrollmentID: "U", Awaiting: storage.AwaitingTrue},
		},
		{
			"not waiting", `<key>MessageType</key><string>TokenUpdate</string><key>UDID</key><string>U</string><key>AwaitingConfiguration</key><false/>`,
			Message{Type: "TokenUpdate", UDID: "U", EnrollmentID: "U", Awaiting: storage.AwaitingFalse},
		},
		{
			"user channel", `<key>MessageType</key><string>TokenUpdate</string><key>UDID</key><string>U</string><key>UserID</key><string>X</string>`,
			Message{Type: "TokenUpdate", UDID: "U", EnrollmentID: "U", UserChannel: true},
		},
		{
			"user enrollment", `<key>MessageType</key><string>CheckOut</string><key>EnrollmentID</key><string>E</string>`,
			Message{Type: "CheckOut", EnrollmentID: "E"},
		},
		{
			"answer of DeviceInformation", `<key>UDID</key><string>U</string><key>Status</key><string>Acknowledged</string><key>CommandUUID</key><string>C</string>
				<key>QueryResponses</key><dict><key>AwaitingConfiguration</key><false/></dict>`,
			Message{Type: "Connect", UDID: "U", EnrollmentID: "U", Awaiting: storage.AwaitingFalse},
		},
	} {
		raw := []byte(`<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict>` + tc.plist + `</dict></plist>`)
		tc.want.Raw = raw
		got, err := ReadMessage(raw)
		require.NoError(t, err, tc.name)
		assert.Equal(t, tc.want, got, tc.name)
	}
	_, err := ReadMessage([]byte("hello"))
	require.Error(t, err)
	assert.NotEqual(t, MessageID([]byte("ab"), []byte("c")), MessageID([]byte("a"), []byte("bc")))
}
