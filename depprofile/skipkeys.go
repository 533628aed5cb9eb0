package depprofile

// SkipKey names a Setup Assistant pane in skip_setup_items. Keys are case-sensitive. The set is open: a device
// ignores keys it does not know, so a key newer than this package may be used as SkipKey("Name").
//
// Apple: https://developer.apple.com/documentation/devicemanagement/skipkeys
type SkipKey string

// The skip keys Apple has documented. Each comment says what is skipped; [SkipKey.Info] says where and since when.
const (
	SkipAccessibility                       SkipKey = "Accessibility"                       // accessibility, when Setup Assistant runs for an additional user
	SkipAccessibilityAppearance             SkipKey = "AccessibilityAppearance"             // accessibility appearance options
	SkipActionButton                        SkipKey = "ActionButton"                        // Action button configuration
	SkipAdditionalPrivacySettings           SkipKey = "AdditionalPrivacySettings"           // additional privacy settings
	SkipAgeAssurance                        SkipKey = "AgeAssurance"                        // age assurance
	SkipAgeBasedSafetySettings              SkipKey = "AgeBasedSafetySettings"              // age-based safety settings
	SkipAndroid                             SkipKey = "Android"                             // the choice to move from Android, inside the restore pane
	SkipAppearance                          SkipKey = "Appearance"                          // choice of a light or dark look
	SkipAppleID                             SkipKey = "AppleID"                             // Apple Account and iCloud sign-in
	SkipAppStore                            SkipKey = "AppStore"                            // App Store information
	SkipBiometric                           SkipKey = "Biometric"                           // Touch ID, Face ID or Optic ID
	SkipCameraButton                        SkipKey = "CameraButton"                        // Camera Control
	SkipDeviceFeaturesTour                  SkipKey = "DeviceFeaturesTour"                  // device features tour
	SkipDeviceToDeviceMigration             SkipKey = "DeviceToDeviceMigration"             // direct transfer from another device
	SkipDiagnostics                         SkipKey = "Diagnostics"                         // sharing of app analytics and diagnostics
	SkipDisplayTone                         SkipKey = "DisplayTone"                         // True Tone
	SkipEnableLockdownMode                  SkipKey = "EnableLockdownMode"                  // offer of Lockdown Mode
	SkipFileVault                           SkipKey = "FileVault"                           // FileVault offer
	SkipHomeButtonSensitivity               SkipKey = "HomeButtonSensitivity"               // feel of the home button (iPhone 7, 8, SE)
	SkipICloudDiagnostics                   SkipKey = "iCloudDiagnostics"                   // iCloud analytics
	SkipICloudStorage                       SkipKey = "iCloudStorage"                       // iCloud Documents and Desktop
	SkipIMessageAndFaceTime                 SkipKey = "iMessageAndFaceTime"                 // iMessage and FaceTime
	SkipIntelligence                        SkipKey = "Intelligence"                        // Apple Intelligence
	SkipKeyboard                            SkipKey = "Keyboard"                            // keyboard selection
	SkipLiquidGlass                         SkipKey = "LiquidGlass"                         // Liquid Glass look
	SkipLocation                            SkipKey = "Location"                            // Location Services
	SkipMessagingActivationUsingPhoneNumber SkipKey = "MessagingActivationUsingPhoneNumber" // iMessage activation by phone number
	SkipMultitasking                        SkipKey = "Multitasking"                        // multitasking choice
	SkipOnBoarding                          SkipKey = "OnBoarding"                          // gesture and education screens
	SkipOSShowcase                          SkipKey = "OSShowcase"                          // showcase of what is new
	SkipPasscode                            SkipKey = "Passcode"                            // passcode creation
	SkipPayment                             SkipKey = "Payment"                             // Apple Pay
	SkipPrivacy                             SkipKey = "Privacy"                             // data and privacy
	SkipRestore                             SkipKey = "Restore"                             // restore from a backup or transfer
	SkipRestoreCompleted                    SkipKey = "RestoreCompleted"                    // restore finished
	SkipSafety                              SkipKey = "Safety"                              // safety
	SkipSafetyAndHandling                   SkipKey = "SafetyAndHandling"                   // safety and handling
	SkipScreenSaver                         SkipKey = "ScreenSaver"                         // aerial screen savers
	SkipScreenTime                          SkipKey = "ScreenTime"                          // Screen Time
	SkipSIMSetup                            SkipKey = "SIMSetup"                            // adding a cellular plan
	SkipSiri                                SkipKey = "Siri"                                // Siri
	SkipSoftwareUpdate                      SkipKey = "SoftwareUpdate"                      // mandatory or automatic software update
	SkipSpokenLanguage                      SkipKey = "SpokenLanguage"                      // dictation language
	SkipTapToSetup                          SkipKey = "TapToSetup"                          // setting up an Apple TV with an iOS device
	SkipTermsOfAddress                      SkipKey = "TermsOfAddress"                      // form of address
	SkipTips                                SkipKey = "Tips"                                // tips
	SkipTOS                                 SkipKey = "TOS"                                 // terms and conditions
	SkipTVHomeScreenSync                    SkipKey = "TVHomeScreenSync"                    // home-screen layout sync
	SkipTVProviderSignIn                    SkipKey = "TVProviderSignIn"                    // TV provider sign-in
	SkipTVRoom                              SkipKey = "TVRoom"                              // which room the Apple TV is in
	SkipUnlockWithWatch                     SkipKey = "UnlockWithWatch"                     // unlock with Apple Watch
	SkipUpdateCompleted                     SkipKey = "UpdateCompleted"                     // software update finished
	SkipWallpaper                           SkipKey = "Wallpaper"                           // wallpaper choice
	SkipWatchMigration                      SkipKey = "WatchMigration"                      // watch migration
	SkipWebContentFiltering                 SkipKey = "WebContentFiltering"                 // web content filtering
	SkipWelcome                             SkipKey = "Welcome"                             // get started
	SkipZoom                                SkipKey = "Zoom"                                // display zoom
)
