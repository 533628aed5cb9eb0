package enrolltest

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// MachineInfo is the property list a device signs and sends when it asks for its enrollment profile.
// An empty value leaves its key out, as devices do.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/machineinfo
type MachineInfo struct {
	UDID    string `plist:"UDID,omitempty"`
	Serial  string `plist:"SERIAL,omitempty"`
	Product string `plist:"PRODUCT"`
	// Build is the build of the operating system, for example 25A354.
	Build string `plist:"VERSION"`
	// OSVersion is sent by iOS 17, macOS 14 and later.
	OSVersion                  string `plist:"OS_VERSION,omitempty"`
	SupplementalBuildVersion   string `plist:"SUPPLEMENTAL_BUILD_VERSION,omitempty"`
	SupplementalOSVersionExtra string `plist:"SUPPLEMENTAL_OS_VERSION_EXTRA,omitempty"`
	IMEI                       string `plist:"IMEI,omitempty"`
	MEID                       string `plist:"MEID,omitempty"`
	Language                   string `plist:"LANGUAGE,omitempty"`
	CanRequestSoftwareUpdate   bool   `plist:"MDM_CAN_REQUEST_SOFTWARE_UPDATE,omitempty"`
	SoftwareUpdateDeviceID     string `plist:"SOFTWARE_UPDATE_DEVICE_ID,omitempty"`
	CanRequestPSSOConfig       bool   `plist:"MDM_CAN_REQUEST_PSSO_CONFIG,omitempty"`
	MandatorySoftwareUpdate    bool   `plist:"MANDATORY_SOFTWARE_UPDATE_REQUIRED,omitempty"`
	PairingToken               []byte `plist:"PAIRING_TOKEN,omitempty"`
}

// SignMachineInfo returns info as a device would POST it: a property list inside DER CMS SignedData.
// The x-apple-aspen-deviceinfo header carries the same bytes in base64.
func (id *Identity) SignMachineInfo(info MachineInfo, chain Chain) ([]byte, error) {
	body, err := plist.Marshal(info)
	if err != nil {
		return nil, fmt.Errorf("enrolltest: sign machine info: %w", err)
	}
	signed, err := id.Sign(body, chain)
	if err != nil {
		return nil, fmt.Errorf("enrolltest: sign machine info: %w", err)
	}
	return signed, nil
}

// Kind is a sort of device.
type Kind int

// The devices this package simulates.
const (
	Mac Kind = iota + 1
	IPhone
	IPad
)

// String returns Apple's name of the kind.
func (k Kind) String() string {
	switch k {
	case Mac:
		return "Mac"
	case IPhone:
		return "iPhone"
	case IPad:
		return "iPad"
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// factory describes a device of the kind as it leaves the factory; serial numbers and ids come from rng.
func (k Kind) factory(rng *rand.Rand) (info MachineInfo, hw hardware) {
	info = MachineInfo{
		Serial: pick(rng, "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", 10),
		Build:  "25A354", OSVersion: "26.0", Language: "en",
		CanRequestSoftwareUpdate: true,
	}
	switch k {
	case Mac:
		info.Product, info.UDID = "Mac15,12", strings.ToUpper(newUUID(rng))
		info.SoftwareUpdateDeviceID = "J613AP"
		hw = hardware{model: "MRXN3LL/A", modelName: "MacBook Air", name: "MacBook Air"}
	case IPhone:
		info.Product, info.UDID = "iPhone17,2", "00008140-"+pick(rng, "0123456789ABCDEF", 16)
		info.Build, info.IMEI = "23A341", "35"+pick(rng, "0123456789", 13)
		info.SoftwareUpdateDeviceID = info.Product
		hw = hardware{model: "MYW43LL", modelName: "iPhone", name: "iPhone"}
	case IPad:
		info.Product, info.UDID = "iPad16,3", "00008132-"+pick(rng, "0123456789ABCDEF", 16)
		info.Build, info.SoftwareUpdateDeviceID = "23A341", info.Product
		hw = hardware{model: "MVV83LL", modelName: "iPad", name: "iPad"}
	}
	return info, hw
}

// hardware is what a device says about itself beyond MachineInfo.
type hardware struct{ model, modelName, name string }

func pick(rng *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[rng.IntN(len(alphabet))]
	}
	return string(b)
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func newUUID(rng *rand.Rand) string {
	b := randomBytes(rng, 16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// inventBuild makes up a build for an OS version whose real one the server did not name: the right shape, and the same
// each time, but not Apple's number.
func (k Kind) inventBuild(osVersion string) string {
	parts := strings.Split(osVersion, ".")
	major, _ := strconv.Atoi(parts[0])
	minor := 0
	if len(parts) > 1 {
		minor, _ = strconv.Atoi(parts[1])
	}
	train := major + 4 // iOS 18 is 22
	switch {
	case k == Mac && major >= 26:
		train = major - 1 // macOS 26 is 25
	case k == Mac:
		train = major + 9 // macOS 15 is 24
	case major >= 26:
		train = major - 3 // iOS 26 is 23
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(osVersion)) // a hash.Hash never fails
	return fmt.Sprintf("%d%c%d", train, 'A'+rune(max(0, minor)%26), 100+h.Sum32()%800)
}
