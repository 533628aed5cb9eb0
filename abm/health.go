package abm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// maxConflicts is how often a write is tried again on a record that others change at the same time.
const maxConflicts = 8

var zeroTime time.Time

// okEvery is how often LastOKAt is written while nothing else changes.
const okEvery = 15 * time.Minute

// tokenHealth returns the health of an account whose calls work. Each threshold before the token's end has its own
// reason, so that passing it is a change that people are told of.
func tokenHealth(expires, now time.Time) (storage.Health, string) {
	if !expires.After(now) {
		return storage.HealthExpired, "the server token has expired"
	}
	const day = 24 * time.Hour
	for _, days := range []int{1, 7, 14, 30} {
		if expires.Sub(now) <= time.Duration(days)*day {
			return storage.HealthExpiring, fmt.Sprintf("the server token expires within %d days", days)
		}
	}
	return storage.HealthOK, ""
}

// healthOf returns the health that err tells of; false if it tells nothing about the account.
func healthOf(err error, acct storage.Account, now time.Time) (storage.Health, string, bool) {
	switch {
	case err == nil:
		h, reason := tokenHealth(acct.TokenExpiresAt, now)
		return h, reason, true
	case errors.Is(err, ErrTermsNotSigned):
		return storage.HealthTermsNotSigned, "an administrator must accept Apple's terms in the portal", true
	case errors.Is(err, ErrTokenExpired):
		return storage.HealthExpired, "the server token has expired", true
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden), errors.Is(err, ErrAccessDenied):
		if h, reason := tokenHealth(acct.TokenExpiresAt, now); h == storage.HealthExpired {
			return h, reason, true
		}
		return storage.HealthRejected, err.Error(), true
	case temporary(err) && fromApple(err): // and not a store that is down
		return storage.HealthUnreachable, err.Error(), true
	}
	return "", "", false
}

// fromApple reports whether err is Apple's answer or a failure on the way to Apple.
func fromApple(err error) bool {
	if _, ok := errors.AsType[*APIError](err); ok {
		return true
	}
	_, ok := errors.AsType[*TransportError](err)
	return ok
}

// setHealth changes the health of acct and returns the activity for it, if it is a change. How a call fails may differ
// from one to the next, so only the end of a token makes another reason a change.
func setHealth(acct *storage.Account, h storage.Health, reason string, now time.Time) []storage.Activity {
	if acct.Health == h && (h != storage.HealthExpiring || acct.HealthReason == reason) {
		return nil
	}
	e := activity.AccountHealthChanged{
		On: activity.On{Account: acct.Name}, From: string(acct.Health), To: string(h), Reason: reason,
	}
	if acct.Health != h {
		acct.HealthSince = now
	}
	acct.Health, acct.HealthReason = h, reason
	return []storage.Activity{activity.New(now, activity.System, e)}
}

// noteHealth stores how a step with Apple ended. token is the sealed token the step was made with: news about a token
// that was replaced meanwhile is no news.
func (a *Accounts) noteHealth(ctx context.Context, account string, token []byte, stepErr error) error {
	_, err := a.update(ctx, account, func(acct *storage.Account) ([]storage.Activity, error) {
		now := a.s.now()
		h, reason, ok := healthOf(stepErr, *acct, now)
		if !ok || string(acct.SealedToken) != string(token) {
			return nil, errNoChange
		}
		acts := setHealth(acct, h, reason, now)
		late := stepErr == nil && (now.Sub(acct.LastOKAt) >= okEvery || acct.LastOKAt.After(now.Add(maxSkew)))
		if stepErr == nil {
			acct.LastOKAt = now
		}
		if acts == nil && !late {
			return nil, errNoChange
		}
		return acts, nil
	})
	return err
}

// errNoChange tells update that there is nothing to write.
var errNoChange = errors.New("abm: no change")

// update changes an account, again from its newest state if it was changed meanwhile.
func (a *Accounts) update(
	ctx context.Context, account string, change func(*storage.Account) ([]storage.Activity, error),
) (storage.Account, error) {
	for range maxConflicts {
		acct, err := a.store.GetAccount(ctx, account)
		if err != nil {
			return storage.Account{}, err
		}
		acts, err := change(&acct)
		if errors.Is(err, errNoChange) {
			return acct, nil
		}
		if err != nil {
			return storage.Account{}, err
		}
		acct.UpdatedAt = a.s.now()
		err = a.store.UpdateAccount(ctx, acct, acts...)
		if err == nil {
			acct.Version++
			return acct, nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return storage.Account{}, err
		}
	}
	return storage.Account{}, fmt.Errorf("account %s: %w", account, storage.ErrConflict)
}
