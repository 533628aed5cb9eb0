package storage

import (
	"context"
	"time"
)

// Device is what Apple last said of one serial in one account: the observed side. Account and Serial are the key.
type Device struct {
	Account string
	Serial  string
	// Model, Family (iPad, iPhone, Mac, ...) and OS are Apple's model, device_family and os.
	Model  string
	Family string
	OS     string
	// ProfileUUID and ProfileStatus (empty, assigned, pushed, removed) are Apple's words for the profile the device has.
	ProfileUUID       string
	ProfileStatus     string
	ProfileAssignedAt time.Time
	ProfilePushedAt   time.Time
	// AssignedAt is when the device was assigned to this MDM server.
	AssignedAt time.Time
	// MigrationDeadline is set while a migration to this server is pending.
	MigrationDeadline time.Time
	// OpDate is the date of the newest operation applied; zero when the device was only seen by a fetch.
	OpDate time.Time
	// LeftAt is when the device was found to have left the account, LeftReason how; zero while it is there.
	LeftAt     time.Time
	LeftReason string
	// Document is Apple's record as received, JSON, with every key.
	Document []byte
	// Digest identifies the content of Document and is compared to tell whether anything changed.
	Digest Digest
	// FirstSeenAt and UpdatedAt are times of ours.
	FirstSeenAt time.Time
	UpdatedAt   time.Time
}

// Present reports whether the device is in the account now.
func (d *Device) Present() bool { return d.LeftAt.IsZero() }

// Digest identifies content; two records with equal digests need no write. The zero Digest equals no content.
type Digest [32]byte

// DeviceFilter narrows ListDevices. Zero fields do not narrow.
type DeviceFilter struct {
	// Account is required: ErrInvalid without.
	Account string
	// Family is Apple's device_family.
	Family string
	// IncludeLeft also lists devices that have left the account.
	IncludeLeft bool
}

// DeviceStore reads the observed devices. They are written by InventoryStore.
type DeviceStore interface {
	// GetDevice returns one device.
	GetDevice(ctx context.Context, account, serial string) (Device, error)
	// GetDevices returns those of the devices that exist, by serial. A serial asked for twice comes once.
	GetDevices(ctx context.Context, account string, serials []string) ([]Device, error)
	// DeviceDigests returns the digests of those of the devices that exist, by serial. It is the cheap way to find
	// out which devices of a page have changed.
	DeviceDigests(ctx context.Context, account string, serials []string) (map[string]Digest, error)
	// FindDevices returns the records of serials in all accounts, by serial and account. None is no error.
	FindDevices(ctx context.Context, serials ...string) ([]Device, error)
	// ListDevices lists devices by serial.
	ListDevices(ctx context.Context, f DeviceFilter, p Page) (devices []Device, next string, err error)
	// ListSerials lists the serials of the devices ListDevices would list, without reading their documents.
	ListSerials(ctx context.Context, f DeviceFilter, p Page) (serials []string, next string, err error)
	// CountDevices returns how many devices are in an account, and how many have left it.
	CountDevices(ctx context.Context, account string) (present, left int, err error)
}
