package abm

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

func sweep(t *testing.T, e *Engine) {
	t.Helper()
	_, err := e.SweepOnce(t.Context(), acme)
	require.NoError(t, err)
}

// A profile that Apple shows as it was defined is fine, whatever keys Apple adds that mean nothing.
func TestSweepVerifiesProfiles(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 5)
	sweep(t, e)
	assert.Zero(t, w.apple.Stats().Calls["GET /profile"], "no device has one")
	w.settle(t, e)
	w.planned(t, w.ordered(t, 1, staged("v2", nil))) // the first profile is in use no more
	for range 2 {
		sweep(t, e)
	}
	assert.Equal(t, 2, w.apple.Stats().Calls["GET /profile"], "one in each sweep")
	assert.Zero(t, w.kinds(t)["profile_drifted"])
	assert.Zero(t, w.kinds(t)["profile_lost"])
}

func TestDriftOfProfileIsToldOnce(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 3)
	w.settle(t, e)
	var calls atomic.Int32
	w.apple.Intercept(answer("/profile", &calls, 200, `{"profile_name":"Standard","url":"https://evil.example.com/mdm",
		"configuration_web_url":"https://mdm.example.com/mdm/sso","org_magic":"1","is_supervised":true,"devices":[],"allow_pairing":true}`))
	for range 3 {
		sweep(t, e)
	}
	assert.EqualValues(t, 3, calls.Load())
	drifts := events[activity.ProfileDrifted](t, w, acme, "profile_drifted")
	require.Len(t, drifts, 1)
	assert.Contains(t, drifts[0].Keys, "url")
	assert.Contains(t, drifts[0].Keys, "is_supervised")
	assert.Contains(t, drifts[0].Keys, "skip_setup_items")
	assert.NotContains(t, drifts[0].Keys, "allow_pairing")
	assert.NotContains(t, drifts[0].Keys, "org_magic")
	assert.Equal(t, "Standard", drifts[0].Name)
	assert.Zero(t, assignAll(t, e).Due, "only a person knows what to do")

	w.apple.Intercept(nil) // mended
	sweep(t, e)
	w.apple.Intercept(answer("/profile", &calls, 200, `{"profile_name":"Other","url":"https://mdm.example.com/mdm/sso"}`))
	sweep(t, e)
	assert.Len(t, events[activity.ProfileDrifted](t, w, acme, "profile_drifted"), 2)
}

// A profile that Apple has lost is defined again; devices need a call only if it gets another UUID.
func TestSweepFindsLostProfile(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]bool{"same UUID": false, "other UUID": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 4
			w, e, _ := synced(t, n)
			w.settle(t, e)
			var lost atomic.Bool
			w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Path != "/profile" || lost.Load() && !other:
					return false
				case r.Method == http.MethodGet:
					lost.Store(true)
					rw.WriteHeader(http.StatusBadRequest)
					_, _ = rw.Write([]byte("NOT_FOUND"))
					return true
				case other:
					_, _ = rw.Write([]byte(`{"profile_uuid":"ANOTHER","devices":{}}`))
					return true
				}
				return false
			})
			sweep(t, e)
			assert.Equal(t, 1, w.kinds(t)["profile_lost"])
			assert.Equal(t, 2, w.kinds(t)["profile_defined"])
			due, err := e.due(t.Context(), acme)
			require.NoError(t, err)
			assert.True(t, due.plan)
			changed, err := e.PlanOnce(t.Context(), acme)
			require.NoError(t, err)
			if !other {
				assert.Zero(t, changed)
				return
			}
			assert.Equal(t, n, changed)
			assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentAssigned: n}, w.states(t), "looked at before they are asked for")
		})
	}
}

func TestIsDefault(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		key, value string
		want       bool
	}{
		{"department", `""`, true}, {"is_mandatory", "false", true}, {"anchor_certs", "[]", true}, {"x", "null", true},
		{"is_mdm_removable", "true", true}, {"allow_pairing", "true", true}, {"is_mandatory", "true", false},
		{"department", `"IT"`, false}, {"x", "0", false},
	} {
		assert.Equal(t, tt.want, isDefault(tt.key, tt.value), tt)
	}
}

// A profile that is found to be lost when it is assigned may get another UUID: the devices that have the old one are to get
// that as well.
func TestProfileLostInAssignment(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 5)
	w.settle(t, e)
	require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(1)...))
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	_, err = w.apple.SetFault(abmtest.Fault{Kind: abmtest.FaultProfileLost, Count: 1})
	require.NoError(t, err)
	_, err = e.AssignOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, 1, w.kinds(t)["profile_lost"])
	due, err := e.due(t.Context(), acme)
	require.NoError(t, err)
	assert.True(t, due.plan)
	changed, err := e.PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, 5, changed)
}
