package depstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/micromdm/nanodep/client"
	nanodep "github.com/micromdm/nanodep/storage"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/storage"
)

// Store is what [Storage] needs of a store. storage.Store has all of it.
type Store interface {
	abm.AccountsStore
	storage.NanoDEPStore
}

// Storage keeps what nanodep needs in a store of package storage.
type Storage struct {
	store    Store
	accounts *abm.Accounts
	now      func() time.Time
}

var _ nanodep.AllStorage = (*Storage)(nil)

// Option changes a setting of [New].
type Option func(*settings) error

type settings struct{ now func() time.Time }

// WithClock sets the clock. The default is the system's.
func WithClock(now func() time.Time) Option {
	return func(s *settings) error {
		if now == nil {
			return errors.New("depstore: WithClock: nil function")
		}
		s.now = now
		return nil
	}
}

// New returns nanodep's storage over store. sealer must be the one the accounts in the store are sealed with.
func New(store Store, sealer storage.Sealer, opts ...Option) (*Storage, error) {
	s := settings{now: time.Now}
	for i, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("depstore: option %d is nil", i)
		}
		if err := o(&s); err != nil {
			return nil, err
		}
	}
	accounts, err := abm.NewAccounts(store, sealer, abm.WithClock(s.now))
	if err != nil {
		return nil, fmt.Errorf("depstore: %w", err)
	}
	return &Storage{store: store, accounts: accounts, now: s.now}, nil
}

// RetrieveAuthTokens returns the server token of the account. It returns nanodep's storage.ErrNotFound when there is none.
func (s *Storage) RetrieveAuthTokens(ctx context.Context, name string) (*client.OAuth1Tokens, error) {
	t, err := s.accounts.Token(ctx, name)
	if errors.Is(err, abm.ErrNoToken) {
		return nil, missing("tokens", name)
	}
	if err != nil {
		return nil, notFound("tokens", name, err)
	}
	return &client.OAuth1Tokens{
		ConsumerKey: t.ConsumerKey, ConsumerSecret: t.ConsumerSecret.Reveal(),
		AccessToken: t.AccessToken.Reveal(), AccessSecret: t.AccessSecret.Reveal(), AccessTokenExpiry: t.ExpiresAt,
	}, nil
}

// StoreAuthTokens makes tokens the server token of the account. Tokens without expiry, which Apple does not issue, are
// refused.
func (s *Storage) StoreAuthTokens(ctx context.Context, name string, tokens *client.OAuth1Tokens) error {
	if tokens == nil {
		return errors.New("depstore: no tokens")
	}
	if err := s.ensure(ctx, name); err != nil {
		return err
	}
	_, err := s.accounts.PutToken(ctx, name, abm.Token{
		ConsumerKey: tokens.ConsumerKey, ConsumerSecret: abm.Secret(tokens.ConsumerSecret),
		AccessToken: abm.Secret(tokens.AccessToken), AccessSecret: abm.Secret(tokens.AccessSecret),
		ExpiresAt: tokens.AccessTokenExpiry,
	})
	return wrap("store tokens", name, err)
}

// RetrieveConfig returns the base URL of the account, or nil when it uses the default.
func (s *Storage) RetrieveConfig(ctx context.Context, name string) (*client.Config, error) {
	acct, err := s.store.GetAccount(ctx, name)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("config", name, err)
	}
	if acct.BaseURL == "" {
		return nil, nil
	}
	return &client.Config{BaseURL: acct.BaseURL}, nil
}

// StoreConfig sets the base URL of the account. No config, and an empty base URL, mean the default.
func (s *Storage) StoreConfig(ctx context.Context, name string, config *client.Config) error {
	if err := s.ensure(ctx, name); err != nil {
		return err
	}
	var base string
	if config != nil {
		base = config.BaseURL
	}
	return wrap("store config", name, s.accounts.SetBaseURL(ctx, name, base))
}

// ensure makes the account unless it is there: nanodep knows no creating of DEP names.
func (s *Storage) ensure(ctx context.Context, name string) error {
	_, err := s.store.GetAccount(ctx, name)
	if errors.Is(err, storage.ErrNotFound) {
		_, err = s.accounts.Create(ctx, name, "")
	}
	if errors.Is(err, storage.ErrExists) { // another process was faster
		return nil
	}
	return wrap("create account", name, err)
}

func wrap(what, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("depstore: %s of %q: %w", what, name, err)
}

// missing returns nanodep's error for what is not there.
func missing(what, name string) error { return wrap(what, name, nanodep.ErrNotFound) }

// notFound returns nanodep's error if err is that of a missing record, and err otherwise.
func notFound(what, name string, err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return missing(what, name)
	}
	return wrap(what, name, err)
}
