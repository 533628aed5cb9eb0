package enroll

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// MachineInfo is what a device says of itself when it asks for its enrollment profile.
// Keys this package does not know are ignored; Raw still has them.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/machineinfo
type MachineInfo struct {
	UDID   string `plist:"UDID"`
	Serial string `plist:"SERIAL"`
	// Product is the model identifier, for example iPhone17,2 or Mac15,12.
	Product string `plist:"PRODUCT"`
	// Build is the build of the operating system, for example 22A3354.
	Build string `plist:"VERSION"`
	// OSVersion is sent by iOS 17, macOS 14, tvOS 17, visionOS 1.1, watchOS 10 and later; empty before.
	OSVersion                  string `plist:"OS_VERSION"`
	SupplementalBuildVersion   string `plist:"SUPPLEMENTAL_BUILD_VERSION"`
	SupplementalOSVersionExtra string `plist:"SUPPLEMENTAL_OS_VERSION_EXTRA"`
	IMEI                       string `plist:"IMEI"`
	MEID                       string `plist:"MEID"`
	// Language is the user's language, for example en or en-US.
	Language string `plist:"LANGUAGE"`
	// CanRequestSoftwareUpdate says that the device obeys com.apple.softwareupdate.required.
	CanRequestSoftwareUpdate bool `plist:"MDM_CAN_REQUEST_SOFTWARE_UPDATE"`
	// SoftwareUpdateDeviceID names the model in Apple's list of OS versions, https://gdmf.apple.com/v2/pmv.
	SoftwareUpdateDeviceID string `plist:"SOFTWARE_UPDATE_DEVICE_ID"`
	// CanRequestPSSOConfig says that the device obeys com.apple.psso.required.
	CanRequestPSSOConfig bool `plist:"MDM_CAN_REQUEST_PSSO_CONFIG"`
	// MandatorySoftwareUpdate says that the device updates during setup anyway.
	MandatorySoftwareUpdate bool `plist:"MANDATORY_SOFTWARE_UPDATE_REQUIRED"`
	// PairingToken is sent by a watch.
	PairingToken []byte `plist:"PAIRING_TOKEN"`
	// Raw is the property list as the device signed it.
	Raw []byte `plist:"-"`
}

// maxIdentifier bounds the identifiers of a MachineInfo, in bytes; Apple's are below 50.
const maxIdentifier = 128

// ParseMachineInfo reads the property list inside a signed MachineInfo; it does not look at signatures.
// UDID, SERIAL, PRODUCT and VERSION must be there, as Apple says they are in automated device enrollment.
// Every error is an ErrMalformed.
func ParseMachineInfo(data []byte) (MachineInfo, error) {
	var m MachineInfo
	if err := plist.Unmarshal(data, &m); err != nil {
		return MachineInfo{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, f := range []struct {
		key, value string
		required   bool
	}{
		{"UDID", m.UDID, true},
		{"SERIAL", m.Serial, true},
		{"PRODUCT", m.Product, true},
		{"VERSION", m.Build, true},
		{"OS_VERSION", m.OSVersion, false},
	} {
		if err := checkIdentifier(f.value, f.required); err != nil {
			return MachineInfo{}, fmt.Errorf("%w: %s %w", ErrMalformed, f.key, err)
		}
	}
	m.Raw = append([]byte(nil), data...)
	return m, nil
}

func checkIdentifier(s string, required bool) error {
	switch {
	case s == "" && required:
		return errMissing
	case len(s) > maxIdentifier:
		return errTooLong
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || strings.TrimSpace(s) != s:
		return errCharacters
	}
	return nil
}

// Family returns the kind of device the model identifier belongs to, in the words Apple uses for model families:
// Mac, iPhone, iPad, iPod, AppleTV, Watch or RealityDevice; empty if it is none of them.
func (m MachineInfo) Family() string {
	for _, f := range []string{"iPhone", "iPad", "iPod", "AppleTV", "Watch", "RealityDevice"} {
		if strings.HasPrefix(m.Product, f) {
			return f
		}
	}
	// Macs were named after their line until 2022 (MacBookPro18,2, iMac21,1, Macmini9,1) and Mac14,2 and so on since;
	// virtual ones are VirtualMac2,1.
	if strings.Contains(m.Product, "Mac") {
		return "Mac"
	}
	return ""
}

// DecodeDeviceInfo decodes the value of the x-apple-aspen-deviceinfo header, which is the signed MachineInfo in
// base64: standard or URL-safe alphabet, padded or not, with or without line breaks (observed). What does not decode
// is an ErrMalformed.
func DecodeDeviceInfo(header string) ([]byte, error) {
	clean := strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n':
			return -1
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return r
	}, header)
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(clean, "="))
	if err != nil {
		return nil, fmt.Errorf("%w: base64: %w", ErrMalformed, err)
	}
	return b, nil
}
