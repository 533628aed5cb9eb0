package abm

import (
	"context"
	"errors"
	"fmt"

	"github.com/enrollkit/enrollkit/storage"
)

// replan asks the resolver for all devices and stores what is wanted where it differs. The rules are recorded at the end: if
// it is interrupted it begins again, and finds nothing to change in what it had done.
func (s *step) replan(ctx context.Context) (changed int, err error) {
	ctx, end := s.tracePlan(ctx)
	defer func() { end(changed, err) }()
	rules := s.e.resolver.Rules().ID
	err = s.eachPage(ctx, func(devs []storage.Device) error {
		n, err := s.replanDevices(ctx, devs)
		changed += n
		return err
	})
	if err != nil {
		return changed, err
	}
	cur, err := s.cursor(ctx)
	if err != nil {
		return changed, err
	}
	if cur.Version > 0 && cur.Rules == rules {
		return changed, nil
	}
	cur.Rules, cur.UpdatedAt = rules, s.e.s.now()
	_, err = s.observe(ctx, nil, &cur, nil)
	return changed, err
}

// replanDevices plans devices whose records have not changed.
func (s *step) replanDevices(ctx context.Context, devs []storage.Device) (int, error) {
	sights := make([]sighting, len(devs))
	for i := range devs {
		sights[i].row = devs[i]
	}
	for range maxConflicts {
		change, err := s.planned(ctx, sights)
		if err != nil || len(change.Assignments) == 0 {
			return 0, err
		}
		change.Devices = nil
		err = s.commit(ctx, change)
		if err == nil {
			return len(change.Assignments), nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return 0, fmt.Errorf("abm: store assignments: %w", err)
		}
	}
	return 0, fmt.Errorf("abm: store assignments: %w", storage.ErrConflict)
}
