package setupexp

import "context"

// Commander is how commands reach a device. The MDM server implements it.
type Commander interface {
	// Enqueue puts one command into the device's queue, on the device channel. command is the whole property list
	// with its CommandUUID, which is commandUUID. A command of this UUID that is in the queue, or was, is success and
	// changes nothing: the tracker asks again when it does not know whether its last call arrived. It returns nil only
	// once the queue has the command for good; that the device could not be woken is no error here. ctx ends after 8
	// seconds, and the call has to end with it.
	Enqueue(ctx context.Context, enrollmentID, commandUUID string, command []byte) error
	// Push wakes the device so that it fetches its commands. Apple may drop or join pushes; the tracker pushes again
	// when the device stays silent, so an error costs time only.
	Push(ctx context.Context, enrollmentID string) error
}

// Observer takes events; *Tracker is one. Whatever hears from devices needs no more than this.
type Observer interface {
	Observe(ctx context.Context, ev Event) error
}
