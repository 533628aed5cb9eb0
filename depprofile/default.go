package depprofile

// Default returns a profile to start from: the user signs in in a web view, Setup Assistant waits until the server
// releases the device, and most panes are skipped. mdmURL is the full address of both the web view and the enrollment
// endpoint, such as "https://mdm.example.com/mdm/sso"; [Profile.Validate] checks it. In full:
//
//   - profile_name "Default enrollment profile", org_magic "1", url and configuration_web_url mdmURL;
//   - await_device_configured true: a device stays in Setup Assistant until your server sends DeviceConfigured, as
//     package setupexp does. Set it to false if nothing of yours does;
//   - is_supervised and is_mandatory false, is_mdm_removable and allow_pairing true. iOS 13 and later supervise
//     anyway; set IsSupervised to true to lock the MDM profile with IsMDMRemovable false;
//   - is_multi_user, is_return_to_service, do_not_use_profile_from_backup and auto_advance_setup false;
//   - language "en", region "US", which matter with auto_advance_setup only;
//   - skip_setup_items as below; Wi-Fi, region and the user's own account are among what remains.
//
// The result is the caller's to change.
func Default(mdmURL string) *Profile {
	return &Profile{
		ProfileName:               "Default enrollment profile",
		OrgMagic:                  "1",
		URL:                       mdmURL,
		ConfigurationWebURL:       mdmURL,
		IsSupervised:              new(false),
		AllowPairing:              new(true),
		IsMandatory:               new(false),
		IsMDMRemovable:            new(true),
		AwaitDeviceConfigured:     new(true),
		IsMultiUser:               new(false),
		IsReturnToService:         new(false),
		DoNotUseProfileFromBackup: new(false),
		AutoAdvanceSetup:          new(false),
		Language:                  "en",
		Region:                    "US",
		SkipSetupItems: []SkipKey{
			SkipAccessibility, SkipAppearance, SkipAppleID, SkipAppStore, SkipBiometric, SkipDiagnostics, SkipFileVault,
			SkipICloudDiagnostics, SkipICloudStorage, SkipLocation, SkipPayment, SkipPrivacy, SkipRestore, SkipScreenTime,
			SkipSiri, SkipTermsOfAddress, SkipTOS, SkipUnlockWithWatch,
		},
	}
}
