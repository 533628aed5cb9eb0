package abm

import (
	"context"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// TokenInfo is what a token file is about. It holds no secret.
type TokenInfo struct {
	// ConsumerKey identifies the MDM server entry the token is for, ExpiresAt when the token ends.
	ConsumerKey string
	ExpiresAt   time.Time
	// KeyPairID names the key pair of the account that the file was encrypted to.
	KeyPairID string
	// Server is what Apple says of the MDM server entry and its organization.
	Server *AccountDetail
	// Renewal says that the account has a token, which this one would replace.
	Renewal bool
	// Mismatch says why an import would be refused unless forced; nil if it would not.
	Mismatch *TokenMismatchError
	// OtherAccount names the account that has this server already; an import would be refused, forced or not.
	OtherAccount string
}

// InspectToken shows what the token file p7m is about, and what [Accounts.ImportToken] would say to it. It asks Apple
// with the new token and stores nothing. Its errors are those of ImportToken, but for TokenMismatchError and
// storage.ErrExists, which are part of what it shows.
func (a *Accounts) InspectToken(ctx context.Context, account string, p7m []byte) (TokenInfo, error) {
	acct, in, err := a.tryToken(ctx, account, p7m)
	if err != nil {
		return TokenInfo{}, fmt.Errorf("abm: inspect token: %w", err)
	}
	info := TokenInfo{
		ConsumerKey: in.token.ConsumerKey, ExpiresAt: in.token.ExpiresAt, KeyPairID: in.pair.ID, Server: in.detail,
		Renewal: len(acct.SealedToken) > 0, Mismatch: a.mismatch(ctx, acct, in),
	}
	info.OtherAccount, err = a.accountOf(ctx, in.detail.ServerUUID, account)
	if err != nil {
		return TokenInfo{}, fmt.Errorf("abm: inspect token: %w", err)
	}
	return info, nil
}

// accountOf returns the name of the account, other than not, that has a server; empty if there is none.
func (a *Accounts) accountOf(ctx context.Context, serverUUID, not string) (string, error) {
	for after := ""; ; {
		accts, next, err := a.store.ListAccounts(ctx, storage.Page{After: after, Limit: storage.MaxPageSize})
		if err != nil {
			return "", err
		}
		for i := range accts {
			if accts[i].ServerUUID == serverUUID && serverUUID != "" && accts[i].Name != not {
				return accts[i].Name, nil
			}
		}
		if next == "" {
			return "", nil
		}
		after = next
	}
}
