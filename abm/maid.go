package abm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"github.com/enrollkit/enrollkit/storage"
)

// MAIDServiceType is the TokenServiceType of the GetToken check-in that [Accounts.MAIDToken] answers.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/get-token
const MAIDServiceType = "com.apple.maid"

// ErrServerUnknown means that Apple was not asked yet which MDM server the account is, as its token was stored with
// [Accounts.PutToken]: the engine asks before it does anything else.
var ErrServerUnknown = errors.New("abm: the account's MDM server is not known yet")

// MAIDToken returns the token that a device asks for with GetToken and the service type com.apple.maid, to sign in with a
// Managed Apple Account: a JSON Web Token, to be sent as the UTF-8 bytes of TokenData. It is signed with the key that the
// account's server token was encrypted to, whose certificate Apple has on record. Apple takes each token once: make a
// new one for each request.
//
// It returns [ErrNoToken] before the first token, [ErrServerUnknown], and storage.ErrNotFound if the account or the key
// pair in use is not here.
func (a *Accounts) MAIDToken(ctx context.Context, account string) (string, error) {
	acct, err := a.store.GetAccount(ctx, account)
	if err != nil {
		return "", fmt.Errorf("abm: MAID token: %w", err)
	}
	switch {
	case len(acct.SealedToken) == 0:
		return "", fmt.Errorf("abm: MAID token: %w: %s", ErrNoToken, account)
	case acct.ServerUUID == "":
		return "", fmt.Errorf("abm: MAID token: %w: %s", ErrServerUnknown, account)
	}
	pairs, err := a.store.ListKeyPairs(ctx, account)
	if err != nil {
		return "", fmt.Errorf("abm: MAID token: %w", err)
	}
	used := slices.IndexFunc(pairs, func(k storage.KeyPair) bool { return k.ID == acct.KeyPairID })
	if used < 0 {
		return "", fmt.Errorf("abm: MAID token: key pair %q of %s: %w", acct.KeyPairID, account, storage.ErrNotFound)
	}
	key, err := a.PrivateKey(ctx, pairs[used])
	if err != nil {
		return "", fmt.Errorf("abm: MAID token: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("abm: MAID token: %w", err)
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("abm: MAID token: %w", err)
	}
	token, err := jwt.Signed(signer).Claims(maidClaims{
		Issuer: acct.ServerUUID, IssuedAt: a.s.now().Unix(), ID: id.String(), ServiceType: MAIDServiceType,
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("abm: MAID token: %w", err)
	}
	return token, nil
}

// maidClaims are all the claims Apple names; iat is in seconds.
type maidClaims struct {
	Issuer      string `json:"iss"` // server_uuid of GET /account
	IssuedAt    int64  `json:"iat"`
	ID          string `json:"jti"` // random, as Apple takes it once
	ServiceType string `json:"service_type"`
}
