package abm

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// AssignResult says what one batch of assignments came to.
type AssignResult struct {
	// Due is how many assignments were due, at most MaxLimit; 0 means that there is nothing to do now.
	Due int
	// Asked is for how many devices Apple was asked to assign a profile, Assigned how often it said SUCCESS.
	Asked, Assigned int
	// Looked is how many devices were looked at, Satisfied how many of them had what is wanted.
	Looked, Satisfied int
	// Failed counts attempts without success, Gone devices that are not in the account any more.
	Failed, Gone int
}

// assign does one batch of due assignments. A device that was tried before, and one whose call has an open outcome, is
// looked at before Apple is asked again: Apple throttles a device that is assigned what it has already.
func (s *step) assign(ctx context.Context) (AssignResult, error) {
	var res AssignResult
	limit := min(s.limit(http.MethodPost, "/profile/devices"), s.limit(http.MethodPost, "/devices"))
	due, err := s.e.store.DueAssignments(ctx, s.account, s.e.s.now(), limit)
	if err != nil || len(due) == 0 {
		return res, err
	}
	res.Due = len(due)
	stored, err := s.devices(ctx, serialsOf(due))
	if err != nil {
		return res, err
	}
	due, err = s.resolveAgain(ctx, due, stored)
	if err != nil {
		return res, err
	}
	var look, ask []storage.Assignment
	for _, a := range due {
		d, known := stored[a.Serial]
		if !known || !d.Present() || a.State != storage.AssignmentPending || !a.LastAttempt.At.IsZero() {
			look = append(look, a)
		} else {
			ask = append(ask, a)
		}
	}
	more, err := s.look(ctx, look, stored, &res)
	if err != nil {
		return res, err
	}
	err = s.askAll(ctx, append(ask, more...), stored, &res)
	return res, err
}

// resolveAgain plans the assignments whose profile could not be told before. It returns those that are due now.
func (s *step) resolveAgain(ctx context.Context, due []storage.Assignment, stored map[string]storage.Device) ([]storage.Assignment, error) {
	var again []storage.Assignment
	wants := make(map[string]desire)
	rest := due[:0:0]
	for _, a := range due {
		if a.LastAttempt.Result != resultUnresolved {
			rest = append(rest, a)
			continue
		}
		again = append(again, a)
		if d, ok := stored[a.Serial]; ok {
			w, err := s.desireIfPresent(ctx, &d)
			if err != nil {
				return nil, err
			}
			wants[a.Serial] = w
		}
	}
	now := s.e.s.now()
	written, err := s.e.writeRows(ctx, s.fence, nil, again, func(a *storage.Assignment) ([]activity.Event, bool) {
		d, ok := stored[a.Serial]
		if !ok {
			gone(a)
			return nil, true
		}
		planned, evs, changed := plan(*a, &d, wants[a.Serial], false, &s.e.s, now)
		*a = planned
		return evs, changed
	})
	if err != nil {
		return nil, err
	}
	for _, a := range written {
		if a.State == storage.AssignmentPending && !a.NextAttemptAt.IsZero() && !a.NextAttemptAt.After(now) {
			rest = append(rest, a)
		}
	}
	return rest, nil
}

// askAll asks for assignments, grouped by profile. A profile that Apple refuses does not hold back the others.
func (s *step) askAll(ctx context.Context, rows []storage.Assignment, stored map[string]storage.Device, res *AssignResult) error {
	slices.SortStableFunc(rows, func(a, b storage.Assignment) int { return cmp.Compare(a.Profile, b.Profile) })
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].Profile == rows[0].Profile {
			n++
		}
		group := rows[:n]
		rows = rows[n:]
		p, err := s.define(ctx, group[0].Profile)
		switch {
		case errors.Is(err, ErrProfileRefused):
			err = s.fail(ctx, group, codeOf(err), err.Error(), res)
		case errors.Is(err, storage.ErrNotFound):
			err = s.fail(ctx, group, resultUnresolved, err.Error(), res) // has the resolver asked again
		case err == nil:
			err = s.ask(ctx, p, group, stored, res)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// define returns a profile that Apple knows, and defines it if need be. A process that dies between the definition and
// its record leaves a profile at Apple that no one uses, which is harmless.
func (s *step) define(ctx context.Context, print string) (storage.Profile, error) {
	p, err := s.profile(ctx, print)
	if err != nil || p.UUID != "" {
		return p, err
	}
	if p.UUID, err = s.apple().DefineProfile(ctx, p.Document); err != nil {
		return p, err
	}
	p.DefinedAt = s.e.s.now()
	ev := activity.ProfileDefined{
		On: activity.On{Account: s.account}, Fingerprint: print, ProfileUUID: p.UUID, Name: profileName(p.Document),
	}
	return p, s.putProfile(ctx, p, ev)
}

// ask writes down what is about to be asked, asks, and writes down the results.
func (s *step) ask(ctx context.Context, p storage.Profile, group []storage.Assignment, stored map[string]storage.Device, res *AssignResult) error {
	now := s.e.s.now()
	rows, err := s.e.writeRows(ctx, s.fence, nil, group, func(a *storage.Assignment) ([]activity.Event, bool) {
		if a.Profile != p.Fingerprint || a.NextAttemptAt.IsZero() {
			return nil, false // changed meanwhile
		}
		if d, ok := stored[a.Serial]; ok && d.Present() && has(&d, p.UUID) {
			return satisfy(a, &d, now), true
		}
		a.State = storage.AssignmentAssigning
		a.LastAttempt = storage.Attempt{At: now, ProfileUUID: p.UUID}
		// Until then the call may be under way, even if this process is dead.
		a.NextAttemptAt = now.Add(s.e.s.timeout)
		return nil, true
	})
	if err != nil {
		return err
	}
	asking := rows[:0]
	for _, a := range rows {
		if a.State == storage.AssignmentAssigning {
			asking = append(asking, a)
		} else {
			res.Satisfied++
		}
	}
	if len(asking) == 0 {
		return nil
	}
	before := make(map[string]string, len(group))
	for _, a := range group {
		before[a.Serial] = a.LastAttempt.Result
	}
	budget := maxBisect
	return s.call(ctx, p, asking, before, &budget, res)
}

// maxBisect limits how many refused calls are spent on finding the serials that Apple cannot take.
const maxBisect = 24

// call asks Apple to assign p to rows, which say so already, and records the results.
func (s *step) call(ctx context.Context, p storage.Profile, rows []storage.Assignment, before map[string]string, budget *int, res *AssignResult) error {
	res.Asked += len(rows)
	answer, err := s.apple().AssignProfile(ctx, p.UUID, serialsOf(rows)...)
	if err != nil {
		return s.callFailed(ctx, p, rows, before, budget, res, err)
	}
	// What Apple did is recorded even if the work is to end now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	var ours []storage.Assignment
	now := s.e.s.now()
	written, err := s.e.writeRows(ctx, s.fence, nil, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
		result, ok := answer.Devices[a.Serial]
		if !sameAttempt(a, rows) || result == ResultNotAccessible {
			return nil, false
		}
		if !ok || result == "" {
			result = resultMissing
		}
		wait := time.Duration(0)
		if result == ResultThrottled {
			wait = answer.RetryAfter
		}
		return outcome(a, string(result), wait, "", &s.e.s, now), true
	})
	if err != nil {
		return err
	}
	for _, a := range written {
		if a.LastAttempt.Result == string(ResultSuccess) {
			res.Assigned++
		} else {
			res.Failed++
		}
	}
	for _, a := range rows {
		if answer.Devices[a.Serial] == ResultNotAccessible {
			ours = append(ours, a)
		}
	}
	return s.lookInaccessible(ctx, ours, res)
}

// sameAttempt reports whether a is still at the attempt that rows were written with.
func sameAttempt(a *storage.Assignment, rows []storage.Assignment) bool {
	return a.State == storage.AssignmentAssigning && storage.Time(a.LastAttempt.At).Equal(storage.Time(rows[0].LastAttempt.At))
}

// callFailed decides by the cause what a call that failed as a whole means for its devices. What is not their fault does
// not count as their failure.
func (s *step) callFailed(
	ctx context.Context, p storage.Profile, rows []storage.Assignment, before map[string]string, budget *int, res *AssignResult, err error,
) error {
	if ctx.Err() != nil {
		return ctx.Err() // the outcome is open, and the rows say so
	}
	apiErr, answered := errors.AsType[*APIError](err)
	switch {
	case errors.Is(err, ErrProfileNotFound):
		return s.profileLost(ctx, p, rows, before, res)
	case answered && apiErr.Op != opSession && !apiErr.Temporary() && errors.Is(err, ErrBadRequest) && !wholeCall(apiErr.Code):
		*budget--
		if len(rows) == 1 || *budget <= 0 {
			return s.fail(ctx, rows, cmp.Or(apiErr.Code, string(ResultFailed)), err.Error(), res)
		}
		half := len(rows) / 2 // one of the serials may be what Apple cannot take
		if err := s.call(ctx, p, rows[:half], before, budget, res); err != nil {
			return err
		}
		return s.call(ctx, p, rows[half:], before, budget, res)
	case answered && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrBadResponse), answered && apiErr.Op == opSession, notSent(err):
		return errors.Join(err, s.postpone(ctx, rows, err, storage.AssignmentPending, hint(err)))
	}
	// Apple may have done it: look first.
	return errors.Join(err, s.postpone(ctx, rows, err, storage.AssignmentAssigning, max(hint(err), s.e.s.maxWait/2)))
}

// wholeCall reports whether a code blames the request, whatever its serials.
func wholeCall(code string) bool {
	switch code {
	case "USER_AGENT_MISSING", "USER_AGENT_INVALID", "PROFILE_UUID_REQUIRED":
		return true
	}
	return false
}

// postpone puts rows off that have done nothing wrong.
func (s *step) postpone(ctx context.Context, rows []storage.Assignment, cause error, state storage.AssignmentState, wait time.Duration) error {
	now := s.e.s.now()
	_, err := s.e.writeRows(ctx, s.fence, nil, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
		if !sameAttempt(a, rows) {
			return nil, false
		}
		a.State, a.NextAttemptAt, a.LastAttempt.Error = state, now.Add(wait), cause.Error()
		return nil, true
	})
	return err
}

// fail counts a failure for rows.
func (s *step) fail(ctx context.Context, rows []storage.Assignment, result, cause string, res *AssignResult) error {
	now := s.e.s.now()
	written, err := s.e.writeRows(ctx, s.fence, nil, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
		if a.NextAttemptAt.IsZero() {
			return nil, false // settled meanwhile
		}
		a.LastAttempt.At = now
		return outcome(a, result, 0, cause, &s.e.s, now), true
	})
	res.Failed += len(written)
	return err
}

// profileLost forgets the UUID of a profile that Apple does not know, so that it is defined again. A row that this
// happens to twice in a row has failed.
func (s *step) profileLost(ctx context.Context, p storage.Profile, rows []storage.Assignment, before map[string]string, res *AssignResult) error {
	s.log.Warn("apple does not know the profile any more; defining it again", zap.String("uuid", p.UUID))
	const code = "PROFILE_NOT_FOUND"
	lost := activity.ProfileLost{On: activity.On{Account: s.account}, Fingerprint: p.Fingerprint, ProfileUUID: p.UUID}
	p.UUID, p.DefinedAt = "", time.Time{}
	if err := s.putProfile(ctx, p, lost); err != nil {
		return err
	}
	now := s.e.s.now()
	_, err := s.e.writeRows(ctx, s.fence, nil, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
		if !sameAttempt(a, rows) {
			return nil, false
		}
		if before[a.Serial] == code {
			res.Failed++
			return outcome(a, code, 0, "", &s.e.s, now), true
		}
		a.State, a.NextAttemptAt, a.LastAttempt.Result = storage.AssignmentPending, now, code
		return nil, true
	})
	return err
}
