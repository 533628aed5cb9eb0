package abm

// deviceKey is a documented key of a device record. The number stands for the key in stored digests: numbers are never
// changed or used again. A key that gets a number later makes the devices that have it look changed once.
type deviceKey uint8

const (
	keyOther deviceKey = iota // any that is not documented
	keySerialNumber
	keyModel
	keyDescription
	keyColor
	keyAssetTag
	keyDeviceFamily
	keyOS
	keyDeviceAssignedDate
	keyDeviceAssignedBy
	keyProfileUUID
	keyProfileAssignTime
	keyProfilePushTime
	keyProfileStatus
	keyMDMMigrationDeadline
	keyWiFiMACAddress
	keyBluetoothMACAddress
	keyEthernetMACAddress
	keyIMEI
	keyMEID
	keyEID
	keyIsReplacementDevice
	keyReleasedByReplacement

	keyLastOfContent = keyReleasedByReplacement
)

// These belong to the call that returned the record, and are in no digest.
const (
	keyOpType deviceKey = iota + deviceKey(keyLastOfContent) + 1
	keyOpDate
	keyResponseStatus

	deviceKeys = keyResponseStatus + 1
)

// keyOf returns the key with a name. It is a table in the form of a switch, which compiles to fewer comparisons than a map
// lookup needs.
func keyOf(name string) deviceKey {
	switch name {
	case "serial_number":
		return keySerialNumber
	case "model":
		return keyModel
	case "description":
		return keyDescription
	case "color":
		return keyColor
	case "asset_tag":
		return keyAssetTag
	case "device_family":
		return keyDeviceFamily
	case "os":
		return keyOS
	case "device_assigned_date":
		return keyDeviceAssignedDate
	case "device_assigned_by":
		return keyDeviceAssignedBy
	case "profile_uuid":
		return keyProfileUUID
	case "profile_assign_time":
		return keyProfileAssignTime
	case "profile_push_time":
		return keyProfilePushTime
	case "profile_status":
		return keyProfileStatus
	case "mdm_migration_deadline":
		return keyMDMMigrationDeadline
	case "wifi_mac_address":
		return keyWiFiMACAddress
	case "bluetooth_mac_address":
		return keyBluetoothMACAddress
	case "ethernet_mac_address":
		return keyEthernetMACAddress
	case "imei":
		return keyIMEI
	case "meid":
		return keyMEID
	case "eid":
		return keyEID
	case "is_replacement_device":
		return keyIsReplacementDevice
	case "released_by_replacement":
		return keyReleasedByReplacement
	case "op_type":
		return keyOpType
	case "op_date":
		return keyOpDate
	case "response_status":
		return keyResponseStatus
	}
	return keyOther
}
