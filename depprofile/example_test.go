package depprofile_test

import (
	"errors"
	"fmt"

	"github.com/enrollkit/enrollkit/depprofile"
)

func Example() {
	p := &depprofile.Profile{
		ProfileName:           "Office Macs",
		URL:                   "https://mdm.example.com/enroll",
		IsSupervised:          new(true),
		IsMDMRemovable:        new(false),
		AwaitDeviceConfigured: new(true),
		SkipSetupItems:        []depprofile.SkipKey{depprofile.SkipTOS, depprofile.SkipSiri},
	}
	if err := p.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	body, err := p.Canonical()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(body))
	// Output:
	// {"await_device_configured":true,"is_mdm_removable":false,"is_supervised":true,"profile_name":"Office Macs","skip_setup_items":["Siri","TOS"],"url":"https://mdm.example.com/enroll"}
}

func ExampleProfile_Validate() {
	p, err := depprofile.Parse([]byte(`{"url":"http://mdm.example.com","is_mdm_removable":false}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	var broken depprofile.KeyErrors
	if errors.As(p.Validate(), &broken) {
		for _, e := range broken {
			fmt.Println(e.Key, e.Code)
		}
	}
	// Output:
	// profile_name CONFIG_NAME_REQUIRED
	// url CONFIG_URL_INVALID
	// is_mdm_removable FLAGS_INVALID
}

func ExampleDiff() {
	before := depprofile.Default("https://mdm.example.com/mdm/sso")
	after := before.Clone()
	after.IsMandatory = new(true)
	after.AllowPairing = nil
	after.SkipSetupItems = append(after.SkipSetupItems, depprofile.SkipPasscode)
	for _, c := range depprofile.Diff(before, after) {
		fmt.Println(c)
	}
	// Output:
	// allow_pairing: true -> absent
	// is_mandatory: false -> true
	// skip_setup_items: +Passcode
}

func ExampleSkipKeys() {
	keys, err := depprofile.SkipKeys(depprofile.TVOS, "26.0")
	fmt.Println(keys, err)
	// Output:
	// [AppleID Diagnostics Location Privacy ScreenSaver Siri TapToSetup TOS TVHomeScreenSync TVProviderSignIn TVRoom] <nil>
}
