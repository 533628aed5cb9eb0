package setupexp

import (
	"slices"
	"strings"
	"time"

	"github.com/enrollkit/enrollkit/activity"
)

// maxExecutions is how many attempts of an item are remembered, so that a late answer finds its item.
const maxExecutions = 24

// move changes an item's state and says so.
func (st *step) move(i int, to ItemState, reason Reason, detail string) {
	w, it := &st.s.Items[i], &st.s.Plan.Items[i]
	from := w.State
	w.State, w.Reason, w.Detail = to, reason, bounded(detail)
	if w.State.Ended() {
		w.EndedAt = st.now
		w.Deadline, w.RetryAt, w.NotNowEnd, w.ParkedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	if w.State.Ended() && it.Agent {
		st.agentItemEnded(w)
	}
	if to == ItemReady || from == ItemBlocked && to == ItemBlocked {
		return // of no interest to people
	}
	st.notify(activity.SetupItemChanged{
		On: st.on(), RunID: st.s.Subject.RunID, Item: it.ID, Title: it.Title, ItemKind: string(it.Kind),
		From: string(from), To: string(to), Reason: string(reason), Attempt: w.Attempt, Detail: w.Detail,
	})
}

// bounded cuts a text to MaxOutput bytes of valid UTF-8.
func bounded(s string) string {
	if len(s) > MaxOutput {
		s = s[:MaxOutput]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// dispatch starts the next attempt.
func (st *step) dispatch(i int) {
	w, it := &st.s.Items[i], &st.s.Plan.Items[i]
	w.Attempt++
	w.Dispatches++
	id := st.s.executionID(it.ID, w.Dispatches)
	w.Executions = append(w.Executions, id)
	w.Executions = slices.Delete(w.Executions, 0, max(0, len(w.Executions)-maxExecutions))
	w.Deadline, w.RetryAt, w.Percent = st.now.Add(it.Timeout), time.Time{}, 0
	if w.StartedAt.IsZero() {
		w.StartedAt = st.now
	}
	st.move(i, ItemDispatched, "", "")
	st.emit(Effect{Kind: EffectDispatch, Item: it.ID, Attempt: w.Attempt, Command: id})
}

// accepted takes the word of the device or the agent that an attempt was done as asked.
func (st *step) accepted(i int) {
	w, it := &st.s.Items[i], &st.s.Plan.Items[i]
	st.unpark(i)
	w.Taken = true
	switch {
	case w.State.Ended():
		if !late(w) {
			return
		}
		switch it.Proof {
		case ProofAcknowledged:
			st.succeed(i)
		case ProofPresent:
			st.probe(it.Kind) // the answer decides
		}
	case w.State == ItemReady || w.State == ItemBackoff || w.State == ItemBlocked:
		// A late answer to an earlier attempt spares the next one.
		if it.Proof == ProofAcknowledged {
			st.succeed(i)
			return
		}
		w.Deadline = st.now.Add(it.Timeout)
		st.verify(i)
	case it.Proof == ProofAcknowledged:
		st.succeed(i)
	case it.Proof == ProofAgent && !st.s.Agent.ArrivedAt.IsZero():
		st.succeed(i)
	default:
		st.verify(i)
	}
}

func (st *step) verify(i int) {
	if st.s.Items[i].State == ItemVerifying {
		return
	}
	st.move(i, ItemVerifying, "", "")
	q := st.query(string(st.s.Plan.Items[i].Kind))
	q.NextAt, q.Every = st.now, probeFirst
}

// late reports whether an ended item may yet succeed.
func late(w *Work) bool {
	return w.State == ItemFailed && w.Dispatches > 0 && (w.Reason == ReasonTimedOut || w.Reason == ReasonVerifyTimeout ||
		w.Reason == ReasonNotNow || w.Reason == ReasonRunFinished)
}

// succeed ends an item well. One that had failed by time only is taken back: late success.
func (st *step) succeed(i int) {
	w := &st.s.Items[i]
	w.Late = w.State == ItemFailed
	w.Percent = 100
	st.move(i, ItemSucceeded, "", "")
}

// attemptFailed ends an attempt; the item goes on if it may be tried again.
func (st *step) attemptFailed(i int, reason Reason, permanent bool, detail string) {
	w, it := &st.s.Items[i], &st.s.Plan.Items[i]
	st.unpark(i)
	if reason == ReasonTimedOut || reason == ReasonVerifyTimeout {
		st.emit(Effect{Kind: EffectCancel, Item: it.ID, Attempt: w.Attempt, Command: w.execution()})
	}
	if permanent || w.Attempt >= it.MaxAttempts {
		st.fail(i, reason, detail)
		return
	}
	w.RetryAt = st.now.Add(backoff(st.s.Limits.Backoff, w.Attempt, w.execution()))
	st.move(i, ItemBackoff, reason, detail)
}

// backoff is the wait after an attempt: doubling, at most slowestRetry, and a fifth more or less, chosen by the
// execution's id so that it is the same each time it is computed.
func backoff(base time.Duration, attempt int, execution string) time.Duration {
	d := base
	for range attempt - 1 {
		d = min(2*d, slowestRetry)
	}
	var sum int
	for _, c := range []byte(execution) {
		sum += int(c)
	}
	return d - d/5 + d*time.Duration(sum%41)/100
}

// fail ends an item badly and follows its policy.
func (st *step) fail(i int, reason Reason, detail string) {
	it := &st.s.Plan.Items[i]
	st.move(i, ItemFailed, reason, detail)
	if !st.s.State.holds() {
		return // nobody waits
	}
	switch it.OnFailure {
	case PolicyCancelAll:
		st.cancelAll(ReasonPolicy)
		st.decide(ReleasePolicy)
	case PolicyReleaseNow:
		st.decide(ReleasePolicy)
	}
}

// cancel ends an item that has not ended.
func (st *step) cancel(i int, reason Reason) {
	w, it := &st.s.Items[i], &st.s.Plan.Items[i]
	if w.State.working() && w.State != ItemGating {
		st.emit(Effect{Kind: EffectCancel, Item: it.ID, Attempt: w.Attempt, Command: w.execution()})
	}
	st.move(i, ItemCancelled, reason, "")
}

func (st *step) cancelAll(reason Reason) {
	for i := range st.s.Items {
		if !st.s.Items[i].State.Ended() {
			st.cancel(i, reason)
		}
	}
}

// park keeps an item whose device is busy. The attempt's clock stands still meanwhile; the limit for NotNow counts from
// the first one.
func (st *step) park(i int) {
	w, it := &st.s.Items[i], &st.s.Plan.Items[i]
	if w.State != ItemDispatched && w.State != ItemAccepted {
		return
	}
	if w.NotNowEnd.IsZero() {
		limit := it.NotNow
		if limit == 0 {
			limit = defaultNotNow
		}
		w.NotNowEnd = st.now.Add(limit)
	}
	w.ParkedAt = st.now
	st.move(i, ItemParked, ReasonNotNow, "")
}

// unpark lets the attempt's clock go on.
func (st *step) unpark(i int) {
	w := &st.s.Items[i]
	if w.ParkedAt.IsZero() {
		return
	}
	w.Deadline = w.Deadline.Add(st.now.Sub(w.ParkedAt))
	w.ParkedAt = time.Time{}
}

// deferItem lets an item go on in the background.
func (st *step) deferItem(i int) {
	w := &st.s.Items[i]
	if w.Deferred || w.State.Ended() {
		return
	}
	w.Deferred = true
	it := &st.s.Plan.Items[i]
	st.notify(activity.SetupItemChanged{
		On: st.on(), RunID: st.s.Subject.RunID, Item: it.ID, Title: it.Title, ItemKind: string(it.Kind),
		From: string(w.State), To: string(ItemDeferred), Reason: string(w.Reason), Attempt: w.Attempt,
	})
}
