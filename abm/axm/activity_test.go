package axm

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// An activity of each kind against the simulator, with what it does to the device.
func TestActivities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now, abmtest.WithAXMResultsURL("https://store.example.com"))
		serials := w.buy(w.other, 2)
		c := w.client(time.Now)
		ours, other := w.id(c, w.ours), w.id(c, w.other)
		ctx := t.Context()
		run := func(list []Activity, err error) (*Activity, []DeviceResult) {
			t.Helper()
			require.NoError(t, err)
			require.Len(t, list, 1)
			assert.Equal(t, ActivityInProgress, list[0].Status)
			_, err = c.ActivityResults(ctx, &list[0])
			require.ErrorIs(t, err, ErrNoResults)
			a, err := c.WaitActivity(ctx, list[0].ID)
			require.NoError(t, err)
			results, err := c.ActivityResults(ctx, a)
			require.NoError(t, err)
			return a, results
		}
		state := func(serial string) abmtest.DeviceState {
			d, err := w.apple.Device(serial)
			require.NoError(t, err)
			return d
		}
		deadline := time.Now().Add(60 * 24 * time.Hour).Truncate(time.Millisecond)

		a, results := run(c.AssignDevicesWithMDMMigrationDeadline(ctx, ours, deadline, serials[:1]))
		assert.True(t, a.Succeeded())
		require.Len(t, results, 1)
		assert.False(t, results[0].Failed())
		assert.Equal(t, w.ours.UUID(), state(serials[0]).ServerUUID)
		assert.True(t, deadline.Equal(state(serials[0]).MigrationDeadline))
		d, err := c.OrgDevice(ctx, serials[0])
		require.NoError(t, err)
		assert.True(t, deadline.Equal(d.MDMMigrationDeadline))

		earlier := deadline.Add(-24 * time.Hour)
		a, results = run(c.UpdateMDMMigrationDeadline(ctx, earlier, serials))
		assert.False(t, a.Succeeded(), "the second device is not migrating")
		assert.Equal(t, CompletedWithFailure, a.SubStatus)
		assert.Equal(t, []bool{false, true}, []bool{results[0].Failed(), results[1].Failed()})
		assert.True(t, earlier.Equal(state(serials[0]).MigrationDeadline))

		run(c.CancelMDMMigration(ctx, serials[:1]))
		assert.Equal(t, w.other.UUID(), state(serials[0]).ServerUUID)
		run(c.AssignDevices(ctx, ours, serials[:1]))
		assert.Equal(t, w.ours.UUID(), state(serials[0]).ServerUUID)
		a, _ = run(c.UnassignDevices(ctx, other, serials))
		assert.Equal(t, CompletedWithFailure, a.SubStatus, "the first is not there any more")
		assert.Empty(t, state(serials[1]).ServerUUID)
		_, err = c.AssignedServer(ctx, serials[1])
		require.ErrorIs(t, err, ErrNotAssigned)
		run(c.ReleaseDevices(ctx, ConfirmRelease, serials[1:]))
		assert.True(t, state(serials[1]).Released)
		d, err = c.OrgDevice(ctx, serials[1])
		require.NoError(t, err)
		assert.False(t, d.ReleasedFromOrg.IsZero())
		list, err := collect(c.OrgDevices(ctx, ListOptions{}))
		require.NoError(t, err)
		assert.Len(t, list, 1)
	})
}

func TestActivitiesThatAppleRefuses(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	serials := w.buy(w.other, 1)
	c := w.client(clock.Now)
	ours := w.id(c, w.ours)
	_, err := c.AssignDevices(t.Context(), "00000000000000000000000000000000", serials)
	require.ErrorIs(t, err, ErrConflict)
	_, err = c.AssignDevices(t.Context(), ours, append(serials, "NOSUCH"))
	require.ErrorIs(t, err, ErrConflict)
	apiErr, ok := errors.AsType[*APIError](err)
	require.True(t, ok)
	assert.Equal(t, "/data/relationships/devices/data/1", apiErr.Errors[0].Pointer)
	assert.NotContains(t, err.Error(), "NOSUCH")
	_, err = c.AssignDevicesWithMDMMigrationDeadline(t.Context(), ours, clock.Now().Add(91*24*time.Hour), serials)
	require.ErrorIs(t, err, ErrConflict)
	_, err = c.Activity(t.Context(), "00000000-0000-0000-0000-000000000000")
	require.ErrorIs(t, err, ErrNotFound)
	_, err = c.WaitActivity(t.Context(), "00000000-0000-0000-0000-000000000000")
	require.ErrorIs(t, err, ErrNotFound)
}

func TestLongListsAreChunked(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	serials := w.buy(w.other, 25)
	c := w.client(clock.Now, WithBatch(10), WithTries(1, 1, 1))
	ours := w.id(c, w.ours)
	list, err := c.AssignDevices(t.Context(), ours, serials)
	require.NoError(t, err)
	require.Len(t, list, 3)
	var all []string
	for _, a := range list {
		all = append(all, a.Serials...)
	}
	assert.Equal(t, serials, all)
	assert.Equal(t, 10, w.apple.Stats().LargestBatch["POST /v1/orgDeviceActivities"])

	posts := 0
	w.hook = func(r *http.Request) *http.Response {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/orgDeviceActivities" {
			if posts++; posts == 2 {
				return &http.Response{StatusCode: 500, Header: http.Header{}, Body: http.NoBody, Request: r}
			}
		}
		return nil
	}
	list, err = c.AssignDevices(t.Context(), ours, serials)
	require.ErrorIs(t, err, ErrUnavailable)
	assert.Len(t, list, 1, "what was created before is returned")
	assert.Equal(t, 2, posts, "nothing is sent blindly again")
}

// Waiting outlasts a failing service, and ends with the context.
func TestWaitActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now, abmtest.WithAXMDuration(5*time.Minute))
		serials := w.buy(w.other, 1)
		c := w.client(time.Now, WithPoll(time.Second, time.Minute))
		list, err := c.AssignDevices(t.Context(), w.id(c, w.ours), serials)
		require.NoError(t, err)
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = c.WaitActivity(short, list[0].ID)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		w.api.Refuse(9, 503, 0) // more than the tries of one call
		w.api.Refuse(1, 429, 2*time.Minute)
		before := w.count("GET /v1/orgDeviceActivities/" + list[0].ID)
		a, err := c.WaitActivity(t.Context(), list[0].ID)
		require.NoError(t, err)
		assert.True(t, a.Succeeded())
		assert.Less(t, w.count("GET /v1/orgDeviceActivities/"+list[0].ID)-before, 20, "it waits longer and longer")

		require.NoError(t, w.api.EndNextActivity("STOPPED"))
		list, err = c.AssignDevices(t.Context(), w.id(c, w.ours), serials)
		require.NoError(t, err)
		a, err = c.WaitActivity(t.Context(), list[0].ID)
		require.NoError(t, err)
		assert.Equal(t, ActivityStopped, a.Status)
		assert.False(t, a.Succeeded())
	})
}

func TestActivityDone(t *testing.T) {
	t.Parallel()
	for status, want := range map[ActivityStatus]bool{
		ActivityInProgress: false, "": false, "NEW": false, ActivityCompleted: true, ActivityFailed: true, ActivityStopped: true,
	} {
		assert.Equal(t, want, (&Activity{Status: status}).Done(), status)
	}
	assert.True(t, (&Activity{Status: "NEW", Completed: time.Unix(1, 0)}).Done())
}

// Servers are created, changed, listed and deleted; one with devices is not.
func TestServers(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	w := newWorld(t, clock.Now)
	c := w.client(clock.Now)
	ctx := t.Context()
	cert := &ServerCertificate{Name: "mdm.cer", Certificate: testCertificate(t)}
	name, renamed, yes := "Third", "Renamed", true
	m, err := c.CreateMDMServer(ctx, MDMServerUpdate{ServerName: &name, ServerCertificate: cert, EnableMDMDisown: &yes})
	require.NoError(t, err)
	assert.True(t, m.EnableMDMDisown)
	assert.Regexp(t, "^[0-9A-F]{32}$", m.ID)
	entry, err := w.apple.MDMServer("Third")
	require.NoError(t, err)
	_, err = entry.MintToken()
	require.NoError(t, err, "the certificate has arrived")
	_, err = c.CreateMDMServer(ctx, MDMServerUpdate{ServerName: &name, ServerCertificate: cert})
	require.ErrorIs(t, err, ErrConflict)

	m, err = c.UpdateMDMServer(ctx, m.ID, MDMServerUpdate{ServerName: &renamed, DefaultProductFamilies: []string{"MAC"}})
	require.NoError(t, err)
	assert.Equal(t, "Renamed", m.ServerName)
	assert.Equal(t, "Renamed", entry.Name())
	got, err := c.MDMServer(ctx, m.ID)
	require.NoError(t, err)
	assert.Equal(t, []string{"MAC"}, got.DefaultProductFamilies)
	assert.True(t, got.EnableMDMDisown, "what is not named stays")

	serials := w.buy(entry, 3)
	got, err = c.AssignedServer(ctx, serials[0])
	require.NoError(t, err)
	assert.Equal(t, 3, got.DeviceCount)
	listed, err := collect(c.DeviceSerials(ctx, m.ID, ListOptions{Limit: 2}))
	require.NoError(t, err)
	assert.Equal(t, serials, listed)
	require.ErrorIs(t, c.DeleteMDMServer(ctx, m.ID), ErrConflict)
	require.NoError(t, w.apple.Unassign(serials...))
	require.NoError(t, c.DeleteMDMServer(ctx, m.ID))
	_, err = c.MDMServer(ctx, m.ID)
	require.ErrorIs(t, err, ErrNotFound)
	coverage, err := c.AppleCareCoverage(ctx, serials[0])
	require.NoError(t, err)
	require.Len(t, coverage, 1)
	assert.Equal(t, "Limited Warranty", coverage[0].Description)
	builtIn, err := collect(c.MDMDevices(ctx, ListOptions{}))
	require.NoError(t, err)
	assert.Empty(t, builtIn)
}
