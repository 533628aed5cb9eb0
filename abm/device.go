package abm

import (
	"strings"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// Device is Apple's record of one device. Every documented key has a field; a key that is missing, null or of another
// type leaves its field zero. Document holds the record as received, with all keys.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/device
type Device struct {
	SerialNumber string
	Model        string
	Description  string
	Color        string
	AssetTag     string
	// DeviceFamily is iPad, iPhone, iPod, Mac, AppleTV, Vision, or what Apple adds.
	DeviceFamily string
	// OS is iOS, iPadOS, OSX, tvOS, visionOS, or what Apple adds.
	OS string
	// DeviceAssignedDate is when the device was assigned to this MDM server, DeviceAssignedBy the e-mail address of who
	// did it; "-1" for an automatic assignment (observed).
	DeviceAssignedDate time.Time
	DeviceAssignedBy   string

	ProfileUUID       string
	ProfileAssignTime time.Time
	ProfilePushTime   time.Time
	ProfileStatus     ProfileStatus

	// OpType and OpDate say what happened and when; in answers of SyncDevices only. OpType is lower case.
	OpType OpType
	OpDate time.Time

	// MDMMigrationDeadline is set while a migration to this server is pending.
	MDMMigrationDeadline time.Time

	WiFiMACAddress      string
	BluetoothMACAddress string
	EthernetMACAddress  string
	IMEI                []string
	MEID                []string
	EID                 string

	IsReplacementDevice   bool
	ReleasedByReplacement bool // with OpDeleted only

	// ResponseStatus is in answers of DeviceDetails only.
	ResponseStatus Result

	// Document is the record as received, JSON. It and the other strings are parts of the page they came with: one that is
	// kept keeps the memory of the whole page, unless it is a strings.Clone.
	Document string

	digest storage.Digest
}

// OpType says what happened to a device. It is a hint: what counts is the record.
type OpType string

// Values of OpType.
const (
	OpAdded    OpType = "added"
	OpModified OpType = "modified"
	OpDeleted  OpType = "deleted"
)

// ProfileStatus says where the profile of a device is. Apple documents the names only.
type ProfileStatus string

// Values of ProfileStatus, with the meaning implementers have observed.
const (
	ProfileEmpty    ProfileStatus = "empty"    // none is assigned
	ProfileAssigned ProfileStatus = "assigned" // assigned, not yet fetched by the device
	ProfilePushed   ProfileStatus = "pushed"   // the device has fetched it
	ProfileRemoved  ProfileStatus = "removed"  // not on the device any more
)

// Result is Apple's word for one serial in an answer for many.
type Result string

// Values of Result.
const (
	ResultSuccess       Result = "SUCCESS"
	ResultFailed        Result = "FAILED"
	ResultNotAccessible Result = "NOT_ACCESSIBLE" // not in this account, or no such serial
	ResultThrottled     Result = "THROTTLED"      // AssignProfile, protocol version 9
)

// Digest identifies the content of the record, whichever call returned it and in whatever order its keys came. It does
// not cover op_type, op_date and response_status, which belong to the call, nor keys that are null or "". It is SHA-256, as
// a collision would hide a change of a device until the next one.
func (d *Device) Digest() storage.Digest { return d.digest }

// record returns the device as it is stored. Strings are copied, as they share the memory of the page.
func (d *Device) record(account string, now time.Time) storage.Device {
	r := storage.Device{
		Account:           account,
		Serial:            d.SerialNumber,
		Model:             d.Model,
		Family:            d.DeviceFamily,
		OS:                d.OS,
		ProfileUUID:       d.ProfileUUID,
		ProfileStatus:     string(d.ProfileStatus),
		ProfileAssignedAt: d.ProfileAssignTime,
		ProfilePushedAt:   d.ProfilePushTime,
		AssignedAt:        d.DeviceAssignedDate,
		MigrationDeadline: d.MDMMigrationDeadline,
		OpDate:            d.OpDate,
		Document:          []byte(d.Document),
		Digest:            d.digest,
		FirstSeenAt:       now,
		UpdatedAt:         now,
	}
	cloneTogether(&r.Serial, &r.Model, &r.Family, &r.OS, &r.ProfileUUID, &r.ProfileStatus)
	return r
}

// cloneTogether clones strings into one allocation for all of them.
func cloneTogether(fields ...*string) {
	var all strings.Builder
	size := 0
	for _, f := range fields {
		size += len(*f)
	}
	all.Grow(size)
	for _, f := range fields {
		at := all.Len()
		all.WriteString(*f)
		*f = all.String()[at:]
	}
}
