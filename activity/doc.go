// Package activity says what happened: typed audit events, how they are kept, read and sent on.
//
// Each event is a struct in this package, one type per kind, with JSON names that stay. [New] turns one into the
// record a store keeps; the packages that make a change hand the record to the same storage call, so that the change
// and its activity are both stored or neither is.
//
//	act := activity.New(now, activity.System, activity.DeviceAdded{
//		On:    activity.On{Account: "acme", Serial: "C02XK1JDJGH5"},
//		Model: "MacBook Pro",
//	})
//	err := store.CommitInventory(ctx, storage.InventoryChange{..., Activities: []storage.Activity{act}})
//
// [Parse] turns a record back into its event. Events hold no secret: no token, key, password or challenge has a field
// here, and what Apple answered is kept only as the short word it answered with.
//
// Values are plain data and safe to share. The package keeps no state and starts no goroutine.
package activity
