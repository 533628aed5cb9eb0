package abmtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Device is the hardware of one device, as Apple knows it from the sale. SerialNumber and Model are required. Family and OS
// follow from Model when they are empty; they stay so for a model that does not begin with the name of a family.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/device
type Device struct {
	SerialNumber string `json:"serial_number"`
	Model        string `json:"model"` // model name, such as "MacBook Air"
	Description  string `json:"description,omitempty"`
	Color        string `json:"color,omitempty"`
	AssetTag     string `json:"asset_tag,omitempty"`
	Family       string `json:"device_family,omitempty"` // iPad, iPhone, iPod, Mac, AppleTV or Vision
	OS           string `json:"os,omitempty"`            // iOS, iPadOS, OSX, tvOS or visionOS

	WiFiMAC      string   `json:"wifi_mac_address,omitempty"`
	BluetoothMAC string   `json:"bluetooth_mac_address,omitempty"`
	EthernetMAC  string   `json:"ethernet_mac_address,omitempty"`
	IMEI         []string `json:"imei,omitempty"`
	MEID         []string `json:"meid,omitempty"`
	EID          string   `json:"eid,omitempty"`
}

// DeviceState is what the service knows of one device at one moment.
type DeviceState struct {
	Device
	// ServerUUID is the MDM server entry the device is assigned to; empty if none.
	ServerUUID string `json:"server_uuid,omitempty"`
	// Released tells that the device has left the organization; the other fields are as they last were.
	Released bool `json:"released,omitempty"`

	AssignedDate      time.Time `json:"device_assigned_date,omitzero"` // to the MDM server entry
	AssignedBy        string    `json:"device_assigned_by,omitempty"`
	ProfileUUID       string    `json:"profile_uuid,omitempty"`
	ProfileStatus     string    `json:"profile_status,omitempty"` // empty, assigned, pushed or removed
	ProfileAssignTime time.Time `json:"profile_assign_time,omitzero"`
	ProfilePushTime   time.Time `json:"profile_push_time,omitzero"`
	MigrationDeadline time.Time `json:"mdm_migration_deadline,omitzero"`

	// Replaces is the serial number of the device this one was sent in place of.
	Replaces string `json:"replaces,omitempty"`
	// ActivationLocked and LostMessage tell of a lock set through POST /device/activationlock.
	ActivationLocked bool   `json:"activation_locked,omitempty"`
	LostMessage      string `json:"lost_message,omitempty"`
	// AssignCalls is how often MDM servers asked to assign a profile to the device.
	AssignCalls int `json:"assign_calls"`
}

// device is one device of the organization, or one that was.
type device struct {
	hw       *Device
	released bool
	owner    *MDMServer
	cur      *state
	last     []logPosition // newest operation in each log that mentions the device

	replaces    string
	replacedAt  time.Time
	migrateFrom *MDMServer

	locked      bool
	lockedBy    *MDMServer
	lostMessage string

	old        *state    // as it was when it last had a profile, for faults that show it again
	lastAssign time.Time // when a profile was last asked for it

	deferred []operation         // waiting for the end of a throttle
	skipped  map[*MDMServer]bool // whose sync passed over the device because of a throttle
}

// state is the changeable part of a device. It is never changed once stored: operations in the log point to it.
type state struct {
	assignedDate, profileAssigned, profilePushed, deadline time.Time

	assignedBy, profileUUID, profileStatus string

	// unfetchable tells that the profile is only shown: the device gets none.
	unfetchable bool
}

type logPosition struct {
	server *MDMServer
	index  int32
}

// Device returns the current state of a device, also of one that was released. It returns ErrUnknownDevice for a
// serial number the organization never had.
func (s *Service) Device(serial string) (DeviceState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.devices[serial]
	if !ok {
		return DeviceState{}, fmt.Errorf("abmtest: %q: %w", serial, ErrUnknownDevice)
	}
	return s.describe(d), nil
}

// Devices returns the state of up to limit devices, skipping the first offset, in the order in which they came
// into the organization. Released ones are included. limit 0 returns all.
func (s *Service) Devices(offset, limit int) []DeviceState {
	s.mu.Lock()
	defer s.mu.Unlock()
	serials := s.serials[min(max(offset, 0), len(s.serials)):]
	if limit > 0 {
		serials = serials[:min(limit, len(serials))]
	}
	out := make([]DeviceState, len(serials))
	for i, serial := range serials {
		out[i] = s.describe(s.devices[serial])
	}
	return out
}

// describe copies the state of d. The caller holds the lock.
func (s *Service) describe(d *device) DeviceState {
	st := DeviceState{
		Device:            d.hw.clone(),
		Released:          d.released,
		AssignedDate:      d.cur.assignedDate,
		AssignedBy:        d.cur.assignedBy,
		ProfileUUID:       d.cur.profileUUID,
		ProfileStatus:     d.cur.profileStatus,
		ProfileAssignTime: d.cur.profileAssigned,
		ProfilePushTime:   d.cur.profilePushed,
		MigrationDeadline: d.cur.deadline,
		Replaces:          d.replaces,
		ActivationLocked:  d.locked,
		LostMessage:       d.lostMessage,
		AssignCalls:       s.stats.AssignCalls[d.hw.SerialNumber],
	}
	if d.owner != nil {
		st.ServerUUID = d.owner.uuid
	}
	return st
}

// complete sets the family and the operating system that a device lacks, so that it has what Apple shows of any: a rule by
// family would pass it over.
func (d *Device) complete() {
	for _, f := range [...]struct{ model, family, os string }{
		{"Mac", "Mac", "OSX"},
		{"iMac", "Mac", "OSX"},
		{"iPhone", "iPhone", "iOS"},
		{"iPad", "iPad", "iPadOS"},
		{"iPod", "iPod", "iOS"},
		{"Apple TV", "AppleTV", "tvOS"},
		{"Apple Vision", "Vision", "visionOS"},
	} {
		if d.Family == "" && strings.HasPrefix(d.Model, f.model) {
			d.Family = f.family
		}
		if d.OS == "" && d.Family == f.family {
			d.OS = f.os
		}
	}
}

func (d *Device) clone() Device {
	c := *d
	c.IMEI, c.MEID = slices.Clone(d.IMEI), slices.Clone(d.MEID)
	return c
}

// valid reports what a device lacks.
func (d *Device) valid() error {
	if strings.TrimSpace(d.SerialNumber) == "" || d.Model == "" {
		return fmt.Errorf("abmtest: device %q: serial number and model must not be empty: %w", d.SerialNumber, ErrInvalid)
	}
	return nil
}

// accessible returns a device if it is assigned to m. The caller holds the lock.
func (s *Service) accessible(m *MDMServer, serial string) (*device, bool) {
	d, ok := s.devices[serial]
	return d, ok && d.owner == m
}

// wireDevice is a device in the API's JSON. Unset members are left out: an empty time breaks strict clients.
type wireDevice struct {
	SerialNumber       string   `json:"serial_number"`
	Model              string   `json:"model,omitempty"`
	Description        string   `json:"description,omitempty"`
	Color              string   `json:"color,omitempty"`
	AssetTag           string   `json:"asset_tag,omitempty"`
	DeviceFamily       string   `json:"device_family,omitempty"`
	OS                 string   `json:"os,omitempty"`
	DeviceAssignedDate string   `json:"device_assigned_date,omitempty"`
	DeviceAssignedBy   string   `json:"device_assigned_by,omitempty"`
	ProfileUUID        string   `json:"profile_uuid,omitempty"`
	ProfileAssignTime  string   `json:"profile_assign_time,omitempty"`
	ProfilePushTime    string   `json:"profile_push_time,omitempty"`
	ProfileStatus      string   `json:"profile_status,omitempty"`
	OpType             string   `json:"op_type,omitempty"`
	OpDate             string   `json:"op_date,omitempty"`
	MigrationDeadline  string   `json:"mdm_migration_deadline,omitempty"`
	WiFiMAC            string   `json:"wifi_mac_address,omitempty"`
	BluetoothMAC       string   `json:"bluetooth_mac_address,omitempty"`
	EthernetMAC        string   `json:"ethernet_mac_address,omitempty"`
	IMEI               []string `json:"imei,omitempty"`
	MEID               []string `json:"meid,omitempty"`
	EID                string   `json:"eid,omitempty"`
	IsReplacement      *bool    `json:"is_replacement_device,omitempty"`
	ByReplacement      *bool    `json:"released_by_replacement,omitempty"`
	ResponseStatus     string   `json:"response_status,omitempty"`
}

// newWireDevice shows a device as a client of the given protocol version sees it.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/device
func newWireDevice(d *device, st *state, version int) wireDevice {
	hw := d.hw
	w := wireDevice{
		SerialNumber: hw.SerialNumber, Model: hw.Model, Description: hw.Description, Color: hw.Color, AssetTag: hw.AssetTag,
		DeviceAssignedDate: stamp(st.assignedDate), DeviceAssignedBy: st.assignedBy,
		ProfileUUID: st.profileUUID, ProfileAssignTime: stamp(st.profileAssigned),
		ProfilePushTime: stamp(st.profilePushed), ProfileStatus: st.profileStatus,
	}
	if version >= 2 {
		w.DeviceFamily, w.OS = hw.Family, hw.OS
		if version < 7 && w.OS == "iPadOS" {
			w.OS = "iOS"
		}
	}
	if version >= 8 {
		w.MigrationDeadline = stamp(st.deadline)
	}
	if version >= 10 {
		w.WiFiMAC, w.BluetoothMAC, w.EthernetMAC = hw.WiFiMAC, hw.BluetoothMAC, hw.EthernetMAC
		w.IMEI, w.MEID, w.EID = hw.IMEI, hw.MEID, hw.EID
		replacement := d.replaces != ""
		w.IsReplacement = &replacement
	}
	return w
}
