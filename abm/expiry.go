package abm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// checkEvery is how often expiry is looked at, at least.
const checkEvery = time.Hour

// endTold stands for the end of a token in storage.Account.ExpiryWarnedDays: below all thresholds, and not 0.
const endTold = -1

// daysLeft returns the threshold that a token has passed: it ends within so many days. It is endTold after the end, and 0
// while the end is far.
func daysLeft(expires, now time.Time) int {
	left := expires.Sub(now)
	if left <= 0 {
		return endTold
	}
	for _, days := range [...]int{1, 7, 14, 30} {
		if left <= time.Duration(days)*24*time.Hour {
			return days
		}
	}
	return 0
}

// warnExpiry returns the activity for a threshold that the token of acct has passed and that was not told yet, and marks
// it as told. The mark is stored in the write that stores the activity, so that it is told once whoever finds it; a token
// that comes late to a threshold skips those before.
func warnExpiry(acct *storage.Account, now time.Time) []storage.Activity {
	days := daysLeft(acct.TokenExpiresAt, now)
	if len(acct.SealedToken) == 0 || days == 0 || acct.ExpiryWarnedDays != 0 && days >= acct.ExpiryWarnedDays {
		return nil
	}
	acct.ExpiryWarnedDays = days
	return []storage.Activity{activity.New(now, activity.System, activity.TokenExpiring{
		On: activity.On{Account: acct.Name}, Days: max(days, 0), ExpiresAt: acct.TokenExpiresAt,
	})}
}

// replaceToken puts another token into acct. Warnings begin anew, unless it is the token that was there.
func replaceToken(acct *storage.Account, sealed []byte, expires time.Time) {
	if !acct.TokenExpiresAt.Equal(expires) {
		acct.ExpiryWarnedDays = 0
	}
	acct.SealedToken, acct.TokenExpiresAt = sealed, expires
}

// CheckExpiry tells of server tokens that end within 30, 14, 7 or 1 days, or have ended: an [activity.TokenExpiring] for
// each, once per token, whatever the account does and whether or not Apple can be reached. [Engine.Run] does it for all
// accounts in the store; a host that does not run an engine calls it once an hour.
func (a *Accounts) CheckExpiry(ctx context.Context) error {
	var failed error
	for after := ""; ; {
		accts, next, err := a.store.ListAccounts(ctx, storage.Page{After: after, Limit: storage.MaxPageSize})
		if err != nil {
			return errors.Join(failed, fmt.Errorf("abm: check expiry: %w", err))
		}
		for _, acct := range accts {
			if warnExpiry(&acct, a.s.now()) == nil {
				continue
			}
			if err := a.warn(ctx, acct.Name); err != nil {
				failed = errors.Join(failed, fmt.Errorf("abm: check expiry of %s: %w", acct.Name, err))
			}
		}
		if next == "" {
			return failed
		}
		after = next
	}
}

// warn tells what warnExpiry finds. An account that works is expiring from then on; one that fails for another reason
// keeps that, unless its token has ended.
func (a *Accounts) warn(ctx context.Context, account string) error {
	_, err := a.update(ctx, account, func(acct *storage.Account) ([]storage.Activity, error) {
		now := a.s.now()
		acts := warnExpiry(acct, now)
		if acts == nil { // another process was faster
			return nil, errNoChange
		}
		h, reason := tokenHealth(acct.TokenExpiresAt, now)
		if h == storage.HealthExpired || acct.Health == storage.HealthOK || acct.Health == storage.HealthExpiring {
			acts = append(acts, setHealth(acct, h, reason, now)...)
		}
		return acts, nil
	})
	if errors.Is(err, storage.ErrNotFound) { // deleted meanwhile
		return nil
	}
	return err
}
