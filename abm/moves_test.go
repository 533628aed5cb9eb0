package abm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

const beta = "beta"

// two returns a world with a second account, whose server has no devices, both read and settled.
func two(t *testing.T, n int) (*world, *Engine, *abmtest.MDMServer) {
	t.Helper()
	w := newWorld(t, n, abmtest.WithSessionLifetime(10_000*time.Hour))
	e := w.engine(t)
	other, err := w.apple.AddMDMServer("Other")
	require.NoError(t, err)
	w.account(t, e.Accounts(), beta, other)
	for _, account := range []string{acme, beta} {
		_, err = e.SyncOnce(t.Context(), account)
		require.NoError(t, err)
	}
	w.settle(t, e)
	return w, e, other
}

// events returns the newest events of a kind about a serial in an account.
func events[E any](t *testing.T, w *world, account, kind string) []E {
	t.Helper()
	acts, _, err := w.store.ListActivities(t.Context(), storage.ActivityFilter{Account: account, Kind: kind}, storage.Page{Limit: 1000})
	require.NoError(t, err)
	var out []E
	for _, a := range acts {
		ev, err := activity.Parse(a)
		require.NoError(t, err)
		out = append(out, *any(ev).(*E))
	}
	return out
}

// A device that moves to another account of ours gets its profile there at once, whichever account learns of it first.
func TestDeviceMovesBetweenAccounts(t *testing.T) {
	t.Parallel()
	for _, first := range []string{acme, beta} {
		t.Run(first+" first", func(t *testing.T) {
			t.Parallel()
			w, e, other := two(t, 5)
			ctx := t.Context()
			serial := w.apple.Devices(0, 1)[0].SerialNumber
			w.clock.Add(time.Hour)
			require.NoError(t, w.apple.Assign(other, serial))
			second := acme
			if first == acme {
				second = beta
			}
			for _, account := range []string{first, second} {
				_, err := e.SyncOnce(ctx, account)
				require.NoError(t, err)
			}
			moved := events[activity.DeviceMoved](t, w, beta, "device_moved")
			require.Len(t, moved, 1)
			assert.Equal(t, acme, moved[0].From)
			assert.Equal(t, beta, moved[0].To)
			assert.Equal(t, serial, moved[0].Serial)
			res, err := e.AssignOnce(ctx, beta)
			require.NoError(t, err)
			assert.Equal(t, 1, res.Assigned)
			assert.Equal(t, storage.AssignmentGone, w.row(t, serial).State)
			assert.Zero(t, assignAll(t, e).Due)
			assert.Zero(t, w.kinds(t)["device_moved"], "told by the account it has come to")
		})
	}
}

// A device that another account had long ago has not moved, and neither has one that comes back to its own.
func TestNotEveryArrivalIsAMove(t *testing.T) {
	t.Parallel()
	w, e, other := two(t, 3)
	ctx := t.Context()
	devs := w.apple.Devices(0, 2)
	gone, back := devs[0].SerialNumber, devs[1].SerialNumber
	require.NoError(t, w.apple.Unassign(gone, back))
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	w.clock.Add(movedWithin + time.Hour)
	require.NoError(t, w.apple.Assign(other, gone))
	require.NoError(t, w.apple.Assign(w.server, back))
	for _, account := range []string{acme, beta} {
		_, err = e.SyncOnce(ctx, account)
		require.NoError(t, err)
		assert.Empty(t, events[activity.DeviceMoved](t, w, account, "device_moved"))
	}
}

// An account whose feed never tells that a device has left asks Apple once, looks once, and is done with it.
func TestOldAccountDoesNotHammer(t *testing.T) {
	t.Parallel()
	w, e, other := two(t, 3)
	ctx := t.Context()
	serial := w.apple.Devices(0, 1)[0].SerialNumber
	require.NoError(t, w.apple.Assign(other, serial))
	// Before the sync of the old account, its rules change.
	e2 := w.ordered(t, 5, staged("v2", nil))
	_, err := e2.PlanOnce(ctx, acme)
	require.NoError(t, err)
	before := w.apple.Stats().Calls
	for range 48 {
		w.clock.Add(time.Hour)
		assignAll(t, e2)
	}
	calls := callsSince(before, w.apple.Stats().Calls)
	assert.Equal(t, storage.AssignmentGone, w.row(t, serial).State)
	assert.Equal(t, 2, calls["POST /devices"], "the look that shows it, and the one that verifies the others")
	assert.Equal(t, 1, calls["POST /profile/devices"])
	_, err = e.SyncOnce(ctx, beta)
	require.NoError(t, err)
}

func TestMigrationDeadlines(t *testing.T) {
	t.Parallel()
	w, e, other := two(t, 0)
	ctx := t.Context()
	require.NoError(t, w.apple.AddDevices(other, w.apple.RandomDevices(3)...))
	serial := w.apple.Devices(0, 1)[0].SerialNumber
	deadline := w.clock.Now().Add(20 * 24 * time.Hour)
	w.clock.Add(time.Hour)
	require.NoError(t, w.apple.Migrate(w.server, deadline, serial))
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	set := events[activity.MigrationDeadlineSet](t, w, acme, "migration_deadline_set")
	require.Len(t, set, 1)
	assert.True(t, deadline.Equal(set[0].Deadline))

	// Apple's feed tells of another deadline, and then of none.
	page := 0
	feed := func(record string) {
		page++
		var calls atomic.Int32
		at := w.clock.Now().Add(time.Duration(page) * time.Minute).Format(time.RFC3339)
		w.apple.Intercept(answer("/devices/sync", &calls, 200, fmt.Sprintf(
			`{"cursor":"m%d","devices":[{"serial_number":%q,"model":"iMac","op_type":"modified","op_date":%q%s}]}`, page, serial, at, record)))
		_, err := e.SyncOnce(ctx, acme)
		require.NoError(t, err)
	}
	later := deadline.Add(time.Hour)
	feed(`,"mdm_migration_deadline":"` + later.Format(time.RFC3339) + `"`)
	feed(`,"mdm_migration_deadline":"` + later.Format(time.RFC3339) + `","color":"GOLD"`)
	changed := events[activity.MigrationDeadlineChanged](t, w, acme, "migration_deadline_changed")
	require.Len(t, changed, 1)
	assert.True(t, deadline.Equal(changed[0].From))
	assert.True(t, later.Equal(changed[0].Deadline))
	feed("")
	cleared := events[activity.MigrationDeadlineCleared](t, w, acme, "migration_deadline_cleared")
	require.Len(t, cleared, 1)
	assert.True(t, later.Equal(cleared[0].From))
}

// Apple waits for the profile of a device that is to migrate: it comes before those that were due earlier.
func TestMigratingDevicesComeFirst(t *testing.T) {
	t.Parallel()
	w, e, other := two(t, 0)
	ctx := t.Context()
	require.NoError(t, w.apple.AddDevices(w.server, w.apple.RandomDevices(40)...))
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	require.NoError(t, w.apple.AddDevices(other, w.apple.RandomDevices(3)...))
	var serials []string
	for _, d := range w.apple.Devices(40, 3) {
		serials = append(serials, d.SerialNumber)
	}
	w.clock.Add(10 * time.Minute)
	require.NoError(t, w.apple.Migrate(w.server, w.clock.Now().Add(24*time.Hour), serials...))
	_, err = e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	due, err := w.store.DueAssignments(ctx, acme, w.clock.Now(), 3)
	require.NoError(t, err)
	slices.Sort(serials)
	assert.Equal(t, serials, serialsOf(due))
	assert.Equal(t, 43, assignAll(t, e).Assigned)
}

// faked has Apple's feed say something of a device, whatever Apple knows.
func faked(t *testing.T, w *world, e *Engine, records ...map[string]any) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"cursor": "faked", "devices": records})
	require.NoError(t, err)
	var calls atomic.Int32
	w.apple.Intercept(answer("/devices/sync", &calls, 200, string(body)))
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	w.apple.Intercept(nil)
}

// A device that was removed and added again comes with its old profile's UUID, which it cannot fetch: it is assigned anew, once.
func TestAddedAgainWithOldProfile(t *testing.T) {
	t.Parallel()
	w, e, serial := synced(t, 3)
	w.settle(t, e)
	state, err := w.apple.Device(serial)
	require.NoError(t, err)
	w.clock.Add(time.Hour)
	at := func(d time.Duration) string { return w.clock.Now().Add(d).Format(time.RFC3339) }
	record := map[string]any{
		"serial_number": serial, "model": "iMac", "profile_uuid": state.ProfileUUID, "profile_status": "assigned",
		"profile_assign_time": state.ProfileAssignTime.Format(time.RFC3339), "device_assigned_date": at(-time.Minute),
		"op_type": "added", "op_date": at(-time.Minute),
	}
	faked(t, w, e, map[string]any{"serial_number": serial, "op_type": "deleted", "op_date": at(-2 * time.Minute)})
	faked(t, w, e, record)
	w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool { // a look shows the same until it is assigned
		if r.URL.Path != "/devices" || w.apple.AssignCalls(serial) > 1 {
			return false
		}
		record["response_status"] = "SUCCESS"
		_ = json.NewEncoder(rw).Encode(map[string]any{"devices": map[string]any{serial: record}})
		return true
	})
	w.settle(t, e)
	assert.Equal(t, 2, w.apple.AssignCalls(serial))
	assert.Equal(t, storage.AssignmentSatisfied, w.row(t, serial).State)
	for range 10 {
		w.clock.Add(24 * time.Hour)
		assignAll(t, e)
	}
	assert.Equal(t, 2, w.apple.AssignCalls(serial))
}

// Apple takes a profile away, or says that it is removed, unasked: it is assigned again after a look.
func TestUnsolicitedRemovalIsMended(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]string{"removed": "removed", "empty": "empty"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, e, serial := synced(t, 3)
			w.settle(t, e)
			state, err := w.apple.Device(serial)
			require.NoError(t, err)
			uuid := state.ProfileUUID
			if status == "empty" {
				uuid = ""
			}
			w.clock.Add(time.Hour)
			record := map[string]any{
				"serial_number": serial, "model": "iMac", "profile_uuid": uuid, "profile_status": status,
				"op_type": "modified", "op_date": w.clock.Now().Format(time.RFC3339), "response_status": "SUCCESS",
			}
			faked(t, w, e, record)
			w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/devices" || w.apple.AssignCalls(serial) > 1 {
					return false
				}
				_ = json.NewEncoder(rw).Encode(map[string]any{"devices": map[string]any{serial: record}})
				return true
			})
			w.settle(t, e)
			assert.Equal(t, 2, w.apple.AssignCalls(serial))
			assert.Equal(t, storage.AssignmentSatisfied, w.row(t, serial).State)
		})
	}
}

// "modified" of a serial that was never seen is an arrival.
func TestModifiedMeansNew(t *testing.T) {
	t.Parallel()
	w, e, _ := synced(t, 1)
	added := w.apple.RandomDevices(1)
	require.NoError(t, w.apple.AddDevices(w.server, added...))
	faked(t, w, e, map[string]any{
		"serial_number": added[0].SerialNumber, "model": "iMac", "op_type": "modified", "op_date": w.clock.Now().Format(time.RFC3339),
	})
	assert.Equal(t, 2, w.kinds(t)["device_added"])
	w.settle(t, e)
	assert.Equal(t, storage.AssignmentSatisfied, w.row(t, added[0].SerialNumber).State)
}
