package abm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/enrollkit/enrollkit/depprofile"
)

const (
	opDefineProfile = "DefineProfile"
	opFetchProfile  = "FetchProfile"
	opAssignProfile = "AssignProfile"
	opRemoveProfile = "RemoveProfile"
)

type resultsResponse struct {
	ProfileUUID string            `json:"profile_uuid"`
	Devices     map[string]Result `json:"devices"`
	RetryAfter  int64             `json:"retry_after_seconds"`
}

// DefineProfile defines a profile at Apple and returns its UUID, which is opaque. profile is JSON, such as
// [depprofile.Profile.Canonical] returns; it should not list devices. Profiles cannot be changed or deleted, so each
// content should be defined once. It returns [ErrProfileRefused] when Apple does not accept the content.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/define-profile
//
//abm:operation POST /profile
func (c *Client) DefineProfile(ctx context.Context, profile []byte) (uuid string, err error) {
	var out resultsResponse
	err = c.do(ctx, call{
		op: opDefineProfile, method: http.MethodPost, path: "profile", in: json.RawMessage(profile), write: true,
		out: func(body []byte) error {
			if err := json.Unmarshal(body, &out); err != nil {
				return err
			}
			if out.ProfileUUID == "" {
				return errors.New("no profile_uuid in it")
			}
			return nil
		},
	})
	if err != nil {
		return "", err
	}
	return out.ProfileUUID, nil
}

// FetchProfile returns a defined profile. It returns [ErrProfileNotFound] when Apple does not know it.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-profile
//
//abm:operation GET /profile
func (c *Client) FetchProfile(ctx context.Context, uuid string) (*depprofile.Profile, error) {
	var p *depprofile.Profile
	err := c.do(ctx, call{
		op: opFetchProfile, method: http.MethodGet, path: "profile", query: url.Values{"profile_uuid": {uuid}},
		out: func(body []byte) (err error) { p, err = depprofile.Parse(body); return err },
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Assignments is Apple's answer to AssignProfile.
type Assignments struct {
	// Devices is the result for each serial: SUCCESS, NOT_ACCESSIBLE, FAILED or THROTTLED. A serial that is missing
	// was not assigned.
	Devices map[string]Result
	// RetryAfter is how long to wait before assigning the throttled devices again; 0 if Apple does not say.
	RetryAfter time.Duration
}

// AssignProfile assigns a profile to devices, at most [MaxLimit] serials. Assigning one device too often makes Apple
// throttle it for about a day (observed): do not assign what it has already.
// It returns [ErrProfileNotFound] when Apple does not know the profile.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/assign-profile
//
//abm:operation POST /profile/devices
func (c *Client) AssignProfile(ctx context.Context, uuid string, serials ...string) (Assignments, error) {
	in := struct {
		UUID    string   `json:"profile_uuid"`
		Devices []string `json:"devices"`
	}{uuid, serials}
	var out resultsResponse
	err := c.do(ctx, call{
		op: opAssignProfile, method: http.MethodPost, path: "profile/devices", in: in, write: true, out: jsonInto(&out),
	})
	if err != nil {
		return Assignments{}, err
	}
	const longest = 30 * 24 * time.Hour
	wait := time.Duration(min(max(out.RetryAfter, 0), int64(longest/time.Second))) * time.Second
	return Assignments{Devices: out.Devices, RetryAfter: wait}, nil
}

// RemoveProfile takes the assigned profile away from devices. A device that has fetched it keeps it until it is
// erased. It returns Apple's result for each serial: SUCCESS, NOT_ACCESSIBLE or FAILED.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/clear-device-profile
//
//abm:operation DELETE /profile/devices
func (c *Client) RemoveProfile(ctx context.Context, serials ...string) (map[string]Result, error) {
	var out resultsResponse
	err := c.do(ctx, call{
		op: opRemoveProfile, method: http.MethodDelete, path: "profile/devices", in: serialsRequest{serials},
		write: true, out: jsonInto(&out),
	})
	if err != nil {
		return nil, err
	}
	return out.Devices, nil
}
