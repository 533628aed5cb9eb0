package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"26.0", "26", 0}, {"26", "26.0.1", -1}, {"26.1", "26.0.9", 1}, {"9.3", "10.0", -1}, {"15.10", "15.9", 1}, {"0", "0.0.0", 0},
	} {
		got, err := CompareVersions(tc.a, tc.b)
		require.NoError(t, err)
		assert.Equal(t, tc.want, got, "%s, %s", tc.a, tc.b)
		back, err := CompareVersions(tc.b, tc.a)
		require.NoError(t, err)
		assert.Equal(t, -tc.want, back, "%s, %s", tc.b, tc.a)
	}
	for _, bad := range []string{"", "26.", "26.x", "-1", "26 (a)", "99999999999"} {
		_, err := CompareVersions(bad, "26")
		require.Error(t, err, bad)
		_, err = CompareVersions("26", bad)
		require.Error(t, err, bad)
	}
}

func TestOSGate(t *testing.T) {
	t.Parallel()
	minimum := OSMinimum{Version: "26.1"}
	unknown := MinimumFunc(func(context.Context, Candidate) (OSMinimum, bool, error) {
		return OSMinimum{}, false, errors.New("down")
	})
	impossible := MinimumFunc(func(context.Context, Candidate) (OSMinimum, bool, error) {
		return OSMinimum{Version: "26.1", Update: "26.0"}, true, nil
	})
	mac := MinimumByFamily(map[string]OSMinimum{"Mac": minimum})
	for _, tc := range []struct {
		name         string
		minimum      Minimums
		device       MachineInfo
		closed, open OSDecision
	}{
		{"new enough", mac, MachineInfo{Product: "Mac15,12", OSVersion: "26.1"}, OSDecision{Pass: true}, OSDecision{Pass: true}},
		{"another family", mac, MachineInfo{Product: "iPad16,3", OSVersion: "17.0"}, OSDecision{Pass: true}, OSDecision{Pass: true}},
		{
			"too old", mac, MachineInfo{Product: "Mac15,12", OSVersion: "26.0.1", CanRequestSoftwareUpdate: true},
			OSDecision{Update: &OSMinimum{Version: "26.1", Update: "26.1"}, Reason: "below_minimum", To: "26.1"},
			OSDecision{Update: &OSMinimum{Version: "26.1", Update: "26.1"}, Reason: "below_minimum", To: "26.1"},
		},
		{
			"too old and cannot be told", mac, MachineInfo{Product: "Mac15,12", OSVersion: "26.0.1"},
			OSDecision{Reason: "cannot_request_update", To: "26.1"},
			OSDecision{Pass: true, Reason: "cannot_request_update", To: "26.1"},
		},
		{
			"too old to say its version", mac, MachineInfo{Product: "Mac15,12"},
			OSDecision{Reason: "cannot_request_update", To: "26.1"},
			OSDecision{Pass: true, Reason: "cannot_request_update", To: "26.1"},
		},
		{
			"unreadable version", mac, MachineInfo{Product: "Mac15,12", OSVersion: "beta", CanRequestSoftwareUpdate: true},
			OSDecision{Reason: "version_unreadable", To: "26.1"},
			OSDecision{Pass: true, Reason: "version_unreadable", To: "26.1"},
		},
		{
			"minimum unknown", unknown, MachineInfo{Product: "Mac15,12", OSVersion: "26.1"},
			OSDecision{Reason: "minimum_unknown"}, OSDecision{Pass: true, Reason: "minimum_unknown"},
		},
		{
			"minimum no update reaches", impossible, MachineInfo{Product: "Mac15,12", OSVersion: "26.0", CanRequestSoftwareUpdate: true},
			OSDecision{Reason: "minimum_invalid", To: "26.1"}, OSDecision{Pass: true, Reason: "minimum_invalid", To: "26.1"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for mode, want := range map[FailMode]OSDecision{FailClosed: tc.closed, FailOpen: tc.open} {
				g, err := NewOSGate(mode, tc.minimum)
				require.NoError(t, err)
				assert.Equal(t, want, g.Check(t.Context(), Candidate{Device: tc.device}))
			}
		})
	}
	_, err := NewOSGate(0, mac)
	require.Error(t, err, "the fail mode has to be chosen")
	_, err = NewOSGate(FailOpen, nil)
	require.Error(t, err)
	for name, m := range map[string]OSMinimum{
		"no version": {}, "unreadable version": {Version: "latest"}, "unreadable update": {Version: "26.1", Update: "next"},
		"update below the version": {Version: "26.1", Update: "26.0.9"}, "half a beta program": {Version: "26.1", BetaToken: "t"},
	} {
		_, err := NewOSGate(FailOpen, MinimumByFamily(map[string]OSMinimum{"iPad": minimum, "Mac": m}))
		require.Error(t, err, name)
	}
}

// TestUpdateDocument compares with Apple's keys:
// https://developer.apple.com/documentation/devicemanagement/errorcodesoftwareupdaterequired
func TestUpdateDocument(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(OSMinimum{
		Version: "26.1", Update: "26.2", Build: "25C1", BetaDescription: "Beta", BetaToken: "tok", Message: "Please update.",
	}.document())
	require.NoError(t, err)
	assert.JSONEq(t, `{"code":"com.apple.softwareupdate.required","description":"The device runs an OS older than 26.1.",
		"message":"Please update.","details":{"OSVersion":"26.2","BuildVersion":"25C1",
		"RequireBetaProgram":{"Description":"Beta","Token":"tok"}}}`, string(b))
	b, err = json.Marshal(OSMinimum{Version: "26.1", Update: "26.1"}.document())
	require.NoError(t, err)
	assert.JSONEq(t, `{"code":"com.apple.softwareupdate.required","description":"The device runs an OS older than 26.1.",
		"details":{"OSVersion":"26.1"}}`, string(b))
}
