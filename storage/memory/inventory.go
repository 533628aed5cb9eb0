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
	return fail("commit inventory of", c.Account, s.writeNormalized(ctx, n.Activities, func() (bool, error) {
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
	assignments := s.assignments[c.Account]
	for i := range c.Assignments {
		a := &c.Assignments[i]
		version := int64(0)
		if old := assignments[a.Serial]; old != nil {
			version = old.Version
		}
		if version != a.Version {
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
		s.devices[c.Account] = map[string]*storage.Device{}
		s.assignments[c.Account] = map[string]*storage.Assignment{}
	}
	if put(s.devices[c.Account], c.Devices, func(d *storage.Device) string { return d.Serial }, s.storeDevice) > 0 {
		s.deviceKeys.changed(c.Account)
	}
	if put(s.assignments[c.Account], c.Assignments, func(a *storage.Assignment) string { return a.Serial }, storeAssignment) > 0 {
		s.assignKeys.changed(c.Account)
	}
	if c.Cursor != nil {
		cursor := *c.Cursor
		cursor.Version++
		s.cursors[c.Account] = cursor
	}
}

func (s *Store) storeDevice(to, from *storage.Device) {
	clone := s.documents.clone
	if to.Serial != "" {
		clone = cloneDocument // a device that changes often must not fill the arena with what it no longer has
	}
	*to = *from
	to.Document = clone(from.Document)
}

func storeAssignment(to, from *storage.Assignment) {
	*to = *from
	to.Version++
}
