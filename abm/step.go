package abm

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

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
	token   []byte // sealed, the one the client signs in with
	detail  *AccountDetail
	asked   atomic.Bool // Apple was called

	rules     Rules           // of the resolver
	outranked bool            // newer rules than those have planned the account, and something was planned all the same
	respread  bool            // the slots of roll-outs are taken anew
	cur       *storage.Cursor // as stored, once it was read
	rolloutAt time.Time       // the cursor's, or the last that was read
	nextSlot  time.Time       // the next free slot after those that the next change takes; zero if it takes none

	profiles map[string]storage.Profile          // by fingerprint, as stored
	byUUID   map[string]storage.Profile          // the same by Apple's UUID, all of them; nil until it was asked for
	prints   map[*depprofile.Profile]fingerprint // of what the resolver returned in this step, at most maxPrints

	room room // of the page before

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
		e: e, account: acct.Name, token: acct.SealedToken, fence: h.fence, log: e.log(acct.Name),
		profiles: make(map[string]storage.Profile),
		prints:   make(map[*depprofile.Profile]fingerprint), undefined: make(map[string]error),
	}
	var err error
	if s.rules, err = e.rules(); err != nil {
		return s, err
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
	s.byUUID = nil
	return nil
}

func (s *step) activities(evs []activity.Event) []storage.Activity {
	return s.appendActivities(make([]storage.Activity, 0, len(evs)), evs)
}

func (s *step) appendActivities(acts []storage.Activity, evs []activity.Event) []storage.Activity {
	now := storage.Time(s.e.s.now())
	for _, ev := range evs {
		acts = append(acts, activity.New(now, activity.System, ev))
	}
	return acts
}
