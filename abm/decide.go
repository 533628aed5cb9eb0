package abm

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// desires returns what is wanted for each of sights, in their order, and keeps the profiles that are. old are the
// assignments so far. Nothing is wanted for devices that are not in the account, and the resolver is not asked for them.
func (s *step) desires(ctx context.Context, sights []sighting, old map[string]storage.Assignment) ([]desire, error) {
	out := append(s.room.wants[:0], make([]desire, len(sights))...)
	devices := s.room.asked[:0]
	at := make([]int, 0, len(sights)) // where in out
	for i := range sights {
		d := &sights[i].row
		if !d.Present() {
			continue
		}
		kept, want, err := s.keepsDesire(ctx, &sights[i], old[d.Serial])
		if err != nil {
			return nil, err
		}
		if kept {
			out[i] = want
			continue
		}
		devices = append(devices, *d)
		at = append(at, i)
	}
	s.room.wants, s.room.asked = out, devices
	for len(devices) > 0 {
		n := min(len(devices), MaxLimit)
		decisions := decide(ctx, s.e.resolver, devices[:n])
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for i := range decisions {
			sg := &sights[at[i]]
			want, err := s.desire(ctx, &decisions[i], sg, old[sg.row.Serial])
			if err != nil {
				return nil, err
			}
			if out[at[i]], err = s.lastWanted(ctx, want, old[sg.row.Serial]); err != nil {
				return nil, err
			}
		}
		devices, at = devices[n:], at[n:]
	}
	return out, nil
}

// lastWanted adds the UUID of the profile that was wanted last to a decision that failed: it is still pursued.
func (s *step) lastWanted(ctx context.Context, want desire, old storage.Assignment) (desire, error) {
	if want.err == nil || old.Profile == "" {
		return want, nil
	}
	p, err := s.profile(ctx, old.Profile)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return want, err
	}
	want.uuid = p.UUID
	return want, nil
}

// keepsDesire reports whether what is wanted for a device stays as it is, as newer rules than ours have planned it: they
// know better. A device that they have not seen yet gets what our rules say, which is better than nothing, until they do.
func (s *step) keepsDesire(ctx context.Context, sg *sighting, old storage.Assignment) (bool, desire, error) {
	cur, err := s.cursor(ctx)
	if err != nil || cur.RulesOrder <= s.rules.Order {
		return false, desire{}, err
	}
	s.outranked = true
	switch {
	case old.Version == 0:
		return !sg.fresh, desire{}, nil
	case old.Profile == "":
		return old.Problem == "", desire{}, nil // otherwise it was never decided
	}
	p, err := s.profile(ctx, old.Profile)
	if errors.Is(err, storage.ErrNotFound) {
		return true, desire{err: err}, nil
	}
	return true, desire{print: old.Profile, uuid: p.UUID, deferred: old.Deferred}, err
}

// decide asks a resolver for one batch. What goes wrong with the batch is the error of each of its devices.
func decide(ctx context.Context, r Resolver, devices []storage.Device) []Decision {
	decisions, err := resolve(ctx, r, devices)
	if err == nil && len(decisions) != len(devices) {
		err = fmt.Errorf("resolver returned %d decisions for %d devices", len(decisions), len(devices))
	}
	if err != nil {
		decisions = make([]Decision, len(devices))
		for i := range decisions {
			decisions[i].Err = err
		}
	}
	return decisions
}

// resolve guards the engine against a resolver of the host's that panics.
func resolve(ctx context.Context, r Resolver, devices []storage.Device) (decisions []Decision, err error) {
	defer func() {
		if p := recover(); p != nil {
			decisions, err = nil, panicked(p)
		}
	}()
	return r.Resolve(ctx, devices)
}

// desire returns what a decision wants, and keeps the profile it names.
func (s *step) desire(ctx context.Context, d *Decision, sg *sighting, old storage.Assignment) (desire, error) {
	if d.Err != nil {
		return s.noDecision(d.Err), nil
	}
	if err := d.Rollout.check(); err != nil {
		return s.noDecision(err), nil
	}
	p := d.Profile
	if p == nil {
		return desire{reason: d.Reason}, nil
	}
	f, ok := s.prints[p]
	if !ok {
		var err error
		if f, err = s.keep(ctx, p); err != nil {
			return desire{}, err
		}
		if len(s.prints) >= maxPrints {
			clear(s.prints)
		}
		s.prints[p] = f
	}
	if f.err != nil {
		return s.noDecision(f.err), nil
	}
	want := desire{print: f.print, uuid: s.profiles[f.print].UUID, reason: d.Reason, respread: s.respread}
	if d.Rollout == nil {
		return want, nil
	}
	return s.stage(ctx, d.Rollout, sg, &old, want)
}

func (s *step) noDecision(err error) desire {
	s.undecided++
	s.lastErr = err
	return desire{err: err}
}

// report logs for how many devices no profile was decided.
func (s *step) report() {
	if s.undecided > 0 {
		s.log.Warn("no profile decided for devices; asking again later", zap.Int("devices", s.undecided), zap.NamedError("last", s.lastErr))
	}
}

// keep stores a profile unless it is stored already. A profile that is not valid is an error of its devices, not of
// the store: Apple would refuse it for all of them.
func (s *step) keep(ctx context.Context, p *depprofile.Profile) (fingerprint, error) {
	print, doc, err := encoded(p)
	if err != nil {
		return fingerprint{err: err}, nil
	}
	_, err = s.profile(ctx, print)
	if err == nil || !errors.Is(err, storage.ErrNotFound) {
		return fingerprint{print: print}, err
	}
	row := storage.Profile{Account: s.account, Fingerprint: print, Document: doc, CreatedAt: s.e.s.now()}
	return fingerprint{print: print}, s.putProfile(ctx, row)
}

// encoded returns the fingerprint of a profile and its document, or what is wrong with it.
func encoded(p *depprofile.Profile) (print string, doc []byte, err error) {
	if err := p.Validate(); err != nil {
		return "", nil, err
	}
	if doc, err = p.Canonical(); err != nil {
		return "", nil, err
	}
	f, err := p.Fingerprint()
	if err != nil {
		return "", nil, err
	}
	return f.String(), doc, nil
}
