package abm

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// unclearWait is when a device is looked at again that Apple could not be asked for.
const unclearWait = 10 * time.Minute

// look asks Apple what it shows of devices, and stores it with what follows. It returns the assignments to ask for now.
// stored is brought up to date.
func (s *step) look(ctx context.Context, rows []storage.Assignment, stored map[string]storage.Device, res *AssignResult) ([]storage.Assignment, error) {
	return s.lookAt(ctx, rows, &view{stored: stored}, res)
}

// lookInaccessible is look for devices that Apple has just called NOT_ACCESSIBLE. One that is there all the same has failed.
func (s *step) lookInaccessible(ctx context.Context, rows []storage.Assignment, res *AssignResult) error {
	if len(rows) == 0 {
		return nil
	}
	stored, err := s.devices(ctx, serialsOf(rows))
	if err != nil {
		return err
	}
	_, err = s.lookAt(ctx, rows, &view{stored: stored, inaccessible: true}, res)
	return err
}

// view is what a look at devices has shown, by serial.
type view struct {
	stored       map[string]storage.Device
	inaccessible bool // Apple has just said so of all of them

	now     time.Time
	shown   map[string]Device
	refused map[string]error
	uuids   map[string]string // Apple's, by fingerprint: of the profiles that are wanted
	sights  []sighting
	changed map[string]changedSight // the same with what is wanted now
}

// changedSight is a device whose record has changed, with what is wanted for it now.
type changedSight struct {
	*sighting
	want desire
}

func (s *step) lookAt(ctx context.Context, rows []storage.Assignment, v *view, res *AssignResult) ([]storage.Assignment, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	var left []string
	var err error
	v.shown, v.refused, left, err = s.details(ctx, serialsOf(rows))
	if err != nil {
		if !stops(err) {
			err = errors.Join(err, s.putOff(ctx, rows, max(hint(err), unclearWait)))
		}
		return nil, err
	}
	if len(left) > 0 {
		if err := s.putOff(ctx, pick(rows, left), unclearWait); err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(slices.Clone(rows), func(a storage.Assignment) bool { return slices.Contains(left, a.Serial) })
	}
	res.Looked += len(rows)
	if err := s.compareView(ctx, rows, v); err != nil {
		return nil, err
	}
	written, err := s.writeRows(ctx, v.sights, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
		return v.decide(a, &s.e.s)
	})
	if err != nil {
		return nil, err
	}
	settled := bySerial(written)
	var ask []storage.Assignment
	for _, before := range rows {
		a, ok := settled[before.Serial]
		switch {
		case !ok:
			ask = append(ask, before)
		case a.Failures > before.Failures:
			res.Failed++
		case a.State == storage.AssignmentSatisfied:
			res.Satisfied++
		case a.State == storage.AssignmentGone:
			res.Gone++
		}
	}
	return ask, nil
}

// compareView finds the devices whose records have changed, and what is wanted for them now.
func (s *step) compareView(ctx context.Context, rows []storage.Assignment, v *view) (err error) {
	v.now = s.e.s.now()
	if v.uuids, err = s.uuids(ctx, rows); err != nil {
		return err
	}
	here := make(map[string]storage.Device, len(rows))
	for _, a := range rows {
		if d, ok := v.stored[a.Serial]; ok {
			here[a.Serial] = d
		}
	}
	v.sights = s.sightings(here, v.shown)
	for i := range v.sights {
		v.stored[v.sights[i].row.Serial] = v.sights[i].row
	}
	if err := s.moves(ctx, v.sights); err != nil {
		return err
	}
	wants, err := s.desires(ctx, v.sights, bySerial(rows))
	if err != nil {
		return err
	}
	v.changed = make(map[string]changedSight, len(v.sights))
	for i := range v.sights {
		v.changed[v.sights[i].row.Serial] = changedSight{&v.sights[i], wants[i]}
	}
	return nil
}

// decide plans a device that has changed, and decides what the look means for its assignment. It returns false when Apple
// is to be asked now.
func (v *view) decide(a *storage.Assignment, s *settings) ([]activity.Event, bool) {
	var evs []activity.Event
	old := *a
	if c, ok := v.changed[a.Serial]; ok {
		*a, evs, _ = plan(old, &c.row, c.want, c.returned, v.now)
		if a.Profile != old.Profile || a.State != old.State {
			return evs, true // what was looked for is decided, or does not matter any more
		}
	}
	more, settled := v.seen(a, s)
	return append(evs, more...), settled || *a != old
}

// putOff has rows looked at again later, as nothing was learnt of them.
func (s *step) putOff(ctx context.Context, rows []storage.Assignment, wait time.Duration) error {
	now := s.e.s.now()
	_, err := s.writeRows(ctx, nil, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
		if a.NextAttemptAt.IsZero() {
			return nil, false // settled meanwhile
		}
		a.NextAttemptAt = now.Add(wait)
		return nil, true
	})
	return err
}

// seen decides what a look at a device means for its assignment. It returns false when Apple is to be asked now: that is
// recorded when it is about to be.
func (v *view) seen(a *storage.Assignment, s *settings) ([]activity.Event, bool) {
	refused := v.refused[a.Serial]
	d, ok := v.shown[a.Serial]
	row, known := v.stored[a.Serial]
	switch {
	case refused != nil:
		return unseen(a, cmp.Or(codeOf(refused), string(ResultFailed)), refused.Error(), s, v.now), true
	case !ok || d.ResponseStatus == ResultFailed:
		result := cmp.Or(string(d.ResponseStatus), resultMissing)
		return unseen(a, result, "apple does not show the device: "+result, s, v.now), true
	case d.ResponseStatus == ResultNotAccessible:
		gone(a)
		return nil, true
	case !known: // it is there, but the inventory has not come to it yet
		row = d.record(a.Account, v.now)
	}
	switch {
	case holds(a, &row, v.uuids[a.Profile]):
		return satisfy(a, &row, v.now), true
	case v.inaccessible:
		return outcome(a, string(ResultNotAccessible), 0, "", s, v.now), true
	case a.State == storage.AssignmentAssigned && a.SatisfiedAt.IsZero():
		return outcome(a, resultNotVerified, 0, "", s, v.now), true
	}
	return nil, false
}

// uuids returns Apple's UUID of each profile that rows want; none for those that are not defined.
func (s *step) uuids(ctx context.Context, rows []storage.Assignment) (map[string]string, error) {
	m := make(map[string]string)
	for _, a := range rows {
		if _, ok := m[a.Profile]; ok {
			continue
		}
		p, err := s.profile(ctx, a.Profile)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
		m[a.Profile] = p.UUID
	}
	return m, nil
}

func profileName(doc []byte) string {
	p, err := depprofile.Parse(doc)
	if err != nil {
		return ""
	}
	return p.ProfileName
}
