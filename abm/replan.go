package abm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// lastPlan is what an engine has planned an account with last, and when.
type lastPlan struct {
	rules string
	at    time.Time
}

// rules asks the resolver for its rules, and guards the engine against one that panics.
func (e *Engine) rules() (r Rules, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = Rules{}, fmt.Errorf("abm: rules: %w", panicked(p))
		}
	}()
	return e.resolver.Rules(), nil
}

// planAt returns when all devices of an account are to be planned anew; false if they need not be, or newer rules have planned
// them. Replicas with different rules of one order would undo each other's plans for ever, so each plans at
// most once in a sync interval.
func (e *Engine) planAt(cur *storage.Cursor, now time.Time) (time.Time, bool, error) {
	r, err := e.rules()
	if err == nil && r.Order < cur.RulesOrder {
		e.noteOlder(cur.Account, r.Order, cur.RulesOrder)
	}
	if err != nil || r.Order < cur.RulesOrder || r.Order == cur.RulesOrder && r.ID == cur.Rules {
		return time.Time{}, false, err
	}
	if r.Order > cur.RulesOrder || cur.Rules == "" {
		return now, true, nil
	}
	g := e.gate(cur.Account)
	e.mu.Lock()
	defer e.mu.Unlock()
	if g.plan.rules != r.ID {
		return now, true, nil
	}
	return late(cur.Account, g.plan.at, e.s.syncEvery, now), true, nil
}

// noteOlder says once that the rules of this engine are older than those an account was planned with.
func (e *Engine) noteOlder(account string, order, planned int64) {
	g := e.gate(account)
	e.mu.Lock()
	told := g.older == planned
	g.older = planned
	e.mu.Unlock()
	if !told {
		e.log(account).Warn("the account was planned with newer rules; this replica only decides for new devices",
			zap.Int64("order", order), zap.Int64("planned", planned))
	}
}

// severalRules stands for the rules of an account that may have devices planned with several: it is no rules' ID.
const severalRules = "(several)"

// noteRules records that what is planned from now on may go by other rules than the fleet was planned with. Without it, rules
// that come back before all devices were planned anew would look as if they had never been gone.
func (s *step) noteRules(ctx context.Context) error {
	cur, err := s.cursor(ctx)
	if err != nil || cur.Version == 0 || cur.Rules == "" || cur.Rules == severalRules || cur.Rules == s.rules.ID ||
		s.rules.Order < cur.RulesOrder {
		return err
	}
	_, err = s.observe(ctx, nil, func(cur *storage.Cursor) { cur.Rules = severalRules }, nil)
	return err
}

// replan asks the resolver for all devices and stores what is wanted where it differs. The rules are recorded at the end: if
// it is interrupted it begins again, and finds nothing to change in what it had done.
func (s *step) replan(ctx context.Context) (changed int, err error) {
	ctx, end := s.tracePlan(ctx)
	defer func() { end(changed, err) }()
	cur, err := s.cursor(ctx)
	if err != nil {
		return 0, err
	}
	if s.rules.Order < cur.RulesOrder {
		return 0, fmt.Errorf("abm: account %s: %w", s.account, ErrOlderRules)
	}
	if s.rules.Order > cur.RulesOrder || cur.Rules != "" && cur.Rules != s.rules.ID {
		// The slots that were taken so far belong to the old rules.
		s.respread, s.rolloutAt = true, s.e.s.now()
		defer func() { s.respread = false }()
	}
	err = s.eachPage(ctx, func(devs []storage.Device) error {
		n, err := s.replanDevices(ctx, devs)
		changed += n
		return err
	})
	if err != nil {
		return changed, err
	}
	s.notePlan()
	if cur, err = s.cursor(ctx); err != nil || cur.Version > 0 && cur.Rules == s.rules.ID && cur.RulesOrder == s.rules.Order {
		return changed, err
	}
	s.log.Info("devices planned anew", zap.String("rules", s.rules.ID), zap.Int64("order", s.rules.Order), zap.Int("changed", changed))
	move := func(cur *storage.Cursor) {
		cur.Rules, cur.RulesOrder = s.rules.ID, s.rules.Order
		if s.respread {
			cur.RolloutAt = s.rolloutAt
		}
	}
	_, err = s.observe(ctx, nil, move, func(int) []activity.Event {
		return []activity.Event{activity.RulesApplied{
			On: activity.On{Account: s.account}, Rules: s.rules.ID, Order: s.rules.Order, Changed: changed,
		}}
	})
	return changed, err
}

// notePlan remembers that all devices were planned.
func (s *step) notePlan() {
	g := s.e.gate(s.account)
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	g.plan = lastPlan{rules: s.rules.ID, at: s.e.s.now()}
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
