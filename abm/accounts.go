package abm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// AccountsStore is what [Accounts] needs of a store.
type AccountsStore interface {
	storage.AccountStore
	storage.KeyPairStore
	storage.DeviceStore
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

// SetBaseURL says where the service is for an account; empty means the default. Before the engine goes on there, it asks
// whether the account is the same.
func (a *Accounts) SetBaseURL(ctx context.Context, account, baseURL string) error {
	if baseURL != "" {
		if _, err := parseBaseURL(baseURL); err != nil {
			return fmt.Errorf("abm: set base URL: %w", err)
		}
	}
	_, err := a.update(ctx, account, func(acct *storage.Account) ([]storage.Activity, error) {
		if acct.BaseURL == baseURL {
			return nil, errNoChange
		}
		acct.BaseURL, acct.Detail = baseURL, nil
		return nil, nil
	})
	if err != nil {
		return fmt.Errorf("abm: set base URL: %w", err)
	}
	return nil
}

// Delete removes an account with all that is kept for it: key pairs, token, inventory, assignments, profiles and
// nanodep's state. Enrollments, runs and activities stay. An engine that works on the account stops at its next write,
// which fails, also when the account was created again by then. It asks nothing of Apple: devices keep the profile they have there. Deleting an account that does not
// exist is no error.
func (a *Accounts) Delete(ctx context.Context, name string) error {
	devices, _, err := a.store.CountDevices(ctx, name)
	if err != nil {
		return fmt.Errorf("abm: delete account: %w", err)
	}
	gone := activity.AccountDeleted{On: activity.On{Account: name}, Devices: devices}
	if err := a.store.DeleteAccount(ctx, name, activity.New(a.s.now(), activity.System, gone)); err != nil {
		return fmt.Errorf("abm: delete account: %w", err)
	}
	a.forget(name)
	if leaser, ok := a.store.(storage.Leaser); ok {
		if err := revokeLease(ctx, leaser, name); err != nil {
			return fmt.Errorf("abm: delete account: lease: %w", err)
		}
	}
	return nil
}

// forget drops the client of an account, and with it the token and the session in memory.
func (a *Accounts) forget(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.clients, name)
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
// its token or base URL changes. A call that Apple refuses because the token was renewed after the client was got is
// repeated with the new token. It returns [ErrNoToken] before the first import.
func (a *Accounts) Client(ctx context.Context, account string) (*Client, error) {
	acct, err := a.store.GetAccount(ctx, account)
	if errors.Is(err, storage.ErrNotFound) { // another process may have deleted it
		a.forget(account)
	}
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
	if c, err = newClient(t, a.s.of(acct.Name), a.baseURL(acct)); err != nil {
		return nil, err
	}
	a.shareSession(c, acct.Name)
	c.successor = a.successor(acct.Name, t.ConsumerKey, c)
	a.mu.Lock()
	defer a.mu.Unlock()
	if other := a.cached(acct); other != nil {
		return other, nil
	}
	a.clients[acct.Name] = cachedClient{sealed: acct.SealedToken, baseURL: acct.BaseURL, client: c}
	return c, nil
}

// successor returns how the client c finds the one that has taken its place: with a renewed token of the same MDM server
// entry. Another entry has other devices, so what was asked of the old one is not asked there.
func (a *Accounts) successor(account, consumerKey string, c *Client) func(context.Context) *Client {
	return func(ctx context.Context) *Client {
		acct, err := a.store.GetAccount(ctx, account)
		if err != nil {
			return nil
		}
		next, err := a.client(ctx, acct)
		if err != nil || next == c {
			return nil
		}
		if t, err := a.token(ctx, acct); err != nil || t.ConsumerKey != consumerKey {
			return nil
		}
		return next
	}
}

// cached returns the client that fits acct, or nil. The caller holds the lock.
func (a *Accounts) cached(acct storage.Account) *Client {
	c, ok := a.clients[acct.Name]
	if !ok || !bytes.Equal(c.sealed, acct.SealedToken) || c.baseURL != acct.BaseURL {
		return nil
	}
	return c.client
}

// heldUntil returns until when the client of acct in this process holds all calls back; zero if it does not, or there is none.
func (a *Accounts) heldUntil(acct storage.Account) time.Time {
	a.mu.Lock()
	c := a.cached(acct)
	a.mu.Unlock()
	if c == nil {
		return time.Time{}
	}
	return c.breaker.heldUntil()
}

func (a *Accounts) baseURL(acct storage.Account) string {
	if acct.BaseURL != "" {
		return acct.BaseURL
	}
	return a.s.baseURL
}
