package depprofile

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
)

// Profile is the enrollment profile Apple hands to a device that is assigned to an MDM server. Fill it as a struct
// literal, or start from [Default] or [Parse].
//
// A key is absent from the JSON if its field is an empty string, a nil pointer or a nil slice: Apple refuses empty
// strings, and a missing boolean takes Apple's default, which is not always false. An empty slice that is not nil is
// sent as []. Booleans are set with Go's new(true) and new(false).
//
// A Profile is plain data: concurrent readers are fine, writers need the caller's lock.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/profile
type Profile struct {
	// ProfileName is a name people recognise, 1 to 125 characters. Required.
	ProfileName string
	// URL is where the device posts its MachineInfo to get its enrollment profile; https, at most 2000 characters.
	// Required, even when ConfigurationWebURL takes precedence.
	URL string
	// ConfigurationWebURL is opened in a web view for sign-in, with a GET; https. iOS 13, macOS 10.15 and later.
	ConfigurationWebURL string

	// IsSupervised defaults to false. iOS 13 and later supervise always, but Apple's service and other keys still
	// look at the flag: send true unless there is a reason not to.
	IsSupervised *bool
	// IsMandatory says that the user may not skip enrollment. Default false; iOS 13 and later act as if it were true.
	IsMandatory *bool
	// IsMDMRemovable says that the user may remove the MDM profile. Default true. False needs IsSupervised true.
	IsMDMRemovable *bool
	// AllowPairing says that the device may pair with any host. Default true. Deprecated since iOS 13.
	AllowPairing *bool
	// AwaitDeviceConfigured holds the device in Setup Assistant until the server sends DeviceConfigured. Default false.
	AwaitDeviceConfigured *bool
	// AutoAdvanceSetup lets Setup Assistant advance by itself (tvOS, macOS 11 and later). Default false.
	// A complete run needs Language and Region.
	AutoAdvanceSetup *bool
	// IsMultiUser makes the device a Shared iPad. Default false.
	IsMultiUser *bool
	// IsReturnToService enables Return to Service with app preservation (iOS 26, visionOS 26 and later). Default false.
	IsReturnToService *bool
	// DoNotUseProfileFromBackup has a device restored from a backup fetch its current enrollment profile rather than use the one in
	// the backup (iOS 26, visionOS 26 and later). Default false.
	DoNotUseProfileFromBackup *bool

	// Language is an ISO 639-1 code such as "en", or an ISO 639-2 code such as "haw" where there is none (tvOS, macOS 11 and later).
	Language string
	// Region is an ISO 3166-1 code of two capital letters such as "US" (tvOS, macOS 11 and later).
	Region string
	// SkipSetupItems are the Setup Assistant panes the device does not show. Their order means nothing.
	SkipSetupItems []SkipKey

	// Department is shown to the user, 1 to 125 characters.
	Department string
	// SupportPhoneNumber is shown to the user, 1 to 50 characters.
	SupportPhoneNumber string
	// SupportEmailAddress is shown to the user, 1 to 250 characters.
	SupportEmailAddress string
	// OrgMagic groups services of one organization, 1 to 256 characters of the organization's choice.
	OrgMagic string

	// AnchorCerts replace the built-in roots as trust anchors for the connection to the MDM server. Each is the base64 of a DER
	// certificate; [EncodeCertificates] makes them.
	AnchorCerts []string
	// SupervisingHostCerts name hosts that may pair even if AllowPairing is false. Form as in AnchorCerts. Unused unless
	// IsSupervised is true.
	SupervisingHostCerts []string

	// Devices are serial numbers Apple assigns the profile to at once when it is defined. Not part of the content:
	// [Profile.Canonical], [Profile.Fingerprint] and [Diff] leave them out.
	Devices []string
	// ProfileUUID is Apple's identifier in a fetched profile, opaque. Not part of the content, as Devices.
	ProfileUUID string

	// Extra holds the keys this package does not know, with their values as raw JSON. They survive a round trip.
	// It is nil if there are none, and must not contain a key that has a field.
	Extra map[string]json.RawMessage
}

// Clone returns a deep copy of p, and nil for nil.
func (p *Profile) Clone() *Profile {
	if p == nil {
		return nil
	}
	c := *p
	for _, m := range c.members() {
		switch f := m.field.(type) {
		case **bool:
			if *f != nil {
				*f = new(**f)
			}
		case *[]string:
			*f = slices.Clone(*f)
		case *[]SkipKey:
			*f = slices.Clone(*f)
		}
	}
	c.Extra = maps.Clone(p.Extra)
	for k, v := range c.Extra {
		c.Extra[k] = slices.Clone(v)
	}
	return &c
}

// EncodeCertificates returns certs in the form of AnchorCerts and SupervisingHostCerts.
func EncodeCertificates(certs ...*x509.Certificate) []string {
	out := make([]string, len(certs))
	for i, c := range certs {
		out[i] = base64.StdEncoding.EncodeToString(c.Raw)
	}
	return out
}

// JSON keys that code outside the table of members names.
const (
	keyProfileName          = "profile_name"
	keyURL                  = "url"
	keyConfigurationWebURL  = "configuration_web_url"
	keyIsSupervised         = "is_supervised"
	keyIsMandatory          = "is_mandatory"
	keyIsMDMRemovable       = "is_mdm_removable"
	keyAllowPairing         = "allow_pairing"
	keyAwaitConfigured      = "await_device_configured"
	keyAutoAdvance          = "auto_advance_setup"
	keyIsMultiUser          = "is_multi_user"
	keyIsReturnToService    = "is_return_to_service"
	keyNotFromBackup        = "do_not_use_profile_from_backup"
	keyLanguage             = "language"
	keyRegion               = "region"
	keySkipSetupItems       = "skip_setup_items"
	keyDepartment           = "department"
	keySupportPhone         = "support_phone_number"
	keySupportEmail         = "support_email_address"
	keyOrgMagic             = "org_magic"
	keyAnchorCerts          = "anchor_certs"
	keySupervisingHostCerts = "supervising_host_certs"
	keyDevices              = "devices"
	keyProfileUUID          = "profile_uuid"
)

// member ties a JSON key to the field that holds it: a *string, **bool, *[]string or *[]SkipKey.
type member struct {
	key   string
	field any
}

// members is the one place that lists the documented keys.
func (p *Profile) members() []member {
	return []member{
		{keyProfileName, &p.ProfileName},
		{keyURL, &p.URL},
		{keyConfigurationWebURL, &p.ConfigurationWebURL},
		{keyIsSupervised, &p.IsSupervised},
		{keyIsMandatory, &p.IsMandatory},
		{keyIsMDMRemovable, &p.IsMDMRemovable},
		{keyAllowPairing, &p.AllowPairing},
		{keyAwaitConfigured, &p.AwaitDeviceConfigured},
		{keyAutoAdvance, &p.AutoAdvanceSetup},
		{keyIsMultiUser, &p.IsMultiUser},
		{keyIsReturnToService, &p.IsReturnToService},
		{keyNotFromBackup, &p.DoNotUseProfileFromBackup},
		{keyLanguage, &p.Language},
		{keyRegion, &p.Region},
		{keySkipSetupItems, &p.SkipSetupItems},
		{keyDepartment, &p.Department},
		{keySupportPhone, &p.SupportPhoneNumber},
		{keySupportEmail, &p.SupportEmailAddress},
		{keyOrgMagic, &p.OrgMagic},
		{keyAnchorCerts, &p.AnchorCerts},
		{keySupervisingHostCerts, &p.SupervisingHostCerts},
		{keyDevices, &p.Devices},
		{keyProfileUUID, &p.ProfileUUID},
	}
}

func isDocumented(key string) bool {
	return slices.ContainsFunc(new(Profile).members(), func(m member) bool { return m.key == key })
}
