package abm

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// SyncResult says what a sync or a sweep did.
type SyncResult struct {
	// Full says that the full list was read.
	Full bool
	// Pages and Devices count what was received, Changed the devices that were written, Left those of them that were
	// found to have left, Unreadable the entries that are no device records.
	Pages, Devices, Changed, Left, Unreadable int
}

// pageOrReset is what the reader of pages hands over.
type pageOrReset struct {
	page *DevicePage
	// read is the list the page is from, after the one that continues.
	read, after storage.CursorPhase
	last        bool   // Apple has no more to tell
	reset       string // Apple refused the cursor with this code; the full list is read next
	err         error
}

// sync brings the inventory up to what Apple tells: the full list if it was not read to its end yet, then changes. Each
// page is stored with its cursor in one transaction, so that whatever happens nothing is skipped. One page is read
// while the one before is stored; there are never more than two.
func (s *step) sync(ctx context.Context) (res SyncResult, err error) {
	ctx, end := s.traceSync(ctx, kindSync)
	defer func() { end(res, err) }()
	cur, err := s.cursor(ctx)
	if err != nil {
		return SyncResult{}, err
	}
	l := &listing{}
	switch {
	case cur.Version == 0:
		l.first = true // there is no one to be missed
	case cur.Value == "":
		if err := s.begin(ctx, l); err != nil {
			return SyncResult{}, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan pageOrReset)
	go func() {
		defer close(pages)
		s.read(ctx, cur.Value, cur.Phase, pages)
	}()
	defer func() { // the reader ends before the step does
		cancel()
		for range pages {
		}
	}()
	for p := range pages {
		if errors.Is(p.err, ErrCursorLoop) {
			return res, errors.Join(p.err, s.looped(ctx))
		}
		if p.err != nil {
			return res, p.err
		}
		if err := s.store(ctx, p, &res, l); err != nil {
			return res, err
		}
	}
	if err := ctx.Err(); err != nil || l.seen == nil || !l.complete {
		return res, err
	}
	// The full list that the reset made necessary serves as the sweep.
	if err := s.refreshDetail(ctx); err != nil {
		return res, err
	}
	err = s.afterList(ctx, l, &res, nil)
	return res, err
}

// looped counts a reading that ended with ErrCursorLoop. After the fourth in a row, the eighth, the sixteenth and so on
// the cursor is dropped, so that the full list is read: a cursor that Apple keeps repeating would hide all changes for ever.
func (s *step) looped(ctx context.Context) error {
	dropped := false
	move := func(cur *storage.Cursor) {
		cur.Loops++
		if dropped = cur.Loops >= 4 && cur.Loops&(cur.Loops-1) == 0; dropped {
			s.log.Warn("apple keeps repeating the cursor; reading the full list", zap.Int("times", cur.Loops))
			cur.Value, cur.Phase = "", storage.PhaseFetch
		}
	}
	_, err := s.observe(ctx, nil, move, func(int) []activity.Event {
		if !dropped {
			return nil
		}
		return []activity.Event{activity.CursorReset{On: activity.On{Account: s.account}, Code: codeCursorLoop}}
	})
	return err
}

// codeCursorLoop stands in for Apple's code when the cursor is dropped because Apple keeps repeating it.
const codeCursorLoop = "CURSOR_LOOP"

// read sends pages from a cursor on until Apple has no more to tell, or an error. A cursor that Apple refuses is dropped
// once; a second time, and a cursor that comes again, ends with ErrCursorLoop, and the engine waits longer each time.
func (s *step) read(ctx context.Context, cursor string, phase storage.CursorPhase, out chan<- pageOrReset) {
	send := func(p pageOrReset) bool {
		select {
		case out <- p:
			return true
		case <-ctx.Done():
			return false
		}
	}
	seen := map[string]bool{cursor: true}
	reset := false
	// There is no room in the channel: whoever takes a page is done with the one before, which is filled again.
	page, before := new(DevicePage), new(DevicePage)
	for {
		err := s.page(ctx, cursor, phase, page)
		switch {
		case errors.Is(err, ErrCursorExhausted) && phase == storage.PhaseFetch && cursor != "":
			phase = storage.PhaseSync
			continue
		case errors.Is(err, ErrCursorExpired), errors.Is(err, ErrCursorInvalid):
			if reset || cursor == "" {
				send(pageOrReset{err: fmt.Errorf("%w: %w", ErrCursorLoop, err)})
				return
			}
			if !send(pageOrReset{reset: codeOf(err)}) {
				return
			}
			reset, cursor, phase, seen = true, "", storage.PhaseFetch, map[string]bool{"": true}
			continue
		case errors.Is(err, ErrCursorExhausted): // nothing to tell
			page = &DevicePage{Cursor: cursor}
		case err != nil:
			send(pageOrReset{err: err})
			return
		}
		p := pageOrReset{page: page, read: phase, after: phase}
		if !page.MoreToFollow {
			p.after, p.last = storage.PhaseSync, phase == storage.PhaseSync
		}
		if !send(p) || p.last {
			return
		}
		if page.MoreToFollow && seen[page.Cursor] {
			send(pageOrReset{err: fmt.Errorf("%w: more to follow from the same cursor", ErrCursorLoop)})
			return
		}
		cursor, phase = page.Cursor, p.after
		seen[cursor] = true
		page, before = before, page
	}
}

// page reads a page into p, whose array of devices is used again.
func (s *step) page(ctx context.Context, cursor string, phase storage.CursorPhase, p *DevicePage) error {
	if phase == storage.PhaseSync {
		return s.apple().page(ctx, opSyncDevices, "devices/sync", cursor, s.limit(http.MethodPost, "/devices/sync"), p)
	}
	return s.apple().page(ctx, opFetchDevices, "server/devices", cursor, s.limit(http.MethodPost, "/server/devices"), p)
}

// store stores one page, or that the cursor was refused.
func (s *step) store(ctx context.Context, p pageOrReset, res *SyncResult, l *listing) error {
	if p.reset != "" {
		s.log.Warn("cursor refused; reading the full list", zap.String("code", p.reset))
		if err := s.begin(ctx, l); err != nil {
			return err
		}
		move := func(cur *storage.Cursor) {
			cur.Value, cur.Phase = "", storage.PhaseFetch
			cur.LastSweepAt = zeroTime // who has left meanwhile is not known before a full list was read to its end
		}
		_, err := s.observe(ctx, nil, move, func(int) []activity.Event {
			return []activity.Event{activity.CursorReset{On: activity.On{Account: s.account}, Code: p.reset}}
		})
		return err
	}
	res.Pages++
	res.Devices += len(p.page.Devices)
	res.Unreadable += p.page.Unreadable
	res.Full = res.Full || p.read == storage.PhaseFetch
	if p.page.Unreadable > 0 {
		s.log.Warn("page has entries that are no device records; they are skipped", zap.Int("count", p.page.Unreadable))
	}
	l.add(p.page.Devices)
	listed := p.read == storage.PhaseFetch && p.after == storage.PhaseSync
	l.complete = l.complete || listed
	now := s.e.s.now()
	move := func(cur *storage.Cursor) {
		cur.Value, cur.Phase = p.page.Cursor, p.after
		if l.first && listed {
			cur.LastSweepAt = now
		}
		if p.last {
			cur.LastSyncAt, cur.Loops = now, 0
		}
	}
	var finish func(int) []activity.Event
	if p.last {
		finish = func(changed int) []activity.Event { return s.finished(*res, changed) }
	}
	n, err := s.observe(ctx, p.page.Devices, move, finish)
	res.Changed += n
	return err
}

// finished returns the event for a sync or sweep that changed something, n devices of it in the last write.
func (s *step) finished(res SyncResult, n int) []activity.Event {
	if res.Changed+n == 0 {
		return nil
	}
	return []activity.Event{activity.SyncFinished{
		On: activity.On{Account: s.account}, Full: res.Full, Devices: res.Devices, Changed: res.Changed + n,
	}}
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*APIError](err); ok {
		return e.Code
	}
	return ""
}
