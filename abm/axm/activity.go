package axm

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ActivityType says what an activity does to devices.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/orgdeviceactivitytype
type ActivityType string

// Values of ActivityType.
const (
	AssignDevices   ActivityType = "ASSIGN_DEVICES"
	UnassignDevices ActivityType = "UNASSIGN_DEVICES"
	// Business 2.3, School 1.6 and later.
	AssignDevicesWithMDMMigrationDeadline ActivityType = "ASSIGN_DEVICES_WITH_MDM_MIGRATION_DEADLINE"
	UpdateMDMMigrationDeadline            ActivityType = "UPDATE_MDM_MIGRATION_DEADLINE"
	CancelMDMMigration                    ActivityType = "CANCEL_MDM_MIGRATION"
	// Business 2.4 and later.
	ReleaseDevices ActivityType = "RELEASE_DEVICES"
)

// Confirmation is the caller's word that it means what cannot be undone.
type Confirmation string

// ConfirmRelease confirms that devices leave the organization. The API cannot bring them back: only a reseller, Apple, or
// Apple Configurator with the device in hand can.
const ConfirmRelease Confirmation = "RELEASE_FOR_GOOD"

// ActivityRequest is one activity to be created.
type ActivityRequest struct {
	Type ActivityType
	// ServerID is the MDM server: the one that devices go to, or leave. Activities about a migration under way have none, nor
	// has a release.
	ServerID string
	// Serials are the devices, at least one.
	Serials []string
	// Deadline is when the devices have to have moved: for the two activities that set one. Apple takes 90 days ahead at most;
	// [UpdateMDMMigrationDeadline] with a time that is past moves devices without asking their users again.
	Deadline time.Time
	// Confirm must be [ConfirmRelease] for [ReleaseDevices].
	Confirm Confirmation
}

// check reports what the request lacks, or has and should not: a server or deadline that Apple would ignore is a mistake.
func (r ActivityRequest) check() error {
	var server, deadline bool
	switch r.Type {
	case AssignDevices, UnassignDevices:
		server = true
	case AssignDevicesWithMDMMigrationDeadline:
		server, deadline = true, true
	case UpdateMDMMigrationDeadline:
		deadline = true
	case CancelMDMMigration:
	case ReleaseDevices:
		if r.Confirm != ConfirmRelease {
			return ErrNotConfirmed
		}
	default:
		return fmt.Errorf("axm: activity: unknown type %q", r.Type)
	}
	if server != (r.ServerID != "") {
		return fmt.Errorf("axm: activity: %s: wants a server: %t", r.Type, server)
	}
	if deadline == r.Deadline.IsZero() {
		return fmt.Errorf("axm: activity: %s: wants a deadline: %t", r.Type, deadline)
	}
	if len(r.Serials) == 0 {
		return errors.New("axm: activity: no serial numbers")
	}
	for i, s := range r.Serials {
		if s == "" || len(s) > maxID {
			return fmt.Errorf("axm: activity: serial number %d of %d is empty or too long", i+1, len(r.Serials))
		}
	}
	return nil
}

type identifier struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// document returns the JSON:API document of the request.
func (r ActivityRequest) document() any {
	attrs := map[string]any{"activityType": r.Type}
	if !r.Deadline.IsZero() {
		attrs["activityTypeMetadata"] = map[string]string{"mdmMigrationDeadlineDateTime": stamp(r.Deadline)}
	}
	devices := make([]identifier, len(r.Serials))
	for i, s := range r.Serials {
		devices[i] = identifier{typeDevices, s}
	}
	relationships := map[string]any{"devices": map[string]any{"data": devices}}
	if r.ServerID != "" {
		relationships["mdmServer"] = map[string]any{"data": identifier{typeServers, r.ServerID}}
	}
	return map[string]any{"data": map[string]any{"type": typeActivities, "attributes": attrs, "relationships": relationships}}
}

// ActivityStatus says how far an activity is.
type ActivityStatus string

// Values of ActivityStatus.
const (
	ActivityInProgress ActivityStatus = "IN_PROGRESS"
	ActivityCompleted  ActivityStatus = "COMPLETED" // not for every device: see SubStatus and the results
	ActivityStopped    ActivityStatus = "STOPPED"
	ActivityFailed     ActivityStatus = "FAILED"
)

// Values of Activity.SubStatus of an activity that has completed. While it runs they are SUBMITTED, PRE_PROCESSING, PENDING,
// PROCESSING, POST_PROCESSING and STOPPING.
const (
	CompletedWithSuccess          = "COMPLETED_WITH_SUCCESS"
	CompletedWithFailure          = "COMPLETED_WITH_FAILURE" // for a part of the devices
	CompletedWithError            = "COMPLETED_WITH_ERROR"
	CompletedPostProcessingFailed = "COMPLETED_POST_PROCESSING_FAILED" // without results
)

// Activity is something that Apple does to devices, in its own time. Apple keeps it for 30 days, it is said; how long is not
// documented.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/orgdeviceactivity/attributes-data.dictionary
type Activity struct {
	ID                 string
	Status             ActivityStatus
	SubStatus          string
	Created, Completed time.Time
	// DownloadURL is where the results are, for a short time. Whoever has it can read them.
	DownloadURL string
	// Serials are the devices it is about; set by the calls that create activities only, as Apple does not repeat them.
	Serials []string
	// Document is the resource as received.
	Document json.RawMessage
}

// Done reports whether Apple has finished, well or not.
func (a *Activity) Done() bool {
	switch a.Status {
	case ActivityCompleted, ActivityStopped, ActivityFailed:
		return true
	}
	return !a.Completed.IsZero() // a status that Apple may add
}

// Succeeded reports whether it was done for all devices.
func (a *Activity) Succeeded() bool {
	return a.Status == ActivityCompleted && a.SubStatus == CompletedWithSuccess
}

func newActivity(r resource) Activity {
	a := r.attrs
	return Activity{
		ID: r.id, Status: ActivityStatus(a.text("status")), SubStatus: a.text("subStatus"), Created: a.time("createdDateTime"),
		Completed: a.time("completedDateTime"), DownloadURL: a.text("downloadUrl"), Document: r.document,
	}
}
