package memory

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/enrollkit/enrollkit/internal/pagecursor"
	"github.com/enrollkit/enrollkit/storage"
)

// Store is a storage.Store in memory. It is safe for use by many goroutines.
type Store struct {
	mu          sync.Mutex
	accounts    map[string]storage.Account
	keyPairs    map[pair]storage.KeyPair // by account and ID
	devices     map[string]map[string]*storage.Device
	documents   arena // of devices that were written once
	assignments map[string]map[string]*storage.Assignment
	deviceKeys  order
	assignKeys  order
	profiles    map[pair]storage.Profile // by account and fingerprint
	atApple     map[string]storage.ServiceSession
	nanodep     map[string]storage.NanoDEP
	cursors     map[string]storage.Cursor
	sessions    map[string]storage.EnrollmentSession
	enrollments map[string]storage.Enrollment
	runs        map[string]claimable[storage.Run]
	effects     map[string]claimable[storage.Effect] // unfinished ones
	finished    map[string]struct{}                  // IDs of finished effects
	leases      map[string]storage.Lease             // Owner is empty once released
	activities  log                                  // Seq is the index plus one
}

var _ storage.Store = (*Store)(nil)

// pair is a key of two parts.
type pair struct{ account, id string }

// New returns an empty store.
func New() *Store {
	return &Store{
		accounts:    map[string]storage.Account{},
		keyPairs:    map[pair]storage.KeyPair{},
		devices:     map[string]map[string]*storage.Device{},
		assignments: map[string]map[string]*storage.Assignment{},
		deviceKeys:  order{},
		assignKeys:  order{},
		profiles:    map[pair]storage.Profile{},
		atApple:     map[string]storage.ServiceSession{},
		nanodep:     map[string]storage.NanoDEP{},
		cursors:     map[string]storage.Cursor{},
		sessions:    map[string]storage.EnrollmentSession{},
		enrollments: map[string]storage.Enrollment{},
		runs:        map[string]claimable[storage.Run]{},
		effects:     map[string]claimable[storage.Effect]{},
		finished:    map[string]struct{}{},
		leases:      map[string]storage.Lease{},
	}
}

// lock takes the lock unless ctx is done. The caller unlocks when there is no error.
func (s *Store) lock(ctx context.Context) error {
	s.mu.Lock()
	if err := ctx.Err(); err != nil {
		s.mu.Unlock()
		return err
	}
	return nil
}

// fail wraps an error with the operation and the key.
func fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("memory: %s %q: %w", op, key, err)
}

// write runs fn under the lock with the activities as they are stored, and appends them if fn says that it has written.
// fn checks everything before it changes anything.
func (s *Store) write(ctx context.Context, acts []storage.Activity, fn func() (wrote bool, err error)) error {
	acts, err := storage.NormalizeActivities(acts)
	if err != nil {
		return err
	}
	return s.writeNormalized(ctx, acts, fn)
}

// writeNormalized is write for activities that are as they are stored.
func (s *Store) writeNormalized(ctx context.Context, acts []storage.Activity, fn func() (wrote bool, err error)) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	wrote, err := fn()
	if err != nil || !wrote {
		return err
	}
	s.appendActivities(acts)
	return nil
}

// get returns a copy of one record. V is T or a pointer to it.
func get[K comparable, V, T any](ctx context.Context, s *Store, m func() map[K]V, key K, clone func(V) T) (T, error) {
	var zero T
	if err := s.lock(ctx); err != nil {
		return zero, err
	}
	defer s.mu.Unlock()
	v, ok := m()[key]
	if !ok {
		return zero, storage.ErrNotFound
	}
	return clone(v), nil
}

// listing is one list: its name, the filter as text, which records match, and how to copy one.
type listing[T any] struct {
	name   string
	filter []string
	match  func(*T) bool
	clone  func(T) T
}

// values finds the records of a map for page.
func values[T any](m map[string]T) func(key string) *T {
	return func(key string) *T { v := m[key]; return &v }
}

// page returns one page of the records with these keys, which are sorted. The caller holds the lock.
func page[T any](l listing[T], find func(key string) *T, sorted []string, p storage.Page) (records []T, next string, err error) {
	after := ""
	if p.After != "" {
		var ok bool
		if after, ok = pagecursor.Decode(p.After, l.name, l.filter); !ok {
			return nil, "", storage.ErrBadCursor
		}
	}
	first, found := slices.BinarySearch(sorted, after)
	if found {
		first++
	}
	last := ""
	for _, key := range sorted[first:] {
		v := find(key)
		if !l.match(v) {
			continue
		}
		if len(records) == p.Size() {
			return records, pagecursor.Encode(l.name, l.filter, last), nil
		}
		records, last = append(records, l.clone(*v)), key
	}
	return records, "", nil
}

// sortedKeys returns the keys of a map.
func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// order keeps the sorted keys of large maps, by account, as sorting them for each page takes minutes in a large store.
type order map[string][]string

// changed is to be called when the map of an account got or lost keys.
func (o order) changed(account string) { delete(o, account) }

// keys returns the sorted keys of m, the map of an account.
func keys[T any](o order, account string, m map[string]T) []string {
	sorted, ok := o[account]
	if !ok && len(m) > 0 {
		sorted = sortedKeys(m)
		o[account] = sorted
	}
	return sorted
}

// pick returns copies of the records with these keys, in the order of the keys.
func pick[T any](m map[string]*T, keys []string, clone func(T) T) []T {
	var found []string
	for _, key := range keys {
		if _, ok := m[key]; ok {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if len(found) == 0 {
		return nil
	}
	out := make([]T, len(found))
	for i, key := range found {
		out[i] = clone(*m[key])
	}
	return out
}

// put stores records by key and returns how many keys are new. What is there already is written where it is; what is new
// shares arrays, as an allocation for each record would cost more than all else. Records go only with all others of their
// account, so that an array does not outlive them.
func put[T any](m map[string]*T, records []T, key func(*T) string, store func(to, from *T)) (added int) {
	const most = 16
	var room []T
	for i := range records {
		k := key(&records[i])
		to := m[k]
		if to == nil {
			if len(room) == 0 {
				room = make([]T, min(most, len(records)-i))
			}
			to, room = &room[0], room[1:]
			m[k] = to
			added++
		}
		store(to, &records[i])
	}
	return added
}

// arena copies documents into arrays that several share. One that is not needed any more keeps the memory of its
// neighbours, so that it is for documents that stay.
type arena struct{ free []byte }

const arenaSize = 16 << 10

func (a *arena) clone(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	if len(b) > len(a.free) {
		if len(b) > arenaSize/4 {
			return bytes.Clone(b)
		}
		a.free = make([]byte, arenaSize)
	}
	n := copy(a.free, b)
	c := a.free[:n:n]
	a.free = a.free[n:]
	return c
}

// bound returns how many records a limit lets through.
func bound(limit int) int { return max(0, min(limit, storage.MaxBatch)) }

// same is the clone of records that hold no documents.
func same[T any](v T) T { return v }

// of makes a clone for records that are kept by pointer.
func of[T any](clone func(T) T) func(*T) T { return func(v *T) T { return clone(*v) } }

func all[T any](*T) bool { return true }

func cloneDocument(b []byte) []byte { return bytes.Clone(b) }
