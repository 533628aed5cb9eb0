package abm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// Values of storage.Device.LeftReason.
const (
	leftDeleted       = "deleted"        // Apple's feed said so
	leftNotAccessible = "not_accessible" // Apple does not know the serial in this account any more
)

// fold returns one record per serial: the one with the latest date, and of equal ones the last. A page may name a device
// several times.
func fold(devs []Device) []Device {
	at := make(map[string]int, len(devs))
	for i := range devs {
		j, ok := at[devs[i].SerialNumber]
		if !ok || !devs[i].OpDate.Before(devs[j].OpDate) {
			at[devs[i].SerialNumber] = i
		}
	}
	if len(at) == len(devs) {
		return devs
	}
	out := make([]Device, 0, len(at))
	for i := range devs {
		if at[devs[i].SerialNumber] == i {
			out = append(out, devs[i])
		}
	}
	return out
}

// sighting is a device that is to be written, and why.
type sighting struct {
	row storage.Device
	// fresh says that the device was not there before, returned that it was in the account at an earlier time.
	fresh, returned bool
	events          []activity.Event
}

// merge applies Apple's record d to what is stored (old; known says whether there is anything). It returns false if there
// is nothing to write: the same content, or a record that is older than what is stored.
func merge(old storage.Device, known bool, d *Device, account string, now time.Time) (sighting, bool) {
	switch {
	case known && !d.OpDate.IsZero() && d.OpDate.Before(old.OpDate):
		return sighting{}, false
	case d.OpType == OpDeleted && !known:
		// Its date is remembered, so that an older record that comes later does not bring it back.
		return leave(d.record(account, now), leftDeleted, d.OpDate, now), true
	case d.OpType == OpDeleted && !old.Present():
		row := old
		row.OpDate, row.UpdatedAt = d.OpDate, now
		return sighting{row: row}, d.OpDate.After(old.OpDate)
	case d.OpType == OpDeleted:
		return leave(old, leftDeleted, d.OpDate, now), true
	}
	row := d.record(account, now)
	on := activity.On{Account: account, Serial: row.Serial} // not the record's, which shares the memory of the page
	if !known {
		evs := append([]activity.Event{added(on, &row, false)}, migration(on, zeroTime, row.MigrationDeadline)...)
		return sighting{row: row, fresh: true, events: evs}, true
	}
	row.FirstSeenAt = old.FirstSeenAt
	if row.OpDate.IsZero() {
		row.OpDate = old.OpDate
	}
	switch {
	case !old.Present():
		evs := append([]activity.Event{added(on, &row, true)}, migration(on, zeroTime, row.MigrationDeadline)...)
		return sighting{row: row, fresh: true, returned: true, events: evs}, true
	case row.Digest != old.Digest:
		evs := append([]activity.Event{activity.DeviceChanged{
			On: on, OpType: string(d.OpType), ProfileUUID: row.ProfileUUID, ProfileStatus: row.ProfileStatus,
			FromProfileUUID: old.ProfileUUID, FromProfileStatus: old.ProfileStatus, MigrationDeadline: row.MigrationDeadline,
		}}, migration(on, old.MigrationDeadline, row.MigrationDeadline)...)
		return sighting{row: row, events: evs}, true
	case row.OpDate.After(old.OpDate): // remembered, so that an older record is known to be old
		return sighting{row: row}, true
	}
	return sighting{}, false
}

// leave marks a device as not in the account any more. The zero digest makes it differ from every record that may come.
func leave(old storage.Device, reason string, opDate, now time.Time) sighting {
	row := old
	row.LeftAt, row.LeftReason, row.Digest, row.UpdatedAt = now, reason, storage.Digest{}, now
	if opDate.After(row.OpDate) {
		row.OpDate = opDate
	}
	return sighting{row: row, events: []activity.Event{
		activity.DeviceLeft{On: activity.On{Account: old.Account, Serial: old.Serial}, Reason: reason},
	}}
}

func added(on activity.On, row *storage.Device, returned bool) activity.DeviceAdded {
	return activity.DeviceAdded{
		On: on, Model: row.Model, Family: row.Family, ProfileUUID: row.ProfileUUID, ProfileStatus: row.ProfileStatus, Returned: returned,
	}
}

// observe stores what Apple shows of devices, what is wanted for those that changed, and the cursor with what move does to it
// if that is not nil, in one transaction. finish, if not nil, adds events once it is known how many devices changed. It
// returns that number.
func (s *step) observe(
	ctx context.Context, devs []Device, move func(*storage.Cursor), finish func(changed int) []activity.Event,
) (int, error) {
	devs = fold(devs)
	before := 0
	for len(devs) > MaxLimit { // more than was asked for; the cursor moves with the last of them
		n, err := s.observe(ctx, devs[:MaxLimit], nil, nil)
		if err != nil {
			return before, err
		}
		before += n
		devs = devs[MaxLimit:]
	}
	for range maxConflicts {
		cursor, err := s.moved(ctx, move)
		if err != nil {
			return before, err
		}
		sights, err := s.compare(ctx, devs)
		if err != nil {
			return before, err
		}
		change, err := s.planned(ctx, sights)
		if err != nil {
			return before, err
		}
		if finish != nil {
			change.Activities = append(change.Activities, s.activities(finish(before+len(sights)))...)
		}
		change.Cursor = cursor
		if cursor == nil && len(change.Devices) == 0 && len(change.Activities) == 0 {
			return before, nil
		}
		err = s.commit(ctx, change)
		if err == nil {
			return before + len(sights), nil
		}
		if !errors.Is(err, storage.ErrConflict) || cursor != nil && s.outdated(ctx, cursor) {
			return before, fmt.Errorf("abm: store devices: %w", err)
		}
	}
	return before, fmt.Errorf("abm: store devices: %w", storage.ErrConflict)
}

// moved returns the cursor as it is to be stored; nil if it stays.
func (s *step) moved(ctx context.Context, move func(*storage.Cursor)) (*storage.Cursor, error) {
	if move == nil {
		return nil, nil
	}
	cur, err := s.cursor(ctx)
	if err != nil {
		return nil, err
	}
	move(&cur)
	cur.UpdatedAt = s.e.s.now()
	return &cur, nil
}

// outdated reports whether someone else has written the cursor, so that writing ours cannot succeed.
func (s *step) outdated(ctx context.Context, cursor *storage.Cursor) bool {
	stored, err := s.e.store.GetCursor(ctx, s.account)
	return err != nil && !errors.Is(err, storage.ErrNotFound) || stored.Version != cursor.Version
}

// compare returns what is to be written. Records of a full list are compared by digest first; an operation counts by its
// date as well, so the stored record is needed.
func (s *step) compare(ctx context.Context, devs []Device) ([]sighting, error) {
	plain := make([]string, 0, len(devs))
	for i := range devs {
		if devs[i].plain() {
			plain = append(plain, devs[i].SerialNumber)
		}
	}
	var digests map[string]storage.Digest
	if len(plain) > 0 {
		var err error
		if digests, err = s.e.store.DeviceDigests(ctx, s.account, plain); err != nil {
			return nil, fmt.Errorf("abm: digests: %w", err)
		}
	}
	differ := make([]*Device, 0, len(devs)-len(digests))
	var known []string // or maybe: a plain record without a digest is not stored
	for i := range devs {
		d := &devs[i]
		g, ok := digests[d.SerialNumber]
		if ok && g == d.digest {
			continue
		}
		differ = append(differ, d)
		if ok || !d.plain() {
			known = append(known, d.SerialNumber)
		}
	}
	var stored map[string]storage.Device
	if len(known) > 0 {
		var err error
		if stored, err = s.devices(ctx, known); err != nil {
			return nil, err
		}
	}
	now := storage.Time(s.e.s.now()) // in the form in which it is stored, so that the store has nothing to change
	sights := s.room.sights[:0]
	for _, d := range differ {
		old, known := stored[d.SerialNumber]
		if sg, ok := merge(old, known, d, s.account, now); ok {
			sights = append(sights, sg)
		}
	}
	s.room.sights = sights
	return sights, nil
}

// plain says that d is from a list, without an operation.
func (d *Device) plain() bool { return d.OpDate.IsZero() && d.OpType == "" }

func (s *step) devices(ctx context.Context, serials []string) (map[string]storage.Device, error) {
	rows, err := s.e.store.GetDevices(ctx, s.account, serials)
	if err != nil {
		return nil, fmt.Errorf("abm: devices: %w", err)
	}
	m := make(map[string]storage.Device, len(rows))
	for _, r := range rows {
		m[r.Serial] = r
	}
	return m, nil
}

// planned returns the change that stores sights and what is wanted for them.
func (s *step) planned(ctx context.Context, sights []sighting) (storage.InventoryChange, error) {
	var c storage.InventoryChange
	if len(sights) == 0 {
		return c, nil
	}
	if err := s.moves(ctx, sights); err != nil {
		return c, err
	}
	serials := make([]string, len(sights))
	for i := range sights {
		serials[i] = sights[i].row.Serial
	}
	rows, err := s.e.store.GetAssignments(ctx, s.account, serials)
	if err != nil {
		return c, fmt.Errorf("abm: assignments: %w", err)
	}
	old := bySerial(rows)
	wants, err := s.desires(ctx, sights, old)
	if err != nil {
		return c, err
	}
	now := storage.Time(s.e.s.now())
	c.Devices, c.Assignments = s.room.devices[:0], s.room.assignments[:0]
	evs := s.room.events[:0]
	for i := range sights {
		sg := &sights[i]
		c.Devices = append(c.Devices, sg.row)
		evs = append(evs, sg.events...)
		if a, more, ok := plan(old[sg.row.Serial], &sg.row, wants[i], sg.returned, now); ok {
			c.Assignments = append(c.Assignments, a)
			evs = append(evs, more...)
		}
	}
	c.Activities = s.appendActivities(s.room.activities[:0], evs)
	s.room.devices, s.room.assignments, s.room.events, s.room.activities = c.Devices, c.Assignments, evs, c.Activities
	return c, nil
}

// room is what observe fills for each page and is done with before the next one. It is used again, as a fleet that is read for
// the first time would otherwise leave half of its memory behind as garbage.
type room struct {
	sights      []sighting
	devices     []storage.Device
	assignments []storage.Assignment
	events      []activity.Event
	activities  []storage.Activity
	asked       []storage.Device // those the resolver is asked for
	wants       []desire
}
