package nano_test

import (
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/enroll"
	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/internal/plist"
	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/storage"
)

// profilePlan brings one profile.
func profilePlan(t *testing.T) func(setupexp.Subject) *setupexp.Plan {
	t.Helper()
	payload, err := plist.Marshal(map[string]any{
		"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "org.example.wifi", "PayloadUUID": "uuid-wifi",
		"PayloadDisplayName": "Wi-Fi", "PayloadContent": []map[string]any{},
	})
	require.NoError(t, err)
	return func(setupexp.Subject) *setupexp.Plan {
		return &setupexp.Plan{Items: []setupexp.Item{setupexp.Profile("wifi", "Wi-Fi", "org.example.wifi", payload)}}
	}
}

// TestFromBootToDesktop has a Mac and an iPhone go the whole way, with a sign-in.
func TestFromBootToDesktop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{signIn: true, plan: profilePlan(t)})
	for _, tc := range []struct {
		kind   enrolltest.Kind
		serial string
	}{{enrolltest.Mac, "MAC0000001"}, {enrolltest.IPhone, "PHONE00001"}} {
		d := w.device(tc.kind, tc.serial, false, enrolltest.WithUser("jane", "sesame"))
		require.NoError(t, d.Boot(timeout(t)), tc.kind.String())
		assert.Equal(t, enrolltest.StateDesktop, d.State())
		assert.True(t, slices.ContainsFunc(d.Profiles(), func(p enrolltest.Profile) bool { return p.Identifier == "org.example.wifi" }))

		e, err := w.enrollment(d)
		require.NoError(t, err)
		assert.Equal(t, "acme", e.Account)
		assert.Equal(t, tc.serial, e.Serial)
		assert.Equal(t, storage.EnrollmentReleased, e.State)
		assert.Equal(t, int64(1), e.Generation)
		u, err := enroll.ParseUser(e.User)
		require.NoError(t, err)
		require.NotNil(t, u)
		assert.Equal(t, []string{"jane", "Jane Doe", "jane@example.org"}, []string{u.Username, u.Name, u.Email})
		s, err := w.store.GetSession(t.Context(), e.SessionID)
		require.NoError(t, err)
		assert.Equal(t, storage.SessionEnrolled, s.State)
		assert.Equal(t, []string{
			"enrollment_started", "sign_in_started", "signed_in", "enrollment_profile_issued", "device_authenticated",
		}, w.kinds(tc.serial)[:5])
	}
}

// TestEnrollsAgain erases a device and sets it up a second time.
func TestEnrollsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{plan: profilePlan(t)})
	d := w.device(enrolltest.Mac, "MAC0000001", false)
	require.NoError(t, d.Boot(timeout(t)))
	require.NoError(t, d.Erase())
	require.NoError(t, d.Boot(timeout(t)))
	e, err := w.enrollment(d)
	require.NoError(t, err)
	assert.Equal(t, int64(2), e.Generation)
	assert.Equal(t, storage.EnrollmentReleased, e.State)
	assert.NotEmpty(t, e.SessionID)
	n := 0
	for _, k := range w.kinds("MAC0000001") {
		if k == "setup_released" {
			n++
		}
	}
	assert.Equal(t, 2, n)
}

func TestCheckOutIsSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	d := w.device(enrolltest.IPad, "PAD0000001", false)
	require.NoError(t, d.Boot(timeout(t)))
	require.NoError(t, d.CheckOut(timeout(t)))
	e, err := w.enrollment(d)
	require.NoError(t, err)
	assert.Equal(t, storage.EnrollmentUnenrolled, e.State)
	assert.Contains(t, w.kinds("PAD0000001"), "device_unenrolled")
}

func TestStrangersGetNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	d := w.device(enrolltest.IPhone, "STRANGER01", true)
	err := d.Boot(timeout(t))
	var se *enrolltest.SetupError
	require.ErrorAs(t, err, &se)
	assert.Equal(t, http.StatusForbidden, se.StatusCode)
	assert.Empty(t, se.Code)
	assert.Equal(t, []string{"enrollment_refused"}, w.kinds("STRANGER01"))
	list, _, err := w.store.ListEnrollments(t.Context(), storage.EnrollmentFilter{}, storage.Page{})
	require.NoError(t, err)
	assert.Empty(t, list)
}

// TestUpdatesFirst has a device obey the OS gate and come back.
func TestUpdatesFirst(t *testing.T) {
	t.Parallel()
	gate, err := enroll.NewOSGate(enroll.FailClosed, enroll.MinimumByFamily(map[string]enroll.OSMinimum{"Mac": {Version: "26.1"}}))
	require.NoError(t, err)
	for _, signIn := range []bool{false, true} {
		w := newWorld(t, worldOptions{gate: gate, signIn: signIn})
		d := w.device(enrolltest.Mac, "MAC0000001", false, enrolltest.WithOS("26.0.1", ""), enrolltest.WithUser("jane", "sesame"))
		require.NoError(t, d.Boot(timeout(t)))
		assert.Equal(t, "26.1", d.Info().OSVersion)
		assert.Equal(t, []string{"enrollment_started", "os_update_required", "enrollment_started"}, w.kinds("MAC0000001")[:3])
		e, err := w.enrollment(d)
		require.NoError(t, err)
		assert.Equal(t, "26.1", e.OSVersion)
	}
}

// TestManyAtOnce boots devices side by side; NanoMDM's in-memory queue loses commands if it is not serialized.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{plan: profilePlan(t)})
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for i := range cap(errs) {
		d := w.device(enrolltest.IPhone, "PHONE0000"+string(rune('A'+i)), false)
		wg.Go(func() { errs <- d.Boot(timeout(t)) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

func TestPushFailureIsNoFailureOfTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{plan: profilePlan(t)})
	w.phones.mu.Lock()
	w.phones.err = errors.New("APNs is down")
	w.phones.mu.Unlock()
	d := w.device(enrolltest.IPhone, "PHONE00001", false)
	require.NoError(t, d.Boot(timeout(t)), "the device polls while it is held")
}
