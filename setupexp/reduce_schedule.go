package setupexp

import (
	"cmp"
	"slices"
	"time"
)

func noTime() time.Time { return time.Time{} }

// unblock makes the items ready whose dependencies have ended. It reports whether anything changed.
func (st *step) unblock() bool {
	changed := false
	for i := range st.s.Items {
		w := &st.s.Items[i]
		if w.State != ItemBlocked && w.State != ItemReady {
			continue
		}
		wait, failed, deferred := st.dependencies(i)
		if w.State == ItemReady {
			if wait { // a retry began what it comes after again
				w.State = ItemBlocked
				changed = true
			} else if !st.agentReady(i) && st.agentDeferred() {
				changed = st.goOnBehind(i) || changed
			}
			continue
		}
		switch {
		case failed:
			st.move(i, ItemSkipped, ReasonDependencyFailed, "")
		case wait:
			if deferred {
				changed = st.goOnBehind(i) || changed
			}
			continue
		default:
			st.move(i, ItemReady, "", "")
		}
		changed = true
	}
	return changed
}

// goOnBehind takes an item that waits for something that goes on in the background there too; what works only while the
// device waits cannot. It reports whether anything changed.
func (st *step) goOnBehind(i int) bool {
	switch {
	case st.s.Plan.Items[i].AwaitOnly:
		st.fail(i, ReasonDependencyFailed, "")
	case st.s.Items[i].Deferred:
		return false
	default:
		st.deferItem(i)
	}
	return true
}

// agentDeferred reports whether the item that installs the agent goes on in the background.
func (st *step) agentDeferred() bool {
	for i := range st.s.Items {
		if w := &st.s.Items[i]; st.s.Plan.Items[i].Agent {
			return w.Deferred && !w.State.Ended()
		}
	}
	return false
}

// dependencies reports whether an item has to wait, has one whose failure it depends on, and waits for one that is
// deferred.
func (st *step) dependencies(i int) (wait, failed, deferred bool) {
	for _, d := range st.s.Plan.Items[i].After {
		w := &st.s.Items[st.s.index(d.ID)]
		switch {
		case !w.State.Ended():
			wait = true
			deferred = deferred || w.Deferred
		case w.State == ItemSucceeded, w.Waived, d.Anyway:
		case w.State == ItemSkipped && w.Reason != ReasonDependencyFailed:
		default:
			failed = true
		}
	}
	return wait, failed, deferred
}

// capacity is how many items of a lane may be at work; 0 is no limit.
func (p *Plan) capacity(lane string) int {
	if n, ok := p.Lanes[lane]; ok {
		return n
	}
	if lane == LaneMDM {
		return 0
	}
	return 1
}

// schedule starts ready items, in order, as far as their lanes have room. It reports whether anything changed.
func (st *step) schedule() bool {
	s := st.s
	if s.Plan == nil || !s.State.Live() {
		return false
	}
	busy := make(map[string]int)
	var ready []int
	for i := range s.Items {
		w, it := &s.Items[i], &s.Plan.Items[i]
		if w.occupies() {
			busy[it.Lane]++
		}
		if w.State == ItemReady && st.agentReady(i) {
			ready = append(ready, i)
		}
	}
	slices.SortStableFunc(ready, st.order)
	changed := false
	for _, i := range ready {
		it := &s.Plan.Items[i]
		if n := s.Plan.capacity(it.Lane); n > 0 && busy[it.Lane] >= n || s.Items[i].State != ItemReady {
			continue
		}
		busy[it.Lane]++
		st.start(i)
		changed = true
	}
	return changed
}

// order sorts items nobody waits for behind the others, then by phase, order and place in the plan.
func (st *step) order(a, b int) int {
	x, y := &st.s.Plan.Items[a], &st.s.Plan.Items[b]
	return cmp.Or(
		cmp.Compare(st.late(a), st.late(b)), cmp.Compare(x.Phase, y.Phase), cmp.Compare(x.Order, y.Order), cmp.Compare(a, b),
	)
}

func (st *step) late(i int) int {
	if st.s.Plan.Items[i].Class == Background || st.s.Items[i].Deferred {
		return 1
	}
	return 0
}

// agentReady reports whether an item needs no agent or the agent is there.
func (st *step) agentReady(i int) bool {
	return st.s.Plan.Items[i].Capability == "" || !st.s.Agent.ArrivedAt.IsZero()
}

// start looks whether the item is there already, if it should, or dispatches it.
func (st *step) start(i int) {
	w, it := &st.s.Items[i], &st.s.Plan.Items[i]
	switch {
	case it.Capability != "" && !slices.Contains(st.s.Agent.Capabilities, it.Capability):
		st.fail(i, ReasonUnsupported, "the agent lacks "+it.Capability)
	case it.SkipIfPresent && !w.Gated:
		w.Deadline = st.now.Add(gateTimeout)
		st.move(i, ItemGating, "", "")
		q := st.query(string(it.Kind))
		q.NextAt, q.Every = st.now, probeFirst
	default:
		st.dispatch(i)
	}
}

// agentItemEnded bounds the wait for the agent by how the item ended that installs it: an agent that is installed has to
// say hello, and one that was not will not come.
func (st *step) agentItemEnded(w *Work) {
	if w.State == ItemSucceeded || w.State == ItemSkipped && w.Reason != ReasonDependencyFailed {
		st.waitForAgent(st.s.Limits.AgentArrival)
	} else {
		st.waitForAgent(0)
	}
}

// waitForAgent bounds the wait for an agent that has not come, if any item waits for it.
func (st *step) waitForAgent(d time.Duration) {
	if !st.s.Agent.ArrivedAt.IsZero() {
		return
	}
	for i := range st.s.Items {
		if st.s.Plan.Items[i].Capability != "" && !st.s.Items[i].State.Ended() {
			st.s.Agent.Deadline = st.now.Add(d)
			return
		}
	}
}

// query returns what is known of a query, for changing it.
func (st *step) query(key string) *Query {
	if st.s.Queries == nil {
		st.s.Queries = make(map[string]*Query)
	}
	q := st.s.Queries[key]
	if q == nil {
		q = &Query{Answered: true}
		st.s.Queries[key] = q
	}
	return q
}

func (st *step) answered(key string) { st.query(key).Answered = true }

// queries looks at the device where items wait for a look and it is time.
func (st *step) queries() {
	if st.s.Plan == nil || !st.s.State.Live() {
		return
	}
	var asked []Kind
	for i := range st.s.Items {
		kind := st.s.Plan.Items[i].Kind
		if !st.wantsLook(i) || slices.Contains(asked, kind) {
			continue
		}
		asked = append(asked, kind)
		if at := st.s.lookAt(kind); !st.now.Before(at) {
			st.probe(kind)
		}
	}
}

// wantsLook reports whether a look at the device would tell something about the item.
func (st *step) wantsLook(i int) bool { return st.s.wantsLook(i) }

func (s *State) wantsLook(i int) bool {
	w, it := &s.Items[i], &s.Plan.Items[i]
	return w.State == ItemGating || w.State == ItemVerifying && it.Proof == ProofPresent
}

// lookAt is when to look at the items of a kind next: NextAt, or later while the last look has no answer.
func (s *State) lookAt(kind Kind) time.Time {
	q := s.Queries[string(kind)]
	if q == nil {
		return s.Now
	}
	if at := q.AskedAt.Add(probePatience); q.Number > 0 && !q.Answered && at.After(q.NextAt) {
		return at
	}
	return q.NextAt
}

// probe looks at the items of a kind.
func (st *step) probe(kind Kind) {
	q := st.query(string(kind))
	q.Number++
	q.AskedAt, q.Answered = st.now, false
	q.Every = max(q.Every, probeFirst)
	q.NextAt = st.now.Add(q.Every)
	st.emit(Effect{Kind: EffectProbe, ItemKind: kind, Command: st.s.queryID(string(kind), q.Number)})
}
