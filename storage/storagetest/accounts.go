package storagetest

import (
	"context"
	"testing"

	"github.com/enrollkit/enrollkit/storage"
)

// RunAccounts checks storage.AccountStore.
func RunAccounts(t *testing.T, open Open) {
	values(t, open, record[storage.Account]{
		fresh: func(t testing.TB) storage.Account { return newAccount(t, 1, "acme") },
		put: func(ctx context.Context, s storage.Store, a storage.Account) error {
			return s.CreateAccount(ctx, a)
		},
		get: func(ctx context.Context, s storage.Store, a storage.Account) (storage.Account, error) {
			return s.GetAccount(ctx, a.Name)
		},
		stored: func(a *storage.Account) { a.Version = 1 },
		key:    []string{"Name"}, refs: []string{"ServerUUID", "KeyPairID", "Health"},
	})
	pages(t, open, list[storage.Account]{
		put: func(t testing.TB, s storage.Store, key string) {
			ensureAccount(t, s, key)
			a, err := s.GetAccount(t.Context(), key)
			ok(t, err)
			ok(t, s.UpdateAccount(t.Context(), a))
		},
		page: listAccounts,
		other: func(ctx context.Context, s storage.Store) pager[storage.Account] { // another list
			return func(p storage.Page) ([]storage.Account, string, error) {
				_, next, err := listEnrollments(ctx, s)(p)
				return nil, next, err
			}
		},
		key: func(a storage.Account) string { return a.Name },
	})
	creatingAccounts(t, open)
	updatingAccounts(t, open)
	deletingAccounts(t, open)
	raises(t, open, "UpdateAccount",
		func(t testing.TB, s storage.Store) { withAccount(t, s, "acme") },
		func(ctx context.Context, s storage.Store, version int64) error {
			return s.UpdateAccount(ctx, storage.Account{Name: "acme", Version: version})
		},
		func(ctx context.Context, s storage.Store) (int64, error) {
			a, err := s.GetAccount(ctx, "acme")
			return a.Version, err
		})
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		withAccount(t, s, "acme")
		return map[string]func(context.Context) error{
			"CreateAccount": func(ctx context.Context) error { return s.CreateAccount(ctx, newAccount(t, 2, "b")) },
			"GetAccount":    func(ctx context.Context) error { _, err := s.GetAccount(ctx, "acme"); return err },
			"UpdateAccount": func(ctx context.Context) error {
				return s.UpdateAccount(ctx, storage.Account{Name: "acme", Version: 1}, newActivity(t, 1))
			},
			"ListAccounts":  func(ctx context.Context) error { _, _, err := s.ListAccounts(ctx, storage.Page{}); return err },
			"DeleteAccount": func(ctx context.Context) error { return s.DeleteAccount(ctx, "acme") },
		}
	})
}

func creatingAccounts(t *testing.T, open Open) {
	sentence(t, open, "Creating over a taken name is ErrExists", func(t *testing.T, s storage.Store) {
		ok(t, s.CreateAccount(t.Context(), newAccount(t, 1, "acme")))
		writesNothing(t, s, storage.ErrExists, func() error {
			return s.CreateAccount(t.Context(), newAccount(t, 2, "acme"), newActivity(t, 1))
		})
	})
	sentence(t, open, "Creating with a taken server UUID is ErrExists", func(t *testing.T, s storage.Store) {
		ok(t, s.CreateAccount(t.Context(), newAccount(t, 1, "acme")))
		writesNothing(t, s, storage.ErrExists, func() error {
			return s.CreateAccount(t.Context(), newAccount(t, 1, "other"), newActivity(t, 1))
		})
	})
	sentence(t, open, "Any number of accounts may have no server UUID", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "a")
		withAccount(t, s, "b")
		equal(t, len(collect(t, 0, listAccounts(t.Context(), s))), 2)
	})
	sentence(t, open, "Of many that create one account exactly one wins", func(t *testing.T, s storage.Store) {
		oneWins(t, together(8, func(i int) error {
			return s.CreateAccount(t.Context(), newAccount(t, i+1, "acme"), newActivity(t, i+1))
		}), storage.ErrExists)
		equal(t, len(collect(t, 0, listActivities(t.Context(), s))), 1)
	})
	sentence(t, open, "Of many that take one server UUID exactly one wins", func(t *testing.T, s storage.Store) {
		names := keysInOrder()
		oneWins(t, together(len(names), func(i int) error {
			return s.CreateAccount(t.Context(), newAccount(t, 1, names[i]))
		}), storage.ErrExists)
	})
	sentence(t, open, "More than MaxBatch activities are ErrTooLarge", func(t *testing.T, s storage.Store) {
		acts := make([]storage.Activity, storage.MaxBatch+1)
		for i := range acts {
			acts[i] = storage.Activity{Kind: "k"}
		}
		writesNothing(t, s, storage.ErrTooLarge, func() error {
			return s.CreateAccount(t.Context(), newAccount(t, 1, "acme"), acts...)
		})
	})
	sentence(t, open, "Activities passed in are stored with the change or not at all", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		ok(t, s.CreateAccount(ctx, newAccount(t, 1, "acme"), newActivity(t, 1), newActivity(t, 2)))
		equal(t, len(collect(t, 0, listActivities(ctx, s))), 2)
		invalid := newActivity(t, 3)
		invalid.Kind = ""
		writesNothing(t, s, storage.ErrInvalid, func() error {
			return s.CreateAccount(ctx, newAccount(t, 2, "b"), newActivity(t, 1), invalid)
		})
	})
}

func updatingAccounts(t *testing.T, open Open) {
	sentence(t, open, "Updating replaces every field and raises the version by one", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		ok(t, s.CreateAccount(ctx, newAccount(t, 1, "acme")))
		want := newAccount(t, 2, "acme")
		want.Version = 1
		ok(t, s.UpdateAccount(ctx, want, newActivity(t, 1)))
		got, err := s.GetAccount(ctx, "acme")
		ok(t, err)
		want.Version = 2
		equal(t, got, want)
		equal(t, len(collect(t, 0, listActivities(ctx, s))), 1)
		ok(t, s.UpdateAccount(ctx, storage.Account{Name: "acme", Version: 2}))
		got, err = s.GetAccount(ctx, "acme")
		ok(t, err)
		equal(t, got, storage.Account{Name: "acme", Version: 3})
	})
	sentence(t, open, "A missing account is ErrNotFound", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		_, err := s.GetAccount(t.Context(), "b")
		isErr(t, err, storage.ErrNotFound)
		for _, version := range []int64{0, 1} {
			writesNothing(t, s, storage.ErrNotFound, func() error {
				return s.UpdateAccount(t.Context(), storage.Account{Name: "b", Version: version}, newActivity(t, 1))
			})
		}
	})
	sentence(t, open, "Updating with another version is ErrConflict", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		for _, version := range []int64{-1, 0, 2} {
			writesNothing(t, s, storage.ErrConflict, func() error {
				return s.UpdateAccount(t.Context(), storage.Account{Name: "acme", Version: version}, newActivity(t, 1))
			})
		}
	})
	sentence(t, open, "Updating to the server UUID of another account is ErrExists", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		ok(t, s.CreateAccount(ctx, newAccount(t, 1, "a")))
		b := newAccount(t, 2, "b")
		ok(t, s.CreateAccount(ctx, b))
		b.Version = 1
		ok(t, s.UpdateAccount(ctx, b)) // its own is no obstacle
		b.Version, b.ServerUUID = 2, newAccount(t, 1, "a").ServerUUID
		writesNothing(t, s, storage.ErrExists, func() error { return s.UpdateAccount(ctx, b, newActivity(t, 1)) })
	})
}

func deletingAccounts(t *testing.T, open Open) {
	sentence(t, open, "Deleting an account removes all that is kept for it and nothing else", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		fill := func(account string) {
			withAccount(t, s, account)
			ok(t, s.CreateKeyPair(ctx, newKeyPair(t, 1, account, "k")))
			ok(t, s.PutProfile(ctx, storage.Fence{}, newProfile(t, 1, account, "p")))
			ok(t, s.PutServiceSession(ctx, newServiceSession(t, 1, account)))
			ok(t, s.PutNanoDEP(ctx, newNanoDEP(t, 1, account)))
			cursor := newCursor(t, 1, account)
			ok(t, s.CommitInventory(ctx, storage.InventoryChange{
				Account: account, Cursor: &cursor,
				Devices:     []storage.Device{newDevice(t, 1, account, "s")},
				Assignments: []storage.Assignment{newAssignment(t, 1, account, "s")},
			}))
		}
		fill("Acme")
		e := newEnrollment(t, 1, "e")
		e.Account = "acme"
		r := newRun(t, 1, "r")
		r.Account = "acme"
		ok(t, s.CommitRun(ctx, storage.RunChange{
			Run: r, Enrollment: &e,
			Effects: []storage.Effect{newEffect(t, 1, "r", "f")}, Activities: []storage.Activity{newActivity(t, 1)},
		}))
		want := snap(t, s)
		fill("acme")
		ok(t, s.DeleteAccount(ctx, "acme"))
		equal(t, snap(t, s), want)
		found, err := s.FindDevices(ctx, "s")
		ok(t, err)
		equal(t, len(found), 1)
		due, err := s.DueAssignments(ctx, "acme", newAssignment(t, 1, "", "").NextAttemptAt, 10)
		ok(t, err)
		equal(t, len(due), 0)
		_, err = s.GetCursor(ctx, "acme")
		isErr(t, err, storage.ErrNotFound)
		_, err = s.GetServiceSession(ctx, "acme")
		isErr(t, err, storage.ErrNotFound)
		_, err = s.GetNanoDEP(ctx, "acme")
		isErr(t, err, storage.ErrNotFound)

		withAccount(t, s, "acme") // the name is free and starts from nothing
		ok(t, s.DeleteAccount(ctx, "acme", newActivity(t, 2)))
		equal(t, len(snap(t, s).Activities), len(want.Activities)+1)
		fill("acme")
	})
	sentence(t, open, "Deleting a missing account is no error and writes nothing", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		writesNothing(t, s, nil, func() error { return s.DeleteAccount(t.Context(), "Acme", newActivity(t, 1)) })
	})
}
