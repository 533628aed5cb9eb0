package enroll

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

var errStopped = errors.New("the process stopped")

// stopping is a store that fails one call: before it did its work, or after, when the caller cannot know that it did.
type stopping struct {
	*memory.Store

	mu    sync.Mutex
	calls int
	at    int // the call that fails; 0 for none
	after bool
}

func (s *stopping) arm(at int, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.at, s.after = 0, at, after
}

func (s *stopping) run(call func() error) error {
	s.mu.Lock()
	s.calls++
	stop, after := s.calls == s.at, s.after
	s.mu.Unlock()
	if stop && !after {
		return errStopped
	}
	err := call()
	if stop {
		return errStopped
	}
	return err
}

func (s *stopping) FindDevices(ctx context.Context, serials ...string) (out []storage.Device, err error) {
	err = s.run(func() error { out, err = s.Store.FindDevices(ctx, serials...); return err })
	return out, err
}

func (s *stopping) GetSession(ctx context.Context, id string) (out storage.EnrollmentSession, err error) {
	err = s.run(func() error { out, err = s.Store.GetSession(ctx, id); return err })
	return out, err
}

func (s *stopping) CreateSession(ctx context.Context, x storage.EnrollmentSession, acts ...storage.Activity) error {
	return s.run(func() error { return s.Store.CreateSession(ctx, x, acts...) })
}

func (s *stopping) UpdateSession(ctx context.Context, x storage.EnrollmentSession, acts ...storage.Activity) error {
	return s.run(func() error { return s.Store.UpdateSession(ctx, x, acts...) })
}

func (s *stopping) GetEnrollment(ctx context.Context, id string) (out storage.Enrollment, err error) {
	err = s.run(func() error { out, err = s.Store.GetEnrollment(ctx, id); return err })
	return out, err
}

func (s *stopping) PutEnrollment(ctx context.Context, e storage.Enrollment, acts ...storage.Activity) error {
	return s.run(func() error { return s.Store.PutEnrollment(ctx, e, acts...) })
}

func (s *stopping) AppendActivities(ctx context.Context, acts ...storage.Activity) error {
	return s.run(func() error { return s.Store.AppendActivities(ctx, acts...) })
}

// TestStoppedAtEachStoreCall has the store fail at each call in turn, and the device come again as devices do. It
// ends where an undisturbed one ends.
func TestStoppedAtEachStoreCall(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			if !enrollStopped(t, at, after) {
				require.Greater(t, at, 10, "the journey makes more calls than that")
				break
			}
		}
	}
}

// enrollStopped reports whether the call that fails was reached.
func enrollStopped(t *testing.T, at int, after bool) bool {
	name := fmt.Sprintf("call %d, after %v", at, after)
	f := newFixture(t, nil)
	store := &stopping{Store: f.store}
	f.handler.store = store
	o := &observer{}
	c, err := NewCheckIns(store, f.keys, WithObserver(o), WithCheckInClock(f.clock.Now))
	require.NoError(t, err)
	_, token := f.keys.device(serial, udid, "")
	params := map[string]string{SessionParam: token}
	ctx := t.Context()

	stops := 0
	until := func(step func() error) {
		for step() != nil {
			stops++
			require.LessOrEqual(t, stops, 1, name)
		}
	}
	store.arm(at, after)
	until(func() error {
		if r := f.post(f.sign(nil)); r.status != http.StatusOK {
			require.Equal(t, http.StatusInternalServerError, r.status, name)
			return errStopped
		}
		return nil
	})
	until(func() error { return c.Authenticated(ctx, authenticate(params, "a")) })
	until(func() error { return c.TokenUpdated(ctx, tokenUpdate(params, storage.AwaitingTrue)) })
	until(func() error {
		return c.CommandReported(ctx, Message{ID: "r", Type: "Connect", EnrollmentID: udid, UDID: udid, Certificate: identity, Awaiting: storage.AwaitingFalse},
			setupexp.CommandResult{CommandUUID: "c1", Status: "Acknowledged"})
	})

	e := f.enrollment()
	assert.Equal(t, int64(1), e.Generation, name)
	assert.Equal(t, storage.EnrollmentEnrolled, e.State, name)
	assert.Equal(t, storage.AwaitingFalse, e.Awaiting, name)
	assert.Equal(t, "acme", e.Account, name)
	assert.NotEmpty(t, e.SessionID, name)
	s, err := f.session()
	require.NoError(t, err, name)
	assert.Equal(t, storage.SessionEnrolled, s.State, name)
	kinds, _ := f.acts()
	count := map[string]int{}
	for _, k := range kinds {
		count[k]++
	}
	assert.Equal(t, 1, count["device_authenticated"], name)
	assert.Equal(t, 1, count["device_enrolled"], name)
	heard := map[string]bool{}
	for _, k := range o.kinds() {
		heard[k] = true
	}
	assert.Equal(t, map[string]bool{"authenticated": true, "awaiting_seen": true, "command_result": true}, heard, name)
	return stops > 0
}

// TestSideBySide has one device ask many times at once, as one does whose user is impatient.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	body := f.sign(nil)
	var wg sync.WaitGroup
	statuses := make(chan int, 4)
	for range cap(statuses) {
		wg.Go(func() { statuses <- f.post(body).status })
	}
	wg.Wait()
	close(statuses)
	for s := range statuses {
		assert.Equal(t, http.StatusOK, s)
	}
	kinds, _ := f.acts()
	assert.Len(t, kinds, 2*cap(statuses))
}
