package abm

import (
	"context"
	"errors"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// unclearWait is when a device is looked at again that Apple said nothing about.
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

func (s *step) lookAt(ctx context.Context, rows []storage.Assignment, stored map[string]storage.Device, res *AssignResult, refused bool) ([]storage.Assignment, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	details, err := s.apple().DeviceDetails(ctx, serialsOf(rows)...)
	if err != nil {
		return nil, err
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
	sights := s.sightings(here, details)
	for i := range sights {
		stored[sights[i].row.Serial] = sights[i].row
	}
	var ask []storage.Assignment
	now := s.e.s.now()
	written, err := s.e.writeRows(ctx, s.fence, sights, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
		return s.seen(a, details, stored, uuids[a.Profile], refused, now)
	})
	if err != nil {
		return nil, err
	}
	settled := make(map[string]bool, len(written))
	for _, a := range written {
		settled[a.Serial] = true
		switch a.State {
		case storage.AssignmentSatisfied:
			res.Satisfied++
		case storage.AssignmentGone:
			res.Gone++
		case storage.AssignmentPending, storage.AssignmentParked:
			res.Failed++
		}
	}
	for _, a := range rows {
		if !settled[a.Serial] {
			ask = append(ask, a)
		}
	}
	return ask, nil
}

// seen decides what a look at a device means for its assignment. It returns false when Apple is to be asked now: that is
// recorded when it is about to be.
func (s *step) seen(
	a *storage.Assignment, details map[string]Device, stored map[string]storage.Device, uuid string, refused bool, now time.Time,
) ([]activity.Event, bool) {
	d, ok := details[a.Serial]
	row, known := stored[a.Serial]
	switch {
	case !ok || d.ResponseStatus == ResultFailed:
		a.NextAttemptAt = now.Add(unclearWait)
		return nil, true
	case d.ResponseStatus == ResultNotAccessible:
		gone(a)
		return nil, true
	case !known: // it is there, but the inventory has not come to it yet
		row = d.record(a.Account, now)
	}
	switch {
	case has(&row, uuid):
		return satisfy(a, &row, now), true
	case refused:
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
