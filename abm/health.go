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

// maxClockDrift is how far this machine's clock may be from Apple's before it is named as the reason of a refusal: Apple
// refuses signatures with another time, and does not publish its bound.
const maxClockDrift = 5 * time.Minute

// tokenHealth returns the health of an account whose calls work.
func tokenHealth(expires, now time.Time) (storage.Health, string) {
	switch days := daysLeft(expires, now); days {
	case 0:
		return storage.HealthOK, ""
	case endTold:
		return storage.HealthExpired, reasonExpired
	default:
		return storage.HealthExpiring, "the server token expires within " + count(days, "day")
	}
}

const reasonExpired = "the server token has expired"

// healthOf returns the health that err tells of; false if it tells nothing about the account.
func healthOf(err error, acct storage.Account, now time.Time) (storage.Health, string, bool) {
	switch {
	case err == nil:
		h, reason := tokenHealth(acct.TokenExpiresAt, now)
		return h, reason, true
	case errors.Is(err, ErrTermsNotSigned):
		// Terms come after the token: Apple has accepted that.
		return storage.HealthTermsNotSigned, "an administrator must accept Apple's terms in the portal", true
	case errors.Is(err, ErrTokenExpired):
		return storage.HealthExpired, reasonExpired, true
	case errors.Is(err, ErrOtherServer):
		return storage.HealthRejected, err.Error(), true
	case refused(err):
		if h, reason := tokenHealth(acct.TokenExpiresAt, now); h == storage.HealthExpired {
			return h, reason, true
		}
		return storage.HealthRejected, err.Error() + drift(err), true
	case temporary(err) && fromApple(err): // and not a store that is down
		// What only a person can mend is not mended because Apple cannot be reached.
		known := acct.Health == storage.HealthRejected || acct.Health == storage.HealthTermsNotSigned || acct.Health == storage.HealthExpired
		return storage.HealthUnreachable, err.Error() + askedUntil(err, now), !known
	}
	return "", "", false
}

// refused reports whether Apple does not accept the token or what follows from it.
func refused(err error) bool {
	return errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrAccessDenied)
}

// drift says that the clock may be why Apple refused to sign us in; it is empty if the clock is right or not known.
func drift(err error) string {
	e, ok := errors.AsType[*APIError](err)
	if !ok || e.Op != opSession || e.Skew.Abs() <= maxClockDrift {
		return ""
	}
	way := "behind"
	if e.Skew < 0 {
		way = "ahead of"
	}
	// To the minute, so that the reason stays the same from one refusal to the next.
	return fmt.Sprintf("; the clock of this machine is %v %s Apple's", e.Skew.Abs().Round(time.Minute), way)
}

// askedUntil says until when Apple wants no calls, for those who read the reason elsewhere; it is empty if Apple does not say, or
// the error does.
func askedUntil(err error, now time.Time) string {
	wait := asksToWait(err)
	if wait <= 0 || errors.Is(err, ErrHeldBack) {
		return ""
	}
	return "; Apple asked to wait until " + now.Add(wait).UTC().Format(time.RFC3339)
}

// fromApple reports whether err is Apple's answer or a failure on the way to Apple.
func fromApple(err error) bool {
	if _, ok := errors.AsType[*APIError](err); ok {
		return true
	}
	_, ok := errors.AsType[*TransportError](err)
	return ok
}

// setHealth changes the health of acct and returns the activity for it, if it is a change. Another reason is none, as how a
// call fails may differ from one to the next, but the newest is kept: that of an earlier refusal, such as a clock that has
// been set since, would send people after the wrong thing. [activity.TokenExpiring] tells how a token comes to its end.
func setHealth(acct *storage.Account, h storage.Health, reason string, now time.Time) []storage.Activity {
	from := acct.Health
	acct.Health, acct.HealthReason = h, reason
	if from == h {
		return nil
	}
	acct.HealthSince = now
	return []storage.Activity{activity.New(now, activity.System, activity.AccountHealthChanged{
		On: activity.On{Account: acct.Name}, From: string(from), To: string(h), Reason: reason,
	})}
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
		before := acct.HealthReason
		acts := append(warnExpiry(acct, now), setHealth(acct, h, reason, now)...)
		late := stepErr == nil && (now.Sub(acct.LastOKAt) >= okEvery || acct.LastOKAt.After(now.Add(maxSkew)))
		if stepErr == nil {
			acct.LastOKAt = now
		}
		if acts == nil && !late && acct.HealthReason == before {
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
