package enrolltest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/enroll/enrolltest"
)

func TestUnenrollment(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter)
	}{
		{"401", func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }},
		{"unrecognized", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"code": "com.apple.unrecognized.device"}`)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			d := s.device(enrolltest.Mac, byURL)
			require.NoError(t, d.Boot(timeout(t)))
			s.setRefuse(func(w http.ResponseWriter, _ *http.Request) bool { tt.answer(w); return true })
			d.Push()
			require.ErrorIs(t, d.Run(timeout(t)), enrolltest.ErrUnenrolled)
			assert.False(t, d.Enrolled())
			assert.Empty(t, d.Profiles())
			assert.Equal(t, enrolltest.StateDesktop, d.State())
		})
	}
}

func TestUnenrolledWhileAwaitingStartsOver(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.plan = []map[string]any{command("RemoveProfile", "Identifier", "org.example.enroll")}
	d := s.device(enrolltest.IPhone, byURLAwait)
	require.ErrorIs(t, d.Boot(timeout(t)), enrolltest.ErrUnenrolled)
	assert.Equal(t, enrolltest.StateFailed, d.State())
	types, _ := s.checkIns()
	assert.Equal(t, []string{"Authenticate", "TokenUpdate", "CheckOut"}, types)
}

func TestCheckOut(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(enrolltest.Mac, byURL)
	require.NoError(t, d.Boot(timeout(t)))
	require.NoError(t, d.CheckOut(timeout(t)))
	types, _ := s.checkIns()
	assert.Equal(t, "CheckOut", types[len(types)-1])
	assert.False(t, d.Enrolled())
	token, magic := d.PushToken()
	assert.Empty(t, token)
	assert.Empty(t, magic)

	locked := s.device(enrolltest.Mac, `{"url": "$/enroll", "is_mdm_removable": false}`)
	require.NoError(t, locked.Boot(timeout(t)))
	require.ErrorIs(t, locked.CheckOut(timeout(t)), enrolltest.ErrNotRemovable)
}

func TestErase(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(enrolltest.Mac, byURL)
	require.NoError(t, d.Boot(timeout(t)))
	serial, token, cert := d.Serial(), first(d.PushToken()), d.MDMIdentity().Certificate
	s.enqueue(d.UDID(), "erase", command("EraseDevice", "PIN", "123456"))
	d.Push()
	require.ErrorIs(t, d.Run(timeout(t)), enrolltest.ErrErased)
	assert.Equal(t, "Acknowledged", s.results("erase")[0]["Status"])
	assert.Equal(t, enrolltest.StateOff, d.State())
	assert.Empty(t, d.Profiles())
	assert.Empty(t, d.Answers())

	require.NoError(t, d.Boot(timeout(t)), "an erased device enrolls anew")
	assert.Equal(t, serial, d.Serial())
	assert.NotEqual(t, token, first(d.PushToken()))
	assert.NotEqual(t, cert.SerialNumber, d.MDMIdentity().Certificate.SerialNumber)
	require.NoError(t, d.Erase())
	assert.Equal(t, enrolltest.StateOff, d.State())
}

func first(token []byte, _ string) []byte { return token }

func TestReplacedEnrollmentProfile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.keepQueue.Store(true)
	s.mdm = func(p map[string]any) { p["AccessRights"] = 8191 &^ 8 }
	d := s.device(enrolltest.Mac, byURL)
	require.NoError(t, d.Boot(timeout(t)))
	old, token := d.MDMIdentity().Certificate, first(d.PushToken())

	renewal := s.enrollmentProfile()
	s.mdm = nil
	s.enqueue(d.UDID(), "wider", command("InstallProfile", "Payload", s.enrollmentProfile()))
	s.runUntil(d, "wider", 1)
	assert.Equal(t, "Error", s.results("wider")[0]["Status"], "rights may not grow")
	assert.Equal(t, old, d.MDMIdentity().Certificate)

	s.enqueue(d.UDID(), "renew", command("InstallProfile", "Payload", renewal))
	s.runUntil(d, "renew", 1)
	assert.Equal(t, "Acknowledged", s.results("renew")[0]["Status"])
	assert.NotEqual(t, old.SerialNumber, d.MDMIdentity().Certificate.SerialNumber)
	assert.Equal(t, token, first(d.PushToken()))
	types, _ := s.checkIns()
	assert.Equal(t, []string{"Authenticate", "TokenUpdate", "SetBootstrapToken", "Authenticate", "TokenUpdate"}, types)
	assert.Len(t, d.Profiles(), 1)
}

func TestRefreshToken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(enrolltest.IPhone, byURL)
	require.ErrorIs(t, d.RefreshToken(timeout(t), true), enrolltest.ErrNotEnrolled)
	require.NoError(t, d.Boot(timeout(t)))
	before := first(d.PushToken())
	require.NoError(t, d.RefreshToken(timeout(t), false))
	assert.Equal(t, before, first(d.PushToken()))
	require.NoError(t, d.RefreshToken(timeout(t), true))
	_, msgs := s.checkIns()
	assert.NotEqual(t, before, msgs[len(msgs)-1].keys["Token"])
	assert.Equal(t, first(d.PushToken()), msgs[len(msgs)-1].keys["Token"])
}

func TestOneDriverAtATime(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	awaiting := make(chan struct{})
	var once sync.Once
	d := s.device(enrolltest.Mac, byURLAwait, enrolltest.WithObserver(func(e enrolltest.Event) {
		if e.State == enrolltest.StateAwaiting {
			once.Do(func() { close(awaiting) })
		}
	}))
	ctx, cancel := context.WithCancel(timeout(t))
	ended := make(chan error, 1)
	go func() { ended <- d.Boot(ctx) }()
	<-awaiting
	require.ErrorIs(t, d.Boot(ctx), enrolltest.ErrBusy)
	require.ErrorIs(t, d.Run(ctx), enrolltest.ErrBusy)
	require.ErrorIs(t, d.CheckOut(ctx), enrolltest.ErrBusy)
	require.ErrorIs(t, d.RefreshToken(ctx, true), enrolltest.ErrBusy)
	require.ErrorIs(t, d.Erase(), enrolltest.ErrBusy)
	require.ErrorIs(t, d.Reboot(), enrolltest.ErrBusy)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.NoError(t, d.Reboot())
	s.enqueue(d.UDID(), "accounts", command("AccountConfiguration"))
	s.enqueue(d.UDID(), "done", command("DeviceConfigured"))
	require.NoError(t, d.Boot(timeout(t)))
	assert.Equal(t, "Error", s.results("accounts")[0]["Status"])
	assert.Equal(t, "Acknowledged", s.results("done")[0]["Status"])
}

func TestFleet(t *testing.T) {
	t.Parallel()
	const n = 30
	s := newServer(t)
	s.mdm = func(p map[string]any) { p["ServerURL"] = s.srv.URL + "/mdm" }
	kinds := []enrolltest.Kind{enrolltest.Mac, enrolltest.IPhone, enrolltest.IPad}
	fleet, err := enrolltest.NewFleet(n, func(i int) (*enrolltest.Device, error) {
		return s.device(kinds[i%3], byURL, enrolltest.WithSerial(fmt.Sprintf("FLEET%05d", i))), nil
	})
	require.NoError(t, err)
	s.onToken = func(udid string) { // as a server does that pushes from within its answer
		info, err := s.store.RetrievePushInfo(t.Context(), []string{udid})
		assert.NoError(t, err)
		s.enqueue(udid, "list-"+udid, command("ProfileList"))
		assert.NoError(t, fleet.PushToken(info[udid].Token, info[udid].PushMagic))
	}
	for _, r := range fleet.Boot(timeout(t), 8) {
		require.NoError(t, r.Err, r.Device.Serial())
	}
	ctx, cancel := context.WithCancel(timeout(t))
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(ctx) }()
	assert.Eventually(t, func() bool {
		return !slices.ContainsFunc(fleet.Devices(), func(d *enrolltest.Device) bool { return len(d.Answers()) == 0 })
	}, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.ErrorIs(t, fleet.PushToken([]byte("x"), "y"), enrolltest.ErrBadToken)
	assert.False(t, fleet.Push("nobody"))
	assert.True(t, fleet.Push(fleet.Devices()[0].UDID()))
	require.Error(t, fleet.Add(fleet.Devices()[0]))

	seen := map[string]bool{}
	for _, d := range fleet.Devices() {
		seen[d.MDMIdentity().Certificate.SerialNumber.String()] = true
	}
	assert.Len(t, seen, n)
}

func TestManyDevicesAreCheap(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	fleet, err := enrolltest.NewFleet(3000, func(int) (*enrolltest.Device, error) {
		return enrolltest.New(enrolltest.Mac, s.ca, s.source(byURL))
	})
	require.NoError(t, err)
	assert.Len(t, fleet.Devices(), 3000)
}
