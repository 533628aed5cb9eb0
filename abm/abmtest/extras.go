package abmtest

import (
	"net/http"
	"net/url"
	"strings"
)

// betaTokens serves GET /os-beta-enrollment/tokens.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/get-beta-enrollment-tokens and
// https://developer.apple.com/documentation/devicemanagement/seedbuildtoken
func (s *Service) betaTokens(*call) (any, error) {
	if s.cfg.org.NoAppleSeed {
		return nil, refuse(http.StatusForbidden, "APPLE_SEED_FOR_IT_TURNED_OFF")
	}
	type token struct {
		Token string `json:"token"`
		Title string `json:"title"`
		OS    string `json:"os"`
	}
	var tokens []token
	for _, os := range []string{"homePodOS", "iOS", "OSX", "tvOS", "visionOS", "watchOS"} {
		name := os
		if os == "OSX" {
			name = "macOS" // in titles; the os is what the object's page lists
		}
		tokens = append(tokens, token{"seed-" + strings.ToLower(os) + "-" + s.cfg.org.ID, name + " 27 AppleSeed Beta", os})
	}
	return map[string][]token{"betaEnrollmentTokens": tokens}, nil
}

// discovery is the account-driven enrollment URL a server has registered. Whether Apple keeps one per server or one
// per organization is not documented; here it is one per server.
type discovery struct {
	URL     string `json:"mdm_service_discovery_url"`
	Updated string `json:"last_updated_timestamp"`
}

// setDiscovery serves POST /account-driven-enrollment/profile.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/assign-account-driven-enrollment-profile
func (s *Service) setDiscovery(c *call) (any, error) {
	if s.cfg.org.NoAccountDriven {
		return nil, bad("ORG_NOT_SUPPORTED")
	}
	var in discovery
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.URL == "" {
		return nil, bad("MDM_SERVICE_DISCOVERY_URL_REQUIRED")
	}
	if u, err := url.Parse(in.URL); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, bad("MDM_SERVICE_DISCOVERY_URL_NOT_VALID")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.server.discovery = &discovery{in.URL, stamp(c.now)}
	return nil, nil
}

// getDiscovery serves GET /account-driven-enrollment/profile.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-account-driven-enrollment-profile
func (s *Service) getDiscovery(c *call) (any, error) {
	if s.cfg.org.NoAccountDriven {
		return nil, bad("ORG_NOT_SUPPORTED")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.server.discovery == nil {
		return nil, refuse(http.StatusNotFound, "NOT_FOUND")
	}
	return *c.server.discovery, nil
}

// deleteDiscovery serves DELETE /account-driven-enrollment/profile.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/remove-account-driven-enrollment-profile
func (s *Service) deleteDiscovery(c *call) (any, error) {
	if s.cfg.org.NoAccountDriven {
		return nil, bad("ORG_NOT_SUPPORTED")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.server.discovery = nil
	return nil, nil
}
