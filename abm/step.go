package abm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// step is one piece of work on one account, under its lease.
type step struct {
	e       *Engine
	account string
	fence   storage.Fence
	log     *zap.Logger
	client  *Client
	detail  *AccountDetail
	asked   atomic.Bool // Apple was called

	profiles map[string]storage.Profile          // by fingerprint, as stored
	prints   map[*depprofile.Profile]fingerprint // of what the resolver returned in this step, at most maxPrints

	head      storage.Assignment // the first of the assignments that were due last
	undefined map[string]error   // by fingerprint: profiles that could not be defined in this step
	undecided int                // devices for which no profile was decided in this step
	lastErr   error              // why not, for the last of them
}

// maxPrints limits how many profiles of a resolver that returns a new one each time are kept.
const maxPrints = 1000

type fingerprint struct {
	print string
	err   error
}

func (e *Engine) step(h held, acct storage.Account) (*step, error) {
	s := &step{
		e: e, account: acct.Name, fence: h.fence, log: e.log(acct.Name),
		profiles: make(map[string]storage.Profile),
		prints:   make(map[*depprofile.Profile]fingerprint), undefined: make(map[string]error),
	}
	c, err := e.accounts.client(h.ctx, acct)
	if err != nil {
		return s, err
	}
	if !acct.TokenExpiresAt.After(e.s.now()) {
		return s, fmt.Errorf("abm: account %s: %w", acct.Name, ErrTokenExpired)
	}
	s.client = c
	s.detail = new(AccountDetail)
	if d, err := ParseAccountDetail(acct.Detail); err == nil {
		d.basePath = c.base.Path
		s.detail = d
	}
	return s, nil
}

// apple returns the client, for a call that is made now.
func (s *step) apple() *Client {
	s.asked.Store(true)
	return s.client
}

// limit returns how many devices go into one call.
func (s *step) limit(method, path string) int {
	if n := s.detail.Limit(method, path); n > 0 {
		return min(n, MaxLimit)
	}
	return MaxLimit
}

// commit writes a change under the lease.
func (s *step) commit(ctx context.Context, c storage.InventoryChange) error {
	c.Account, c.Fence = s.account, s.fence
	return s.e.store.CommitInventory(ctx, c)
}

// desire asks the resolver what is wanted for a device, and keeps the profile it names.
func (s *step) desire(ctx context.Context, d storage.Device) (desire, error) {
	p, err := s.resolve(ctx, d)
	if err != nil {
		if ctx.Err() != nil {
			return desire{}, ctx.Err()
		}
		return s.noDecision(err), nil
	}
	if p == nil {
		return desire{}, nil
	}
	f, ok := s.prints[p]
	if !ok {
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
	return desire{print: f.print, uuid: s.profiles[f.print].UUID}, nil
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

// resolve guards the engine against a resolver of the host's that panics.
func (s *step) resolve(ctx context.Context, d storage.Device) (p *depprofile.Profile, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("resolver panicked: %v", r)
		}
	}()
	return s.e.resolver.Resolve(ctx, d)
}

// keep stores a profile unless it is stored already. A profile that is not valid is an error of its devices, not of
// the store: Apple would refuse it for all of them.
func (s *step) keep(ctx context.Context, p *depprofile.Profile) (fingerprint, error) {
	if err := p.Validate(); err != nil {
		return fingerprint{err: err}, nil
	}
	doc, err := p.Canonical()
	if err != nil {
		return fingerprint{err: err}, nil
	}
	f, err := p.Fingerprint()
	if err != nil {
		return fingerprint{err: err}, nil
	}
	print := f.String()
	_, err = s.profile(ctx, print)
	if err == nil || !errors.Is(err, storage.ErrNotFound) {
		return fingerprint{print: print}, err
	}
	row := storage.Profile{Account: s.account, Fingerprint: print, Document: doc, CreatedAt: s.e.s.now()}
	return fingerprint{print: print}, s.putProfile(ctx, row)
}

// profile returns a stored profile.
func (s *step) profile(ctx context.Context, print string) (storage.Profile, error) {
	if p, ok := s.profiles[print]; ok {
		return p, nil
	}
	p, err := s.e.store.GetProfile(ctx, s.account, print)
	if err != nil {
		return storage.Profile{}, fmt.Errorf("abm: profile %s: %w", print, err)
	}
	s.profiles[print] = p
	return p, nil
}

func (s *step) putProfile(ctx context.Context, p storage.Profile, evs ...activity.Event) error {
	if err := s.e.store.PutProfile(ctx, s.fence, p, s.activities(evs)...); err != nil {
		return fmt.Errorf("abm: store profile: %w", err)
	}
	s.profiles[p.Fingerprint] = p
	return nil
}

func (s *step) activities(evs []activity.Event) []storage.Activity {
	acts := make([]storage.Activity, len(evs))
	now := s.e.s.now()
	for i, ev := range evs {
		acts[i] = activity.New(now, activity.System, ev)
	}
	return acts
}
