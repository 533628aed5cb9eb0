package abm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// listing is what is remembered of a full list while it is read.
type listing struct {
	// first says that the account was never read before, so that nothing needs to be remembered.
	first    bool
	seen     *filter         // the serials; nil if the reading did not begin at the beginning
	uuids    map[string]bool // the profiles that devices have
	complete bool            // it was read to its end
}

// begin says that the list is read from its beginning, by an account that has devices.
func (s *step) begin(ctx context.Context, l *listing) error {
	n, _, err := s.e.store.CountDevices(ctx, s.account)
	if err != nil {
		return fmt.Errorf("abm: count devices: %w", err)
	}
	*l = listing{seen: newFilter(n), uuids: make(map[string]bool)}
	return nil
}

// maxListedProfiles limits how many profiles of devices are remembered.
const maxListedProfiles = 10_000

func (l *listing) add(devs []Device) {
	if l.seen == nil {
		return
	}
	for i := range devs {
		l.seen.add(devs[i].SerialNumber)
		if u := devs[i].ProfileUUID; u != "" && !l.uuids[u] && len(l.uuids) < maxListedProfiles {
			l.uuids[strings.Clone(u)] = true // u shares the memory of the page
		}
	}
}

// sweep reads the full list beside the sync cursor, which it leaves alone, and applies what differs. Devices that the
// list does not name are looked at one by one, as the list may have been incomplete, and marked as left if Apple does not
// know them. Apple's feed misses devices and tells nothing of releases, so this is what keeps the inventory true.
func (s *step) sweep(ctx context.Context) (res SyncResult, err error) {
	ctx, end := s.traceSync(ctx, kindSweep)
	defer func() { end(res, err) }()
	res.Full = true
	if cur, err := s.cursor(ctx); err != nil {
		return res, err
	} else if cur.Version == 0 { // which rules the devices are planned with must be known before they are
		if _, err := s.observe(ctx, nil, func(*storage.Cursor) {}, nil); err != nil {
			return res, err
		}
	}
	if err := s.refreshDetail(ctx); err != nil {
		return res, err
	}
	var l listing
	if err := s.begin(ctx, &l); err != nil {
		return res, err
	}
	cursors := map[string]bool{"": true}
	var page DevicePage // its array is used again
	for cursor, more := "", true; more; {
		err := s.page(ctx, cursor, storage.PhaseFetch, &page)
		if errors.Is(err, ErrCursorExhausted) && cursor != "" {
			break
		}
		if err != nil {
			return res, err
		}
		res.Pages++
		res.Devices += len(page.Devices)
		res.Unreadable += page.Unreadable
		l.add(page.Devices)
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
	err = s.afterList(ctx, &l, &res, func(int) []activity.Event { return s.finished(res, 0) })
	return res, err
}

// afterList does what a full list that was read to its end makes possible: it finds who has left, and looks at the profiles
// that devices have.
func (s *step) afterList(ctx context.Context, l *listing, res *SyncResult, finish func(int) []activity.Event) error {
	if err := s.confirmAbsent(ctx, l.seen.has, res); err != nil {
		return err
	}
	now := s.e.s.now()
	if _, err := s.observe(ctx, nil, func(cur *storage.Cursor) { cur.LastSweepAt = now }, finish); err != nil {
		return err
	}
	return s.verifyProfiles(ctx, l.uuids)
}

// confirmAbsent looks at the stored devices that are not in the list.
func (s *step) confirmAbsent(ctx context.Context, present func(string) bool, res *SyncResult) error {
	var absent []string
	limit := s.limit(http.MethodPost, "/devices")
	for after := ""; ; {
		serials, next, err := s.e.store.ListSerials(ctx, storage.DeviceFilter{Account: s.account},
			storage.Page{After: after, Limit: storage.MaxPageSize})
		if err != nil {
			return fmt.Errorf("abm: list devices: %w", err)
		}
		for _, serial := range serials {
			if !present(serial) {
				absent = append(absent, serial)
			}
		}
		for len(absent) >= limit || next == "" && len(absent) > 0 {
			n := min(limit, len(absent))
			if err := s.confirm(ctx, absent[:n], res); err != nil {
				return err
			}
			absent = absent[n:]
		}
		if next == "" {
			return nil
		}
		after = next
	}
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
