package storage

import (
	"context"
	"time"
)

// Activity is something that happened, kept for people to read. Package activity makes them from typed events.
type Activity struct {
	// Seq is given by the store; values passed in are ignored. It grows in the order in which activities become
	// visible: once a reader has seen one, none with a smaller Seq appears any more. There may be gaps.
	Seq  int64
	At   time.Time
	Kind string
	// Actor is who did it: a part of the system, a device or a person.
	Actor string
	// Account, Serial and EnrollmentID say what it happened to; empty where they do not apply.
	Account      string
	Serial       string
	EnrollmentID string
	// Detail is the event, JSON. It never holds a secret.
	Detail []byte
}

// ActivityFilter narrows ListActivities. Zero fields do not narrow.
type ActivityFilter struct {
	Account      string
	Serial       string
	EnrollmentID string
	Kind         string
	// AfterSeq leaves out the activities up to and including this Seq: a reader that follows the store remembers the
	// Seq of the last activity it handled.
	AfterSeq int64
	// Newest lists the newest first instead of the oldest.
	Newest bool
}

// ActivityStore keeps activities. Those that describe a change are written with it, by the method that makes it.
type ActivityStore interface {
	// AppendActivities stores activities that no other change goes with.
	AppendActivities(ctx context.Context, acts ...Activity) error
	// ListActivities lists activities by Seq. Those stored by one call have the order they were passed in.
	ListActivities(ctx context.Context, f ActivityFilter, p Page) (acts []Activity, next string, err error)
}
