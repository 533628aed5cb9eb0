package storage

// Store is all of storage, for wiring a backend into a host. Code that works with storage asks for the narrow
// interfaces it needs.
type Store interface {
	AccountStore
	KeyPairStore
	ServiceSessionStore
	NanoDEPStore
	DeviceStore
	AssignmentStore
	ProfileStore
	InventoryStore
	SessionStore
	EnrollmentStore
	RunStore
	EffectStore
	ActivityStore
	Leaser
}
