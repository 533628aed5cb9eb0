package abmtest

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The activity types of the API.
const (
	axmAssign         = "ASSIGN_DEVICES"
	axmUnassign       = "UNASSIGN_DEVICES"
	axmMigrate        = "ASSIGN_DEVICES_WITH_MDM_MIGRATION_DEADLINE"
	axmUpdateDeadline = "UPDATE_MDM_MIGRATION_DEADLINE"
	axmCancel         = "CANCEL_MDM_MIGRATION"
	axmRelease        = "RELEASE_DEVICES"
)

// The words of the results, which are those of the portal's log files.
//
// Apple: https://support.apple.com/guide/apple-business-manager/apddc1fec242
const (
	axmUpdated    = "UPDATED"
	axmNotAllowed = "OPERATION_NOT_ALLOWED"
)

// axmActivity is one activity.
type axmActivity struct {
	id, kind           string
	server             *MDMServer
	deadline           time.Time
	devices            []*device
	created, completed time.Time
	polls              int
	status, subStatus  string
	end                string // COMPLETED, or how the test wants it to end
	file               string // name of the results, a secret
	results            []byte
}

// activityRequest is the body of POST /v1/orgDeviceActivities.
type activityRequest struct {
	Data struct {
		Type       string `json:"type"`
		Attributes struct {
			Type     string `json:"activityType"`
			Metadata struct {
				Deadline string `json:"mdmMigrationDeadlineDateTime"`
			} `json:"activityTypeMetadata"`
		} `json:"attributes"`
		Relationships struct {
			Server struct {
				Data *axmIdentifier `json:"data"`
			} `json:"mdmServer"`
			Devices struct {
				Data []axmIdentifier `json:"data"`
			} `json:"devices"`
		} `json:"relationships"`
	} `json:"data"`
}

type axmIdentifier struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// createActivity serves POST /v1/orgDeviceActivities. One serial number or server that does not exist refuses the whole.
// UNASSIGN_DEVICES must name the server that devices leave; whether Apple asks for it is not documented.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/create-an-orgdeviceactivity
func (a *AXM) createActivity(c *axmCall) (int, any, error) {
	var in activityRequest
	if err := json.Unmarshal(c.body, &in); err != nil || in.Data.Type != "orgDeviceActivities" {
		return 0, nil, &axmError{status: http.StatusBadRequest, code: "ENTITY_ERROR.INVALID", detail: "not an activity"}
	}
	act := &axmActivity{
		kind: in.Data.Attributes.Type, created: c.now, status: "IN_PROGRESS", subStatus: "SUBMITTED", end: "COMPLETED",
	}
	for _, check := range []func(*axmCall, *activityRequest, *axmActivity) error{a.checkServer, a.checkDeadline, a.checkDevices} {
		if err := check(c, &in, act); err != nil {
			return 0, nil, err
		}
	}
	if a.nextEnd != "" {
		act.end, a.nextEnd = a.nextEnd, ""
	}
	act.id, act.file = a.s.uuid(), a.s.hexID(20)
	a.activities[act.id] = act
	a.running = append(a.running, act)
	const path = "POST /v1/orgDeviceActivities"
	a.s.stats.LargestBatch[path] = max(a.s.stats.LargestBatch[path], len(act.devices))
	return http.StatusCreated, c.single(a.activityResource(c, act)), nil
}

func (a *AXM) checkServer(_ *axmCall, in *activityRequest, act *axmActivity) error {
	switch act.kind {
	case axmAssign, axmUnassign, axmMigrate:
	case axmUpdateDeadline, axmCancel, axmRelease:
		return nil
	default:
		return &axmError{
			status: http.StatusConflict, code: "ENTITY_ERROR.ATTRIBUTE.INVALID", pointer: "/data/attributes/activityType",
			detail: "unknown activity type",
		}
	}
	const pointer = "/data/relationships/mdmServer/data"
	id := in.Data.Relationships.Server.Data
	if id == nil || id.Type != "mdmServers" {
		return axmConflict(pointer, "an MDM server is required")
	}
	m, err := a.server(id.ID)
	if err != nil {
		return axmConflict(pointer, "no such MDM server")
	}
	act.server = m
	return nil
}

func (a *AXM) checkDeadline(c *axmCall, in *activityRequest, act *axmActivity) error {
	if act.kind != axmMigrate && act.kind != axmUpdateDeadline {
		return nil
	}
	const pointer = "/data/attributes/activityTypeMetadata/mdmMigrationDeadlineDateTime"
	deadline, err := time.Parse(time.RFC3339, in.Data.Attributes.Metadata.Deadline)
	past := act.kind == axmMigrate && !deadline.After(c.now)
	if err != nil || past || deadline.Sub(c.now) > maxMigration {
		return &axmError{
			status: http.StatusConflict, code: "ENTITY_ERROR.ATTRIBUTE.INVALID", pointer: pointer,
			detail: "the deadline is no time, past, or more than 90 days ahead",
		}
	}
	act.deadline = deadline.UTC()
	return nil
}

func (a *AXM) checkDevices(_ *axmCall, in *activityRequest, act *axmActivity) error {
	const pointer = "/data/relationships/devices/data"
	if len(in.Data.Relationships.Devices.Data) == 0 {
		return axmConflict(pointer, "devices are required")
	}
	for i, id := range in.Data.Relationships.Devices.Data {
		d, ok := a.s.devices[id.ID]
		if !ok || d.released || id.Type != "orgDevices" {
			return axmConflict(fmt.Sprintf("%s/%d", pointer, i), "no such device: "+id.ID)
		}
		act.devices = append(act.devices, d)
	}
	return nil
}

// activity serves GET /v1/orgDeviceActivities/{id}. Each look moves the activity on, unless it ends by the clock.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/get-orgdeviceactivity-information
func (a *AXM) activity(c *axmCall) (int, any, error) {
	act, ok := a.activities[c.r.PathValue("id")]
	if !ok {
		return 0, nil, axmNotFound("no such activity")
	}
	if act.status == "IN_PROGRESS" {
		steps := []string{"PRE_PROCESSING", "PENDING", "PROCESSING", "POST_PROCESSING"}
		act.subStatus = steps[min(act.polls, len(steps)-1)]
		act.polls++
		a.settle(c.now)
	}
	return http.StatusOK, c.single(a.activityResource(c, act)), nil
}

func (a *AXM) activityResource(c *axmCall, act *axmActivity) map[string]any {
	attrs := map[string]any{"status": act.status, "subStatus": act.subStatus, "createdDateTime": axmStamp(act.created)}
	if !act.completed.IsZero() {
		attrs["completedDateTime"] = axmStamp(act.completed)
	}
	if act.results != nil {
		base := a.cfg.resultsURL
		if base == "" {
			base = c.base
		}
		attrs["downloadUrl"] = base + "/results/" + act.file + "?Expires=4102444800"
	}
	return map[string]any{
		"type": "orgDeviceActivities", "id": act.id, "attributes": c.selected("orgDeviceActivities", attrs),
		"links": map[string]string{"self": c.base + "/v1/orgDeviceActivities/" + act.id},
	}
}

// settle ends the activities that are due, in the order of their creation. The caller holds the lock.
func (a *AXM) settle(now time.Time) {
	a.running = slices.DeleteFunc(a.running, func(act *axmActivity) bool {
		due := a.cfg.polls > 0 && act.polls >= a.cfg.polls ||
			a.cfg.duration > 0 && !now.Before(act.created.Add(a.cfg.duration))
		if due {
			a.complete(act, now)
		}
		return due
	})
}

// complete carries an activity out. The caller holds the lock.
func (a *AXM) complete(act *axmActivity, now time.Time) {
	act.status, act.completed = act.end, now
	if act.end != "COMPLETED" {
		act.subStatus = ""
		return
	}
	a.s.endThrottles(now)
	rows, failed := [][]string{{"Serial Number", "Status"}}, 0
	for _, d := range act.devices {
		word := a.carryOut(act, d, now)
		if word != axmUpdated {
			failed++
		}
		rows = append(rows, []string{d.hw.SerialNumber, word})
	}
	switch failed {
	case 0:
		act.subStatus = "COMPLETED_WITH_SUCCESS"
	case len(act.devices):
		act.subStatus = "COMPLETED_WITH_ERROR"
	default:
		act.subStatus = "COMPLETED_WITH_FAILURE"
	}
	var buf bytes.Buffer
	_ = csv.NewWriter(&buf).WriteAll(rows) // a buffer takes everything
	act.results = buf.Bytes()
}

// carryOut does to one device what the activity is for, and returns the word for its result.
func (a *AXM) carryOut(act *axmActivity, d *device, now time.Time) string {
	serial := d.hw.SerialNumber
	if word := a.failing[serial]; word != "" {
		return word
	}
	before := a.owner(d, now)
	switch {
	case d.released, act.server != nil && !slices.Contains(a.s.servers, act.server):
		return axmNotAllowed // the device or the server has gone since the activity was created
	case act.kind == axmAssign:
		a.s.attach(act.server, d, now, time.Time{})
		d.migrateFrom = nil
	case act.kind == axmUnassign && d.owner == act.server:
		a.s.detach(d, now, false)
	case act.kind == axmMigrate && d.owner != nil && d.owner != act.server && !d.mayNotMigrate():
		from := d.owner
		a.s.attach(act.server, d, now, act.deadline)
		d.migrateFrom = from
	case act.kind == axmUpdateDeadline && d.migrateFrom != nil:
		a.s.change(d, now, func(st *state) { st.deadline = act.deadline })
	case act.kind == axmCancel && d.migrateFrom != nil:
		a.s.attach(d.migrateFrom, d, now, time.Time{})
		d.migrateFrom = nil
	case act.kind == axmRelease:
		a.s.release(d, now, false)
		a.since["released "+serial] = now // not firstSeen: it may have been released before
	default:
		return axmNotAllowed
	}
	if a.cfg.lag > 0 && !d.released {
		a.lagging[serial] = axmLag{before, now.Add(a.cfg.lag)}
	}
	return axmUpdated
}

// mayNotMigrate tells that the profile of a device that is assigned forbids its migration.
func (d *device) mayNotMigrate() bool {
	p := d.owner.profiles[d.cur.profileUUID]
	return string(p["is_multi_user"]) == "true" || string(p["is_return_to_service"]) == "true"
}

// serveResults serves the results of an activity. Like other stores of presigned URLs, it asks for no credentials, and
// refuses a request that brings some.
func (a *AXM) serveResults(w http.ResponseWriter, r *http.Request) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if r.Header.Get("Authorization") != "" {
		http.Error(w, "only one authentication mechanism is allowed", http.StatusBadRequest)
		return
	}
	for _, act := range a.activities {
		if act.file == r.PathValue("file") && act.results != nil {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write(act.results) // the client has gone; there is nobody to tell
			return
		}
	}
	http.Error(w, "no such file", http.StatusForbidden)
}

// FailDevice lets activities fail for a device with a word such as INTERNAL_ERROR; the empty word ends it.
func (a *AXM) FailDevice(serial, word string) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.failing[serial] = strings.TrimSpace(word)
}

// EndNextActivity lets the next activity that is created end with FAILED or STOPPED, without effect.
func (a *AXM) EndNextActivity(status string) error {
	if status != "FAILED" && status != "STOPPED" {
		return fmt.Errorf("abmtest: end next activity: unknown status %q: %w", status, ErrInvalid)
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.nextEnd = status
	return nil
}
