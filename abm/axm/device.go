package axm

import (
	"encoding/json"
	"time"
)

// Device is a device of the organization. A member that is missing, null or of another type leaves its field zero. Document
// is the resource as received, with all members.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/orgdevice/attributes-data.dictionary
type Device struct {
	// ID is what the API names the device by: its serial number.
	ID           string
	SerialNumber string

	AddedToOrg time.Time
	// ReleasedFromOrg is set for a device that has left, and by [Client.OrgDevice] only.
	ReleasedFromOrg time.Time
	Updated         time.Time

	DeviceModel string
	// ProductFamily is iPhone, iPad, Mac, AppleTV, Watch, Vision, or what Apple adds.
	ProductFamily  string
	ProductType    string // such as Mac16,1
	DeviceCapacity string
	PartNumber     string
	Color          string
	Status         DeviceStatus

	OrderNumber string
	OrderDate   time.Time
	// PurchaseSourceType is APPLE, RESELLER or MANUALLY_ADDED.
	PurchaseSourceType string
	PurchaseSourceID   string

	IMEI                []string
	MEID                []string
	EID                 string
	WiFiMACAddress      string
	BluetoothMACAddress string
	EthernetMACAddress  []string

	// MDMMigrationCapable says that the device can move to another MDM server without being erased.
	MDMMigrationCapable bool
	// MDMMigrationStatus is REQUESTED, STARTED, SUCCESS or FAILED (values from implementers, not from Apple).
	MDMMigrationStatus   string
	MDMMigrationDeadline time.Time

	// Document is the resource as received.
	Document json.RawMessage
}

// DeviceStatus says whether a device is assigned to an MDM server.
type DeviceStatus string

// Values of DeviceStatus.
const (
	DeviceAssigned   DeviceStatus = "ASSIGNED"
	DeviceUnassigned DeviceStatus = "UNASSIGNED"
)

func newDevice(r resource) Device {
	a := r.attrs
	d := Device{
		ID: r.id, SerialNumber: a.text("serialNumber"),
		AddedToOrg: a.time("addedToOrgDateTime"), ReleasedFromOrg: a.time("releasedFromOrgDateTime"), Updated: a.time("updatedDateTime"),
		DeviceModel: a.text("deviceModel"), ProductFamily: a.text("productFamily"), ProductType: a.text("productType"),
		DeviceCapacity: a.text("deviceCapacity"), PartNumber: a.text("partNumber"), Color: a.text("color"),
		Status: DeviceStatus(a.text("status")), OrderNumber: a.text("orderNumber"), OrderDate: a.time("orderDateTime"),
		PurchaseSourceType: a.text("purchaseSourceType"), PurchaseSourceID: a.text("purchaseSourceId"),
		IMEI: a.texts("imei"), MEID: a.texts("meid"), EID: a.text("eid"),
		WiFiMACAddress: first(a.texts("wifiMacAddress")), BluetoothMACAddress: first(a.texts("bluetoothMacAddress")),
		EthernetMACAddress:  a.texts("ethernetMacAddress"),
		MDMMigrationCapable: a.bool("isMdmMigrationCapable"), MDMMigrationStatus: a.text("mdmMigrationStatus"),
		MDMMigrationDeadline: a.time("mdmMigrationDeadlineDateTime"), Document: r.document,
	}
	if d.SerialNumber == "" {
		d.SerialNumber = r.id
	}
	if d.PurchaseSourceID == "" {
		d.PurchaseSourceID = a.text("purchaseSourceUid") // the name in one of Apple's samples
	}
	return d
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// AppleCareCoverage is one AppleCare agreement or warranty of a device.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/applecarecoverage/attributes-data.dictionary
type AppleCareCoverage struct {
	ID string
	// Status is ACTIVE or INACTIVE.
	Status string
	// PaymentType is ABE_SUBSCRIPTION, PAID_UP_FRONT, SUBSCRIPTION or NONE.
	PaymentType      string
	Description      string
	AgreementNumber  string
	Start, End       time.Time // End is not set for AppleCare+ for Business
	ContractCanceled time.Time
	IsRenewable      bool
	IsCanceled       bool
	// Document is the resource as received.
	Document json.RawMessage
}

func newCoverage(r resource) AppleCareCoverage {
	a := r.attrs
	return AppleCareCoverage{
		ID: r.id, Status: a.text("status"), PaymentType: a.text("paymentType"), Description: a.text("description"),
		AgreementNumber: a.text("agreementNumber"), Start: a.time("startDateTime"), End: a.time("endDateTime"),
		ContractCanceled: a.time("contractCancelDateTime"), IsRenewable: a.bool("isRenewable"), IsCanceled: a.bool("isCanceled"),
		Document: r.document,
	}
}

// MDMDevice is a device that is enrolled in Apple's built-in device management.
type MDMDevice struct {
	ID             string
	SerialNumber   string
	DeviceName     string
	ProductFamily  string
	EnrolledUserID string
	// Document is the resource as received.
	Document json.RawMessage
}

func newMDMDevice(r resource) MDMDevice {
	a := r.attrs
	return MDMDevice{
		ID: r.id, SerialNumber: a.text("serialNumber"), DeviceName: a.text("deviceName"), ProductFamily: a.text("productFamily"),
		EnrolledUserID: a.text("enrolledUserId"), Document: r.document,
	}
}

// MDMDeviceDetails is what Apple's built-in device management knows of a device. The names are from implementers, as Apple's
// page lists none; Document has all there is.
type MDMDeviceDetails struct {
	ID                   string
	SerialNumber         string
	DeviceName           string
	DeviceModel          string
	OSVersion            string
	Platform             string
	LastCheckIn          time.Time
	IsFileVaultEnabled   bool
	IsFirewallEnabled    bool
	StorageTotalCapacity json.Number // in Apple's unit, which is not documented
	StorageFreeCapacity  json.Number
	LostModeStatus       string
	DeviceLockStatus     string
	DeviceEraseStatus    string
	// Document is the resource as received.
	Document json.RawMessage
}

func newMDMDeviceDetails(r resource) MDMDeviceDetails {
	a := r.attrs
	return MDMDeviceDetails{
		ID: r.id, SerialNumber: a.text("serialNumber"), DeviceName: a.text("deviceName"), DeviceModel: a.text("deviceModel"),
		OSVersion: a.text("osVersion"), Platform: a.text("platform"), LastCheckIn: a.time("lastCheckInDateTime"),
		IsFileVaultEnabled: a.bool("isFileVaultEnabled"), IsFirewallEnabled: a.bool("isFirewallEnabled"),
		StorageTotalCapacity: read[json.Number](a, "storageTotalCapacity"),
		StorageFreeCapacity:  read[json.Number](a, "storageFreeCapacity"),
		LostModeStatus:       a.text("lostModeStatus"), DeviceLockStatus: a.text("deviceLockStatus"),
		DeviceEraseStatus: a.text("deviceEraseStatus"), Document: r.document,
	}
}
