package storagetest

import (
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// hold is how long claims hide.
const hold = time.Minute

// late is after every time of a fixture.
func late() time.Time { return epoch().AddDate(100, 0, 0) }

func claimingRuns(t *testing.T, open Open) {
	now := epoch()
	at := func(t testing.TB, id string, wake time.Time) storage.Run {
		r := newRun(t, 1, id)
		r.NextWakeAt = wake
		return r
	}
	claim := func(t *testing.T, s storage.Store, now time.Time, limit int, want ...string) []storage.Run {
		t.Helper()
		runs, err := s.ClaimRuns(t.Context(), now, hold, limit)
		ok(t, err)
		var got []string
		for _, r := range runs {
			got = append(got, r.ID)
		}
		equal(t, got, want)
		return runs
	}
	sentence(t, open, "ClaimRuns returns live runs that are due, the longest due first, then by id",
		func(t *testing.T, s storage.Store) {
			over := at(t, "over", now)
			over.Live = false
			for _, r := range []storage.Run{
				over, at(t, "never", time.Time{}), at(t, "later", now.Add(time.Microsecond)), at(t, "now", now),
				at(t, "b", now.Add(-time.Hour)), at(t, "a", now.Add(-time.Hour)), at(t, "Z", now.Add(-time.Hour)),
				at(t, "first", time.Unix(0, 0)),
			} {
				commitRun(t, s, r)
			}
			claim(t, s, now, 0)
			claim(t, s, now, -1)
			claim(t, s, now, 2, "first", "Z")
			claim(t, s, now, storage.MaxBatch+1, "a", "b", "now")
		})
	sentence(t, open, "A claim hides a run for hold and changes nothing", func(t *testing.T, s storage.Store) {
		commitRun(t, s, at(t, "id", now))
		before := snap(t, s)
		equal(t, claim(t, s, now, 1, "id"), before.Runs)
		claim(t, s, now.Add(hold-time.Microsecond), 1)
		equal(t, claim(t, s, now.Add(hold), 1, "id"), before.Runs)
		claim(t, s, now.Add(hold), 1)
		equal(t, snap(t, s), before)
	})
	sentence(t, open, "Saving a run ends its claim", func(t *testing.T, s storage.Store) {
		commitRun(t, s, at(t, "id", now))
		r := claim(t, s, now, 1, "id")[0]
		commitRun(t, s, r) // the version is the one that was claimed
		claim(t, s, now, 1, "id")
	})
	sentence(t, open, "A hold that is not positive is ErrInvalid", func(t *testing.T, s storage.Store) {
		for _, hold := range []time.Duration{0, -1} {
			_, err := s.ClaimRuns(t.Context(), now, hold, 1)
			isErr(t, err, storage.ErrInvalid)
			_, err = s.ClaimEffects(t.Context(), now, hold, 1)
			isErr(t, err, storage.ErrInvalid)
		}
	})
	sentence(t, open, "No two claims get the same run", func(t *testing.T, s storage.Store) {
		for i, id := range serials(60) {
			commitRun(t, s, at(t, id, now.Add(-time.Duration(i)*time.Second)))
		}
		disjoint(t, 60, func() ([]string, error) {
			runs, err := s.ClaimRuns(t.Context(), now, hold, 3)
			var ids []string
			for _, r := range runs {
				ids = append(ids, r.ID)
			}
			return ids, err
		})
	})
}

// disjoint claims from several goroutines until nothing is left, and checks that each of n records was claimed once.
func disjoint(t *testing.T, n int, claim func() ([]string, error)) {
	t.Helper()
	const claimers = 6
	var got [claimers][]string
	for _, err := range together(claimers, func(i int) error {
		for {
			ids, err := claim()
			if len(ids) == 0 || err != nil {
				return err
			}
			got[i] = append(got[i], ids...)
		}
	}) {
		ok(t, err)
	}
	times := map[string]int{}
	for _, ids := range got {
		for _, id := range ids {
			times[id]++
		}
	}
	for id, count := range times {
		if count != 1 {
			t.Errorf("%q was claimed %d times", id, count)
		}
	}
	// A claim may come back empty while another one is under way, so something may be left for one who comes alone.
	for range n {
		ids, err := claim()
		ok(t, err)
		if len(ids) == 0 {
			break
		}
		for _, id := range ids {
			if times[id]++; times[id] != 1 {
				t.Errorf("%q was claimed %d times", id, times[id])
			}
		}
	}
	if len(times) != n {
		t.Errorf("%d of %d records were claimed", len(times), n)
	}
}
