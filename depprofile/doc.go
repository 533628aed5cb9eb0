// Package depprofile builds, checks and compares the enrollment profile ("DEP profile") that Apple hands to a device
// when it is activated: where to enroll, which Setup Assistant panes to skip, whether to wait for the server.
//
//	p := depprofile.Default("https://mdm.example.com/mdm/sso")
//	p.Department = "Information Technology"
//	p.IsSupervised = new(true)
//	p.IsMDMRemovable = new(false)
//	p.SkipSetupItems = append(p.SkipSetupItems, depprofile.SkipPasscode)
//
//	if err := p.Validate(); err != nil {
//		return err // every broken constraint, each with its JSON key, Apple's error token and the remedy
//	}
//	for _, w := range p.Warnings() {
//		log.Print(w) // what is deprecated, unknown or without effect
//	}
//	body, err := p.Canonical() // the body of POST /profile
//	if err != nil {
//		return err
//	}
//	id, err := p.Fingerprint() // SHA-256 of body: define at Apple once, use for ever
//
// There is no builder: a [Profile] is a struct literal. A pointer or a nil slice says that a key is absent, because Apple
// treats absent, false and empty differently. Keys this package does not know stay in Profile.Extra.
//
// A Profile is plain data without locks; everything else here is immutable and safe for concurrent use.
//
// The package does not talk to Apple, keep profiles, assign them or choose one for a device; package abm does. It does not know what the
// enrollment URL serves; package enroll does.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/profile
package depprofile
