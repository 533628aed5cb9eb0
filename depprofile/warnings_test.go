package depprofile_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/enrollkit/enrollkit/depprofile"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	type profile = depprofile.Profile
	skip := func(keys ...depprofile.SkipKey) profile { return profile{SkipSetupItems: keys} }
	tests := []struct {
		name string
		p    profile
		want []string
	}{
		{"nothing", profile{}, nil},
		{"flags that do as they say", profile{
			IsSupervised: new(true), IsMandatory: new(true), IsMDMRemovable: new(false), AwaitDeviceConfigured: new(true),
			AutoAdvanceSetup: new(true), Language: "en", Region: "US", IsMultiUser: new(false), IsReturnToService: new(false),
		}, nil},
		{"allow_pairing true", profile{AllowPairing: new(true)}, []string{"allow_pairing: deprecated since iOS 13; leave it out"}},
		{"allow_pairing false", profile{AllowPairing: new(false)}, []string{"allow_pairing: deprecated since iOS 13; leave it out"}},
		{"not supervised", profile{IsSupervised: new(false)},
			[]string{"is_supervised: unsupervised enrollment is deprecated since iOS 11, and iOS 13 and later supervise anyway; send true"}},
		{"not mandatory", profile{IsMandatory: new(false)}, []string{"is_mandatory: iOS 13 and later act as if it were true"}},
		{"await without supervision", profile{AwaitDeviceConfigured: new(true)},
			[]string{"await_device_configured: iOS ignores it unless is_supervised is true"}},
		{"await false is fine", profile{AwaitDeviceConfigured: new(false)}, nil},
		{"return to service against await", profile{AwaitDeviceConfigured: new(false), IsReturnToService: new(true)}, []string{
			"await_device_configured: is_return_to_service makes devices act as if it were true; leave it out",
			"is_return_to_service: honoured by iOS 26, visionOS 26 and later only, and devices cannot migrate to another server",
		}},
		{"auto advance without region", profile{AutoAdvanceSetup: new(true), Language: "en"},
			[]string{"auto_advance_setup: Setup Assistant does not run through by itself unless language and region are set"}},
		{"auto advance without language", profile{AutoAdvanceSetup: new(true), Region: "US"},
			[]string{"auto_advance_setup: Setup Assistant does not run through by itself unless language and region are set"}},
		{"shared iPad", profile{IsMultiUser: new(true)}, []string{"is_multi_user: the enrollment profile must list " +
			"com.apple.mdm.per-user-connections in ServerCapabilities, and devices cannot migrate to another server"}},
		{"anchors and web view", profile{ConfigurationWebURL: "https://a.example", AnchorCerts: []string{"MII"}},
			[]string{"configuration_web_url: every host the web view visits, the identity provider too, must chain to anchor_certs"}},
		{"anchors alone", profile{URL: "https://a.example", AnchorCerts: []string{"MII"}}, nil},
		{"empty anchors", profile{AnchorCerts: []string{}},
			[]string{"anchor_certs: a list without certificates may leave the device no trust anchor; leave it out to use the built-in roots"}},
		{"host certificates without supervision", profile{SupervisingHostCerts: []string{"MII"}},
			[]string{"supervising_host_certs: unused unless is_supervised is true"}},
		{"host certificates", profile{SupervisingHostCerts: []string{"MII"}, IsSupervised: new(true)}, nil},
		{"current skip keys", skip("TOS", "Siri", "Zoom", "Accessibility"), nil},
		{"deprecated skip key", skip("DisplayTone"), []string{"skip_setup_items: DisplayTone is deprecated since iOS 15.0, macOS 12.0"}},
		{"removed skip key", skip("Wallpaper"), []string{"skip_setup_items: Wallpaper was removed in macOS 26.0"}},
		{"unknown skip key", skip("Nonsense"), []string{"skip_setup_items: Nonsense is not a documented skip key"}},
		{"misspelt skip key", skip("AppleId"), []string{"skip_setup_items: AppleId is not a documented skip key; did you mean AppleID?"}},
		{"skip key twice", skip("TOS", "Siri", "TOS"), []string{"skip_setup_items: TOS is listed more than once"}},
		{"Android inside Restore", skip("Android", "Restore"), []string{"skip_setup_items: Android has no effect because Restore is skipped"}},
		{"Android alone", skip("Android"), nil},
		{"unknown keys", profile{Extra: map[string]json.RawMessage{"b_key": nil, "Is_Supervised": nil}}, []string{
			"Is_Supervised: not a documented key; it is sent as it is; did you mean is_supervised?",
			"b_key: not a documented key; it is sent as it is",
		}},
		{"the default profile", *depprofile.Default("https://mdm.example.com/mdm/sso"), []string{
			"is_supervised: unsupervised enrollment is deprecated since iOS 11, and iOS 13 and later supervise anyway; send true",
			"is_mandatory: iOS 13 and later act as if it were true",
			"allow_pairing: deprecated since iOS 13; leave it out",
			"await_device_configured: iOS ignores it unless is_supervised is true",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, w := range tt.p.Warnings() {
				got = append(got, w.String())
			}
			assert.Equal(t, tt.want, got)
		})
	}
	assert.Empty(t, (*depprofile.Profile)(nil).Warnings())
}
