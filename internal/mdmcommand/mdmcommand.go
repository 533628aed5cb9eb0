// Package mdmcommand makes Apple's MDM commands and reads their answers.
//
// It is the only importer of the command library, so that the library can be replaced in one place.
package mdmcommand

import (
	"fmt"

	"github.com/jessepeterson/mdmcommands"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// InstallProfile returns the command that installs a configuration profile.
func InstallProfile(uuid string, payload []byte) ([]byte, error) {
	c := mdmcommands.NewInstallProfileCommand(uuid)
	c.Command.Payload = payload
	return plist.Marshal(c)
}

// ProfileList returns the command that lists the installed profiles.
func ProfileList(uuid string) ([]byte, error) {
	return plist.Marshal(mdmcommands.NewProfileListCommand(uuid))
}

// DeviceConfigured returns the command that lets a device leave Setup Assistant.
func DeviceConfigured(uuid string) ([]byte, error) {
	return plist.Marshal(mdmcommands.NewDeviceConfiguredCommand(uuid))
}

// DeviceInformation returns the command that asks the queries.
func DeviceInformation(uuid string, queries ...string) ([]byte, error) {
	c := mdmcommands.NewDeviceInformationCommand(uuid)
	c.Command.Queries = queries
	return plist.Marshal(c)
}

// InstalledApplicationList returns the command that lists the installed applications with these bundle identifiers.
func InstalledApplicationList(uuid string, identifiers []string) ([]byte, error) {
	c := mdmcommands.NewInstalledApplicationListCommand(uuid)
	c.Command.Identifiers = &identifiers
	return plist.Marshal(c)
}

// Package is what a manifest says of a package.
type Package struct {
	URL       string
	ChunkSize int64
	SHA256    []string
	BundleID  string
	Version   string
	Title     string
}

// Manifest keys.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/manifesturl
type manifest struct {
	Items []manifestItem `plist:"items"`
}

type manifestItem struct {
	Assets   []manifestAsset  `plist:"assets"`
	Metadata manifestMetadata `plist:"metadata"`
}

type manifestAsset struct {
	Kind       string   `plist:"kind"`
	URL        string   `plist:"url"`
	SHA256Size int64    `plist:"sha256-size"`
	SHA256s    []string `plist:"sha256s"`
}

type manifestMetadata struct {
	BundleIdentifier string `plist:"bundle-identifier"`
	BundleVersion    string `plist:"bundle-version,omitempty"`
	Kind             string `plist:"kind"`
	Title            string `plist:"title"`
}

// InstallEnterpriseApplication returns the command that installs a package on a Mac, with the manifest inside.
func InstallEnterpriseApplication(uuid string, p Package) ([]byte, error) {
	c := mdmcommands.NewInstallEnterpriseApplicationCommand(uuid)
	c.Command.Manifest = manifest{Items: []manifestItem{{
		Assets: []manifestAsset{{
			Kind: "software-package", URL: p.URL, SHA256Size: p.ChunkSize, SHA256s: p.SHA256,
		}},
		Metadata: manifestMetadata{
			BundleIdentifier: p.BundleID, BundleVersion: p.Version, Kind: "software", Title: p.Title,
		},
	}}}
	return plist.Marshal(c)
}

// Account is what AccountConfiguration takes; empty and false fields are left out.
type Account struct {
	Admin          *Admin
	SkipPrimary    bool
	PrimaryRegular bool
	FullName       string
	UserName       string
	Lock           bool
	DontPrefill    bool
	ManagedUser    string
}

// Admin is an administrator account.
type Admin struct {
	ShortName    string
	FullName     string
	PasswordHash []byte
	Hidden       bool
}

// AccountConfiguration returns the command that configures the local accounts of a Mac.
func AccountConfiguration(uuid string, a Account) ([]byte, error) {
	c := mdmcommands.NewAccountConfigurationCommand(uuid)
	p := &c.Command
	p.SkipPrimarySetupAccountCreation = optional(a.SkipPrimary)
	p.SetPrimarySetupAccountAsRegularUser = optional(a.PrimaryRegular)
	p.PrimaryAccountFullName = optional(a.FullName)
	p.PrimaryAccountUserName = optional(a.UserName)
	p.LockPrimaryAccountInfo = optional(a.Lock)
	p.DontAutoPopulatePrimaryAccountInfo = optional(a.DontPrefill)
	p.ManagedLocalUserShortName = optional(a.ManagedUser)
	if a.Admin != nil {
		p.AutoSetupAdminAccounts = &[]mdmcommands.AutoSetupAdminAccountItem{{
			ShortName: a.Admin.ShortName, FullName: optional(a.Admin.FullName),
			PasswordHash: &a.Admin.PasswordHash, Hidden: optional(a.Admin.Hidden),
		}}
	}
	return plist.Marshal(c)
}

// optional returns nil for the zero value, which is what Apple takes a missing key for.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// ListedProfile is a profile of a ProfileList answer.
type ListedProfile struct {
	Identifier string `plist:"PayloadIdentifier"`
	UUID       string `plist:"PayloadUUID"`
}

// ReadProfileList reads the answer of ProfileList.
func ReadProfileList(raw []byte) ([]ListedProfile, error) {
	var r struct {
		ProfileList *[]ListedProfile
	}
	if err := plist.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("mdmcommand: read ProfileList: %w", err)
	}
	if r.ProfileList == nil {
		return nil, fmt.Errorf("mdmcommand: answer has no ProfileList")
	}
	return *r.ProfileList, nil
}

// ListedApplication is an application of an InstalledApplicationList answer.
type ListedApplication struct {
	Identifier   string
	Version      string
	ShortVersion string
	Installing   bool
}

// ReadInstalledApplicationList reads the answer of InstalledApplicationList.
func ReadInstalledApplicationList(raw []byte) ([]ListedApplication, error) {
	var r struct {
		InstalledApplicationList *[]ListedApplication
	}
	if err := plist.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("mdmcommand: read InstalledApplicationList: %w", err)
	}
	if r.InstalledApplicationList == nil {
		return nil, fmt.Errorf("mdmcommand: answer has no InstalledApplicationList")
	}
	return *r.InstalledApplicationList, nil
}

// ReadAwaitingConfiguration reads the query of that name from the answer of DeviceInformation; nil if the device did
// not say.
func ReadAwaitingConfiguration(raw []byte) (*bool, error) {
	var r struct {
		QueryResponses struct {
			AwaitingConfiguration *bool
		}
	}
	if err := plist.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("mdmcommand: read DeviceInformation: %w", err)
	}
	return r.QueryResponses.AwaitingConfiguration, nil
}
