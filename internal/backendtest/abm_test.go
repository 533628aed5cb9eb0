package backendtest_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// replica is an engine with a store of its own over the same data.
type replica struct {
	engine *abm.Engine
	store  storage.Store
}

// work does rounds of steps as Run does, until Apple shows every device as wanted. Time passes between its own rounds
// only: while the other replica works, the lease of that one must not run out.
func (r replica) work(t *testing.T, now *atomic.Int64, n int) {
	ctx := t.Context()
	for {
		_, err := r.engine.SyncOnce(ctx, "acme")
		for err == nil {
			var res abm.AssignResult
			if res, err = r.engine.AssignOnce(ctx, "acme"); res.Due == 0 {
				break
			}
		}
		if errors.Is(err, storage.ErrLeaseHeld) {
			runtime.Gosched()
			continue
		}
		if !assert.NoError(t, err) {
			return
		}
		satisfied := 0
		for after := ""; ; {
			rows, next, err := r.store.ListAssignments(ctx,
				storage.AssignmentFilter{Account: "acme", State: storage.AssignmentSatisfied}, storage.Page{After: after, Limit: storage.MaxPageSize})
			if !assert.NoError(t, err) {
				return
			}
			if satisfied += len(rows); next == "" {
				break
			}
			after = next
		}
		if satisfied == n {
			return
		}
		now.Add(int64(time.Second))
	}
}

// Two engines on one store, each in a process of its own as far as the store can tell, assign every device exactly once.
func TestTwoEnginesOneStore(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (a, b storage.Store){
		"memory": func(*testing.T) (storage.Store, storage.Store) { s := memory.New(); return s, s },
		"sqlite": func(t *testing.T) (storage.Store, storage.Store) {
			path := filepath.Join(t.TempDir(), "enrollkit.db")
			a, dbA := openSQLite(t, path)
			b, dbB := openSQLite(t, path)
			t.Cleanup(func() { require.NoError(t, errors.Join(dbA.Close(), dbB.Close())) })
			return a, b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 2500
			ctx := t.Context()
			var now atomic.Int64
			now.Store(time.Now().UnixNano())
			clock := func() time.Time { return time.Unix(0, now.Load()).UTC() }
			apple := abmtest.New(t, abmtest.WithClock(clock), abmtest.WithPageLimits(100, 200))
			portal, err := apple.AddMDMServer("MDM")
			require.NoError(t, err)
			require.NoError(t, apple.AddDevices(portal, apple.RandomDevices(n)...))

			keys, err := storage.NewKeyset()
			require.NoError(t, err)
			sealer, err := storage.NewKeysetSealer(keys)
			require.NoError(t, err)
			resolver, err := abm.ForAll(depprofile.Default("https://mdm.example.com/mdm/sso"))
			require.NoError(t, err)
			storeA, storeB := open(t)
			var replicas []replica
			for _, s := range []storage.Store{storeA, storeB} {
				e, err := abm.New(s, sealer, resolver, abm.WithClock(clock), abm.WithBaseURL(apple.URL), abm.WithVerifyAfter(time.Second))
				require.NoError(t, err)
				replicas = append(replicas, replica{e, s})
			}
			accounts := replicas[0].engine.Accounts()
			_, err = accounts.Create(ctx, "acme", "")
			require.NoError(t, err)
			pair, err := accounts.CreateKeyPair(ctx, "acme")
			require.NoError(t, err)
			require.NoError(t, portal.UploadCertificate(pair.Certificate))
			file, err := portal.MintToken()
			require.NoError(t, err)
			_, err = accounts.ImportToken(ctx, "acme", file, abm.ImportOptions{})
			require.NoError(t, err)

			var wg sync.WaitGroup
			for _, r := range replicas {
				wg.Go(func() { r.work(t, &now, n) })
			}
			wg.Wait()
			stats := apple.Stats()
			assert.Len(t, stats.AssignCalls, n)
			for serial, calls := range stats.AssignCalls {
				require.Equal(t, 1, calls, serial)
			}
			require.Zero(t, apple.AssignCalls("unknown"))
		})
	}
}
