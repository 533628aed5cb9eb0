package depprofile

import (
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"
)

// Validate reports every constraint p breaks, as [KeyErrors], or nil. It needs no network; only Apple can judge
// whether a language and region go together and whether a service is behind a URL.
//
// Characters are counted as Unicode code points. Apple says "UTF-8 characters" and does not say more.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/define-profile
func (p *Profile) Validate() error {
	if p == nil {
		p = new(Profile)
	}
	var c checks
	c.text(keyProfileName, p.ProfileName, 125, CodeNameInvalid)
	if p.ProfileName == "" {
		c.add(keyProfileName, CodeNameRequired, "it is missing", "give the profile a name")
	}
	c.url(keyURL, p.URL, CodeURLInvalid)
	if p.URL == "" {
		c.add(keyURL, CodeURLRequired, "it is missing", "set the enrollment URL; it is required even if configuration_web_url is used")
	}
	c.url(keyConfigurationWebURL, p.ConfigurationWebURL, "")
	if is(p.IsMDMRemovable, false) && !is(p.IsSupervised, true) {
		c.add(keyIsMDMRemovable, CodeFlagsInvalid, "it is false while is_supervised is not true",
			"set is_supervised to true or let the MDM profile be removable")
	}
	c.pattern(keyLanguage, p.Language, languagePattern, "it is not an ISO 639 code", `use two or three small letters such as "en" or "haw"`)
	c.pattern(keyRegion, p.Region, regionPattern, "it is not an ISO 3166-1 code", `use two capital letters such as "US"`)
	items(&c, keySkipSetupItems, p.SkipSetupItems)
	c.text(keyDepartment, p.Department, 125, CodeDepartmentInvalid)
	c.text(keySupportPhone, p.SupportPhoneNumber, 50, CodeSupportPhoneInvalid)
	c.text(keySupportEmail, p.SupportEmailAddress, 250, CodeSupportEmailInvalid)
	c.text(keyOrgMagic, p.OrgMagic, 256, CodeMagicInvalid)
	c.certificates(keyAnchorCerts, p.AnchorCerts)
	c.certificates(keySupervisingHostCerts, p.SupervisingHostCerts)
	items(&c, keyDevices, p.Devices)

	_, errs := p.encodeMembers()
	c.errs = append(c.errs, errs...)
	if len(c.errs) == 0 {
		return nil
	}
	return c.errs
}

var (
	languagePattern = regexp.MustCompile(`^[a-z]{2,3}$`)
	regionPattern   = regexp.MustCompile(`^[A-Z]{2}$`)
)

// checks collects broken constraints.
type checks struct{ errs KeyErrors }

func (c *checks) add(key string, code ErrorCode, reason, fix string) {
	c.errs = append(c.errs, &KeyError{Key: key, Code: code, Reason: reason, Fix: fix})
}

// text checks a string against its limit; an empty one is absent.
func (c *checks) text(key, s string, limit int, code ErrorCode) {
	if n := utf8.RuneCountInString(s); n > limit {
		c.add(key, code, fmt.Sprintf("it has %d characters", n), fmt.Sprintf("shorten it to %d", limit))
	}
}

func (c *checks) pattern(key, s string, re *regexp.Regexp, reason, fix string) {
	if s != "" && !re.MatchString(s) {
		c.add(key, CodeLocaleInvalid, reason, fix)
	}
}

func (c *checks) url(key, s string, code ErrorCode) {
	if s == "" {
		return
	}
	if reason, fix := urlProblem(s); reason != "" {
		c.add(key, code, reason, fix)
	}
	if len(s) > maxURLChars {
		c.add(key, code, fmt.Sprintf("it has %d characters", len(s)), fmt.Sprintf("shorten it to %d", maxURLChars))
	}
}

func (c *checks) certificates(key string, certs []string) {
	for i, s := range certs {
		if reason := certificateProblem(s); reason != "" {
			c.add(key, "", fmt.Sprintf("item %d: %s", i, reason), "give the base64 of a DER certificate on one line, as EncodeCertificates does")
		}
	}
}

func items[S ~string](c *checks, key string, list []S) {
	if i := slices.Index(list, ""); i >= 0 {
		c.add(key, "", fmt.Sprintf("item %d is empty", i), "remove it")
	}
}

// is reports whether flag is set and equals want.
func is(flag *bool, want bool) bool { return flag != nil && *flag == want }
