package abm

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// ImportOptions changes what [Accounts.ImportToken] accepts.
type ImportOptions struct {
	// Force accepts a renewal that belongs to another MDM server entry or organization. The inventory of the account is
	// then read again from the beginning.
	Force bool
}

// ErrOtherServer means that a server token is not the one of the account's MDM server entry.
var ErrOtherServer = errors.New("abm: the server token is another server's")

// TokenMismatchError means that a token belongs to another MDM server entry or organization than the account. Nothing
// was stored. It is [ErrOtherServer].
type TokenMismatchError struct {
	// Field is consumer_key, server_uuid or org_id.
	Field string
	// Have and Want are what the new token has, and what the account has.
	Have, Want string
}

// Error implements error.
func (e *TokenMismatchError) Error() string {
	return fmt.Sprintf("abm: %s is %q, the account has %q: the server token is another server's", e.Field, e.Have, e.Want)
}

// Unwrap returns [ErrOtherServer].
func (*TokenMismatchError) Unwrap() error { return ErrOtherServer }

// ImportToken takes the token file p7m, as downloaded from Apple's portal, into use: the first one of an account or a
// renewal. The token is decrypted with the key pair it belongs to and tried at Apple before anything is stored; key,
// token, Apple's detail and health then change in one write, and the next call signs in with the new token.
//
// It returns [*TokenFileError], [ErrNoKey] or [ErrTokenExpired] for a file that is of no use, [*TokenMismatchError]
// for one of another server, what Apple says to the token (see [APIError]), storage.ErrNotFound for an unknown
// account, and storage.ErrExists when another account has the server.
func (a *Accounts) ImportToken(ctx context.Context, account string, p7m []byte, opts ImportOptions) (storage.Account, error) {
	for range maxConflicts {
		_, in, err := a.tryToken(ctx, account, p7m)
		if err != nil {
			return storage.Account{}, fmt.Errorf("abm: import token: %w", err)
		}
		// Apple voids a token when it issues a newer one: what another process has imported meanwhile may be that.
		if acct, err := a.storeToken(ctx, account, in, opts); !errors.Is(err, errReplaced) {
			return acct, err
		}
	}
	return storage.Account{}, fmt.Errorf("abm: import token: %w", storage.ErrConflict)
}

// errReplaced means that the account has another token than when the new one was tried at Apple.
var errReplaced = errors.New("abm: the server token was replaced meanwhile")

// tryToken decrypts a token file and asks Apple whose it is. It stores nothing.
func (a *Accounts) tryToken(ctx context.Context, account string, p7m []byte) (storage.Account, importedToken, error) {
	fail := func(err error) (storage.Account, importedToken, error) {
		return storage.Account{}, importedToken{}, err
	}
	acct, err := a.store.GetAccount(ctx, account)
	if err != nil {
		return fail(err)
	}
	token, pair, err := a.openToken(ctx, account, p7m)
	if err != nil {
		return fail(err)
	}
	if !token.ExpiresAt.After(a.s.now()) {
		return fail(ErrTokenExpired)
	}
	c, err := newClient(token, a.s.of(account), a.baseURL(acct))
	if err != nil {
		return fail(err)
	}
	detail, err := c.AccountDetail(ctx)
	if err != nil {
		return fail(err)
	}
	return acct, importedToken{token, pair, detail, acct.SealedToken}, nil
}

type importedToken struct {
	token  Token
	pair   storage.KeyPair
	detail *AccountDetail
	over   []byte // the sealed token that the account had when this one was tried
}

// openToken decrypts a token file with one of the account's key pairs.
func (a *Accounts) openToken(ctx context.Context, account string, p7m []byte) (Token, storage.KeyPair, error) {
	pairs, err := a.store.ListKeyPairs(ctx, account)
	if err != nil {
		return Token{}, storage.KeyPair{}, err
	}
	slices.Reverse(pairs) // the newest first
	keys, readable := make([]tokenKey, 0, len(pairs)), make([]storage.KeyPair, 0, len(pairs))
	var unread error
	for _, k := range pairs {
		cert, err := parseCertificate(k)
		if err != nil {
			unread = fmt.Errorf("key pair %s: %w", k.ID, err)
			continue
		}
		keys = append(keys, tokenKey{cert: cert, open: func() (crypto.PrivateKey, error) { return a.PrivateKey(ctx, k) }})
		readable = append(readable, k)
	}
	token, i, err := decryptToken(p7m, keys)
	if errors.Is(err, ErrNoKey) && unread != nil {
		return Token{}, storage.KeyPair{}, fmt.Errorf("%w (%w)", err, unread)
	}
	if err != nil {
		return Token{}, storage.KeyPair{}, err
	}
	return token, readable[i], nil
}

// storeToken writes the new token over the current record, again if the record changes meanwhile. It returns errReplaced if
// the token in it has changed.
func (a *Accounts) storeToken(ctx context.Context, account string, in importedToken, opts ImportOptions) (storage.Account, error) {
	sealed, err := a.sealToken(ctx, account, in.token)
	if err != nil {
		return storage.Account{}, fmt.Errorf("abm: import token: %w", err)
	}
	var moved bool
	acct, err := a.update(ctx, account, func(acct *storage.Account) ([]storage.Activity, error) {
		if !bytes.Equal(acct.SealedToken, in.over) {
			return nil, errReplaced
		}
		mismatch := a.mismatch(ctx, *acct, in)
		if mismatch != nil && !opts.Force {
			return nil, mismatch
		}
		moved = mismatch != nil
		now := a.s.now()
		renewal := len(acct.SealedToken) > 0
		acct.ServerUUID, acct.Detail = in.detail.ServerUUID, in.detail.Document
		acct.KeyPairID = in.pair.ID
		replaceToken(acct, sealed, in.token.ExpiresAt)
		acct.LastOKAt = now
		acts := []storage.Activity{activity.New(now, activity.System, activity.TokenImported{
			On: activity.On{Account: account}, ServerUUID: in.detail.ServerUUID, ServerName: in.detail.ServerName,
			OrgName: in.detail.OrgName, KeyPairID: in.pair.ID, ExpiresAt: in.token.ExpiresAt, Renewal: renewal, Forced: moved,
		})}
		health, reason := tokenHealth(in.token.ExpiresAt, now)
		acts = append(acts, setHealth(acct, health, reason, now)...)
		return append(acts, warnExpiry(acct, now)...), nil
	})
	if err != nil {
		return storage.Account{}, fmt.Errorf("abm: import token: %w", err)
	}
	if err := a.restoreKeyPair(ctx, in.pair); err != nil {
		return storage.Account{}, fmt.Errorf("abm: import token: %w", err)
	}
	if moved {
		if err := a.forgetCursor(ctx, account); err != nil {
			return storage.Account{}, err
		}
	}
	return acct, nil
}

// sealToken returns token as it is stored.
func (a *Accounts) sealToken(ctx context.Context, account string, token Token) ([]byte, error) {
	plain, err := token.encode()
	if err != nil {
		return nil, err
	}
	return a.sealer.Seal(ctx, plain, tokenAD(account))
}

// mismatch returns how the new token differs from the account in what it belongs to. The consumer key counts as long as
// Apple was not asked which server the account is.
func (a *Accounts) mismatch(ctx context.Context, acct storage.Account, in importedToken) *TokenMismatchError {
	if acct.ServerUUID != "" && acct.ServerUUID != in.detail.ServerUUID {
		return &TokenMismatchError{Field: "server_uuid", Have: in.detail.ServerUUID, Want: acct.ServerUUID}
	}
	if old, err := ParseAccountDetail(acct.Detail); err == nil && old.OrgID != "" && old.OrgID != in.detail.OrgID {
		return &TokenMismatchError{Field: "org_id", Have: in.detail.OrgID, Want: old.OrgID}
	}
	if acct.ServerUUID != "" {
		return nil // Apple says whose it is, whatever another program may have stored in between
	}
	if old, err := a.token(ctx, acct); err == nil && old.ConsumerKey != in.token.ConsumerKey {
		return &TokenMismatchError{Field: "consumer_key", Have: in.token.ConsumerKey, Want: old.ConsumerKey}
	}
	return nil
}

// forgetCursor makes the inventory of an account that has moved to another server be read from the beginning. If the process
// dies before, Apple refuses the cursor of the other server, with the same effect.
func (a *Accounts) forgetCursor(ctx context.Context, account string) error {
	for range maxConflicts {
		cur, err := a.store.GetCursor(ctx, account)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("abm: import token: %w", err)
		}
		cur.Value, cur.Phase, cur.LastSyncAt, cur.LastSweepAt = "", storage.PhaseFetch, zeroTime, zeroTime
		cur.UpdatedAt = a.s.now()
		err = a.store.CommitInventory(ctx, storage.InventoryChange{Account: account, Cursor: &cur})
		if err == nil {
			return nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("abm: import token: %w", err)
		}
	}
	return fmt.Errorf("abm: import token: %w", storage.ErrConflict)
}
