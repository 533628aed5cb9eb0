package abm

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// What a look shows to have changed is planned with it: no later sync or sweep will find a difference.
func TestLookPlansChangedRecord(t *testing.T) {
	t.Parallel()
	w, e, r, serial := ruled(t, 1)
	standard, kiosk := testProfile("Standard"), testProfile("Kiosk")
	r.want = func(d storage.Device) *depprofile.Profile {
		if strings.Contains(string(d.Document), "KIOSK") {
			return kiosk
		}
		return standard
	}
	assignAll(t, e)
	// The feed misses that the asset tag was changed.
	w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/devices" {
			return false
		}
		state, err := w.apple.Device(serial)
		assert.NoError(t, err)
		_, _ = fmt.Fprintf(rw, `{"devices":{%q:{"serial_number":%q,"model":"iMac","asset_tag":"KIOSK","profile_uuid":%q,
			"profile_status":"assigned","response_status":"SUCCESS"}}}`, serial, serial, state.ProfileUUID)
		return true
	})
	w.clock.Add(time.Hour)
	assignAll(t, e)
	require.Contains(t, string(w.device(t, serial).Document), "KIOSK")
	a := w.row(t, serial)
	assert.Equal(t, printOf(t, kiosk), a.Profile)
	assert.Equal(t, storage.AssignmentAssigned, a.State)
	assert.Equal(t, 2, w.apple.AssignCalls(serial))
	w.clock.Add(time.Hour)
	assignAll(t, e)
	assert.Equal(t, storage.AssignmentSatisfied, w.row(t, serial).State)
	assert.Equal(t, 2, w.kinds(t)["profile_wanted"])
}

// A device that Apple does not show is not looked at for ever.
func TestUnclearLookIsParked(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"failed": `{"devices":{%q:{"response_status":"FAILED"}}}`, "missing": `{"devices":{"not %s":{}}}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, e, serial := synced(t, 1)
			assignAll(t, e)
			var calls atomic.Int32
			w.apple.Intercept(answer("/devices", &calls, 200, fmt.Sprintf(body, serial)))
			for range 24 * 14 {
				w.clock.Add(time.Hour)
				assignAll(t, e)
			}
			assert.EqualValues(t, 10, calls.Load())
			a := w.row(t, serial)
			assert.Equal(t, storage.AssignmentParked, a.State)
			assert.Equal(t, "SUCCESS", a.LastAttempt.Result, "what Apple said when it was asked")
			assert.Equal(t, 1, w.kinds(t)["assignment_parked"])
		})
	}
}
