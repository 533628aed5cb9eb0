package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/enrollkit/enrollkit/storage"
)

// ok ends the test if there is an error.
func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// isErr ends the test if err is not want.
func isErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// equal ends the test if got and want differ. Times must be equal to the bit, so UTC is checked along.
func equal(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("\n got %s\nwant %s", brief(got), brief(want))
	}
}

// brief prints a value without flooding the log.
func brief(v any) string {
	s := fmt.Sprintf("%+v", v)
	if len(s) > 2000 {
		s = strings.ToValidUTF8(s[:2000], "") + fmt.Sprintf("... (%d bytes)", len(s))
	}
	return s
}

// together calls fn in n goroutines that start at once, and returns their errors.
func together(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = fn(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// oneWins fails the test unless exactly one of the errors is nil and all others are want.
func oneWins(t testing.TB, errs []error, want error) {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			isErr(t, err, want)
		}
	}
	equal(t, won, 1)
}

// snapshot is everything a store shows by its lists.
type snapshot struct {
	Accounts    []storage.Account
	KeyPairs    []storage.KeyPair
	Devices     []storage.Device
	Assignments []storage.Assignment
	Profiles    []storage.Profile
	Cursors     []storage.Cursor
	AtApple     []storage.ServiceSession
	NanoDEP     []storage.NanoDEP
	Enrollments []storage.Enrollment
	Runs        []storage.Run
	Effects     []storage.Effect
	Activities  []storage.Activity
}

func snap(t testing.TB, s storage.Store) snapshot {
	t.Helper()
	ctx := t.Context()
	var all snapshot
	all.Accounts = collect(t, storage.MaxPageSize, listAccounts(ctx, s))
	for _, a := range all.Accounts {
		keyPairs, err := s.ListKeyPairs(ctx, a.Name)
		ok(t, err)
		all.KeyPairs = append(all.KeyPairs, keyPairs...)
		all.Devices = append(all.Devices, collect(t, storage.MaxPageSize, listDevices(ctx, s, a.Name))...)
		all.Assignments = append(all.Assignments, collect(t, storage.MaxPageSize, listAssignments(ctx, s, a.Name))...)
		profiles, err := s.ListProfiles(ctx, a.Name)
		ok(t, err)
		all.Profiles = append(all.Profiles, profiles...)
		c, err := s.GetCursor(ctx, a.Name)
		if !errors.Is(err, storage.ErrNotFound) {
			ok(t, err)
			all.Cursors = append(all.Cursors, c)
		}
		session, err := s.GetServiceSession(ctx, a.Name)
		if !errors.Is(err, storage.ErrNotFound) {
			ok(t, err)
			all.AtApple = append(all.AtApple, session)
		}
		state, err := s.GetNanoDEP(ctx, a.Name)
		if !errors.Is(err, storage.ErrNotFound) {
			ok(t, err)
			all.NanoDEP = append(all.NanoDEP, state)
		}
	}
	all.Enrollments = collect(t, storage.MaxPageSize, listEnrollments(ctx, s))
	all.Runs = collect(t, storage.MaxPageSize, listRuns(ctx, s))
	for _, r := range all.Runs {
		effects, err := s.ListEffects(ctx, r.ID)
		ok(t, err)
		all.Effects = append(all.Effects, effects...)
	}
	all.Activities = collect(t, storage.MaxPageSize, listActivities(ctx, s))
	return all
}

// writesNothing calls fn, checks its error, and that the store shows what it showed before.
func writesNothing(t testing.TB, s storage.Store, want error, fn func() error) {
	t.Helper()
	before := snap(t, s)
	err := fn()
	if want == nil {
		ok(t, err)
	} else {
		isErr(t, err, want)
	}
	equal(t, snap(t, s), before)
}

// cancelled checks that each call ends with the context's error and writes nothing.
func cancelled(t *testing.T, open Open, calls func(t testing.TB, s storage.Store) map[string]func(ctx context.Context) error) {
	t.Helper()
	sentence(t, open, "A cancelled context ends a call with its error and nothing is written",
		func(t *testing.T, s storage.Store) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for name, call := range calls(t, s) {
				before := snap(t, s)
				if err := call(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: error is %v, want %v", name, err, context.Canceled)
				}
				equal(t, snap(t, s), before)
			}
		})
}

// raises checks that of many writers that read the same version exactly one wins, round after round.
func raises(t *testing.T, open Open, name string, prepare func(t testing.TB, s storage.Store),
	write func(ctx context.Context, s storage.Store, version int64) error, version func(ctx context.Context, s storage.Store) (int64, error),
) {
	t.Helper()
	sentence(t, open, "Of writers that read the same version exactly one wins: "+name, func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		prepare(t, s)
		for range 10 {
			read, err := version(ctx, s)
			ok(t, err)
			oneWins(t, together(8, func(int) error { return write(ctx, s, read) }), storage.ErrConflict)
			now, err := version(ctx, s)
			ok(t, err)
			equal(t, now, read+1)
		}
	})
}
