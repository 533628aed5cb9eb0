package storagetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// RunInventory checks storage.InventoryStore.
func RunInventory(t *testing.T, open Open) {
	values(t, open, record[storage.Cursor]{
		fresh:   func(t testing.TB) storage.Cursor { return newCursor(t, 1, "acme") },
		prepare: func(t testing.TB, s storage.Store, c storage.Cursor) { ensureAccount(t, s, c.Account) },
		put: func(ctx context.Context, s storage.Store, c storage.Cursor) error {
			return s.CommitInventory(ctx, storage.InventoryChange{Account: c.Account, Cursor: &c})
		},
		get: func(ctx context.Context, s storage.Store, c storage.Cursor) (storage.Cursor, error) {
			return s.GetCursor(ctx, c.Account)
		},
		stored: func(c *storage.Cursor) { c.Version = 1 },
		key:    []string{"Account"}, refs: []string{"Phase"},
	})
	committingInventory(t, open)
	conflictingInventory(t, open)
	invalidInventory(t, open)
	fences(t, open)
	raises(t, open, "CommitInventory",
		func(t testing.TB, s storage.Store) { withAccount(t, s, "acme") },
		func(ctx context.Context, s storage.Store, version int64) error {
			c := storage.Cursor{Account: "acme", Version: version}
			return s.CommitInventory(ctx, storage.InventoryChange{Account: "acme", Cursor: &c})
		},
		func(ctx context.Context, s storage.Store) (int64, error) {
			c, err := s.GetCursor(ctx, "acme")
			if errors.Is(err, storage.ErrNotFound) {
				err = nil
			}
			return c.Version, err
		})
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		withAccount(t, s, "acme")
		return map[string]func(context.Context) error{
			"GetCursor":       func(ctx context.Context) error { _, err := s.GetCursor(ctx, "acme"); return err },
			"CommitInventory": func(ctx context.Context) error { return s.CommitInventory(ctx, change(t, 1, "acme", 3)) },
		}
	})
}

// change returns a first page of n devices with everything a change can hold.
func change(t testing.TB, seed int, account string, n int) storage.InventoryChange {
	t.Helper()
	cursor := newCursor(t, seed, account)
	c := storage.InventoryChange{Account: account, Cursor: &cursor}
	for i, serial := range serials(n) {
		c.Devices = append(c.Devices, newDevice(t, seed+i, account, serial))
		c.Assignments = append(c.Assignments, newAssignment(t, seed+i, account, serial))
		c.Activities = append(c.Activities, newActivity(t, seed+i))
	}
	return c
}

// raised returns the change for what is stored after it has been committed once.
func raised(c storage.InventoryChange) storage.InventoryChange {
	cursor := *c.Cursor
	cursor.Version++
	c.Cursor = &cursor
	c.Assignments = append([]storage.Assignment(nil), c.Assignments...)
	for i := range c.Assignments {
		c.Assignments[i].Version++
	}
	return c
}

func committingInventory(t *testing.T, open Open) {
	sentence(t, open, "CommitInventory stores all of a change", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		c := change(t, 1, "acme", 3)
		ok(t, s.CommitInventory(ctx, c))
		got, want := snap(t, s), raised(c)
		equal(t, got.Devices, want.Devices)
		equal(t, got.Assignments, want.Assignments)
		equal(t, got.Cursors, []storage.Cursor{*want.Cursor})
		equal(t, len(got.Activities), 3)
	})
	sentence(t, open, "Devices and what matches its version are stored over what was there", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		ok(t, s.CommitInventory(ctx, change(t, 1, "acme", 3)))
		second := raised(change(t, 50, "acme", 3))
		ok(t, s.CommitInventory(ctx, second))
		got, want := snap(t, s), raised(second)
		equal(t, got.Devices, want.Devices)
		equal(t, got.Assignments, want.Assignments)
		equal(t, got.Cursors, []storage.Cursor{*want.Cursor})
		bare := storage.InventoryChange{
			Account: "acme", Devices: []storage.Device{{Account: "acme", Serial: serials(1)[0]}},
			Assignments: []storage.Assignment{{Account: "acme", Serial: serials(1)[0], Version: 2}},
			Cursor:      &storage.Cursor{Account: "acme", Version: 2},
		}
		ok(t, s.CommitInventory(ctx, bare))
		got = snap(t, s)
		equal(t, got.Devices[0], bare.Devices[0])
		equal(t, got.Assignments[0], storage.Assignment{Account: "acme", Serial: serials(1)[0], Version: 3})
		equal(t, got.Cursors[0], storage.Cursor{Account: "acme", Version: 3})
	})
	sentence(t, open, "A missing cursor is ErrNotFound", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		_, err := s.GetCursor(t.Context(), "acme")
		isErr(t, err, storage.ErrNotFound)
	})
	sentence(t, open, "Accounts do not touch each other", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		withAccount(t, s, "Acme")
		ok(t, s.CommitInventory(ctx, change(t, 1, "acme", 2)))
		ok(t, s.CommitInventory(ctx, change(t, 9, "Acme", 2)))
		one, err := s.GetDevice(ctx, "acme", serials(1)[0])
		ok(t, err)
		equal(t, one, newDevice(t, 1, "acme", serials(1)[0]))
		equal(t, len(snap(t, s).Devices), 4)
	})
	sentence(t, open, "A batch holds MaxBatch records of each kind", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		c := change(t, 1, "acme", storage.MaxBatch)
		ok(t, s.CommitInventory(t.Context(), c))
		got := snap(t, s)
		equal(t, len(got.Devices), storage.MaxBatch)
		equal(t, len(got.Assignments), storage.MaxBatch)
		equal(t, len(got.Activities), storage.MaxBatch)
		ok(t, s.CommitInventory(t.Context(), raised(c)))
	})
	sentence(t, open, "Pages written at the same time are whole", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		errs := together(6, func(i int) error {
			c := change(t, i+1, "acme", 50)
			c.Devices = c.Devices[i:]
			return s.CommitInventory(ctx, c)
		})
		oneWins(t, errs, storage.ErrConflict)
		got := snap(t, s)
		for i, err := range errs {
			if err == nil {
				equal(t, got.Devices, change(t, i+1, "acme", 50).Devices[i:])
			}
		}
		equal(t, len(got.Activities), 50)
	})
}

func conflictingInventory(t *testing.T, open Open) {
	stale := map[string]func(c *storage.InventoryChange){
		"an assignment that is there already":     func(c *storage.InventoryChange) { c.Assignments[len(c.Assignments)-1].Version = 0 },
		"an assignment that was changed":          func(c *storage.InventoryChange) { c.Assignments[len(c.Assignments)-1].Version = 2 },
		"an assignment that is gone":              func(c *storage.InventoryChange) { c.Assignments[len(c.Assignments)-1].Serial = "gone" },
		"a cursor that is there already":          func(c *storage.InventoryChange) { c.Cursor.Version = 0 },
		"a cursor that was changed":               func(c *storage.InventoryChange) { c.Cursor.Version = 2 },
		"an assignment with a version below zero": func(c *storage.InventoryChange) { c.Assignments[0].Version = -1 },
	}
	for name, spoil := range stale {
		sentence(t, open, "One version that does not match is ErrConflict and nothing is written: "+name,
			func(t *testing.T, s storage.Store) {
				withAccount(t, s, "acme")
				ok(t, s.CommitInventory(t.Context(), change(t, 1, "acme", 3)))
				c := raised(change(t, 50, "acme", 3))
				c.Devices = append(c.Devices, newDevice(t, 60, "acme", "new"))
				spoil(&c)
				writesNothing(t, s, storage.ErrConflict, func() error { return s.CommitInventory(t.Context(), c) })
			})
	}
	sentence(t, open, "A version for a record that does not exist is ErrConflict", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		c := change(t, 1, "acme", 3)
		c.Cursor.Version = 1
		writesNothing(t, s, storage.ErrConflict, func() error { return s.CommitInventory(t.Context(), c) })
		c.Cursor.Version, c.Assignments[2].Version = 0, 7
		writesNothing(t, s, storage.ErrConflict, func() error { return s.CommitInventory(t.Context(), c) })
	})
	sentence(t, open, "CommitInventory without the account is ErrNotFound", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		c := change(t, 1, "Acme", 3)
		writesNothing(t, s, storage.ErrNotFound, func() error { return s.CommitInventory(t.Context(), c) })
		found, err := s.FindDevices(t.Context(), serials(1)[0])
		ok(t, err)
		equal(t, len(found), 0)
		c.Fence = storage.Fence{Name: "no such lease", Token: 1}
		writesNothing(t, s, storage.ErrNotFound, func() error { return s.CommitInventory(t.Context(), c) })
	})
}

func invalidInventory(t *testing.T, open Open) {
	last := func(n int) int { return n - 1 }
	for name, c := range map[string]struct {
		spoil func(c *storage.InventoryChange)
		want  error
	}{
		"a device of another account":      {func(c *storage.InventoryChange) { c.Devices[last(len(c.Devices))].Account = "Acme" }, storage.ErrInvalid},
		"an assignment of another account": {func(c *storage.InventoryChange) { c.Assignments[last(len(c.Assignments))].Account = "Acme" }, storage.ErrInvalid},
		"a cursor of another account":      {func(c *storage.InventoryChange) { c.Cursor.Account = "Acme" }, storage.ErrInvalid},
		"a device twice":                   {func(c *storage.InventoryChange) { c.Devices[1].Serial = c.Devices[0].Serial }, storage.ErrInvalid},
		"an assignment twice":              {func(c *storage.InventoryChange) { c.Assignments[1].Serial = c.Assignments[0].Serial }, storage.ErrInvalid},
		"an activity without a kind":       {func(c *storage.InventoryChange) { c.Activities[1].Kind = "" }, storage.ErrInvalid},
		"too many devices": {func(c *storage.InventoryChange) {
			for i := range storage.MaxBatch {
				c.Devices = append(c.Devices, storage.Device{Account: "acme", Serial: fmt.Sprint("d", i)})
			}
		}, storage.ErrTooLarge},
		"too many assignments": {func(c *storage.InventoryChange) {
			for i := range storage.MaxBatch {
				c.Assignments = append(c.Assignments, storage.Assignment{Account: "acme", Serial: fmt.Sprint("a", i)})
			}
		}, storage.ErrTooLarge},
		"too many activities": {func(c *storage.InventoryChange) {
			for range storage.MaxBatch {
				c.Activities = append(c.Activities, storage.Activity{Kind: "k"})
			}
		}, storage.ErrTooLarge},
	} {
		sentence(t, open, "An invalid change is refused and nothing is written: "+name, func(t *testing.T, s storage.Store) {
			withAccount(t, s, "acme")
			withAccount(t, s, "Acme")
			bad := change(t, 1, "acme", 3)
			c.spoil(&bad)
			writesNothing(t, s, c.want, func() error { return s.CommitInventory(t.Context(), bad) })
		})
	}
}

func fences(t *testing.T, open Open) {
	now := epoch()
	acquire := func(t *testing.T, s storage.Store, owner string, at time.Time) storage.Lease {
		t.Helper()
		l, err := s.AcquireLease(t.Context(), "lease", owner, at, time.Minute)
		ok(t, err)
		return l
	}
	try := func(t *testing.T, s storage.Store, f storage.Fence, want error) {
		t.Helper()
		c := storage.InventoryChange{
			Account: "acme", Fence: f, Devices: []storage.Device{newDevice(t, 2, "acme", "s")},
			Activities: []storage.Activity{newActivity(t, 1)},
		}
		if want == nil {
			ok(t, s.CommitInventory(t.Context(), c))
			return
		}
		writesNothing(t, s, want, func() error { return s.CommitInventory(t.Context(), c) })
	}
	sentence(t, open, "A fence holds while the lease has not passed on, expired or not", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		first := acquire(t, s, "a", now)
		try(t, s, first.Fence(), nil)
		second := acquire(t, s, "b", now.Add(time.Hour))
		try(t, s, first.Fence(), storage.ErrLeaseLost)
		try(t, s, second.Fence(), nil)
	})
	sentence(t, open, "A fence of a released lease is ErrLeaseLost", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		first := acquire(t, s, "a", now)
		ok(t, s.ReleaseLease(t.Context(), first))
		try(t, s, first.Fence(), storage.ErrLeaseLost)
		second := acquire(t, s, "a", now)
		try(t, s, first.Fence(), storage.ErrLeaseLost)
		try(t, s, second.Fence(), nil)
	})
	sentence(t, open, "A fence that no lease had is ErrLeaseLost", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		l := acquire(t, s, "a", now)
		for _, f := range []storage.Fence{
			{Name: "other", Token: l.Token}, {Name: "Lease", Token: l.Token}, {Name: "lease", Token: l.Token + 1},
			{Name: "lease"}, {Token: l.Token}, {Name: "\xff", Token: 1},
		} {
			try(t, s, f, storage.ErrLeaseLost)
		}
	})
}
