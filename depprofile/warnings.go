package depprofile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Warning is a key that Apple accepts and that does not do what one may expect.
type Warning struct {
	// Key is the JSON key.
	Key string
	// Text says what happens and what to do.
	Text string
}

// String returns key and text.
func (w Warning) String() string { return w.Key + ": " + w.Text }

// Warnings lists what in p is deprecated, unknown or without effect, in the order of the profile's fields. It does
// not know the device: a skip key is reported if it is deprecated or removed on every platform that has it. Constraints are left to
// [Profile.Validate].
//
// Apple: https://developer.apple.com/documentation/devicemanagement/profile
func (p *Profile) Warnings() []Warning {
	if p == nil {
		return nil
	}
	var ws []Warning
	warn := func(when bool, key, text string) {
		if when {
			ws = append(ws, Warning{Key: key, Text: text})
		}
	}
	supervised := is(p.IsSupervised, true)

	warn(p.ConfigurationWebURL != "" && len(p.AnchorCerts) > 0, keyConfigurationWebURL,
		"every host the web view visits, the identity provider too, must chain to anchor_certs")
	warn(is(p.IsSupervised, false), keyIsSupervised,
		"unsupervised enrollment is deprecated since iOS 11, and iOS 13 and later supervise anyway; send true")
	warn(is(p.IsMandatory, false), keyIsMandatory, "iOS 13 and later act as if it were true")
	warn(p.AllowPairing != nil, keyAllowPairing, "deprecated since iOS 13; leave it out")
	warn(is(p.AwaitDeviceConfigured, true) && !supervised, keyAwaitConfigured, "iOS ignores it unless is_supervised is true")
	warn(is(p.AwaitDeviceConfigured, false) && is(p.IsReturnToService, true), keyAwaitConfigured,
		"is_return_to_service makes devices act as if it were true; leave it out")
	warn(is(p.AutoAdvanceSetup, true) && (p.Language == "" || p.Region == ""), keyAutoAdvance,
		"Setup Assistant does not run through by itself unless language and region are set")
	warn(is(p.IsMultiUser, true), keyIsMultiUser,
		"the enrollment profile must list com.apple.mdm.per-user-connections in ServerCapabilities, and devices cannot migrate to another server")
	warn(is(p.IsReturnToService, true), keyIsReturnToService,
		"honoured by iOS 26, visionOS 26 and later only, and devices cannot migrate to another server")
	ws = append(ws, p.skipWarnings()...)
	warn(p.AnchorCerts != nil && len(p.AnchorCerts) == 0, keyAnchorCerts,
		"a list without certificates may leave the device no trust anchor; leave it out to use the built-in roots")
	warn(len(p.SupervisingHostCerts) > 0 && !supervised, keySupervisingHostCerts, "unused unless is_supervised is true")
	for _, k := range slices.Sorted(maps.Keys(p.Extra)) {
		warn(!isDocumented(k), k, "not a documented key; it is sent as it is"+documentedSpelling(k))
	}
	return ws
}

func (p *Profile) skipWarnings() []Warning {
	var ws []Warning
	for i, k := range p.SkipSetupItems {
		text := skipWarning(k)
		switch {
		case slices.Contains(p.SkipSetupItems[:i], k):
			text = "is listed more than once"
		case k == SkipAndroid && slices.Contains(p.SkipSetupItems, SkipRestore):
			text = "has no effect because Restore is skipped"
		}
		if k != "" && text != "" {
			ws = append(ws, Warning{Key: keySkipSetupItems, Text: fmt.Sprintf("%s %s", k, text)})
		}
	}
	return ws
}

// skipWarning says what is wrong with k on every platform; it is empty if k works somewhere.
func skipWarning(k SkipKey) string {
	info, ok := k.Info()
	if !ok {
		return "is not a documented skip key" + skipKeySpelling(k)
	}
	at := func(version func(Support) string) string {
		var list []string
		for _, s := range info.Support {
			list = append(list, string(s.Platform)+" "+version(s))
		}
		return strings.Join(list, ", ")
	}
	removed, deprecated := func(s Support) string { return s.Removed }, func(s Support) string { return s.Deprecated }
	switch {
	case info.everywhere(func(s Support) bool { return s.Removed != "" }):
		return "was removed in " + at(removed)
	case info.everywhere(func(s Support) bool { return s.Deprecated != "" }):
		return "is deprecated since " + at(deprecated)
	}
	return ""
}

func skipKeySpelling(k SkipKey) string {
	for _, e := range skipKeyTable {
		if strings.EqualFold(string(e.Key), string(k)) {
			return "; did you mean " + string(e.Key) + "?"
		}
	}
	return ""
}

func documentedSpelling(key string) string {
	for _, m := range new(Profile).members() {
		if strings.EqualFold(m.key, key) {
			return "; did you mean " + m.key + "?"
		}
	}
	return ""
}
