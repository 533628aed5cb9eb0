package depstore

import (
	"context"
	"errors"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// maxConflicts is how often a write is tried again on a record that others change at the same time.
const maxConflicts = 8

// RetrieveCursor returns the cursor of nanodep's syncer; empty if there is none.
func (s *Storage) RetrieveCursor(ctx context.Context, name string) (string, error) {
	n, err := s.state(ctx, name)
	return n.Cursor, err
}

// StoreCursor stores the cursor of nanodep's syncer. The engine's cursor is another one.
func (s *Storage) StoreCursor(ctx context.Context, name, cursor string) error {
	return s.update(ctx, name, func(n *storage.NanoDEP) { n.Cursor = cursor })
}

// RetrieveAssignerProfile returns the profile that nanodep's assigner gives to new devices, and since when; empty if
// there is none.
func (s *Storage) RetrieveAssignerProfile(ctx context.Context, name string) (profileUUID string, modTime time.Time, err error) {
	n, err := s.state(ctx, name)
	return n.AssignerProfileUUID, n.AssignerModifiedAt, err
}

// StoreAssignerProfile sets the profile that nanodep's assigner gives to new devices.
func (s *Storage) StoreAssignerProfile(ctx context.Context, name, profileUUID string) error {
	return s.update(ctx, name, func(n *storage.NanoDEP) {
		n.AssignerProfileUUID, n.AssignerModifiedAt = profileUUID, s.now()
	})
}

// state returns nanodep's state of an account, a new one if there is none.
func (s *Storage) state(ctx context.Context, name string) (storage.NanoDEP, error) {
	n, err := s.store.GetNanoDEP(ctx, name)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.NanoDEP{Account: name}, nil
	}
	return n, wrap("state", name, err)
}

// update changes nanodep's state of an account, again from its newest if it was changed meanwhile.
func (s *Storage) update(ctx context.Context, name string, change func(*storage.NanoDEP)) error {
	if err := s.ensure(ctx, name); err != nil {
		return err
	}
	for range maxConflicts {
		n, err := s.state(ctx, name)
		if err != nil {
			return err
		}
		change(&n)
		n.UpdatedAt = s.now()
		if err = s.store.PutNanoDEP(ctx, n); !errors.Is(err, storage.ErrConflict) {
			return wrap("store state", name, err)
		}
	}
	return wrap("store state", name, storage.ErrConflict)
}
