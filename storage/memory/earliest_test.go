package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

func TestEarliestIsTheBeginningOfAll(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that must be repeatable
	for range 200 {
		all := make([]deadline, rng.IntN(60))
		for i := range all {
			all[i] = deadline{time.Unix(rng.Int64N(9), 0), fmt.Sprint(i)}
		}
		e := earliest{limit: rng.IntN(70)}
		for _, d := range all {
			e.add(d)
			require.LessOrEqual(t, len(e.kept), e.limit, "memory is bounded by the limit")
		}
		slices.SortFunc(all, compareDeadlines)
		want := []string{}
		for _, d := range all[:min(len(all), e.limit)] {
			want = append(want, d.key)
		}
		assert.Equal(t, want, e.keys())
	}
}

func BenchmarkDueAssignments(b *testing.B) {
	s, ctx := New(), b.Context()
	require.NoError(b, s.CreateAccount(ctx, storage.Account{Name: "acme"}))
	const n = 100_000
	for i := 0; i < n; i += storage.MaxBatch {
		c := storage.InventoryChange{Account: "acme"}
		for j := range storage.MaxBatch {
			c.Assignments = append(c.Assignments, storage.Assignment{
				Account: "acme", Serial: fmt.Sprintf("S%08d", i+j), NextAttemptAt: time.Unix(int64((i+j)%977), 0),
			})
		}
		require.NoError(b, s.CommitInventory(ctx, c))
	}
	for b.Loop() {
		due, err := s.DueAssignments(ctx, "acme", time.Unix(1000, 0), 1000)
		if err != nil || len(due) != 1000 {
			b.Fatal(len(due), err)
		}
	}
}
