package abmtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// The profile_status values of the API. Without a fault none is removed: what Apple means by it is not documented.
const (
	statusEmpty    = "empty"
	statusAssigned = "assigned"
	statusPushed   = "pushed"
	statusRemoved  = "removed"
)

// profile is a defined profile: its members as they were sent, less those that are about the call.
type profile map[string]json.RawMessage

// profileFields are the members the service looks at. Pointers tell absent from empty, which is an error for most.
type profileFields struct {
	Name           *string  `json:"profile_name"`
	URL            *string  `json:"url"`
	WebURL         *string  `json:"configuration_web_url"`
	Department     *string  `json:"department"`
	SupportPhone   *string  `json:"support_phone_number"`
	SupportEmail   *string  `json:"support_email_address"`
	OrgMagic       *string  `json:"org_magic"`
	Language       *string  `json:"language"`
	Region         *string  `json:"region"`
	Supervised     *bool    `json:"is_supervised"`
	Removable      *bool    `json:"is_mdm_removable"`
	AllowPairing   *bool    `json:"allow_pairing"`
	Mandatory      *bool    `json:"is_mandatory"`
	MultiUser      *bool    `json:"is_multi_user"`
	Await          *bool    `json:"await_device_configured"`
	AutoAdvance    *bool    `json:"auto_advance_setup"`
	NotFromBackup  *bool    `json:"do_not_use_profile_from_backup"`
	ReturnToServe  *bool    `json:"is_return_to_service"`
	SkipSetupItems []string `json:"skip_setup_items"`
	AnchorCerts    [][]byte `json:"anchor_certs"`
	HostCerts      [][]byte `json:"supervising_host_certs"`
	Devices        []string `json:"devices"`
}

// version2 names the profile members that need protocol version 2.
func version2() []string {
	return []string{"auto_advance_setup", "await_device_configured", "is_multi_user", "support_email_address"}
}

// defineProfile serves POST /profile. Equal profiles of one server get the same identifier.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/define-profile
func (s *Service) defineProfile(c *call) (any, error) {
	var fields profileFields
	if err := c.decode(&fields); err != nil {
		return nil, err
	}
	var p profile
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	delete(p, "devices")
	delete(p, "profile_uuid")
	maps.DeleteFunc(p, func(_ string, v json.RawMessage) bool { return bytes.Equal(v, []byte("null")) })
	if c.version < 2 {
		fields.SupportEmail = nil
		for _, key := range version2() {
			delete(p, key)
		}
	}
	if token := fields.fault(); token != "" {
		return nil, bad(token)
	}
	id, err := p.identifier(c.server)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endThrottles(c.now)
	c.server.profiles[id] = p
	delete(c.server.lost, id)
	out := deviceResults{ProfileUUID: id, Devices: make(map[string]string, len(fields.Devices))}
	for _, serial := range fields.Devices {
		result, _ := s.assign(c, id, serial)
		if result == resultThrottled {
			result = resultFailed // THROTTLED is not among the results documented here
		}
		out.put(serial, result)
	}
	return out, nil
}

// fetchProfile serves GET /profile. Apple documents an unknown identifier under 400, not 404.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-profile
func (s *Service) fetchProfile(c *call) (any, error) {
	id := c.r.URL.Query().Get("profile_uuid")
	if id == "" {
		return nil, bad("PROFILE_UUID_REQUIRED")
	}
	s.mu.Lock()
	p, ok := s.profile(c, id)
	s.mu.Unlock()
	if !ok {
		return nil, bad("NOT_FOUND")
	}
	out := maps.Clone(p)
	if c.version < 2 {
		for _, key := range version2() {
			delete(out, key)
		}
	}
	out["profile_uuid"] = json.RawMessage(`"` + id + `"`)
	return out, nil
}

// identifier is 32 upper-case hex digits made from the content and the server. Go sorts map keys when it encodes,
// so the order and spacing of the members as sent do not matter.
func (p profile) identifier(m *MDMServer) (string, error) {
	plain := make(map[string]any, len(p))
	for key, raw := range p {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil {
			return "", malformed(err.Error())
		}
		plain[key] = v
	}
	data, err := json.Marshal(plain)
	if err != nil {
		return "", malformed(err.Error())
	}
	sum := sha256.Sum256(append([]byte(m.uuid+"\n"), data...))
	return strings.ToUpper(hex.EncodeToString(sum[:16])), nil
}

// fault returns the first error token that applies, in the order of Apple's table; empty if none does.
func (f *profileFields) fault() string {
	checks := []struct {
		token  string
		broken bool
	}{
		{"CONFIG_NAME_REQUIRED", f.Name == nil},
		{"CONFIG_NAME_INVALID", badLength(f.Name, 125)},
		{"CONFIG_URL_REQUIRED", f.URL == nil},
		{"CONFIG_URL_INVALID", f.URL != nil && !validURL(*f.URL)},
		{"DEPARTMENT_INVALID", badLength(f.Department, 125)},
		{"SUPPORT_PHONE_INVALID", badLength(f.SupportPhone, 50)},
		{"SUPPORT_EMAIL_INVALID", badLength(f.SupportEmail, 250)},
		{"MAGIC_INVALID", badLength(f.OrgMagic, 256)},
		{"FLAGS_INVALID", f.Removable != nil && !*f.Removable && (f.Supervised == nil || !*f.Supervised)},
		{"LOCALE_INVALID", !f.validLocale()},
	}
	for _, c := range checks {
		if c.broken {
			return c.token
		}
	}
	return ""
}

func badLength(s *string, maximum int) bool {
	return s != nil && (*s == "" || utf8.RuneCountInString(*s) > maximum)
}

// validURL checks what CONFIG_URL_INVALID names: not empty, at most 2000 URL-encoded characters, an absolute URL
// with a host. Whether Apple insists on https here is not documented, so local tests may use http.
func validURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.IsAbs() && u.Host != "" && len(u.String()) <= 2000
}

// validLocale checks the form: ISO 639 language of two or three letters, ISO 3166-1 region of two capitals.
func (f *profileFields) validLocale() bool {
	language := f.Language == nil || regexp.MustCompile(`^[a-z]{2,3}$`).MatchString(*f.Language)
	region := f.Region == nil || regexp.MustCompile(`^[A-Z]{2}$`).MatchString(*f.Region)
	return language && region
}
