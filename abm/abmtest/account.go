package abmtest

import (
	"crypto/sha256"
	"encoding/hex"
)

type accountDetail struct {
	ServerName    string `json:"server_name"`
	ServerUUID    string `json:"server_uuid"`
	AdminID       string `json:"admin_id"`
	FacilitatorID string `json:"facilitator_id"`
	OrgName       string `json:"org_name"`
	OrgEmail      string `json:"org_email,omitempty"`
	OrgPhone      string `json:"org_phone,omitempty"`
	OrgAddress    string `json:"org_address,omitempty"`

	// From protocol version 3 on.
	OrgID      string       `json:"org_id,omitempty"`
	OrgIDHash  string       `json:"org_id_hash,omitempty"`
	OrgType    string       `json:"org_type,omitempty"`
	OrgVersion string       `json:"org_version,omitempty"`
	URLs       []accountURL `json:"urls,omitempty"`
}

type accountURL struct {
	URI        string        `json:"uri"`
	HTTPMethod []string      `json:"http_method"`
	Limit      *accountLimit `json:"limit,omitempty"`
}

type accountLimit struct {
	Default int `json:"default"`
	Maximum int `json:"maximum"`
}

// account serves GET /account.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/account-detail
func (s *Service) account(c *call) (any, error) {
	org := s.cfg.org
	out := accountDetail{
		ServerName: c.server.Name(), ServerUUID: c.server.uuid, AdminID: org.AdminID, FacilitatorID: org.AdminID,
		OrgName: org.Name, OrgEmail: org.Email, OrgPhone: org.Phone, OrgAddress: org.Address,
	}
	if c.version >= 3 {
		hash := sha256.Sum256([]byte(org.ID))
		out.OrgID, out.OrgIDHash = org.ID, hex.EncodeToString(hash[:])
		out.OrgType, out.OrgVersion = org.Type, org.Version
		out.URLs = s.accountURLs()
	}
	return out, nil
}

// accountURLs publishes the endpoints, one entry per path with its methods and limits.
func (s *Service) accountURLs() []accountURL {
	var urls []accountURL
	at := make(map[string]int)
	for _, e := range s.endpoints() {
		if e.open || e.roster && s.cfg.org.Type != "edu" {
			continue
		}
		i, ok := at[e.path]
		if !ok {
			i = len(urls)
			at[e.path] = i
			urls = append(urls, accountURL{URI: e.path})
		}
		urls[i].HTTPMethod = append(urls[i].HTTPMethod, e.method)
		if e.limits {
			urls[i].Limit = &accountLimit{s.cfg.limit(e.path).byDefault, s.cfg.limit(e.path).maximum}
		}
	}
	return urls
}
