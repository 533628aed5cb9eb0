package axm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/internal/retry"
)

// MoveState says what became of one device in [Client.Move].
type MoveState string

// Values of MoveState.
const (
	MoveNotAsked    MoveState = "NOT_ASKED"   // Move ended before it came to the device, or gave up looking for what Apple minds
	MoveAlready     MoveState = "ALREADY"     // it was on the server, and Apple was asked for nothing
	MoveDone        MoveState = "MOVED"       // it is on the server, as a look has shown
	MoveRefused     MoveState = "REFUSED"     // Apple does not take the serial number; nothing was done
	MoveFailed      MoveState = "FAILED"      // the activity ended without it
	MoveUnconfirmed MoveState = "UNCONFIRMED" // asked for, but it does not show; look again later
)

// MoveResult is what became of one device.
type MoveResult struct {
	Serial string
	State  MoveState
	// ActivityID names the activity, if one was created.
	ActivityID string
	// Result is the device's row of the activity's results, if there is one.
	Result *DeviceResult
	// Err is what stood in the way; nil if, and only if, the device is on the server.
	Err error
}

const (
	// readEach is up to how many devices are looked at one by one; for more, reading the list of the server takes fewer calls.
	readEach = 50
	// maxRefusals limits the search for serial numbers that Apple does not take, in calls.
	maxRefusals = 200
)

// move is one call of Move under way.
type move struct {
	c        *Client
	serverID string
	results  []MoveResult
	bySerial map[string]*MoveResult
	refusals int
	created  []Activity
}

// Move assigns devices to an MDM server and sees to it that they are there: it leaves those alone that are, creates activities
// for the others, waits for their ends, and looks at the assignments, which follow later, until they show or the time of
// [WithSettle] is over. Calling it again does what is left; before what was done shows, it also does that again.
//
// It returns one result per serial number, in the order given; repeated ones count once. A device that Apple refuses holds
// back none of the others: its activity is created again without it, up to 200 refusals in all. The error is what ended the work as a whole, with the
// results so far. It is nil though devices did not move: see their states. It waits as long as ctx lets it.
func (c *Client) Move(ctx context.Context, serverID string, serials []string) ([]MoveResult, error) {
	request := ActivityRequest{Type: AssignDevices, ServerID: serverID, Serials: serials}
	if err := request.check(); err != nil {
		return nil, err
	}
	m := &move{c: c, serverID: serverID, bySerial: make(map[string]*MoveResult, len(serials))}
	m.results = make([]MoveResult, 0, len(serials)) // never grows: bySerial points into it
	for _, s := range serials {
		if m.bySerial[s] == nil {
			m.results = append(m.results, MoveResult{Serial: s, State: MoveNotAsked})
			m.bySerial[s] = &m.results[len(m.results)-1]
		}
	}
	err := m.run(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	for i := range m.results {
		r := &m.results[i]
		switch {
		case r.Err != nil:
		case r.State == MoveNotAsked:
			r.Err = err
		case r.State == MoveUnconfirmed:
			r.Err = errMoveUnconfirmed
		}
	}
	return m.results, err
}

func (m *move) run(ctx context.Context) error {
	// An unknown server is refused in the same words as an unknown device: it must not start a search for the latter.
	if _, err := m.c.DeviceSerialsPage(ctx, m.serverID, ListOptions{Limit: 1}); err != nil {
		return fmt.Errorf("axm: move: server: %w", err)
	}
	there, err := m.present(ctx, m.in(MoveNotAsked))
	if err != nil {
		return err
	}
	for s := range there {
		m.bySerial[s].State = MoveAlready
	}
	for chunk := range slices.Chunk(m.in(MoveNotAsked), m.c.s.batch) {
		if err := m.assign(ctx, chunk); err != nil {
			return err
		}
	}
	failed := make(map[string]bool)
	for _, a := range m.created {
		if err := m.wait(ctx, a, failed); err != nil {
			return err
		}
	}
	return m.verify(ctx, failed)
}

// in returns the serial numbers in a state, in order.
func (m *move) in(state MoveState) []string {
	var out []string
	for _, r := range m.results {
		if r.State == state {
			out = append(out, r.Serial)
		}
	}
	return out
}

// present returns which devices are on the server.
func (m *move) present(ctx context.Context, serials []string) (map[string]bool, error) {
	there := make(map[string]bool)
	if len(serials) <= readEach {
		for _, s := range serials {
			id, err := m.c.AssignedServerID(ctx, s)
			if err != nil && !errors.Is(err, ErrNotAssigned) {
				return nil, err
			}
			if err == nil && strings.EqualFold(id, m.serverID) {
				there[s] = true
			}
		}
		return there, nil
	}
	wanted := make(map[string]bool, len(serials))
	for _, s := range serials {
		wanted[s] = true
	}
	for s, err := range m.c.DeviceSerials(ctx, m.serverID, ListOptions{Limit: 1000}) {
		if err != nil {
			return nil, err
		}
		if wanted[s] {
			there[s] = true
		}
	}
	return there, nil
}

// assign creates an activity for serials. If Apple refuses it, it does so for all of them because of one: it is halved until
// those are alone.
func (m *move) assign(ctx context.Context, serials []string) error {
	a, err := m.c.CreateActivity(ctx, ActivityRequest{Type: AssignDevices, ServerID: m.serverID, Serials: serials})
	switch {
	case err == nil:
		m.created = append(m.created, *a)
		m.set(serials, MoveUnconfirmed, a.ID, nil)
		return nil
	case refusesContent(err):
		m.refusals++
		if len(serials) == 1 {
			m.set(serials, MoveRefused, "", err)
			return nil
		}
		if m.refusals >= maxRefusals {
			m.set(serials, MoveNotAsked, "", err) // one of them is refused, and the others could be moved
			return nil
		}
		half := len(serials) / 2
		if err := m.assign(ctx, serials[:half]); err != nil {
			return err
		}
		return m.assign(ctx, serials[half:])
	case ctx.Err() == nil && temporary(err) && !notDone(err):
		// Apple may have taken it all the same. Asking again could do twice what the coming look may find done.
		m.set(serials, MoveUnconfirmed, "", err)
		return nil
	case !notDone(err) && ctx.Err() != nil:
		m.set(serials, MoveUnconfirmed, "", err) // sent, perhaps, when ctx ended
	}
	return err
}

// refusesContent reports whether Apple blames what was sent.
func refusesContent(err error) bool {
	e, ok := errors.AsType[*APIError](err)
	return ok && (e.StatusCode == http.StatusConflict || e.StatusCode == http.StatusUnprocessableEntity)
}

func (m *move) set(serials []string, state MoveState, activity string, err error) {
	for _, s := range serials {
		r := m.bySerial[s]
		r.State, r.ActivityID, r.Err = state, activity, err
	}
}

// wait waits for an activity and notes which devices it says have failed.
func (m *move) wait(ctx context.Context, a Activity, failed map[string]bool) error {
	done, err := m.c.WaitActivity(ctx, a.ID)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		m.set(a.Serials, MoveUnconfirmed, a.ID, err) // the look at the assignment decides
		return nil
	}
	if done.Status != ActivityCompleted {
		for _, s := range a.Serials {
			failed[s] = true
		}
		return nil
	}
	results, err := m.c.ActivityResults(ctx, done)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		// The file is a hint only.
		m.c.s.log.Info("no results of an activity", zap.String("activity", a.ID), zap.Error(err))
		return nil
	}
	for _, r := range results {
		if mine := m.bySerial[r.Serial]; mine != nil && mine.ActivityID == a.ID {
			mine.Result = &r
			failed[r.Serial] = r.Failed()
		}
	}
	return nil
}

var (
	errMoveFailed      = errors.New("axm: move: the activity did not assign the device")
	errMoveUnconfirmed = errors.New("axm: move: the assignment does not show")
)

// verify looks at the assignments until all that may still come have come, or the time is over.
func (m *move) verify(ctx context.Context, failed map[string]bool) error {
	waits := retry.Exponential(m.c.s.now, m.c.s.firstPoll, m.c.s.maxPoll)
	for waited := time.Duration(0); ; {
		open := m.in(MoveUnconfirmed)
		there, err := m.present(ctx, open)
		if err != nil && (ctx.Err() != nil || !temporary(err)) {
			return err
		}
		for _, s := range open {
			switch {
			case there[s]:
				r := m.bySerial[s]
				r.State, r.Err = MoveDone, nil
			case err == nil && failed[s]:
				r := m.bySerial[s]
				r.State, r.Err = MoveFailed, errMoveFailed
			}
		}
		if len(m.in(MoveUnconfirmed)) == 0 || waited >= m.c.s.settle {
			return err
		}
		d := min(waits.NextBackOff(), m.c.s.settle-waited)
		if err := sleep(ctx, d); err != nil {
			return err
		}
		waited += d
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
