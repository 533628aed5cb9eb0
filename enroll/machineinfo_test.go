package enroll

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// fullInfo has every documented key with a value of its own, and one nobody knows.
func fullInfo() map[string]any {
	return map[string]any{
		"UDID": "00008140-0011223344556677", "SERIAL": "C02XK1JDJGH5", "PRODUCT": "iPhone17,2", "VERSION": "22A3354",
		"OS_VERSION": "18.0", "SUPPLEMENTAL_BUILD_VERSION": "22A3355", "SUPPLEMENTAL_OS_VERSION_EXTRA": "(a)",
		"IMEI": "351234567890123", "MEID": "35123456789012", "LANGUAGE": "en-US",
		"MDM_CAN_REQUEST_SOFTWARE_UPDATE": true, "SOFTWARE_UPDATE_DEVICE_ID": "D94AP",
		"MDM_CAN_REQUEST_PSSO_CONFIG": true, "MANDATORY_SOFTWARE_UPDATE_REQUIRED": true,
		"PAIRING_TOKEN": []byte{0, 1, 2}, "KEY_OF_NEXT_YEAR": "x",
	}
}

func TestParseMachineInfo(t *testing.T) {
	t.Parallel()
	raw, err := plist.Marshal(fullInfo())
	require.NoError(t, err)
	m, err := ParseMachineInfo(raw)
	require.NoError(t, err)
	assert.Equal(t, MachineInfo{
		UDID: "00008140-0011223344556677", Serial: "C02XK1JDJGH5", Product: "iPhone17,2", Build: "22A3354",
		OSVersion: "18.0", SupplementalBuildVersion: "22A3355", SupplementalOSVersionExtra: "(a)",
		IMEI: "351234567890123", MEID: "35123456789012", Language: "en-US",
		CanRequestSoftwareUpdate: true, SoftwareUpdateDeviceID: "D94AP", CanRequestPSSOConfig: true,
		MandatorySoftwareUpdate: true, PairingToken: []byte{0, 1, 2}, Raw: raw,
	}, m)
}

func TestParseMachineInfoRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		edit func(map[string]any)
	}{
		{"no UDID", func(m map[string]any) { delete(m, "UDID") }},
		{"no serial", func(m map[string]any) { delete(m, "SERIAL") }},
		{"no product", func(m map[string]any) { delete(m, "PRODUCT") }},
		{"no build", func(m map[string]any) { delete(m, "VERSION") }},
		{"long serial", func(m map[string]any) { m["SERIAL"] = strings.Repeat("A", 129) }},
		{"newline in serial", func(m map[string]any) { m["SERIAL"] = "A\nB" }},
		{"space around UDID", func(m map[string]any) { m["UDID"] = " A" }},
		{"serial is a number", func(m map[string]any) { m["SERIAL"] = 7 }},
		{"OS version with a control character", func(m map[string]any) { m["OS_VERSION"] = "1\t2" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			info := fullInfo()
			tc.edit(info)
			raw, err := plist.Marshal(info)
			require.NoError(t, err)
			m, err := ParseMachineInfo(raw)
			require.ErrorIs(t, err, ErrMalformed)
			assert.Zero(t, m)
		})
	}
	contained := "bplist00\xa1\x00\x08\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x01" + strings.Repeat("\x00", 15) + "\x0a"
	for _, raw := range []string{contained, "", "hello", "<plist>", "bplist00", "<plist><array/></plist>"} {
		_, err := ParseMachineInfo([]byte(raw))
		require.ErrorIs(t, err, ErrMalformed, "%q", raw)
	}
}

func TestFamily(t *testing.T) {
	t.Parallel()
	for product, want := range map[string]string{
		"MacBookPro18,2": "Mac", "Mac15,12": "Mac", "iMac21,1": "Mac", "Macmini9,1": "Mac", "VirtualMac2,1": "Mac",
		"iPhone17,2": "iPhone", "iPad16,3": "iPad", "iPod9,1": "iPod", "AppleTV14,1": "AppleTV",
		"RealityDevice14,1": "RealityDevice", "Watch7,5": "Watch", "Toaster1,1": "",
	} {
		assert.Equal(t, want, MachineInfo{Product: product}.Family(), product)
	}
}

func TestDecodeDeviceInfo(t *testing.T) {
	t.Parallel()
	want := []byte{0xfb, 0xff, 0xbf, 0x01, 0x02} // has + and / in it
	std, safe := base64.StdEncoding.EncodeToString(want), base64.URLEncoding.EncodeToString(want)
	require.NotEqual(t, std, safe)
	for name, header := range map[string]string{
		"standard": std, "URL-safe": safe, "standard unpadded": strings.TrimRight(std, "="),
		"URL-safe unpadded": strings.TrimRight(safe, "="), "line breaks": std[:3] + "\r\n " + std[3:] + "\n",
	} {
		got, err := DecodeDeviceInfo(header)
		require.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
	for _, header := range []string{"a", "%%%%", "AA==AA"} {
		_, err := DecodeDeviceInfo(header)
		require.ErrorIs(t, err, ErrMalformed, header)
	}
}
