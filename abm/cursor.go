package abm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// cursor returns the account's cursor as it is stored, or the beginning. It is read once in a step: under the lease no one
// else writes it. Devices are planned with today's rules as they come in, so a new cursor starts with those.
func (s *step) cursor(ctx context.Context) (storage.Cursor, error) {
	if s.cur != nil {
		return *s.cur, nil
	}
	cur, err := s.e.store.GetCursor(ctx, s.account)
	if errors.Is(err, storage.ErrNotFound) {
		cur, err = storage.Cursor{Account: s.account, Rules: s.rules.ID, RulesOrder: s.rules.Order}, nil
	}
	if err != nil {
		return storage.Cursor{}, fmt.Errorf("abm: cursor: %w", err)
	}
	if cur.Value == "" {
		cur.Phase = storage.PhaseFetch
	}
	s.cur = &cur
	if !s.respread {
		s.rolloutAt = cur.RolloutAt
	}
	return cur, nil
}

// commit writes a change under the lease. What planning has to note on the cursor goes with it: slots of a roll-out that
// were taken, and that the newer rules have to look at the fleet.
func (s *step) commit(ctx context.Context, c storage.InventoryChange) error {
	c.Account, c.Fence = s.account, s.fence
	if s.outranked || !s.nextSlot.IsZero() {
		cur, err := s.cursor(ctx)
		if err != nil {
			return err
		}
		if c.Cursor != nil {
			cur = *c.Cursor
		}
		if s.outranked && len(c.Devices)+len(c.Assignments) > 0 {
			cur.Rules = ""
		}
		if !s.nextSlot.IsZero() {
			cur.RolloutAt = s.nextSlot
		}
		if c.Cursor != nil || cur != *s.cur {
			cur.UpdatedAt = s.e.s.now()
			c.Cursor = &cur
		}
	}
	s.nextSlot = zeroTime // of this change only
	err := s.e.store.CommitInventory(ctx, c)
	if err != nil {
		s.cur = nil // it may be written or not
		return err
	}
	if c.Cursor != nil {
		cur := *c.Cursor
		cur.Version++
		s.cur, s.rolloutAt = &cur, cur.RolloutAt
	}
	return nil
}

// slotStep is how finely the slots of a roll-out are spread: devices whose slots are close to each other go into one call.
const slotStep = 5 * time.Minute

// slot takes the next free slot of a roll-out of perHour devices an hour. The change that is committed next keeps it.
func (s *step) slot(perHour int) time.Time {
	at := s.e.s.now()
	for _, t := range []time.Time{s.rolloutAt, s.nextSlot} {
		if t.After(at) {
			at = t
		}
	}
	s.nextSlot = at.Add(time.Hour / time.Duration(perHour))
	if r := at.Truncate(slotStep); r.Before(at) {
		at = r.Add(slotStep)
	}
	return at
}
