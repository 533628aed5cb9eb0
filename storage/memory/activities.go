package memory

import (
	"context"
	"strconv"

	"github.com/enrollkit/enrollkit/internal/pagecursor"
	"github.com/enrollkit/enrollkit/storage"
)

// AppendActivities implements storage.ActivityStore.
func (s *Store) AppendActivities(ctx context.Context, acts ...storage.Activity) error {
	return fail("append", "activities", s.write(ctx, acts, func() (bool, error) { return true, nil }))
}

// appendActivities stores normalized activities. The caller holds the lock.
func (s *Store) appendActivities(acts []storage.Activity) {
	for _, a := range acts {
		a.Detail = s.activities.details.clone(a.Detail) // activities stay
		a.Seq = int64(s.activities.size) + 1
		s.activities.add(a)
	}
}

// ListActivities implements storage.ActivityStore.
func (s *Store) ListActivities(ctx context.Context, f storage.ActivityFilter, p storage.Page) (
	acts []storage.Activity, next string, err error,
) {
	if err := s.lock(ctx); err != nil {
		return nil, "", fail("list", "activities", err)
	}
	defer s.mu.Unlock()
	filter := []string{f.Account, f.Serial, f.EnrollmentID, f.Kind, strconv.FormatBool(f.Newest), strconv.FormatInt(f.AfterSeq, 10)}
	first := int(max(f.AfterSeq, 0)) // the index of the first activity after AfterSeq
	i, step := first, 1
	if f.Newest {
		i, step = s.activities.size-1, -1
	}
	if p.After != "" {
		key, ok := pagecursor.Decode(p.After, "activities", filter)
		seq, err := strconv.Atoi(key)
		if !ok || err != nil || seq < 1 || seq > s.activities.size {
			return nil, "", fail("list", "activities", storage.ErrBadCursor)
		}
		i = seq - 1 + step
	}
	for ; i >= first && i < s.activities.size; i += step {
		a := s.activities.at(i)
		if !matches(&f, a) {
			continue
		}
		if len(acts) == p.Size() {
			last := acts[len(acts)-1].Seq
			return acts, pagecursor.Encode("activities", filter, strconv.FormatInt(last, 10)), nil
		}
		acts = append(acts, cloneActivity(*a))
	}
	return acts, "", nil
}

func matches(f *storage.ActivityFilter, a *storage.Activity) bool {
	return (f.Account == "" || a.Account == f.Account) && (f.Serial == "" || a.Serial == f.Serial) &&
		(f.EnrollmentID == "" || a.EnrollmentID == f.EnrollmentID) && (f.Kind == "" || a.Kind == f.Kind)
}

func cloneActivity(a storage.Activity) storage.Activity {
	a.Detail = cloneDocument(a.Detail)
	return a
}
