package depprofile_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/depprofile"
)

func TestSkipKeysAreTheDocumentedOnes(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for _, info := range depprofile.AllSkipKeys() {
		assert.NotEmpty(t, info.Pane, info.Key)
		assert.True(t, info.AlwaysSkippable || info.Note != "", "%s: say when the pane still appears", info.Key)
		var cells []string
		for _, s := range info.Support {
			cell := string(s.Platform) + " " + s.Introduced
			if s.Deprecated != "" {
				cell += ", dep. " + s.Deprecated
			}
			if s.Removed != "" {
				cell += ", rem. " + s.Removed
			}
			cells = append(cells, cell)
			for _, v := range []string{s.Introduced, s.Deprecated, s.Removed} {
				_, err := depprofile.SkipKeys(s.Platform, v)
				assert.True(t, err == nil || v == "" && v != s.Introduced, "%s on %s: version %q", info.Key, s.Platform, v)
			}
		}
		got.WriteString(string(info.Key) + ": " + strings.Join(cells, "; ") + "\n")
	}
	_, want, _ := strings.Cut(string(golden(t, "skip_keys.txt")), "Go table.\n")
	assert.Equal(t, want, got.String())
}

func TestNotAlwaysSkippable(t *testing.T) {
	t.Parallel()
	var got []depprofile.SkipKey
	for _, info := range depprofile.AllSkipKeys() {
		if !info.AlwaysSkippable {
			got = append(got, info.Key)
		}
	}
	assert.Equal(t, []depprofile.SkipKey{
		depprofile.SkipAccessibility, depprofile.SkipAccessibilityAppearance, depprofile.SkipKeyboard, depprofile.SkipSafetyAndHandling,
		depprofile.SkipSpokenLanguage, depprofile.SkipTapToSetup, depprofile.SkipTermsOfAddress,
	}, got)
}

func TestSkipKeysAtVersions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		key      depprofile.SkipKey
		platform depprofile.Platform
		version  string
		want     bool
	}{
		{"before it came", depprofile.SkipBiometric, depprofile.MacOS, "10.12.3", false},
		{"when it came", depprofile.SkipBiometric, depprofile.MacOS, "10.12.4", true},
		{"two digits are no fraction", depprofile.SkipAppleID, depprofile.MacOS, "10.8", false},
		{"two digits are no fraction", depprofile.SkipAppleID, depprofile.MacOS, "10.15", true},
		{"short version", depprofile.SkipIntelligence, depprofile.MacOS, "15", true},
		{"long version", depprofile.SkipIntelligence, depprofile.MacOS, "14.99.99.99", false},
		{"deprecated still counts", depprofile.SkipDisplayTone, depprofile.IOS, "26.0", true},
		{"before removal", depprofile.SkipWallpaper, depprofile.MacOS, "15.7", true},
		{"after removal", depprofile.SkipWallpaper, depprofile.MacOS, "26.0", false},
		{"removal is per platform", depprofile.SkipOSShowcase, depprofile.MacOS, "26.0", false},
		{"removal is per platform", depprofile.SkipOSShowcase, depprofile.IOS, "26.0", true},
		{"other platform", depprofile.SkipFileVault, depprofile.IOS, "26.0", false},
		{"withdrawn for iOS", depprofile.SkipTapToSetup, depprofile.IOS, "26.0", false},
		{"visionOS starts at 26", depprofile.SkipSiri, depprofile.VisionOS, "2.4", false},
		{"visionOS starts at 26", depprofile.SkipSiri, depprofile.VisionOS, "26.0", true},
		{"tvOS", depprofile.SkipTVRoom, depprofile.TVOS, "11.4", true},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.version, func(t *testing.T) {
			t.Parallel()
			keys, err := depprofile.SkipKeys(tt.platform, tt.version)
			require.NoError(t, err)
			assert.Equal(t, tt.want, slices.Contains(keys, tt.key))
		})
	}
}

func TestSkipKeysRefusesBadArguments(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"", "15.", ".15", "v15", "15.x", "-1", "15.0.0.0.0", "15 (a)", "99999999999"} {
		keys, err := depprofile.SkipKeys(depprofile.MacOS, v)
		require.ErrorIs(t, err, depprofile.ErrVersion, v)
		assert.Nil(t, keys)
	}
	for _, p := range []depprofile.Platform{"", "watchOS", "macos"} {
		_, err := depprofile.SkipKeys(p, "15.0")
		require.ErrorIs(t, err, depprofile.ErrPlatform, p)
	}
}

func TestSkipKeyInfo(t *testing.T) {
	t.Parallel()
	info, ok := depprofile.SkipZoom.Info()
	require.True(t, ok)
	assert.Equal(t, depprofile.SkipKeyInfo{
		Key: "Zoom", Pane: "display zoom", AlwaysSkippable: true, Support: []depprofile.Support{
			{Platform: depprofile.IOS, Introduced: "8.3", Deprecated: "17.0"}, {Platform: depprofile.VisionOS, Introduced: "26.0"},
		},
	}, info)
	info.Support[0].Removed = "1.0"
	again, _ := depprofile.SkipZoom.Info()
	assert.Empty(t, again.Support[0].Removed, "the table is not the caller's to change")

	for _, k := range []depprofile.SkipKey{"", "zoom", "New"} {
		info, ok := k.Info()
		assert.False(t, ok)
		assert.Zero(t, info)
	}
}
