package sqlstore

import (
	"context"
	"fmt"

	"github.com/enrollkit/enrollkit/storage"
)

// GetCursor implements storage.InventoryStore.
func (s *Store) GetCursor(ctx context.Context, account string) (storage.Cursor, error) {
	return get(ctx, s, "get cursor of", cursors(), account)
}

// CommitInventory implements storage.InventoryStore.
func (s *Store) CommitInventory(ctx context.Context, c storage.InventoryChange) error {
	n, err := c.Normalize()
	if err != nil {
		return s.fail(ctx, "commit inventory of", c.Account, err)
	}
	return s.write(ctx, "commit inventory of", c.Account, n.Activities, func(t *tx) (bool, error) {
		if err := t.needAccount(n.Account); err != nil {
			return false, err
		}
		if err := t.checkFence(n.Fence); err != nil {
			return false, err
		}
		if n.Cursor != nil {
			if err := putVersioned(t, cursors(), *n.Cursor, n.Cursor.Version); err != nil {
				return false, fmt.Errorf("cursor: %w", err)
			}
		}
		if err := t.putAssignments(n.Assignments); err != nil {
			return false, err
		}
		return true, t.putDevices(n.Devices)
	})
}

// putVersioned stores a record that matches the stored version, otherwise it is ErrConflict.
func putVersioned[T any](t *tx, tb table[T], v T, version int64) error {
	put := func() (bool, error) { return update(t, tb, v, "") }
	if version == 0 {
		put = func() (bool, error) { return insert(t, tb.first(), v) }
	}
	_, err := must(storage.ErrConflict)(put())
	return err
}

// first returns the table for inserting: the version that is written is 1, whatever the record says.
func (tb table[T]) first() table[T] {
	fields := tb.fields
	tb.fields = func(v *T) []any {
		f := fields(v)
		f[len(f)-1] = int64(1)
		return f
	}
	return tb
}

// putDevices stores devices over what was there.
func (t *tx) putDevices(all []storage.Device) error {
	tb := devices()
	_, err := t.each(t.s.d.upsert(tb.name, tb.columns, tb.keys), len(all), func(i int) []any { return tb.fields(&all[i]) })
	return err
}

// putAssignments stores assignments that match the stored versions.
func (t *tx) putAssignments(all []storage.Assignment) error {
	var fresh, known []*storage.Assignment
	for i := range all {
		if all[i].Version == 0 {
			fresh = append(fresh, &all[i])
		} else {
			known = append(known, &all[i])
		}
	}
	tb := assignments()
	missed, err := t.each(t.s.d.insertNew(tb.name, tb.columns), len(fresh), func(i int) []any {
		return tb.first().fields(fresh[i])
	})
	if err == nil && missed >= 0 {
		err = fmt.Errorf("assignment %q: %w", fresh[missed].Serial, storage.ErrConflict)
	}
	if err != nil {
		return err
	}
	missed, err = t.each(tb.updateSQL(""), len(known), func(i int) []any { return tb.updateArgs(known[i]) })
	if err == nil && missed >= 0 {
		err = fmt.Errorf("assignment %q: %w", known[missed].Serial, storage.ErrConflict)
	}
	return err
}
