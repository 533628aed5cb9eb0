package abm

import (
	"context"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// movedWithin is how long ago another account may have had a device for its arrival to be a move.
const movedWithin = 30 * 24 * time.Hour

// moves adds to the devices that are new in this account where they have come from, if another account of ours has them
// still or had them lately. What the other account wanted for them ends when it learns that they have left: from its feed, from
// its sweep, or from Apple's answer when it asks for something, once.
func (s *step) moves(ctx context.Context, sights []sighting) error {
	serials := make([]string, 0, len(sights))
	for i := range sights {
		if sights[i].fresh {
			serials = append(serials, sights[i].row.Serial)
		}
	}
	if len(serials) == 0 {
		return nil
	}
	rows, err := s.e.store.FindDevices(ctx, serials...)
	if err != nil {
		return fmt.Errorf("abm: devices of other accounts: %w", err)
	}
	now := s.e.s.now()
	from := make(map[string]storage.Device)
	for _, d := range rows {
		if d.Account == s.account || !d.Present() && now.Sub(d.LeftAt) > movedWithin {
			continue
		}
		if old, ok := from[d.Serial]; !ok || d.Present() || !old.Present() && old.LeftAt.Before(d.LeftAt) {
			from[d.Serial] = d
		}
	}
	for i := range sights {
		sg := &sights[i]
		if d, ok := from[sg.row.Serial]; ok && sg.fresh {
			sg.events = append(sg.events, activity.DeviceMoved{
				On: activity.On{Account: s.account, Serial: d.Serial}, From: d.Account, To: s.account,
			})
		}
	}
	return nil
}

// migration returns the event for a migration deadline that is another than before.
func migration(on activity.On, from, to time.Time) []activity.Event {
	switch {
	case from.Equal(to):
		return nil
	case from.IsZero():
		return []activity.Event{activity.MigrationDeadlineSet{On: on, Deadline: to}}
	case to.IsZero():
		return []activity.Event{activity.MigrationDeadlineCleared{On: on, From: from}}
	}
	return []activity.Event{activity.MigrationDeadlineChanged{On: on, From: from, Deadline: to}}
}
