package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

func TestOnceReleasesEveryDevice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out strings.Builder
	args := []string{"-once", "-devices", "40", "-boot", "5", "-pace", "0s", "-listen", "127.0.0.1:0", "-dir", dir}
	require.NoError(t, run(t.Context(), args, &out), out.String())
	assert.Contains(t, out.String(), "40 devices assigned, 5 released")
	for _, kind := range []string{
		"device_added", "profile_assigned", "enrollment_started", "signed_in", "enrollment_profile_issued",
		"device_enrolled", "setup_planned", "setup_item_changed", "setup_released",
	} {
		assert.Contains(t, out.String(), kind, "in the timeline")
	}
	assert.ErrorContains(t, run(t.Context(), args, &out), "another folder", "a folder is used once")
}

func TestOnceSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := run(t.Context(), []string{
		"-once", "-devices", "40", "-boot", "5", "-listen", "127.0.0.1:0", "-dir", t.TempDir(), "-timeout", "1ms",
	}, &out)
	require.ErrorIs(t, err, errUnreleased)
	require.ErrorContains(t, err, "after 1ms (-timeout)")
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-nope"}, {"extra"}, {"-devices", "0"}, {"-boot", "-1"}, {"-boot", "2000"}, {"-timeout", "0s"}, {"-pace", "-1s"},
	} {
		_, err := parse(args)
		assert.ErrorIs(t, err, errUsage, args)
	}
	_, err := parse([]string{"-h"})
	require.ErrorIs(t, err, flag.ErrHelp)
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-h"}, &out))
	for _, name := range []string{"-once", "-devices", "-boot", "-pace", "-listen", "-dir", "-seed", "-timeout", "-v"} {
		assert.Contains(t, out.String(), name)
	}
}

func TestPageFollowsTheBoard(t *testing.T) {
	t.Parallel()
	b := newBoard()
	srv := httptest.NewServer(pageHandler(b))
	t.Cleanup(srv.Close)

	page := get(t, srv.URL+"/")
	assert.Equal(t, "text/html; charset=utf-8", page.Header.Get("Content-Type"))
	events := bufio.NewScanner(get(t, srv.URL+"/events").Body)
	next := func() (s snapshot) {
		for events.Scan() {
			if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
				require.NoError(t, json.Unmarshal([]byte(data), &s))
				return s
			}
		}
		t.Fatal("the stream of events has ended", events.Err())
		return s
	}
	assert.Empty(t, next().Rows)

	on := activity.On{Account: "a", Serial: "C02A"}
	enrolled := activity.On{EnrollmentID: "U-1"} // events of one device need not all name its serial
	acts := []activity.Event{
		activity.DeviceAdded{On: on, Model: "MacBook Air", Family: "Mac"}, activity.ProfileAssigned{On: on},
		activity.EnrollmentStarted{On: on}, activity.SignedIn{On: on, Username: "ann"},
		activity.DeviceEnrolled{On: activity.On{Account: "a", Serial: "C02A", EnrollmentID: "U-1"}},
		activity.SetupStarted{On: enrolled}, activity.SetupItemChanged{On: enrolled, Item: "wifi", To: "succeeded"},
	}
	var recs []storage.Activity
	for _, e := range acts {
		recs = append(recs, activity.New(time.Now(), activity.System, e))
	}
	require.NoError(t, b.Deliver(t.Context(), recs))
	s := next()
	require.Len(t, s.Rows, 1)
	assert.Equal(t, "ann", s.Rows[0].User)
	assert.Equal(t, stageSetup, s.Rows[0].Stage)
	assert.Equal(t, []item{{ID: "wifi", State: "succeeded"}}, s.Rows[0].Items)
	assert.Equal(t, []int{1, 1, 1, 1, 1, 1, 0}, s.Counts)
}

func get(t *testing.T, url string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
	})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return resp
}
