package nano

import (
	"context"
	"slices"
	"sync"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/storage"
)

// Serialize returns a NanoMDM storage that works on the queue of one enrollment one call at a time. NanoMDM's inmem
// and other kv backends keep it as a linked list without a lock: of 50 commands queued at once for one device fewer
// than half arrive (measured with v0.9.0), and one queued while the device reports a result can vanish.
//
// It also lets a device repeat its last result, as one does that got no answer to it: a kv backend takes the repetition
// for the only command it has and drops all others, which are lost while it says that they are queued already.
//
// It works within one process, and which command a device answered last is forgotten when that ends. NanoMDM's inmem,
// diskv and file backends are for trials even so; the SQL backends, which need none of this, are for production.
func Serialize(store storage.AllStorage) storage.AllStorage {
	return &serialized{AllStorage: store, answered: map[string]string{}}
}

type serialized struct {
	storage.AllStorage
	locks keyedLock

	mu       sync.Mutex
	answered map[string]string // enrollment to the command it answered last
}

// StoreCommandReport implements storage.CommandAndReportResultsStore.
func (s *serialized) StoreCommandReport(r *mdm.Request, report *mdm.CommandResults) error {
	id := idOf(r)
	defer s.locks.lock(id)()
	if report.CommandUUID != "" && s.lastAnswer(id) == report.CommandUUID {
		return nil
	}
	if err := s.AllStorage.StoreCommandReport(r, report); err != nil {
		return err
	}
	if report.CommandUUID != "" && report.Status != "NotNow" { // a command answered NotNow stays queued
		s.setLastAnswer(id, report.CommandUUID)
	}
	return nil
}

func (s *serialized) lastAnswer(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answered[id]
}

// setLastAnswer keeps the command; an empty one forgets the enrollment.
func (s *serialized) setLastAnswer(id, commandUUID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if commandUUID == "" {
		delete(s.answered, id)
		return
	}
	s.answered[id] = commandUUID
}

// RetrieveNextCommand implements storage.CommandAndReportResultsStore.
func (s *serialized) RetrieveNextCommand(r *mdm.Request, skipNotNow bool) (*mdm.Command, error) {
	defer s.locks.lock(idOf(r))()
	return s.AllStorage.RetrieveNextCommand(r, skipNotNow)
}

// ClearQueue implements storage.CommandAndReportResultsStore.
func (s *serialized) ClearQueue(r *mdm.Request) error {
	id := idOf(r)
	defer s.locks.lock(id)()
	s.setLastAnswer(id, "")
	return s.AllStorage.ClearQueue(r)
}

// Disable implements storage.CheckinStore: the device left, and repeats nothing.
func (s *serialized) Disable(r *mdm.Request) error {
	id := idOf(r)
	defer s.locks.lock(id)()
	s.setLastAnswer(id, "")
	return s.AllStorage.Disable(r)
}

// EnqueueCommand implements storage.CommandEnqueuer. Enrollments are locked in one order, so that two commands for the
// same ones never wait for each other.
func (s *serialized) EnqueueCommand(ctx context.Context, ids []string, cmd *mdm.Command) (map[string]error, error) {
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		defer s.locks.lock(id)()
	}
	return s.AllStorage.EnqueueCommand(ctx, ids, cmd)
}

func idOf(r *mdm.Request) string {
	if r == nil || r.EnrollID == nil {
		return ""
	}
	return r.ID
}

// keyedLock is a lock per key. Its zero value is ready to use.
type keyedLock struct {
	mu    sync.Mutex
	locks map[string]*countedLock
}

type countedLock struct {
	sync.Mutex
	users int
}

// lock locks the key and returns how to unlock it.
func (k *keyedLock) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*countedLock{}
	}
	l := k.locks[key]
	if l == nil {
		l = &countedLock{}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
	}
}
