package abm

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// sweep reads the full list beside the sync cursor, which it leaves alone, and applies what differs. Devices that the
// list does not name are looked at one by one, as the list may have been incomplete, and marked as left if Apple does not
// know them. Apple's feed misses devices and tells nothing of releases, so this is what keeps the inventory true.
//
// It remembers the serials of the list as 64-bit hashes, about 40 bytes each: 4 MB for 100,000 devices. Two serials with the
// same hash would hide an absent device until the next sweep, whose hashes differ.
func (s *step) sweep(ctx context.Context) (res SyncResult, err error) {
	ctx, end := s.traceSync(ctx, kindSweep)
	defer func() { end(res, err) }()
	res.Full = true
	seed := maphash.MakeSeed()
	seen := make(map[uint64]struct{})
	cursors := map[string]bool{"": true}
	if err := s.refreshDetail(ctx); err != nil {
		return res, err
	}
	for cursor, more := "", true; more; {
		page, err := s.page(ctx, cursor, storage.PhaseFetch)
		if errors.Is(err, ErrCursorExhausted) && cursor != "" {
			break
		}
		if err != nil {
			return res, err
		}
		res.Pages++
		res.Devices += len(page.Devices)
		res.Unreadable += page.Unreadable
		for i := range page.Devices {
			seen[maphash.String(seed, page.Devices[i].SerialNumber)] = struct{}{}
		}
		n, err := s.observe(ctx, page.Devices, nil, nil)
		res.Changed += n
		if err != nil {
			return res, err
		}
		more = page.MoreToFollow
		if more && cursors[page.Cursor] {
			return res, fmt.Errorf("%w: more to follow from the same cursor", ErrCursorLoop)
		}
		cursor = page.Cursor
		cursors[cursor] = true
	}
	present := func(serial string) bool {
		_, ok := seen[maphash.String(seed, serial)]
		return ok
	}
	if err := s.confirmAbsent(ctx, present, &res); err != nil {
		return res, err
	}
	return res, s.finishSweep(ctx, res)
}

// confirmAbsent looks at the stored devices that are not in the list.
func (s *step) confirmAbsent(ctx context.Context, present func(string) bool, res *SyncResult) error {
	var absent []string
	limit := s.limit(http.MethodPost, "/devices")
	err := s.eachPage(ctx, func(devs []storage.Device) error {
		for i := range devs {
			if !present(devs[i].Serial) {
				absent = append(absent, devs[i].Serial)
			}
		}
		for len(absent) >= limit {
			if err := s.confirm(ctx, absent[:limit], res); err != nil {
				return err
			}
			absent = absent[limit:]
		}
		return nil
	})
	if err != nil || len(absent) == 0 {
		return err
	}
	return s.confirm(ctx, absent, res)
}

// eachPage calls f with all devices that are in the account.
func (s *step) eachPage(ctx context.Context, f func([]storage.Device) error) error {
	for after := ""; ; {
		devs, next, err := s.e.store.ListDevices(ctx, storage.DeviceFilter{Account: s.account},
			storage.Page{After: after, Limit: storage.MaxPageSize})
		if err != nil {
			return fmt.Errorf("abm: list devices: %w", err)
		}
		if err := f(devs); err != nil {
			return err
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// confirm asks for the details of devices that the list did not name, and stores what Apple says.
func (s *step) confirm(ctx context.Context, serials []string, res *SyncResult) error {
	shown, _, _, err := s.details(ctx, serials) // what Apple does not show stays as it is
	if err != nil {
		return err
	}
	stored, err := s.devices(ctx, serials)
	if err != nil {
		return err
	}
	for range maxConflicts {
		sights := s.sightings(stored, shown)
		change, err := s.planned(ctx, sights)
		if err != nil || len(sights) == 0 {
			return err
		}
		err = s.commit(ctx, change)
		if err == nil {
			res.Changed += len(sights)
			for i := range sights {
				if !sights[i].row.Present() {
					res.Left++
				}
			}
			return nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("abm: store devices: %w", err)
		}
	}
	return fmt.Errorf("abm: store devices: %w", storage.ErrConflict)
}

// sightings returns what details of stored devices tell that is to be written.
func (s *step) sightings(stored map[string]storage.Device, details map[string]Device) []sighting {
	now := s.e.s.now()
	var sights []sighting
	for serial, old := range stored {
		d, ok := details[serial]
		switch {
		case !ok || d.ResponseStatus == ResultFailed:
			// Apple said nothing about it.
		case d.ResponseStatus == ResultNotAccessible:
			if old.Present() {
				sights = append(sights, leave(old, leftNotAccessible, zeroTime, now))
			}
		default:
			if sg, ok := merge(old, true, &d, s.account, now); ok {
				sights = append(sights, sg)
			}
		}
	}
	return sights
}

// finishSweep records that the list was read to its end.
func (s *step) finishSweep(ctx context.Context, res SyncResult) error {
	cur, err := s.cursor(ctx)
	if err != nil {
		return err
	}
	now := s.e.s.now()
	cur.LastSweepAt, cur.UpdatedAt = now, now
	_, err = s.observe(ctx, nil, &cur, func(int) []activity.Event { return s.finished(res, 0) })
	return err
}
