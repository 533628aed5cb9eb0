package abm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// AccountsStore is what [Accounts] needs of a store.
type AccountsStore interface {
	storage.AccountStore
	storage.KeyPairStore
	storage.InventoryStore
}

// Accounts manages accounts with their key pairs and server tokens, and gives out a client for each. It is safe for
// concurrent use, also by several processes on one store.
type Accounts struct {
	store  AccountsStore
	sealer storage.Sealer
	s      settings

	mu      sync.Mutex
	clients map[string]cachedClient // by account name
}

// cachedClient is a client with what it was made from: another token or base URL needs another client, which drops the
// session of the old token.
type cachedClient struct {
	sealed  []byte
	baseURL string
	client  *Client
}

// NewAccounts returns a manager of the accounts in store. Secrets are sealed by sealer before the store sees them.
func NewAccounts(store AccountsStore, sealer storage.Sealer, opts ...Option) (*Accounts, error) {
	if store == nil || sealer == nil {
		return nil, errors.New("abm: NewAccounts: store and sealer are required")
	}
	s, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	return newAccounts(store, sealer, s), nil
}

func newAccounts(store AccountsStore, sealer storage.Sealer, s settings) *Accounts {
	return &Accounts{store: store, sealer: sealer, s: s, clients: make(map[string]cachedClient)}
}

// Create makes an account without a token. baseURL says where the service is; empty means the default.
// It returns storage.ErrExists when the name is taken.
func (a *Accounts) Create(ctx context.Context, name, baseURL string) (storage.Account, error) {
	if name == "" {
		return storage.Account{}, errors.New("abm: create account: empty name")
	}
	if baseURL != "" {
		if _, err := parseBaseURL(baseURL); err != nil {
			return storage.Account{}, fmt.Errorf("abm: create account: base URL: %w", err)
		}
	}
	now := a.s.now()
	acct := storage.Account{
		Name: name, BaseURL: baseURL, Health: storage.HealthNew, HealthSince: now, CreatedAt: now, UpdatedAt: now,
	}
	on := activity.On{Account: name}
	if err := a.store.CreateAccount(ctx, acct, activity.New(now, activity.System, activity.AccountCreated{On: on})); err != nil {
		return storage.Account{}, fmt.Errorf("abm: create account: %w", err)
	}
	return a.store.GetAccount(ctx, name)
}

// CreateKeyPair makes a key pair that a token may be encrypted to. Its Certificate, PEM, is what is uploaded to Apple's
// portal. Earlier key pairs stay, as the portal encrypts to the certificate that is on record there.
func (a *Accounts) CreateKeyPair(ctx context.Context, account string) (storage.KeyPair, error) {
	if _, err := a.store.GetAccount(ctx, account); err != nil { // before making a key for nothing
		return storage.KeyPair{}, fmt.Errorf("abm: create key pair: %w", err)
	}
	k, key, err := newKeyPair(account, a.s.now())
	if err != nil {
		return storage.KeyPair{}, fmt.Errorf("abm: create key pair: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return storage.KeyPair{}, fmt.Errorf("abm: create key pair: %w", err)
	}
	if k.SealedKey, err = a.sealer.Seal(ctx, der, keyAD(account, k.ID)); err != nil {
		return storage.KeyPair{}, fmt.Errorf("abm: create key pair: %w", err)
	}
	act := activity.New(k.CreatedAt, activity.System, activity.KeyPairCreated{On: activity.On{Account: account}, KeyPairID: k.ID})
	if err := a.store.CreateKeyPair(ctx, k, act); err != nil {
		return storage.KeyPair{}, fmt.Errorf("abm: create key pair: %w", err)
	}
	return k, nil
}

// Delete removes an account with its key pairs, token, inventory and assignments. It asks nothing of Apple: devices keep
// the profile they have there. Deleting an account that does not exist is no error.
func (a *Accounts) Delete(ctx context.Context, name string) error {
	act := activity.New(a.s.now(), activity.System, activity.AccountDeleted{On: activity.On{Account: name}})
	if err := a.store.DeleteAccount(ctx, name, act); err != nil {
		return fmt.Errorf("abm: delete account: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.clients, name)
	return nil
}

// Token returns the server token of an account. It returns [ErrNoToken] before the first import.
func (a *Accounts) Token(ctx context.Context, account string) (Token, error) {
	acct, err := a.store.GetAccount(ctx, account)
	if err != nil {
		return Token{}, fmt.Errorf("abm: token: %w", err)
	}
	return a.token(ctx, acct)
}

func (a *Accounts) token(ctx context.Context, acct storage.Account) (Token, error) {
	if len(acct.SealedToken) == 0 {
		return Token{}, fmt.Errorf("%w: %s", ErrNoToken, acct.Name)
	}
	plain, err := a.sealer.Open(ctx, acct.SealedToken, tokenAD(acct.Name))
	if err != nil {
		return Token{}, fmt.Errorf("abm: token of %s: %w", acct.Name, err)
	}
	return ParseToken(plain)
}

// Client returns the client of an account. Calls for one account share one client, and so one session at Apple, until
// its token or base URL changes. It returns [ErrNoToken] before the first import.
func (a *Accounts) Client(ctx context.Context, account string) (*Client, error) {
	acct, err := a.store.GetAccount(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("abm: client: %w", err)
	}
	return a.client(ctx, acct)
}

func (a *Accounts) client(ctx context.Context, acct storage.Account) (*Client, error) {
	a.mu.Lock()
	c := a.cached(acct)
	a.mu.Unlock()
	if c != nil {
		return c, nil
	}
	t, err := a.token(ctx, acct) // without the lock: a sealer may call a key service
	if err != nil {
		return nil, err
	}
	if c, err = newClient(t, a.s, a.baseURL(acct)); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if other := a.cached(acct); other != nil {
		return other, nil
	}
	a.clients[acct.Name] = cachedClient{sealed: acct.SealedToken, baseURL: acct.BaseURL, client: c}
	return c, nil
}

// cached returns the client that fits acct, or nil. The caller holds the lock.
func (a *Accounts) cached(acct storage.Account) *Client {
	c, ok := a.clients[acct.Name]
	if !ok || !bytes.Equal(c.sealed, acct.SealedToken) || c.baseURL != acct.BaseURL {
		return nil
	}
	return c.client
}

func (a *Accounts) baseURL(acct storage.Account) string {
	if acct.BaseURL != "" {
		return acct.BaseURL
	}
	return a.s.baseURL
}

// key opens the private key of a stored key pair.
func (a *Accounts) key(ctx context.Context, k storage.KeyPair) (crypto.PrivateKey, error) {
	der, err := a.sealer.Open(ctx, k.SealedKey, keyAD(k.Account, k.ID))
	if err != nil {
		return nil, fmt.Errorf("abm: key pair %s: %w", k.ID, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("abm: key pair %s: not a private key", k.ID)
	}
	if _, ok := key.(*rsa.PrivateKey); !ok {
		return nil, fmt.Errorf("abm: key pair %s: not an RSA key", k.ID)
	}
	return key, nil
}
