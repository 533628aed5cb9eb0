package abmtest

import (
	"net/http"
	"time"
)

// assignProfile serves POST and PUT /profile/devices. The answer is 200 even if no device was assigned.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/assign-profile
func (s *Service) assignProfile(c *call) (any, error) {
	in, err := s.decodeDevices(c)
	if err != nil {
		return nil, err
	}
	if in.ProfileUUID == "" {
		return nil, bad("PROFILE_UUID_REQUIRED")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endThrottles(c.now)
	if _, ok := s.profile(c, in.ProfileUUID); !ok {
		// Documented as 404; the token is the one that clients of old list for this call.
		return nil, refuse(http.StatusNotFound, "PROFILE_NOT_FOUND")
	}
	out := deviceResults{ProfileUUID: in.ProfileUUID, Devices: make(map[string]string, len(in.Devices))}
	var wait time.Duration
	for _, serial := range in.Devices {
		result, remaining := s.assign(c, in.ProfileUUID, serial)
		if result == resultThrottled {
			wait = max(wait, remaining)
			// Observed for versions before 9: the same situation appears as FAILED.
			if c.version < 9 {
				result = resultFailed
			}
		}
		out.put(serial, result)
	}
	if f := s.strike(FaultResultUnasked, c.server, c.op); f != nil {
		out.Devices[f.serial()] = resultSuccess
	}
	if c.version >= 10 && wait > 0 {
		out.RetryAfter = int64((wait + time.Second - 1) / time.Second)
	}
	return out, nil
}

// assign gives one device a profile of the calling server, unless a forced result or a fault says otherwise. remaining
// is how long a throttle still lasts; an empty result is not reported. The caller holds the lock.
func (s *Service) assign(c *call, profileUUID, serial string) (result string, remaining time.Duration) {
	s.stats.AssignCalls[serial]++
	s.throttle(c, serial)
	if f, ok := s.forced[serial]; ok {
		return f.result, f.until.Sub(c.now)
	}
	d, ok := s.accessible(c.server, serial)
	result, done := resultSuccess, true
	if !ok {
		result, done = resultNotAccessible, false
	}
	result, done = s.faultResult(c, serial, result, done)
	if done {
		s.change(d, c.now, func(st *state) {
			st.profileUUID, st.profileStatus, st.unfetchable = profileUUID, statusAssigned, false
			st.profileAssigned, st.profilePushed = c.now, time.Time{}
		})
	}
	return result, 0
}

// removeProfile serves DELETE /profile/devices, which has a body. profile_uuid is listed by Apple but not used.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/clear-device-profile
func (s *Service) removeProfile(c *call) (any, error) {
	return s.eachDevice(c, func(d *device) {
		if d.cur.profileUUID == "" {
			return
		}
		if d.cur.profileStatus != statusRemoved && s.strike(FaultRemovedStatus, c.server, "", d.hw.SerialNumber) != nil {
			s.change(d, c.now, removeShown)
			return
		}
		s.change(d, c.now, func(st *state) {
			st.profileUUID, st.profileStatus, st.unfetchable = "", statusEmpty, false
			st.profileAssigned, st.profilePushed = time.Time{}, time.Time{}
		})
	})
}
