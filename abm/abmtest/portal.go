package abmtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxMigration is how far ahead a migration deadline may be.
const maxMigration = 90 * 24 * time.Hour

// AddMDMServer creates an entry for an MDM server. The name must be unique in the organization.
func (s *Service) AddMDMServer(name string) (*MDMServer, error) {
	if strings.TrimSpace(name) == "" {
		return nil, fmt.Errorf("abmtest: add MDM server: the name is empty: %w", ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.servers, func(m *MDMServer) bool { return m.name == name }) {
		return nil, fmt.Errorf("abmtest: add MDM server %q: %w", name, ErrExists)
	}
	return s.newMDMServer(name), nil
}

// newMDMServer creates an entry with a name that was checked. The caller holds the lock.
func (s *Service) newMDMServer(name string) *MDMServer {
	id := strings.ToUpper(s.hexID(16))
	m := &MDMServer{
		service:  s,
		name:     name,
		uuid:     strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-"),
		creds:    Credentials{ConsumerKey: "CK_" + s.hexID(16)},
		profiles: make(map[string]profile),
		lost:     make(map[string]bool),
	}
	s.servers = append(s.servers, m)
	return m
}

// MDMServers returns all entries in the order of their creation.
func (s *Service) MDMServers() []*MDMServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.servers)
}

// MDMServer returns the entry with this UUID or name. It returns ErrUnknownServer if there is none.
func (s *Service) MDMServer(uuidOrName string) (*MDMServer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.servers, func(m *MDMServer) bool { return m.uuid == uuidOrName || m.name == uuidOrName })
	if i < 0 {
		return nil, fmt.Errorf("abmtest: %q: %w", uuidOrName, ErrUnknownServer)
	}
	return s.servers[i], nil
}

// byConsumerKey returns the entry a consumer key belongs to, or nil. The caller holds the lock.
func (s *Service) byConsumerKey(key string) *MDMServer {
	for _, m := range s.servers {
		if m.creds.ConsumerKey == key {
			return m
		}
	}
	return nil
}

// AddDevices lets devices come into the organization, as after a purchase, and assigns them to m. With nil they
// stay unassigned. A released device may come again. All or none are added: it returns ErrExists for a serial
// number that is there and ErrInvalid for a device without serial number or model. See [Device] for what else they get.
func (s *Service) AddDevices(m *MDMServer, devices ...Device) error {
	return s.administer(m, nil, func(_ []*device, now time.Time) error {
		if err := s.checkNew(devices); err != nil {
			return err
		}
		for i := range devices {
			s.insert(m, devices[i].clone(), now)
		}
		return nil
	})
}

// checkNew reports why devices cannot come into the organization.
func (s *Service) checkNew(devices []Device) error {
	seen := make(map[string]bool, len(devices))
	for i := range devices {
		serial := devices[i].SerialNumber
		if err := devices[i].valid(); err != nil {
			return err
		}
		if old, ok := s.devices[serial]; seen[serial] || ok && !old.released {
			return fmt.Errorf("abmtest: add device %q: %w", serial, ErrExists)
		}
		seen[serial] = true
	}
	return nil
}

// insert adds a device and assigns it to m, if not nil. What the logs say about an earlier stay remains.
func (s *Service) insert(m *MDMServer, hw Device, now time.Time) *device {
	hw.complete()
	d, again := s.devices[hw.SerialNumber]
	if !again {
		d = new(device)
		s.devices[hw.SerialNumber] = d
		s.serials = append(s.serials, hw.SerialNumber)
	}
	*d = device{
		hw: &hw, cur: &state{profileStatus: statusEmpty}, last: d.last, deferred: d.deferred, skipped: d.skipped, old: d.old,
	}
	if m != nil {
		s.attach(m, d, now, time.Time{})
	}
	return d
}

// Assign gives devices to m, whatever entry they were assigned to. Their profile assignments are lost, also when
// they were assigned to m before. All or none are assigned; it returns ErrUnknownDevice if one is missing.
func (s *Service) Assign(m *MDMServer, serials ...string) error {
	if m == nil {
		return fmt.Errorf("abmtest: assign: %w", ErrUnknownServer)
	}
	return s.administer(m, serials, func(devices []*device, now time.Time) error {
		for _, d := range devices {
			s.attach(m, d, now, time.Time{})
			d.migrateFrom = nil
		}
		return nil
	})
}

// Unassign takes devices from their MDM server entries; they stay in the organization.
func (s *Service) Unassign(serials ...string) error {
	return s.administer(nil, serials, func(devices []*device, now time.Time) error {
		for _, d := range devices {
			s.detach(d, now, false)
		}
		return nil
	})
}

// Release takes devices out of the organization for good.
func (s *Service) Release(serials ...string) error {
	return s.administer(nil, serials, func(devices []*device, now time.Time) error {
		for _, d := range devices {
			s.release(d, now, false)
		}
		return nil
	})
}

// Migrate moves devices to m and asks them to enroll there until the deadline, at most 90 days ahead. They must be
// assigned to another entry, which sees them deleted, with a profile that has neither is_multi_user nor
// is_return_to_service; at m they come as modified, with the deadline. The migration is over when the device fetches its
// activation record; a lock of the old server is then gone.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/migrating-managed-devices
func (s *Service) Migrate(m *MDMServer, deadline time.Time, serials ...string) error {
	if m == nil {
		return fmt.Errorf("abmtest: migrate: %w", ErrUnknownServer)
	}
	return s.administer(m, serials, func(devices []*device, now time.Time) error {
		if !deadline.After(now) || deadline.Sub(now) > maxMigration {
			return fmt.Errorf("abmtest: migrate: the deadline is past or more than 90 days ahead: %w", ErrInvalid)
		}
		for _, d := range devices {
			if d.owner == nil || d.owner == m {
				return fmt.Errorf("abmtest: migrate %q: not assigned to another MDM server: %w", d.hw.SerialNumber, ErrInvalid)
			}
			if d.mayNotMigrate() {
				return fmt.Errorf("abmtest: migrate %q: its profile forbids that: %w", d.hw.SerialNumber, ErrInvalid)
			}
		}
		for _, d := range devices {
			from := d.owner
			s.attach(m, d, now, deadline)
			d.migrateFrom = from
		}
		return nil
	})
}

// CancelMigration returns devices whose migration has not happened yet to the entry they came from.
func (s *Service) CancelMigration(serials ...string) error {
	return s.administer(nil, serials, func(devices []*device, now time.Time) error {
		for _, d := range devices {
			if d.migrateFrom == nil {
				return fmt.Errorf("abmtest: cancel migration of %q: none is pending: %w", d.hw.SerialNumber, ErrInvalid)
			}
		}
		for _, d := range devices {
			s.attach(d.migrateFrom, d, now, time.Time{})
			d.migrateFrom = nil
		}
		return nil
	})
}

// Replace swaps a device for another, as after a repair: the original leaves the organization and the replacement
// takes its place at the same MDM server entry.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/get-replacement-details
func (s *Service) Replace(original string, replacement Device) error {
	return s.administer(nil, []string{original}, func(devices []*device, now time.Time) error {
		if err := s.checkNew([]Device{replacement}); err != nil {
			return err
		}
		d := s.insert(devices[0].owner, replacement.clone(), now)
		d.replaces, d.replacedAt = original, now
		s.release(devices[0], now, true)
		return nil
	})
}

// SetTermsSigned tells whether the organization has accepted the current program terms. While it has not,
// GET /session answers T_C_NOT_SIGNED, and the sessions there were end.
func (s *Service) SetTermsSigned(signed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.termsSigned = signed
	if !signed {
		s.endSessions(nil)
	}
}

// TermsSigned reports what SetTermsSigned set; it is true at first.
func (s *Service) TermsSigned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.termsSigned
}

// administer runs one act of the administrator on devices that must be in the organization.
func (s *Service) administer(m *MDMServer, serials []string, act func([]*device, time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m != nil && m.service != s {
		return fmt.Errorf("abmtest: %q: %w", m.name, ErrUnknownServer)
	}
	now := s.cfg.now().UTC()
	s.endThrottles(now)
	devices := make([]*device, len(serials))
	for i, serial := range serials {
		d, ok := s.devices[serial]
		if !ok || d.released {
			return fmt.Errorf("abmtest: %q: %w", serial, ErrUnknownDevice)
		}
		devices[i] = d
	}
	return act(devices, now)
}

// release takes d out of the organization; with it go a lock and a pending migration. The caller holds the lock.
func (s *Service) release(d *device, now time.Time, byReplacement bool) {
	s.detach(d, now, byReplacement)
	d.released = true
	d.unlock()
}
