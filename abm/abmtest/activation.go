package abmtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// ActivationRecord is what a device learns from Apple when it activates.
type ActivationRecord struct {
	SerialNumber string `json:"serial_number"`
	ServerUUID   string `json:"server_uuid"`
	ServerName   string `json:"server_name"`
	OrgName      string `json:"org_name"`
	ProfileUUID  string `json:"profile_uuid"`
	// MigrationDeadline is set if the device was asked to move here from another MDM server.
	MigrationDeadline time.Time `json:"mdm_migration_deadline,omitzero"`
	// Profile is the enrollment profile in the API's member names, as a JSON object. Members that were left out have
	// Apple's defaults, and await_device_configured is true where is_return_to_service implies it.
	Profile json.RawMessage `json:"profile"`
}

// ActivationRecord does what a device does at its first boot: it fetches the profile assigned to it. The service
// then shows the profile as pushed, and a pending migration as done. It returns ErrNoProfile if nothing waits for
// the device, and ErrUnknownDevice if it is not in the organization: an ordinary device.
func (s *Service) ActivationRecord(serial string) (*ActivationRecord, error) {
	var record *ActivationRecord
	err := s.administer(nil, []string{serial}, func(devices []*device, now time.Time) error {
		d := devices[0]
		if d.cur.profileUUID == "" || d.cur.unfetchable {
			return fmt.Errorf("abmtest: activation record of %q: %w", serial, ErrNoProfile)
		}
		effective, err := json.Marshal(d.owner.profiles[d.cur.profileUUID].effective())
		if err != nil {
			return fmt.Errorf("abmtest: activation record of %q: %w", serial, err)
		}
		record = &ActivationRecord{
			SerialNumber: serial, ServerUUID: d.owner.uuid, ServerName: d.owner.name, OrgName: s.cfg.org.Name,
			ProfileUUID: d.cur.profileUUID, MigrationDeadline: d.cur.deadline, Profile: effective,
		}
		if d.migrateFrom != nil && d.lockedBy == d.migrateFrom {
			d.unlock()
		}
		d.migrateFrom = nil
		s.change(d, now, func(st *state) {
			st.profileStatus, st.profilePushed, st.deadline = statusPushed, now, time.Time{}
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return record, nil
}

// unlock ends an activation lock.
func (d *device) unlock() { d.locked, d.lockedBy, d.lostMessage = false, nil, "" }

// effective fills in the defaults a device assumes.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/profile
func (p profile) effective() profile {
	out := profile{
		"allow_pairing":                  json.RawMessage("true"),
		"is_supervised":                  json.RawMessage("false"),
		"is_mandatory":                   json.RawMessage("false"),
		"is_mdm_removable":               json.RawMessage("true"),
		"is_multi_user":                  json.RawMessage("false"),
		"await_device_configured":        json.RawMessage("false"),
		"auto_advance_setup":             json.RawMessage("false"),
		"do_not_use_profile_from_backup": json.RawMessage("false"),
		"is_return_to_service":           json.RawMessage("false"),
	}
	maps.Copy(out, p)
	if string(out["is_return_to_service"]) == "true" {
		out["await_device_configured"] = json.RawMessage("true")
	}
	return out
}
