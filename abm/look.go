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
	return s.lookAt(ctx, rows, stored, res, false)
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
	_, err = s.lookAt(ctx, rows, stored, res, true)
	return err
}

func (s *step) lookAt(
	ctx context.Context, rows []storage.Assignment, stored map[string]storage.Device, res *AssignResult, inaccessible bool,
) ([]storage.Assignment, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	shown, refused, left, err := s.details(ctx, serialsOf(rows))
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
	uuids, err := s.uuids(ctx, rows)
	if err != nil {
		return nil, err
	}
	here := make(map[string]storage.Device, len(rows))
	for _, a := range rows {
		if d, ok := stored[a.Serial]; ok {
			here[a.Serial] = d
		}
	}
	sights := s.sightings(here, shown)
	for i := range sights {
		stored[sights[i].row.Serial] = sights[i].row
	}
	if err := s.moves(ctx, sights); err != nil {
		return nil, err
	}
	wants, err := s.desires(ctx, sights, bySerial(rows))
	if err != nil {
		return nil, err
	}
	changed := make(map[string]changedSight, len(sights))
	for i := range sights {
		changed[sights[i].row.Serial] = changedSight{&sights[i], wants[i]}
	}
	now := s.e.s.now()
	failures := make(map[string]int, len(rows))
	written, err := s.writeRows(ctx, sights, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
		failures[a.Serial] = a.Failures
		var evs []activity.Event
		old := *a
		if c, ok := changed[a.Serial]; ok {
			*a, evs, _ = plan(old, &c.row, c.want, c.returned, now)
			if a.Profile != old.Profile || a.State != old.State {
				return evs, true // what was looked for is decided, or does not matter any more
			}
		}
		more, settled := s.seen(a, shown, refused[a.Serial], stored, uuids[a.Profile], inaccessible, now)
		return append(evs, more...), settled || *a != old
	})
	if err != nil {
		return nil, err
	}
	settled := make(map[string]bool, len(written))
	for _, a := range written {
		settled[a.Serial] = true
		switch {
		case a.Failures > failures[a.Serial]:
			res.Failed++
		case a.State == storage.AssignmentSatisfied:
			res.Satisfied++
		case a.State == storage.AssignmentGone:
			res.Gone++
		}
	}
	var ask []storage.Assignment
	for _, a := range rows {
		if !settled[a.Serial] {
			ask = append(ask, a)
		}
	}
	return ask, nil
}

// changedSight is a device whose record has changed, with what is wanted for it now.
type changedSight struct {
	*sighting
	want desire
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
func (s *step) seen(
	a *storage.Assignment, shown map[string]Device, refused error, stored map[string]storage.Device, uuid string,
	inaccessible bool, now time.Time,
) ([]activity.Event, bool) {
	d, ok := shown[a.Serial]
	row, known := stored[a.Serial]
	switch {
	case refused != nil:
		return unseen(a, cmp.Or(codeOf(refused), string(ResultFailed)), refused.Error(), &s.e.s, now), true
	case !ok || d.ResponseStatus == ResultFailed:
		result := cmp.Or(string(d.ResponseStatus), resultMissing)
		return unseen(a, result, "apple does not show the device: "+result, &s.e.s, now), true
	case d.ResponseStatus == ResultNotAccessible:
		gone(a)
		return nil, true
	case !known: // it is there, but the inventory has not come to it yet
		row = d.record(a.Account, now)
	}
	switch {
	case holds(a, &row, uuid):
		return satisfy(a, &row, now), true
	case inaccessible:
		return outcome(a, string(ResultNotAccessible), 0, "", &s.e.s, now), true
	case a.State == storage.AssignmentAssigned && a.SatisfiedAt.IsZero():
		return outcome(a, resultNotVerified, 0, "", &s.e.s, now), true
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
