package abm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	opAccountDetail          = "AccountDetail"
	opBetaTokens             = "BetaEnrollmentTokens"
	opAssignAccountDriven    = "AssignAccountDrivenEnrollmentProfile"
	opFetchAccountDriven     = "FetchAccountDrivenEnrollmentProfile"
	opRemoveAccountDriven    = "RemoveAccountDrivenEnrollmentProfile"
	pathAccountDrivenProfile = "account-driven-enrollment/profile"
)

// AccountDetail is what Apple says of the MDM server entry a token belongs to.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/accountdetail
type AccountDetail struct {
	ServerName string `json:"server_name"`
	ServerUUID string `json:"server_uuid"` // the identity of the entry
	AdminID    string `json:"admin_id"`    // who generated the token

	OrgName    string `json:"org_name"`
	OrgEmail   string `json:"org_email"`
	OrgPhone   string `json:"org_phone"`
	OrgAddress string `json:"org_address"`
	OrgID      string `json:"org_id"`
	OrgIDHash  string `json:"org_id_hash"`
	OrgType    string `json:"org_type"`    // edu, org, tvprovider
	OrgVersion string `json:"org_version"` // v1, v2

	URLs []ServiceURL `json:"urls"`

	// Document is the answer as received, JSON.
	Document []byte `json:"-"`

	basePath string // of the service that the answer is from, with a slash at its end; empty if not known
}

// ServiceURL is a service that is available, with its limits.
type ServiceURL struct {
	URI         string   `json:"uri"`
	HTTPMethods []string `json:"http_method"`
	Limit       struct {
		Default int `json:"default"`
		Maximum int `json:"maximum"`
	} `json:"limit"`
}

// Limit returns how many devices Apple takes or returns per call of a service, such as "POST", "/devices/sync"; 0 if it
// publishes no limit.
//
// Apple does not say whether a published URI is a path or a whole URL, so either is taken. A path may begin with the
// one of the base URL, as that of a proxy does.
func (d *AccountDetail) Limit(method, path string) int {
	for _, u := range d.URLs {
		if d.isAt(u.URI, path) && (len(u.HTTPMethods) == 0 || slices.Contains(u.HTTPMethods, method)) {
			return max(u.Limit.Maximum, 0)
		}
	}
	return 0
}

// isAt reports whether uri is the one of a service, and not of another whose path ends alike: /devices and
// /server/devices.
func (d *AccountDetail) isAt(uri, path string) bool {
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	path = strings.Trim(path, "/")
	at := strings.Trim(u.Path, "/")
	return at == path || at == strings.Trim(d.basePath, "/")+"/"+path
}

// ParseAccountDetail reads Apple's answer, such as storage.Account.Detail.
func ParseAccountDetail(data []byte) (*AccountDetail, error) {
	d := new(AccountDetail)
	if err := json.Unmarshal(data, d); err != nil {
		return nil, errors.New("abm: account detail: not Apple's JSON document")
	}
	d.Document = slices.Clone(data)
	return d, nil
}

// AccountDetail returns what Apple says of the MDM server entry. It is also the cheap way to see whether a token works.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/account-detail
//
//abm:operation GET /account
func (c *Client) AccountDetail(ctx context.Context) (*AccountDetail, error) {
	var d *AccountDetail
	err := c.do(ctx, call{
		op: opAccountDetail, method: http.MethodGet, path: "account",
		out: func(body []byte) (err error) {
			if d, err = ParseAccountDetail(body); err != nil {
				return err
			}
			if d.ServerUUID == "" {
				return errors.New("no server_uuid in it")
			}
			d.basePath = c.base.Path
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// BetaToken lets a device enroll in a beta program.
type BetaToken struct {
	Token Secret
	Title string
	// OS is iOS (iPadOS included), OSX or macOS, tvOS, visionOS, watchOS, homePodOS: Apple's pages differ.
	OS string
}

// BetaEnrollmentTokens returns the beta programs of the organization.
// It returns [ErrSeedingOff] when AppleSeed for IT is turned off.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/get-beta-enrollment-tokens
//
//abm:operation GET /os-beta-enrollment/tokens
func (c *Client) BetaEnrollmentTokens(ctx context.Context) ([]BetaToken, error) {
	type token struct{ Token, Title, OS string }
	var out struct {
		Tokens []token `json:"betaEnrollmentTokens"`
		Older  []token `json:"seedBuildTokens"`
	}
	err := c.do(ctx, call{op: opBetaTokens, method: http.MethodGet, path: "os-beta-enrollment/tokens", out: jsonInto(&out)})
	if err != nil {
		return nil, err
	}
	if len(out.Tokens) == 0 {
		out.Tokens = out.Older
	}
	tokens := make([]BetaToken, len(out.Tokens))
	for i, t := range out.Tokens {
		tokens[i] = BetaToken{Token: Secret(t.Token), Title: t.Title, OS: t.OS}
	}
	return tokens, nil
}

// AssignAccountDrivenEnrollmentProfile sets the service discovery URL, https, that Apple gives to devices of people
// whose domain does not serve the well-known resource. It returns [ErrOrgNotSupported] or [ErrBadRequest].
//
// Apple: https://developer.apple.com/documentation/devicemanagement/assign-account-driven-enrollment-profile
//
//abm:operation POST /account-driven-enrollment/profile
func (c *Client) AssignAccountDrivenEnrollmentProfile(ctx context.Context, discoveryURL string) error {
	in := map[string]string{"mdm_service_discovery_url": discoveryURL}
	return c.do(ctx, call{op: opAssignAccountDriven, method: http.MethodPost, path: pathAccountDrivenProfile, in: in, write: true})
}

// FetchAccountDrivenEnrollmentProfile returns the service discovery URL and when it was set.
// It returns [ErrNotFound] when none is set.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-account-driven-enrollment-profile
//
//abm:operation GET /account-driven-enrollment/profile
func (c *Client) FetchAccountDrivenEnrollmentProfile(ctx context.Context) (discoveryURL string, updated time.Time, err error) {
	var out struct {
		URL     string `json:"mdm_service_discovery_url"`
		Updated string `json:"last_updated_timestamp"`
	}
	err = c.do(ctx, call{op: opFetchAccountDriven, method: http.MethodGet, path: pathAccountDrivenProfile, out: jsonInto(&out)})
	if err != nil {
		return "", time.Time{}, err
	}
	updated, _ = parseTime(out.Updated)
	return out.URL, updated, nil
}

// RemoveAccountDrivenEnrollmentProfile takes the service discovery URL away.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/remove-account-driven-enrollment-profile
//
//abm:operation DELETE /account-driven-enrollment/profile
func (c *Client) RemoveAccountDrivenEnrollmentProfile(ctx context.Context) error {
	return c.do(ctx, call{op: opRemoveAccountDriven, method: http.MethodDelete, path: pathAccountDrivenProfile, write: true})
}
