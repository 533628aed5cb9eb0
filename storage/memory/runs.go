package memory

import (
	"context"
	"strconv"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// claimable is a record that a claim hides from other claims until a time.
type claimable[T any] struct {
	record      T
	hiddenUntil time.Time
}

// claim hides the due records and returns them, the longest due first, then by key. due returns the zero time for a
// record that is not due at any time; taken returns the record as it is stored from now on.
func claim[T any](m map[string]claimable[T], now time.Time, hold time.Duration, limit int,
	due func(*T) time.Time, taken func(T) T,
) []T {
	now = storage.Time(now)
	first := earliest{limit: bound(limit)}
	for key, c := range m {
		at := due(&c.record)
		if !at.IsZero() && !at.After(now) && !c.hiddenUntil.After(now) {
			first.add(deadline{at, key})
		}
	}
	var out []T
	for _, key := range first.keys() {
		c := claimable[T]{record: taken(m[key].record), hiddenUntil: storage.Time(now.Add(hold))}
		m[key] = c
		out = append(out, c.record)
	}
	return out
}

// CommitRun implements storage.RunStore.
func (s *Store) CommitRun(ctx context.Context, c storage.RunChange) error {
	n, err := c.Normalize()
	if err != nil {
		return fail("commit run", c.Run.ID, err)
	}
	return fail("commit run", c.Run.ID, s.writeNormalized(ctx, n.Activities, func() (bool, error) {
		if err := s.checkRun(&n.Run); err != nil {
			return false, err
		}
		if n.Enrollment != nil {
			if err := s.checkEnrollment(n.Enrollment); err != nil {
				return false, fail("enrollment", n.Enrollment.ID, err)
			}
		}
		s.applyRun(&n)
		return true, nil
	}))
}

func (s *Store) checkRun(r *storage.Run) error {
	old, found := s.runs[r.ID]
	if found && r.Version == 0 {
		return storage.ErrExists
	}
	if old.record.Version != r.Version {
		return storage.ErrConflict
	}
	for id, c := range s.runs {
		other := &c.record
		if id == r.ID || other.EnrollmentID != r.EnrollmentID {
			continue
		}
		if other.Generation == r.Generation || (other.Live && r.Live) {
			return storage.ErrExists
		}
	}
	return nil
}

func (s *Store) applyRun(c *storage.RunChange) {
	r := cloneRun(c.Run)
	r.Version++
	s.runs[r.ID] = claimable[storage.Run]{record: r}
	for _, e := range c.Effects {
		_, pending := s.effects[e.ID]
		_, finished := s.finished[e.ID]
		if !pending && !finished {
			s.effects[e.ID] = claimable[storage.Effect]{record: cloneEffect(e)}
		}
	}
	if c.Enrollment != nil {
		s.applyEnrollment(*c.Enrollment)
	}
}

// GetRun implements storage.RunStore.
func (s *Store) GetRun(ctx context.Context, id string) (storage.Run, error) {
	if err := s.lock(ctx); err != nil {
		return storage.Run{}, fail("get run", id, err)
	}
	defer s.mu.Unlock()
	c, found := s.runs[id]
	if !found {
		return storage.Run{}, fail("get run", id, storage.ErrNotFound)
	}
	return cloneRun(c.record), nil
}

// LiveRun implements storage.RunStore.
func (s *Store) LiveRun(ctx context.Context, enrollmentID string) (storage.Run, error) {
	if err := s.lock(ctx); err != nil {
		return storage.Run{}, fail("get live run of", enrollmentID, err)
	}
	defer s.mu.Unlock()
	for _, c := range s.runs {
		if c.record.Live && c.record.EnrollmentID == enrollmentID {
			return cloneRun(c.record), nil
		}
	}
	return storage.Run{}, fail("get live run of", enrollmentID, storage.ErrNotFound)
}

// ClaimRuns implements storage.RunStore.
func (s *Store) ClaimRuns(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]storage.Run, error) {
	if hold <= 0 {
		return nil, fail("claim runs for", hold.String(), storage.ErrInvalid)
	}
	if err := s.lock(ctx); err != nil {
		return nil, fail("claim runs for", hold.String(), err)
	}
	defer s.mu.Unlock()
	due := func(r *storage.Run) time.Time {
		if !r.Live {
			return time.Time{}
		}
		return r.NextWakeAt
	}
	runs := claim(s.runs, now, hold, limit, due, same[storage.Run])
	for i := range runs {
		runs[i] = cloneRun(runs[i])
	}
	return runs, nil
}

// ListRuns implements storage.RunStore.
func (s *Store) ListRuns(ctx context.Context, f storage.RunFilter, p storage.Page) ([]storage.Run, string, error) {
	if err := s.lock(ctx); err != nil {
		return nil, "", fail("list runs of", f.EnrollmentID, err)
	}
	defer s.mu.Unlock()
	l := listing[claimable[storage.Run]]{
		name:   "runs",
		filter: []string{f.EnrollmentID, f.Serial, f.State, strconv.FormatBool(f.LiveOnly)},
		match: func(c *claimable[storage.Run]) bool {
			r := &c.record
			return (f.EnrollmentID == "" || r.EnrollmentID == f.EnrollmentID) && (f.Serial == "" || r.Serial == f.Serial) &&
				(f.State == "" || r.State == f.State) && (!f.LiveOnly || r.Live)
		},
		clone: same[claimable[storage.Run]],
	}
	found, next, err := page(l, values(s.runs), sortedKeys(s.runs), p)
	var runs []storage.Run
	for _, c := range found {
		runs = append(runs, cloneRun(c.record))
	}
	return runs, next, fail("list runs of", f.EnrollmentID, err)
}

func cloneRun(r storage.Run) storage.Run {
	r.Document = cloneDocument(r.Document)
	return r
}
