package depprofile

// Remarks that several keys share.
const (
	noteTooEarly   = "it appears before the device has its profile; the key only works when the pane comes later"
	noteWithdrawn  = "on Apple's page in March 2026, gone in April 2026"
	noteMacUnclear = "listed for macOS though Apple describes it for iOS"
	noteTapToSetup = noteTooEarly + "; Apple's page listed iOS 18 too between January and August 2026"
	notePreRelease = "from pre-release documentation"
)

// skipKeyTable is never written to; lookups hand out copies. A Support lists platform, introduced, deprecated, removed.
// Source: Apple's SkipKeys page, editions January to September 2026, and other/skipkeys.yaml of
// https://github.com/apple/device-management, releases iOS 15 to iOS 26.
var skipKeyTable = []SkipKeyInfo{
	{SkipAccessibility, "accessibility, when Setup Assistant runs for an additional user", false, "the pane of the first device setup cannot be skipped", []Support{since(MacOS, "11.0")}},
	{SkipAccessibilityAppearance, "accessibility appearance options", false, noteTooEarly, []Support{since(IOS, "17.0")}},
	{SkipActionButton, "Action button configuration", true, "", []Support{since(IOS, "17.0")}},
	{SkipAdditionalPrivacySettings, "additional privacy settings", true, "in the schema of the OS 26 release, absent from Apple's page of 2026", []Support{since(MacOS, "26.0")}},
	{SkipAgeAssurance, "age assurance", true, noteWithdrawn, []Support{since(IOS, "26.2")}},
	{SkipAgeBasedSafetySettings, "age-based safety settings", true, noteWithdrawn, []Support{since(IOS, "26.1")}},
	{SkipAndroid, "the choice to move from Android, inside the restore pane", true, "only matters where the restore pane is shown", []Support{since(IOS, "9.0")}},
	{SkipAppearance, "choice of a light or dark look", true, "", []Support{since(IOS, "13.0"), since(MacOS, "10.14")}},
	{SkipAppleID, "Apple Account and iCloud sign-in", true, "", []Support{since(IOS, "7.0"), since(MacOS, "10.9"), since(TVOS, "10.2"), since(VisionOS, "26.0")}},
	{SkipAppStore, "App Store information", true, "", []Support{since(IOS, "14.3"), since(MacOS, "11.1")}},
	{SkipBiometric, "Touch ID, Face ID or Optic ID", true, "", []Support{since(IOS, "8.1"), since(MacOS, "10.12.4"), since(VisionOS, "26.0")}},
	{SkipCameraButton, "Camera Control", true, "", []Support{since(IOS, "18.0")}},
	{SkipDeviceFeaturesTour, "device features tour", true, notePreRelease, []Support{since(IOS, "27.0")}},
	{SkipDeviceToDeviceMigration, "direct transfer from another device", true, "", []Support{since(IOS, "12.4")}},
	{SkipDiagnostics, "sharing of app analytics and diagnostics", true, "", []Support{since(IOS, "7.0"), since(MacOS, "10.9"), since(TVOS, "10.2"), since(VisionOS, "26.0")}},
	{SkipDisplayTone, "True Tone", true, "", []Support{{IOS, "9.3.2", "15.0", ""}, {MacOS, "10.13.6", "12.0", ""}}},
	{SkipEnableLockdownMode, "offer of Lockdown Mode", true, "shown only if an Apple Account is set up", []Support{since(IOS, "17.1"), since(MacOS, "14.0")}},
	{SkipFileVault, "FileVault offer", true, "", []Support{since(MacOS, "10.10")}},
	{SkipHomeButtonSensitivity, "feel of the home button (iPhone 7, 8, SE)", true, "", []Support{{IOS, "10.0", "15.0", ""}}},
	{SkipICloudDiagnostics, "iCloud analytics", true, "", []Support{since(MacOS, "10.12.4")}},
	{SkipICloudStorage, "iCloud Documents and Desktop", true, "", []Support{since(MacOS, "10.13.4")}},
	{SkipIMessageAndFaceTime, "iMessage and FaceTime", true, "", []Support{since(IOS, "12.0")}},
	{SkipIntelligence, "Apple Intelligence", true, "", []Support{since(IOS, "18.0"), since(MacOS, "15.0"), since(VisionOS, "26.0")}},
	{SkipKeyboard, "keyboard selection", false, noteTooEarly, []Support{since(IOS, "13.0")}},
	{SkipLiquidGlass, "Liquid Glass look", true, notePreRelease, []Support{since(IOS, "27.0"), since(MacOS, "27.0")}},
	{SkipLocation, "Location Services", true, "", []Support{since(IOS, "7.0"), since(MacOS, "10.11"), since(TVOS, "10.2"), since(VisionOS, "26.0")}},
	{SkipMessagingActivationUsingPhoneNumber, "iMessage activation by phone number", true, "", []Support{since(IOS, "10.0")}},
	{SkipMultitasking, "multitasking choice", true, "", []Support{since(IOS, "26.0")}},
	{SkipOnBoarding, "gesture and education screens", true, "", []Support{{IOS, "11.0", "14.0", ""}}},
	{SkipOSShowcase, "showcase of what is new", true, "removal is from pre-release documentation", []Support{{IOS, "26.0", "", "27.0"}, {MacOS, "26.1", "", "27.0"}}},
	{SkipPasscode, "passcode creation", true, noteMacUnclear, []Support{since(IOS, "7.0"), since(MacOS, "10.9"), since(VisionOS, "26.0")}},
	{SkipPayment, "Apple Pay", true, "", []Support{since(IOS, "8.1"), since(MacOS, "10.12.4"), since(VisionOS, "26.0")}},
	{SkipPrivacy, "data and privacy", true, "", []Support{since(IOS, "11.3"), since(MacOS, "10.13.4"), since(TVOS, "11.3"), since(VisionOS, "26.0")}},
	{SkipRestore, "restore from a backup or transfer", true, noteMacUnclear, []Support{since(IOS, "7.0"), since(MacOS, "10.9")}},
	{SkipRestoreCompleted, "restore finished", true, "", []Support{since(IOS, "14.0")}},
	{SkipSafety, "safety", true, "", []Support{since(IOS, "16.0")}},
	{SkipSafetyAndHandling, "safety and handling", false, noteTooEarly, []Support{since(IOS, "18.4")}},
	{SkipScreenSaver, "aerial screen savers", true, "", []Support{since(TVOS, "10.2")}},
	{SkipScreenTime, "Screen Time", true, "", []Support{since(IOS, "12.0"), since(MacOS, "10.15"), since(VisionOS, "26.0")}},
	{SkipSIMSetup, "adding a cellular plan", true, "skipping it also stops automatic eSIM setup", []Support{since(IOS, "12.0")}},
	{SkipSiri, "Siri", true, "", []Support{since(IOS, "7.0"), since(MacOS, "10.12"), since(TVOS, "10.2"), since(VisionOS, "26.0")}},
	{SkipSoftwareUpdate, "mandatory or automatic software update", true, "", []Support{since(IOS, "12.0"), since(MacOS, "15.4"), since(VisionOS, "26.0")}},
	{SkipSpokenLanguage, "dictation language", false, noteTooEarly, []Support{since(IOS, "13.0")}},
	{SkipTapToSetup, "setting up an Apple TV with an iOS device", false, noteTapToSetup, []Support{since(TVOS, "10.2")}},
	{SkipTermsOfAddress, "form of address", false, noteTooEarly, []Support{since(IOS, "16.0"), since(MacOS, "13.0")}},
	{SkipTips, "tips", true, "", []Support{since(VisionOS, "26.0")}},
	{SkipTOS, "terms and conditions", true, "", []Support{since(IOS, "7.0"), since(MacOS, "10.9"), since(TVOS, "10.2"), since(VisionOS, "26.0")}},
	{SkipTVHomeScreenSync, "home-screen layout sync", true, "", []Support{since(TVOS, "11.0")}},
	{SkipTVProviderSignIn, "TV provider sign-in", true, "", []Support{since(TVOS, "11.0")}},
	{SkipTVRoom, "which room the Apple TV is in", true, "", []Support{since(TVOS, "11.4")}},
	{SkipUnlockWithWatch, "unlock with Apple Watch", true, "the payload com.apple.SetupAssistant.managed has a boolean for it since macOS 12", []Support{since(MacOS, "15.0")}},
	{SkipUpdateCompleted, "software update finished", true, "", []Support{since(IOS, "14.0"), since(MacOS, "26.1")}},
	{SkipWallpaper, "wallpaper choice", true, "", []Support{{MacOS, "14.1", "", "26.0"}}},
	{SkipWatchMigration, "watch migration", true, "", []Support{since(IOS, "11.0")}},
	{SkipWebContentFiltering, "web content filtering", true, "", []Support{{IOS, "18.2", "", "26.1"}}},
	{SkipWelcome, "get started", true, "", []Support{since(IOS, "13.0"), since(MacOS, "15.0"), since(VisionOS, "26.0")}},
	{SkipZoom, "display zoom", true, "", []Support{{IOS, "8.3", "17.0", ""}, since(VisionOS, "26.0")}},
}
