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

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

func TestSyncChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30, abmtest.WithPageLimits(7, 7))
	e := w.engine(t)
	ctx := t.Context()
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)

	devs := w.apple.Devices(0, 30)
	moved, back := devs[0].SerialNumber, devs[1].SerialNumber
	require.NoError(t, w.apple.Unassign(moved, back))
	w.clock.Add(time.Minute)
	res, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assert.False(t, res.Full)
	d := w.device(t, moved)
	assert.Equal(t, "deleted", d.LeftReason)
	assert.Equal(t, storage.AssignmentGone, w.row(t, moved).State)

	w.clock.Add(time.Minute)
	require.NoError(t, w.apple.Assign(w.server, back)) // comes back without a profile
	_, err = e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	d = w.device(t, back)
	assert.True(t, d.Present())
	assert.Equal(t, storage.AssignmentPending, w.row(t, back).State)
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 29, storage.AssignmentGone: 1}, w.states(t))
	assert.Equal(t, 2, w.apple.AssignCalls(back), "once for each stay in the account")
	assert.Equal(t, 1, w.kinds(t)["device_left"]-1)
}

// Assigning a device anew in the portal takes its profile away; nothing but the feed tells.
func TestProfileLostInPortalIsRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	e := w.engine(t)
	ctx := t.Context()
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)
	serial := w.apple.Devices(0, 1)[0].SerialNumber
	require.NoError(t, w.apple.Unassign(serial))
	require.NoError(t, w.apple.Assign(w.server, serial))
	w.clock.Add(time.Hour)
	_, err = e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assignAll(t, e)
	state, err := w.apple.Device(serial)
	require.NoError(t, err)
	assert.Equal(t, "assigned", state.ProfileStatus)
}

func TestExpiredCursorReadsFullListAndFindsWhoLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12)
	e := w.engine(t)
	ctx := t.Context()
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assignAll(t, e)

	serial := w.apple.Devices(0, 1)[0].SerialNumber
	require.NoError(t, w.apple.Release(serial))
	w.clock.Add(8 * 24 * time.Hour)
	lists := w.apple.Stats().Calls["POST /server/devices"]
	res, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assert.True(t, res.Full)
	assert.Equal(t, 1, w.kinds(t)["cursor_reset"])
	cur, err := w.store.GetCursor(ctx, acme)
	require.NoError(t, err)
	assert.Equal(t, storage.PhaseSync, cur.Phase)
	assert.Equal(t, 1, res.Left)
	assert.Equal(t, "not_accessible", w.device(t, serial).LeftReason)

	due, err := e.due(ctx, acme)
	require.NoError(t, err)
	assert.False(t, due.sweep, "the list served as the sweep")
	assert.Equal(t, lists+1, w.apple.Stats().Calls["POST /server/devices"])
}

// A full list that ends before its end tells of no one who has left: the sweep does.
func TestInterruptedResetLeavesTheSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12, abmtest.WithPageLimits(5, 5))
	e := w.engine(t)
	ctx := t.Context()
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	serial := w.apple.Devices(0, 1)[0].SerialNumber
	require.NoError(t, w.apple.Release(serial))
	w.clock.Add(8 * 24 * time.Hour)
	var lists atomic.Int32
	w.apple.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/server/devices" || lists.Add(1) < 2 {
			return false
		}
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	_, err = e.SyncOnce(ctx, acme)
	require.ErrorIs(t, err, ErrUnavailable)
	w.apple.Intercept(nil)
	w.clock.Add(time.Hour)
	res, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assert.Zero(t, res.Left, "it went on in the middle of the list")
	due, err := e.due(ctx, acme)
	require.NoError(t, err)
	assert.True(t, due.sweep)
	res, err = e.SweepOnce(ctx, acme)
	require.NoError(t, err)
	assert.Equal(t, 1, res.Left)
	assert.Equal(t, "not_accessible", w.device(t, serial).LeftReason)
}

// answer replaces the answers of one endpoint.
func answer(path string, calls *atomic.Int32, status int, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		calls.Add(1)
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte(body))
		return true
	}
}

func TestRefusedCursorsDoNotLoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	e := w.engine(t)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	var calls atomic.Int32
	w.apple.Intercept(answer("/devices/sync", &calls, 400, "EXPIRED_CURSOR"))
	_, err = e.SyncOnce(t.Context(), acme)
	require.ErrorIs(t, err, ErrCursorLoop)
	require.ErrorIs(t, err, ErrCursorExpired)
	assert.EqualValues(t, 2, calls.Load())
	assert.Equal(t, storage.HealthOK, w.health(t))

	w.apple.Intercept(nil)
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
}

func TestRepeatedCursorDoesNotLoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	e := w.engine(t)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	cur, err := w.store.GetCursor(t.Context(), acme)
	require.NoError(t, err)
	var calls atomic.Int32
	w.apple.Intercept(answer("/devices/sync", &calls, 200, `{"cursor":"`+cur.Value+`","more_to_follow":true,
		"devices":[{"serial_number":"NEWDEVICE1","model":"iMac","op_type":"added","op_date":"2026-01-02T03:04:05Z"}]}`))
	_, err = e.SyncOnce(t.Context(), acme)
	require.ErrorIs(t, err, ErrCursorLoop)
	assert.EqualValues(t, 1, calls.Load())
	assert.Equal(t, "iMac", w.device(t, "NEWDEVICE1").Model, "what came is stored")
}

func TestStaleAndDuplicateRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	e := w.engine(t)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	pages := 0
	page := func(records string) {
		var calls atomic.Int32
		pages++
		w.apple.Intercept(answer("/devices/sync", &calls, 200, fmt.Sprintf(`{"cursor":"c%d","more_to_follow":false,"devices":[%s]}`, pages, records)))
		_, err := e.SyncOnce(t.Context(), acme)
		require.NoError(t, err)
	}
	page(`{"serial_number":"A","model":"three","op_type":"modified","op_date":"2026-01-03T00:00:00Z"},
		{"serial_number":"A","model":"one","op_type":"added","op_date":"2026-01-01T00:00:00Z"},
		{"serial_number":"A","model":"two","op_type":"deleted","op_date":"2026-01-02T00:00:00Z"},
		{"serial_number":"B","model":"b","op_type":"added","op_date":"2026-01-01T00:00:00Z"},
		{"serial_number":"B","op_type":"DELETED","op_date":"2026-01-01T00:00:01Z"},
		{"serial_number":"C","model":"c","op_type":"added","op_date":"not a date"}, 7, {"model":"no serial"}`)
	d := w.device(t, "A")
	assert.Equal(t, "three", d.Model)
	assert.Equal(t, "c", w.device(t, "C").Model)
	d = w.device(t, "B")
	assert.Equal(t, "deleted", d.LeftReason, "never seen before, and left already")
	page(`{"serial_number":"B","model":"b","op_type":"added","op_date":"2026-01-01T00:00:00Z"}`)
	d = w.device(t, "B")
	assert.False(t, d.Present(), "a record from before it left does not bring it back")
	page(`{"serial_number":"B","op_type":"deleted","op_date":"2026-01-03T00:00:00Z"}`)
	page(`{"serial_number":"B","model":"b","op_type":"added","op_date":"2026-01-02T00:00:00Z"}`)
	d = w.device(t, "B")
	assert.False(t, d.Present(), "nor one from before it left again")
	page(`{"serial_number":"B","model":"b","op_type":"added","op_date":"2026-01-04T00:00:00Z"}`)
	d = w.device(t, "B")
	assert.True(t, d.Present())

	page(`{"serial_number":"A","model":"old","op_type":"modified","op_date":"2026-01-02T12:00:00Z"}`)
	page(`{"serial_number":"A","op_type":"deleted","op_date":"2026-01-02T13:00:00Z"}`)
	d = w.device(t, "A")
	assert.Equal(t, "three", d.Model)
	assert.True(t, d.Present())

	page(`{"serial_number":"A","model":"three","op_type":"modified","op_date":"2026-01-05T00:00:00Z"}`)
	page(`{"serial_number":"A","model":"between","op_type":"modified","op_date":"2026-01-04T00:00:00Z"}`)
	d = w.device(t, "A")
	assert.Equal(t, "three", d.Model, "an operation without a change of content moves the date all the same")
}

// A page of more devices than were asked for is stored all the same.
func TestOversizedPage(t *testing.T) {
	t.Parallel()
	const n = 5500
	w := newWorld(t, 0)
	e := w.engine(t)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	var sb strings.Builder
	for i := range n {
		_, _ = fmt.Fprintf(&sb, `{"serial_number":"S%d","model":"iMac","op_type":"added","op_date":"2026-01-02T03:04:05Z"},`, i)
	}
	var calls atomic.Int32
	w.apple.Intercept(answer("/devices/sync", &calls, 200, `{"cursor":"big","devices":[`+strings.TrimSuffix(sb.String(), ",")+`]}`))
	res, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, n, res.Changed)
	assert.Len(t, w.rows(t), n)
	assert.Equal(t, 1, w.kinds(t)["sync_finished"])
}

func TestUnusablePageStoresNothing(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"html": "<html>Maintenance</html>", "truncated": `{"cursor":"x","devices":[{"serial_number":"A"`, "empty": "",
		"no cursor": `{"devices":[]}`, "array": "[]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			e := w.engine(t)
			_, err := e.SyncOnce(t.Context(), acme)
			require.NoError(t, err)
			before, err := w.store.GetCursor(t.Context(), acme)
			require.NoError(t, err)
			var calls atomic.Int32
			w.apple.Intercept(answer("/devices/sync", &calls, 200, body))
			_, err = e.SyncOnce(t.Context(), acme)
			require.ErrorIs(t, err, ErrBadResponse)
			assert.EqualValues(t, 3, calls.Load(), "tried again")
			after, err := w.store.GetCursor(t.Context(), acme)
			require.NoError(t, err)
			assert.Equal(t, before, after)
			assert.Equal(t, storage.HealthUnreachable, w.health(t))
		})
	}
}

func TestChangedRulesPlanAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1500)
	e := w.engine(t)
	ctx := t.Context()
	_, err := e.SyncOnce(ctx, acme)
	require.NoError(t, err)
	assignAll(t, e)
	w.clock.Add(time.Hour)
	assignAll(t, e)

	macs := 0
	for _, d := range w.apple.Devices(0, 1500) {
		if d.Family == "Mac" {
			macs++
		}
	}
	r, err := NewStaticResolver(StaticRules{Rules: []Rule{
		{Families: []string{"Mac"}, Profile: testProfile("Macs")}, {Profile: testProfile("Standard")},
	}})
	require.NoError(t, err)
	e2, err := New(w.store, w.sealer, r, w.opts...)
	require.NoError(t, err)
	due, err := e2.due(ctx, acme)
	require.NoError(t, err)
	assert.True(t, due.plan)
	n, err := e2.PlanOnce(ctx, acme)
	require.NoError(t, err)
	assert.Equal(t, macs, n, "differences only")
	n, err = e2.PlanOnce(ctx, acme)
	require.NoError(t, err)
	assert.Zero(t, n)
	res := assignAll(t, e2)
	assert.Equal(t, macs, res.Assigned)
	assert.Equal(t, macs, res.Looked, "looked at before they are assigned again")
	due, err = e2.due(ctx, acme)
	require.NoError(t, err)
	assert.False(t, due.plan)
}
