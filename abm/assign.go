package abm

import (
	"cmp"
	"context"
	"errors"
	"maps"
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
	// Failed counts attempts without success, Throttled those of them for which Apple was asked too often, Gone devices that are
	// not in the account any more.
	Failed, Throttled, Gone int
}

// assign does one batch of due assignments. A device that was tried before, and one whose call has an open outcome, is
// looked at before Apple is asked again: Apple throttles a device that is assigned what it has already.
func (s *step) assign(ctx context.Context) (res AssignResult, err error) {
	limit := min(s.limit(http.MethodPost, "/profile/devices"), s.limit(http.MethodPost, "/devices"))
	due, err := s.e.store.DueAssignments(ctx, s.account, s.e.s.now(), limit)
	if err != nil || len(due) == 0 {
		return res, err
	}
	res.Due, s.head = len(due), due[0]
	ctx, end := s.traceAssign(ctx)
	defer func() { end(res, err) }()
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
	if stops(err) {
		return res, err
	}
	return res, errors.Join(err, s.askAll(ctx, append(ask, more...), stored, &res))
}

// resolveAgain plans the assignments that have a problem. It returns what is due to be asked for now.
func (s *step) resolveAgain(ctx context.Context, due []storage.Assignment, stored map[string]storage.Device) ([]storage.Assignment, error) {
	wants, err := s.wantsOfProblems(ctx, due, stored)
	if err != nil {
		return nil, err
	}
	var again []storage.Assignment
	ready := due[:0:0]
	for _, a := range due {
		w, decided := wants[a.Serial]
		switch {
		case a.Problem == "":
			ready = append(ready, a)
		case decided && w.err == nil && w.print == a.Profile && !idle(&a):
			// Over, unless the profile still cannot be defined. ProblemSince is kept until that is known.
			a.Problem = ""
			ready = append(ready, a)
		default:
			again = append(again, a)
		}
	}
	now := s.e.s.now()
	written, err := s.writeRows(ctx, nil, again, func(a *storage.Assignment) ([]activity.Event, bool) {
		d, ok := stored[a.Serial]
		if !ok {
			gone(a)
			return nil, true
		}
		planned, evs, changed := plan(*a, &d, wants[a.Serial], false, now)
		*a = planned
		return evs, changed
	})
	if err != nil {
		return nil, err
	}
	newer := bySerial(written)
	for _, a := range again {
		if w, ok := newer[a.Serial]; ok {
			a = w
		}
		if !idle(&a) && !a.NextAttemptAt.After(now) {
			ready = append(ready, a)
		}
	}
	return ready, nil
}

// wantsOfProblems returns what is wanted now for those of the assignments that have a problem, by serial.
func (s *step) wantsOfProblems(ctx context.Context, due []storage.Assignment, stored map[string]storage.Device) (map[string]desire, error) {
	var sights []sighting // of nothing new
	for i := range due {
		if d, ok := stored[due[i].Serial]; ok && due[i].Problem != "" {
			sights = append(sights, sighting{row: d})
		}
	}
	wants, err := s.desires(ctx, sights, bySerial(due))
	if err != nil {
		return nil, err
	}
	m := make(map[string]desire, len(wants))
	for i := range sights {
		m[sights[i].row.Serial] = wants[i]
	}
	return m, nil
}

// askAll asks for assignments, grouped by profile. A profile for which Apple cannot be asked does not hold back the others.
func (s *step) askAll(ctx context.Context, rows []storage.Assignment, stored map[string]storage.Device, res *AssignResult) error {
	slices.SortStableFunc(rows, func(a, b storage.Assignment) int { return cmp.Compare(a.Profile, b.Profile) })
	var failed error
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].Profile == rows[0].Profile {
			n++
		}
		group := rows[:n]
		rows = rows[n:]
		p, err := s.define(ctx, group[0].Profile)
		if err == nil {
			err = s.ask(ctx, p, group, stored, res)
		} else if !stops(err) && (blamesApple(err) || errors.Is(err, storage.ErrNotFound)) {
			err = s.blocked(ctx, group, err, res)
		}
		failed = errors.Join(failed, err)
		if stops(err) {
			break
		}
	}
	return failed
}

// blocked records that the profile of rows cannot be defined. It returns cause if that is not the profile's fault.
func (s *step) blocked(ctx context.Context, rows []storage.Assignment, cause error, res *AssignResult) error {
	s.undefined[rows[0].Profile] = cause
	s.log.Warn("profile cannot be defined; trying again later", zap.String("fingerprint", rows[0].Profile), zap.Error(cause))
	now := s.e.s.now()
	written, err := s.writeRows(ctx, nil, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
		if a.Profile != rows[0].Profile || a.NextAttemptAt.IsZero() {
			return nil, false // changed meanwhile
		}
		evs := block(a, cause, now)
		a.NextAttemptAt = now.Add(max(problemWait(a, now), hint(cause)))
		return evs, true
	})
	res.Failed += len(written)
	answer, answered := errors.AsType[*APIError](cause)
	if answered && answer.Op == opDefineProfile && !errors.Is(cause, ErrRateLimited) || errors.Is(cause, storage.ErrNotFound) {
		return err
	}
	return errors.Join(cause, err)
}

// define returns a profile that Apple knows, and defines it if need be. A process that dies between the definition and
// its record leaves a profile at Apple that no one uses, which is harmless.
func (s *step) define(ctx context.Context, print string) (storage.Profile, error) {
	p, err := s.profile(ctx, print)
	if err != nil || p.UUID != "" {
		return p, err
	}
	if err := s.undefined[print]; err != nil {
		return p, err // one try in a step is enough
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
	rows, err := s.writeRows(ctx, nil, group, func(a *storage.Assignment) ([]activity.Event, bool) {
		if a.Profile != p.Fingerprint || a.NextAttemptAt.IsZero() {
			return nil, false // changed meanwhile
		}
		if d, ok := stored[a.Serial]; ok && d.Present() && holds(a, &d, p.UUID) {
			return satisfy(a, &d, now), true
		}
		a.State = storage.AssignmentAssigning
		a.LastAttempt = storage.Attempt{At: now, ProfileUUID: p.UUID}
		// Until then the call may be under way, even if this process is dead.
		a.NextAttemptAt = now.Add(s.e.s.timeout + s.e.s.openFor())
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
	refused, left, err := bisect(serialsOf(asking), func(serials []string) error {
		if s.e.s.now().Sub(now) > s.e.s.timeout {
			return errNotAsked // a call that begins now may not end before the rows come due
		}
		return s.call(ctx, p, pick(asking, serials), before, res)
	})
	return errors.Join(err,
		s.refused(ctx, asking, refused, res),
		s.postpone(ctx, pick(asking, left), errNotAsked, storage.AssignmentPending, firstFailureWait))
}

// call asks Apple to assign p to rows, which say so already, and records the results. It returns an error that
// refusesSome without recording anything.
func (s *step) call(ctx context.Context, p storage.Profile, rows []storage.Assignment, before map[string]string, res *AssignResult) error {
	res.Asked += len(rows)
	answer, err := s.apple().AssignProfile(ctx, p.UUID, serialsOf(rows)...)
	if refusesSome(err) && ctx.Err() == nil {
		return err
	}
	if err != nil {
		return s.callFailed(ctx, p, rows, before, res, err)
	}
	s.countAnswers(ctx, rows, answer.Devices)
	// What Apple did is recorded even if the work is to end now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	var ours []storage.Assignment
	now := s.e.s.now()
	written, err := s.writeRows(ctx, nil, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
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
			continue
		}
		res.Failed++
		if a.LastAttempt.Result == string(ResultThrottled) {
			res.Throttled++
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
	ctx context.Context, p storage.Profile, rows []storage.Assignment, before map[string]string, res *AssignResult, err error,
) error {
	if ctx.Err() != nil {
		return ctx.Err() // the outcome is open, and the rows say so
	}
	apiErr, answered := errors.AsType[*APIError](err)
	switch {
	case errors.Is(err, ErrProfileNotFound):
		return s.profileLost(ctx, p, rows, before, res)
	case answered && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrBadResponse), answered && apiErr.Op == opSession, notSent(err):
		return errors.Join(err, s.postpone(ctx, rows, err, storage.AssignmentPending, hint(err)))
	}
	// Apple may have done it: look first.
	return errors.Join(err, s.postpone(ctx, rows, err, storage.AssignmentAssigning, max(hint(err), s.e.s.maxWait/2)))
}

// postpone puts rows off that have done nothing wrong.
func (s *step) postpone(ctx context.Context, rows []storage.Assignment, cause error, state storage.AssignmentState, wait time.Duration) error {
	now := s.e.s.now()
	_, err := s.writeRows(ctx, nil, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
		if !sameAttempt(a, rows) {
			return nil, false
		}
		a.State, a.NextAttemptAt, a.LastAttempt.Error = state, now.Add(wait), cause.Error()
		return nil, true
	})
	return err
}

// refused counts a failure for each serial that Apple refuses.
func (s *step) refused(ctx context.Context, rows []storage.Assignment, refused map[string]error, res *AssignResult) error {
	s.countRefused(ctx, refused)
	now := s.e.s.now()
	written, err := s.writeRows(ctx, nil, pick(rows, slices.Collect(maps.Keys(refused))), func(a *storage.Assignment) ([]activity.Event, bool) {
		if !sameAttempt(a, rows) {
			return nil, false
		}
		cause := refused[a.Serial]
		return outcome(a, cmp.Or(codeOf(cause), string(ResultFailed)), 0, cause.Error(), &s.e.s, now), true
	})
	res.Failed += len(written)
	return err
}

// profileLost forgets the UUID of a profile that Apple does not know, so that it is defined again. A row that this
// happens to twice in a row has failed.
func (s *step) profileLost(ctx context.Context, p storage.Profile, rows []storage.Assignment, before map[string]string, res *AssignResult) error {
	const code = "PROFILE_NOT_FOUND"
	if err := s.lose(ctx, p); err != nil {
		return err
	}
	now := s.e.s.now()
	_, err := s.writeRows(ctx, nil, rows, func(a *storage.Assignment) ([]activity.Event, bool) {
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
