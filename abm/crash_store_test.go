package abm

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

var errCrash = errors.New("crash")

// crashStore fails at one call, before or after it was carried out, and at all calls after that: the process is dead.
type crashStore struct {
	Store
	mu    sync.Mutex
	calls int
	at    int  // the call that fails; 0 never
	after bool // carry it out first
}

// before counts a call and says whether it may be carried out, and whether its answer is lost.
func (c *crashStore) before() (run, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	switch {
	case c.at == 0 || c.calls < c.at:
		return true, false
	case c.calls == c.at:
		return c.after, true
	}
	return false, true
}

// dead reports whether the call that fails was reached.
func (c *crashStore) dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at > 0 && c.calls >= c.at
}

func crash0(c *crashStore, f func() error) error {
	_, err := crash1(c, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

func crash1[T any](c *crashStore, f func() (T, error)) (T, error) {
	var zero T
	run, lost := c.before()
	if run {
		v, err := f()
		if !lost || err != nil {
			return v, err
		}
	}
	return zero, errCrash
}

func (c *crashStore) GetAccount(ctx context.Context, name string) (storage.Account, error) {
	return crash1(c, func() (storage.Account, error) { return c.Store.GetAccount(ctx, name) })
}

func (c *crashStore) UpdateAccount(ctx context.Context, a storage.Account, acts ...storage.Activity) error {
	return crash0(c, func() error { return c.Store.UpdateAccount(ctx, a, acts...) })
}

func (c *crashStore) CreateAccount(ctx context.Context, a storage.Account, acts ...storage.Activity) error {
	return crash0(c, func() error { return c.Store.CreateAccount(ctx, a, acts...) })
}

func (c *crashStore) CreateKeyPair(ctx context.Context, k storage.KeyPair, acts ...storage.Activity) error {
	return crash0(c, func() error { return c.Store.CreateKeyPair(ctx, k, acts...) })
}

func (c *crashStore) ListKeyPairs(ctx context.Context, account string) ([]storage.KeyPair, error) {
	return crash1(c, func() ([]storage.KeyPair, error) { return c.Store.ListKeyPairs(ctx, account) })
}

func (c *crashStore) GetDevices(ctx context.Context, account string, serials []string) ([]storage.Device, error) {
	return crash1(c, func() ([]storage.Device, error) { return c.Store.GetDevices(ctx, account, serials) })
}

func (c *crashStore) DeviceDigests(ctx context.Context, account string, serials []string) (map[string]storage.Digest, error) {
	return crash1(c, func() (map[string]storage.Digest, error) { return c.Store.DeviceDigests(ctx, account, serials) })
}

func (c *crashStore) FindDevices(ctx context.Context, serials ...string) ([]storage.Device, error) {
	return crash1(c, func() ([]storage.Device, error) { return c.Store.FindDevices(ctx, serials...) })
}

func (c *crashStore) CountDevices(ctx context.Context, account string) (present, left int, err error) {
	err = crash0(c, func() (err error) { present, left, err = c.Store.CountDevices(ctx, account); return err })
	return present, left, err
}

func (c *crashStore) ListSerials(ctx context.Context, f storage.DeviceFilter, p storage.Page) (serials []string, next string, err error) {
	err = crash0(c, func() (err error) { serials, next, err = c.Store.ListSerials(ctx, f, p); return err })
	return serials, next, err
}

func (c *crashStore) ListProfiles(ctx context.Context, account string) ([]storage.Profile, error) {
	return crash1(c, func() ([]storage.Profile, error) { return c.Store.ListProfiles(ctx, account) })
}

func (c *crashStore) ListDevices(ctx context.Context, f storage.DeviceFilter, p storage.Page) (devs []storage.Device, next string, err error) {
	err = crash0(c, func() (err error) { devs, next, err = c.Store.ListDevices(ctx, f, p); return err })
	return devs, next, err
}

func (c *crashStore) GetCursor(ctx context.Context, account string) (storage.Cursor, error) {
	return crash1(c, func() (storage.Cursor, error) { return c.Store.GetCursor(ctx, account) })
}

func (c *crashStore) CommitInventory(ctx context.Context, ch storage.InventoryChange) error {
	return crash0(c, func() error { return c.Store.CommitInventory(ctx, ch) })
}

func (c *crashStore) GetAssignments(ctx context.Context, account string, serials []string) ([]storage.Assignment, error) {
	return crash1(c, func() ([]storage.Assignment, error) { return c.Store.GetAssignments(ctx, account, serials) })
}

func (c *crashStore) DueAssignments(ctx context.Context, account string, now time.Time, limit int) ([]storage.Assignment, error) {
	return crash1(c, func() ([]storage.Assignment, error) { return c.Store.DueAssignments(ctx, account, now, limit) })
}

func (c *crashStore) GetProfile(ctx context.Context, account, print string) (storage.Profile, error) {
	return crash1(c, func() (storage.Profile, error) { return c.Store.GetProfile(ctx, account, print) })
}

func (c *crashStore) PutProfile(ctx context.Context, f storage.Fence, p storage.Profile, acts ...storage.Activity) error {
	return crash0(c, func() error { return c.Store.PutProfile(ctx, f, p, acts...) })
}

func (c *crashStore) AcquireLease(ctx context.Context, name, owner string, now time.Time, ttl time.Duration) (storage.Lease, error) {
	return crash1(c, func() (storage.Lease, error) { return c.Store.AcquireLease(ctx, name, owner, now, ttl) })
}

func (c *crashStore) RenewLease(ctx context.Context, l storage.Lease, now time.Time, ttl time.Duration) (storage.Lease, error) {
	return crash1(c, func() (storage.Lease, error) { return c.Store.RenewLease(ctx, l, now, ttl) })
}

func (c *crashStore) ReleaseLease(ctx context.Context, l storage.Lease) error {
	return crash0(c, func() error { return c.Store.ReleaseLease(ctx, l) })
}
