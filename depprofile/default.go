package depprofile

// Default returns the profile a stock Mac gets: sign-in in a web view, not supervised, the MDM profile removable, Setup
// Assistant held until the server releases it, and most panes skipped. mdmURL is the full address of both the web
// view and the enrollment endpoint, such as "https://mdm.example.com/mdm/sso"; [Profile.Validate] checks it.
//
// The result is the caller's to change.
func Default(mdmURL string) *Profile {
	return &Profile{
		ProfileName:               "Fleet default enrollment profile",
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
