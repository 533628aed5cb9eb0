package abmtest

import "time"

// The op_type values of the API.
const (
	opAdded    = "added"
	opModified = "modified"
	opDeleted  = "deleted"
)

// operation is one entry in the log of an MDM server entry. The log is what fetch and sync page through.
type operation struct {
	device        *device
	state         *state
	server        *MDMServer // only while deferred
	kind          string
	date          int64 // Unix seconds
	next          int32 // index of the device's next operation in this log; 0 if it is the newest
	byReplacement bool
}

// record logs what happened to d at m, or keeps it back while d is throttled: such devices were observed to
// stay out of the sync feed, and the server they leave gets no "deleted" meanwhile. The caller holds the lock.
//
// Observed: https://github.com/fleetdm/fleet/pull/45590
func (s *Service) record(m *MDMServer, d *device, kind string, now time.Time) {
	op := operation{device: d, state: d.cur, server: m, kind: kind, date: now.Unix()}
	if s.throttled(d.hw.SerialNumber) {
		d.deferred = append(d.deferred, op)
		return
	}
	m.append(op)
}

// append adds op to the log and links the device's previous operation to it.
func (m *MDMServer) append(op operation) {
	d, index := op.device, int32(len(m.log)) //nolint:gosec // a log of 2^31 entries does not fit into memory
	op.server = nil
	m.log = append(m.log, op)
	for i := range d.last {
		if d.last[i].server == m {
			m.log[d.last[i].index].next = index
			d.last[i].index = index
			return
		}
	}
	d.last = append(d.last, logPosition{m, index})
}

// newest returns the index of the device's newest operation in the log of m, which must have one.
func (d *device) newest(m *MDMServer) int32 {
	for _, p := range d.last {
		if p.server == m {
			return p.index
		}
	}
	return -1
}

// skip notes that a sync of m passed over the device.
func (d *device) skip(m *MDMServer) {
	if d.skipped == nil {
		d.skipped = make(map[*MDMServer]bool)
	}
	d.skipped[m] = true
}

// current tells whether op is the newest operation of its device before bound, so that a walk over all positions
// below bound meets each device once, and whether the device is still assigned to m.
func (m *MDMServer) current(op *operation, bound int) bool {
	newest := op.next == 0 || int(op.next) >= bound
	return newest && op.kind != opDeleted && op.device.owner == m
}

// change stores a changed copy of the device's state and logs it as modified for the entry it is assigned to.
func (s *Service) change(d *device, now time.Time, edit func(*state)) {
	next := *d.cur
	edit(&next)
	d.cur = &next
	if d.owner != nil {
		s.record(d.owner, d, opModified, now)
	}
}

// attach assigns d to m and logs it; any profile assignment is lost, as when an administrator re-assigns a device
// in the portal. To the same entry again it is a modification.
//
// Observed: https://github.com/fleetdm/fleet/issues/37462
//
// A device that migrates was observed to come as modified: https://github.com/micromdm/nanodep/pull/140
func (s *Service) attach(m *MDMServer, d *device, now, migrationDeadline time.Time) {
	kind := opAdded
	if d.owner == m || !migrationDeadline.IsZero() {
		kind = opModified
	}
	if d.owner == m {
		d.remember()
	} else {
		s.detach(d, now, false)
	}
	d.owner = m
	d.cur = &state{
		assignedDate: now, assignedBy: s.cfg.org.AdminID, profileStatus: statusEmpty, deadline: migrationDeadline,
	}
	if s.showOldProfile(m, d) {
		kind = opModified
	}
	s.record(m, d, kind, now)
}

// detach takes d from the entry it is assigned to, if any, and logs it there.
func (s *Service) detach(d *device, now time.Time, byReplacement bool) {
	m := d.owner
	if m == nil {
		return
	}
	d.remember()
	if s.strike(FaultSilentRelease, m, "", d.hw.SerialNumber) != nil {
		d.forgetAt(m)
	} else {
		s.record(m, d, opDeleted, now)
		if n := len(d.deferred); n > 0 {
			d.deferred[n-1].byReplacement = byReplacement
		} else {
			m.log[len(m.log)-1].byReplacement = byReplacement
		}
	}
	d.owner, d.migrateFrom = nil, nil
	d.cur = &state{profileStatus: statusEmpty}
}
