package abm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// PutToken stores a server token that another program has decrypted, without asking Apple, and leaves the key pair in
// use as it is: for taking over an account from another MDM server, and for programs that share the store. Prefer
// [Accounts.ImportToken], which refuses a token that does not work or is another server's. Here that is found out before
// the engine's next work on the account: it asks Apple whose the token is, and does nothing with one that is not the
// account's.
func (a *Accounts) PutToken(ctx context.Context, account string, token Token) (storage.Account, error) {
	if err := token.check(); err != nil {
		return storage.Account{}, err
	}
	if token.ExpiresAt.IsZero() {
		return storage.Account{}, errors.New("abm: token: access_token_expiry is missing")
	}
	token.ExpiresAt = token.ExpiresAt.UTC().Truncate(time.Second) // as it is stored
	sealed, err := a.sealToken(ctx, account, token)
	if err != nil {
		return storage.Account{}, fmt.Errorf("abm: put token: %w", err)
	}
	acct, err := a.update(ctx, account, func(acct *storage.Account) ([]storage.Activity, error) {
		if old, err := a.token(ctx, *acct); err == nil && old == token {
			return nil, errNoChange
		}
		now := a.s.now()
		acts := []storage.Activity{activity.New(now, activity.System, activity.TokenImported{
			On: activity.On{Account: account}, ServerUUID: acct.ServerUUID, KeyPairID: acct.KeyPairID,
			ExpiresAt: token.ExpiresAt, Renewal: len(acct.SealedToken) > 0,
		})}
		replaceToken(acct, sealed, token.ExpiresAt)
		acct.Detail = nil // which makes the engine ask: see identify
		if acct.Health != storage.HealthTermsNotSigned {
			acts = append(acts, setHealth(acct, storage.HealthNew, "the server token was not tried yet", now)...)
		}
		return append(acts, warnExpiry(acct, now)...), nil
	})
	if err != nil {
		return storage.Account{}, fmt.Errorf("abm: put token: %w", err)
	}
	return acct, nil
}

// identify asks Apple whose token this is, unless that was told since the token was stored.
func (s *step) identify(ctx context.Context) error {
	if len(s.detail.Document) > 0 {
		return nil
	}
	return s.refreshDetail(ctx)
}

// refreshDetail stores what Apple says of the account, if it has changed: limits, names, and which MDM server it is, if
// that is not known yet. It returns an error that is [ErrOtherServer], and nothing may be done with the token, if it is
// not the one that is known.
func (s *step) refreshDetail(ctx context.Context) error {
	d, err := s.apple().AccountDetail(ctx)
	if err != nil {
		return err
	}
	_, err = s.e.accounts.update(ctx, s.account, func(acct *storage.Account) ([]storage.Activity, error) {
		if !bytes.Equal(acct.SealedToken, s.token) {
			return nil, errNoChange // Apple spoke of a token that was replaced meanwhile
		}
		if acct.ServerUUID != "" && d.ServerUUID != acct.ServerUUID {
			return nil, &TokenMismatchError{Field: "server_uuid", Have: d.ServerUUID, Want: acct.ServerUUID}
		}
		if acct.ServerUUID == d.ServerUUID && bytes.Equal(acct.Detail, d.Document) {
			return nil, errNoChange
		}
		acct.ServerUUID, acct.Detail = d.ServerUUID, d.Document
		return nil, nil
	})
	if errors.Is(err, storage.ErrExists) {
		return fmt.Errorf("abm: another account has the MDM server %q: %w", d.ServerUUID, ErrOtherServer)
	}
	if err != nil {
		return fmt.Errorf("abm: store account detail: %w", err)
	}
	s.detail = d
	return nil
}
