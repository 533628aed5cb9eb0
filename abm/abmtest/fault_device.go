package abmtest

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
)

// remember keeps the state of a device that has a profile, before it loses it.
func (d *device) remember() {
	if d.cur.profileUUID != "" {
		d.old = d.cur
	}
}

// forgetAt drops what a throttle kept back for m, which the device leaves without a word.
func (d *device) forgetAt(m *MDMServer) {
	d.deferred = slices.DeleteFunc(d.deferred, func(op operation) bool { return op.server == m })
	delete(d.skipped, m)
}

// showOldProfile lets a device that has just been assigned to m show the profile it had, if a fault wants it, and tells
// whether it must not come as added.
func (s *Service) showOldProfile(m *MDMServer, d *device) (modified bool) {
	if d.old == nil {
		return false
	}
	old := func() {
		d.cur.profileUUID, d.cur.profileAssigned, d.cur.unfetchable = d.old.profileUUID, d.old.profileAssigned, true
	}
	if s.strike(FaultRemovedStatus, m, "", d.hw.SerialNumber) != nil {
		old()
		d.cur.profileStatus = statusRemoved
		return true
	}
	if s.strike(FaultOldProfile, m, "", d.hw.SerialNumber) != nil {
		old()
		d.cur.profileStatus = statusAssigned
	}
	return false
}

// removeShown leaves a profile on show that the device does not get any more.
func removeShown(st *state) { st.profileStatus, st.unfetchable = statusRemoved, true }

// takeProfiles lets Apple take profiles from devices of the calling server before the call is served, as a fault wants:
// to the client it has happened since its last call.
func (s *Service) takeProfiles(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.server == nil || !s.armed(classPortal) {
		return
	}
	for _, serial := range s.serials {
		d := s.devices[serial]
		has := d.cur.profileStatus == statusAssigned || d.cur.profileStatus == statusPushed
		if d.owner == c.server && has && s.strike(FaultProfileRemoved, c.server, "", serial) != nil {
			s.change(d, c.now, removeShown)
		}
	}
}

// profile returns a profile of the calling server, unless it is lost or a fault loses it now. The caller holds the lock.
func (s *Service) profile(c *call, id string) (profile, bool) {
	p, ok := c.server.profiles[id]
	if !ok || c.server.lost[id] {
		return nil, false
	}
	for _, f := range s.faults {
		if f.Kind == FaultProfileLost && (f.ProfileUUID == "" || f.ProfileUUID == id) && s.strikes(f, c.server, c.op, nil) {
			c.server.lost[id] = true
			return nil, false
		}
	}
	return maps.Clone(p), true
}

// throttle begins a throttle of a device that is about to be assigned, if a fault wants it. The caller holds the lock.
//
// Observed: https://github.com/fleetdm/fleet/issues/37072
func (s *Service) throttle(c *call, serial string) {
	d, ok := s.accessible(c.server, serial)
	if !ok {
		return
	}
	last := d.lastAssign
	d.lastAssign = c.now
	if _, already := s.forced[serial]; already {
		return
	}
	for _, f := range s.faults {
		switch f.Kind {
		case FaultResultThrottled:
		case FaultThrottleReassigned:
			if last.IsZero() || c.now.Sub(last) > cmp.Or(f.Window, f.info.window) {
				continue
			}
		default:
			continue
		}
		if s.strikes(f, c.server, c.op, []string{serial}) {
			until := c.now.Add(cmp.Or(f.Duration, f.info.duration))
			s.forced[serial] = forcedResult{result: resultThrottled, until: until, cause: f.ID}
			return
		}
	}
}

// faultResult returns what the faults make of the result of one device: the word to report, empty for none, and whether
// the call takes effect for it. The caller holds the lock.
func (s *Service) faultResult(c *call, serial, result string, done bool) (string, bool) {
	for _, f := range s.faults {
		switch f.Kind {
		case FaultResultFailed, FaultResultNotAccessible, FaultResultMissing:
		default:
			continue
		}
		if s.strikes(f, c.server, c.op, []string{serial}) {
			return f.info.value, done && f.Applied
		}
	}
	return result, done
}

// serial is the serial number that an answer names although nobody asked for it.
func (f *fault) serial() string {
	var serial string
	if json.Unmarshal(f.becomes(), &serial) != nil {
		return string(f.becomes())
	}
	return serial
}
