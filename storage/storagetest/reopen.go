package storagetest

import (
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// Reopen opens the store kept in dir, an empty one the first time. It is not opened twice at once.
type Reopen func(tb testing.TB, dir string) (s storage.Store, close func())

// RunReopen checks that what a durable backend has stored is there after it was closed and opened again.
func RunReopen(t *testing.T, open Reopen) {
	t.Helper()
	now := epoch()
	again := func(t *testing.T, write, read func(t *testing.T, s storage.Store)) {
		t.Helper()
		dir := t.TempDir()
		for _, step := range []func(t *testing.T, s storage.Store){write, read} {
			func() {
				s, done := open(t, dir)
				defer done()
				step(t, s)
			}()
		}
	}
	t.Run("Everything is there after reopening", func(t *testing.T) {
		t.Parallel()
		var want snapshot
		again(t, func(t *testing.T, s storage.Store) {
			ok(t, s.CreateAccount(t.Context(), newAccount(t, 1, "acme"), newActivity(t, 1)))
			ok(t, s.CreateKeyPair(t.Context(), newKeyPair(t, 1, "acme", "k")))
			ok(t, s.PutProfile(t.Context(), storage.Fence{}, newProfile(t, 1, "acme", "f")))
			ok(t, s.CommitInventory(t.Context(), change(t, 1, "acme", 300)))
			ok(t, s.CommitRun(t.Context(), runChange(t, 1, "r")))
			ok(t, s.CreateSession(t.Context(), newSession(t, 1, "id")))
			want = snap(t, s)
		}, func(t *testing.T, s storage.Store) {
			equal(t, snap(t, s), want)
			session, err := s.GetSession(t.Context(), "id")
			ok(t, err)
			wanted := newSession(t, 1, "id")
			wanted.Version = 1
			equal(t, session, wanted)
		})
	})
	t.Run("Sequence numbers and tokens go on after reopening", func(t *testing.T) {
		t.Parallel()
		var seq int64
		var lease storage.Lease
		again(t, func(t *testing.T, s storage.Store) {
			ok(t, s.AppendActivities(t.Context(), newActivity(t, 1)))
			seq = snap(t, s).Activities[0].Seq
			lease = acquire(t, s, "a", now)
			ok(t, s.ReleaseLease(t.Context(), lease))
		}, func(t *testing.T, s storage.Store) {
			ok(t, s.AppendActivities(t.Context(), newActivity(t, 2)))
			if next := snap(t, s).Activities[1].Seq; next <= seq {
				t.Fatalf("sequence number %d follows %d", next, seq)
			}
			larger(t, acquire(t, s, "b", now), lease)
		})
	})
	t.Run("Claims and finished effects are remembered after reopening", func(t *testing.T) {
		t.Parallel()
		again(t, func(t *testing.T, s storage.Store) {
			ok(t, addEffects(t.Context(), s, "r", due(t, "r", "a", now), due(t, "r", "b", now)))
			run := newRun(t, 1, "live")
			run.NextWakeAt = now
			commitRun(t, s, run)
			runs, err := s.ClaimRuns(t.Context(), now, hold, 10)
			ok(t, err)
			equal(t, len(runs), 1)
			claimEffects(t, s, now, 10, "a", "b")
			ok(t, s.FinishEffect(t.Context(), "a"))
			acquire(t, s, "a", now)
		}, func(t *testing.T, s storage.Store) {
			runs, err := s.ClaimRuns(t.Context(), now.Add(hold-time.Microsecond), hold, 10)
			ok(t, err)
			equal(t, len(runs), 0)
			claimEffects(t, s, now.Add(hold-time.Microsecond), 10)
			ok(t, addEffects(t.Context(), s, "r", due(t, "r", "a", now)))
			claimEffects(t, s, now.Add(hold), 10, "b")
			held(t, s, "b", now)
		})
	})
}
