package memory

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// GetCursor implements storage.InventoryStore.
func (s *Store) GetCursor(ctx context.Context, account string) (storage.Cursor, error) {
	c, err := get(ctx, s, func() map[string]storage.Cursor { return s.cursors }, account, same[storage.Cursor])
	return c, fail("get cursor of", account, err)
}

// CommitInventory implements storage.InventoryStore.
func (s *Store) CommitInventory(ctx context.Context, c storage.InventoryChange) error {
	n, err := c.Normalize()
	if err != nil {
		return fail("commit inventory of", c.Account, err)
	}
	return fail("commit inventory of", c.Account, s.write(ctx, n.Activities, func() (bool, error) {
		if err := s.checkInventory(&n); err != nil {
			return false, err
		}
		s.applyInventory(&n)
		return true, nil
	}))
}

func (s *Store) checkInventory(c *storage.InventoryChange) error {
	if _, found := s.accounts[c.Account]; !found {
		return storage.ErrNotFound
	}
	if err := s.checkFence(c.Fence); err != nil {
		return err
	}
	for i := range c.Assignments {
		a := &c.Assignments[i]
		if s.assignments[c.Account][a.Serial].Version != a.Version {
			return fail("assignment", a.Serial, storage.ErrConflict)
		}
	}
	if c.Cursor != nil && s.cursors[c.Account].Version != c.Cursor.Version {
		return fail("cursor", c.Account, storage.ErrConflict)
	}
	return nil
}

func (s *Store) applyInventory(c *storage.InventoryChange) {
	if s.devices[c.Account] == nil {
		s.devices[c.Account] = map[string]storage.Device{}
		s.assignments[c.Account] = map[string]storage.Assignment{}
	}
	for _, d := range c.Devices {
		if _, found := s.devices[c.Account][d.Serial]; !found {
			s.deviceKeys.changed(c.Account)
		}
		s.devices[c.Account][d.Serial] = cloneDevice(d)
	}
	for _, a := range c.Assignments {
		if a.Version == 0 {
			s.assignKeys.changed(c.Account)
		}
		a.Version++
		s.assignments[c.Account][a.Serial] = a
	}
	if c.Cursor != nil {
		cursor := *c.Cursor
		cursor.Version++
		s.cursors[c.Account] = cursor
	}
}
