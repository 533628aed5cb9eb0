package abm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

var sequences = flag.Int("sequences", 50, "random sequences that TestConverges goes through")

// Whatever an administrator, the devices, the network and Apple have done in whatever order, and whenever the process died:
// once the faults are over, Apple shows for every device what is wanted, within a bounded number of rounds. No device was
// assigned what Apple showed it to have already, and the activities tell all that the store came to hold.
func TestConverges(t *testing.T) {
	t.Parallel()
	for seed := range uint64(*sequences) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newTurmoil(t, seed).run() })
		})
	}
}

// turmoil is an organization with two MDM servers of ours and a foreign one, to which random things happen.
type turmoil struct {
	*world
	t       *testing.T
	rnd     *rand.Rand
	servers map[string]*abmtest.MDMServer // of ours, by account
	foreign *abmtest.MDMServer
	rules   atomic.Int64 // which rules are in force
	staged  bool
	ordered int64 // 1 if the rules are ordered, 0 if the last ones win
	watch   *watchful
	engine  *Engine
	others  []*Engine // replicas with older rules, and with clocks that are wrong
	accts   *Accounts
	log     []string // what happened, for a failure
}

func newTurmoil(t *testing.T, seed uint64) *turmoil {
	m := &turmoil{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), servers: make(map[string]*abmtest.MDMServer)}
	m.ordered = int64(seed % 2)
	m.staged = seed%4 >= 2
	devices, page := 15, 5
	if seed%7 == 3 {
		devices = 0
	}
	if seed%5 == 2 {
		page = 1
	}
	m.world = newWorldAt(t, nil, devices, abmtest.WithSeed(seed), abmtest.WithPageLimits(page, page), abmtest.WithClock(time.Now))
	m.watch = &watchful{apple: m.apple}
	m.opts = append(m.opts, WithTransport(m.watch), WithTimeout(20*time.Second), WithMaxFailures(5))
	accts, err := NewAccounts(m.store, m.sealer, m.opts...)
	require.NoError(t, err)
	m.accts = accts
	second, err := m.apple.AddMDMServer("Second")
	require.NoError(t, err)
	m.account(t, accts, beta, second)
	m.servers[acme], m.servers[beta] = m.server, second
	m.foreign, err = m.apple.AddMDMServer("Foreign")
	require.NoError(t, err)
	m.restart()
	return m
}

// restart puts a new engine in the place of the old one, whose memory is lost.
func (m *turmoil) restart() {
	m.engine = m.engineWith(m.store, 0)
	m.others = []*Engine{
		m.engineWith(m.store, -1),
		m.engineWith(m.store, 0, off(5*time.Hour)),
		m.engineWith(m.store, 0, off(-3*time.Hour)),
	}
}

// off is a clock that is wrong.
func off(by time.Duration) Option {
	return WithClock(func() time.Time { return time.Now().Add(by) })
}

// engineWith returns an engine on a store, with rules that are behind those in force.
func (m *turmoil) engineWith(store Store, behind int64, opts ...Option) *Engine {
	profiles := []Decision{{Profile: testProfile("A")}, {Profile: testProfile("B")}, {Profile: testProfile("C")}}
	rules := func() int64 { return max(m.rules.Load()+behind, 0) }
	r, err := ForEach(func() Rules {
		n := rules()
		return Rules{ID: fmt.Sprint("rules ", n%4), Order: n * m.ordered}
	}, func(_ context.Context, d storage.Device) Decision {
		dec := profiles[wantedOf(rules(), d.Serial)]
		dec.Rollout = m.rolloutOf(rules())
		return dec
	})
	require.NoError(m.t, err)
	e, err := New(store, m.sealer, r, append(slices.Clone(m.opts), opts...)...)
	require.NoError(m.t, err)
	return e
}

// rolloutOf is how the rules bring their profile to the devices.
func (m *turmoil) rolloutOf(rules int64) *Rollout {
	if !m.staged {
		return nil
	}
	return []*Rollout{nil, {Percent: 50}, {Percent: 100, PerHour: 2}, {Percent: 30, PerHour: 60}, {}}[rules%5]
}

// wantedOf is which profile the rules give to a serial: three sets of rules give all the same one, a fourth two.
func wantedOf(rules int64, serial string) int {
	if rules%4 == 3 {
		return int(serial[len(serial)-1]) % 2
	}
	return int(rules % 4)
}

func (m *turmoil) run() {
	defer func() {
		if m.t.Failed() {
			m.t.Logf("what happened:\n%s", joinLines(m.log))
		}
	}()
	for range 60 {
		m.happen()
		time.Sleep(time.Duration(m.rnd.IntN(40)) * time.Minute)
	}
	m.say("the faults are over")
	m.apple.ClearFaults()
	m.apple.SetTermsSigned(true)
	m.settle()
	m.verify()
}

func (m *turmoil) say(format string, args ...any) {
	m.log = append(m.log, time.Now().Format("02 15:04 ")+fmt.Sprintf(format, args...))
}

// happen lets one thing happen.
func (m *turmoil) happen() {
	if len(m.apple.Devices(0, 0)) == 0 {
		require.NoError(m.t, m.apple.AddDevices(m.server, m.apple.RandomDevices(1)...))
	}
	switch n := m.rnd.IntN(24); {
	case n < 7:
		m.administer()
	case n < 9:
		s := m.serial()
		_, err := m.apple.ActivationRecord(s)
		m.say("device %s boots: %v", s, err)
	case n < 12:
		m.fault()
	case n < 13:
		m.say("faults cleared")
		m.apple.ClearFaults()
	case n < 14:
		m.say("rules %d", m.rules.Add(1))
	case n < 16:
		m.crash()
	case n < 18:
		m.work(m.others[m.rnd.IntN(len(m.others))])
	case n < 19:
		m.recreate()
	default:
		m.work(m.engine)
	}
}

func (m *turmoil) serial() string {
	all := m.apple.Devices(0, 0)
	return all[m.rnd.IntN(len(all))].SerialNumber
}

// administer does something in Apple's portal. Much of it Apple refuses, as the device is not in a state for it.
func (m *turmoil) administer() {
	s, to := m.serial(), []*abmtest.MDMServer{m.servers[acme], m.servers[beta], m.foreign}[m.rnd.IntN(3)]
	var what string
	var err error
	switch m.rnd.IntN(8) {
	case 0, 1:
		what, err = "assigned to "+to.Name(), m.apple.Assign(to, s)
	case 2:
		what, err = "unassigned", m.apple.Unassign(s)
	case 3:
		what, err = "released", m.apple.Release(s)
	case 4:
		what, err = "migrates to "+to.Name(), m.apple.Migrate(to, time.Now().Add(48*time.Hour), s)
	case 5:
		what, err = "migration cancelled", m.apple.CancelMigration(s)
	case 6:
		what, err = "replaced", m.apple.Replace(s, m.apple.RandomDevices(1)[0])
	case 7:
		d := m.apple.RandomDevices(2)
		if st, stErr := m.apple.Device(s); stErr == nil && st.Released {
			d[1] = st.Device // comes again
		}
		what, err = "bought with another: "+d[0].SerialNumber+" "+d[1].SerialNumber, m.apple.AddDevices(to, d...)
	}
	m.say("%s %s: %v", s, what, err)
}

// fault sets one fault. Some last until they are cleared, most strike a few times.
func (m *turmoil) fault() {
	serial := []string{m.serial()}
	few := 1 + m.rnd.IntN(4)
	f := []abmtest.Fault{
		{Kind: abmtest.FaultUnauthorized, Count: few},
		{Kind: abmtest.FaultForbidden, Count: few, Body: `"FORBIDDEN"`},
		{Kind: abmtest.FaultTermsNotSigned, Count: few},
		{Kind: abmtest.FaultTokenExpired, Count: few},
		{Kind: abmtest.FaultTokenRevoked, Count: few},
		{Kind: abmtest.FaultClockSkew, Count: few, Duration: time.Hour},
		{Kind: abmtest.FaultTooManyRequests, Count: few},
		{Kind: abmtest.FaultTooManyRequests, Count: few, RetryAfter: time.Minute, RetryAfterDate: true},
		{Kind: abmtest.FaultUnavailable, Count: few, RetryAfter: 90 * time.Second},
		{Kind: abmtest.FaultServerError, Count: few, Applied: m.rnd.IntN(2) == 0},
		{Kind: abmtest.FaultRejectedSerial, Serials: serial},
		{Kind: abmtest.FaultHang, Count: few, Applied: m.rnd.IntN(2) == 0},
		{Kind: abmtest.FaultReset, Count: few, Applied: m.rnd.IntN(2) == 0},
		{Kind: abmtest.FaultTruncated, Count: few},
		{Kind: abmtest.FaultHTML, Count: few},
		{Kind: abmtest.FaultLatency, Count: few, Duration: 10 * time.Second, Jitter: 15 * time.Second},
		{Kind: abmtest.FaultRepeatedCursor, Probability: 0.3},
		{Kind: abmtest.FaultExpiredCursor},
		{Kind: abmtest.FaultExhaustedCursor, Count: few},
		{Kind: abmtest.FaultInvalidCursor, Count: few},
		{Kind: abmtest.FaultMissingFromSync, Serials: serial},
		{Kind: abmtest.FaultMissingFromFetch, Serials: serial},
		{Kind: abmtest.FaultDuplicateEvents, Probability: 0.5},
		{Kind: abmtest.FaultReplayedEvents, Probability: 0.5},
		{Kind: abmtest.FaultReversedEvents},
		{Kind: abmtest.FaultLateEvents, Probability: 0.5},
		{Kind: abmtest.FaultModifiedNotAdded},
		{Kind: abmtest.FaultMalformedDate, Probability: 0.5},
		{Kind: abmtest.FaultUnknownField, Probability: 0.5},
		{Kind: abmtest.FaultUnknownFamily, Probability: 0.5},
		{Kind: abmtest.FaultNoResponseStatus},
		{Kind: abmtest.FaultNonObjectDevice, Count: few},
		{Kind: abmtest.FaultSilentRelease, Probability: 0.5},
		{Kind: abmtest.FaultOldProfile},
		{Kind: abmtest.FaultRemovedStatus},
		{Kind: abmtest.FaultProfileRemoved, Count: few},
		{Kind: abmtest.FaultProfileLost, Count: few},
		{Kind: abmtest.FaultResultFailed, Probability: 0.5, Applied: m.rnd.IntN(2) == 0},
		{Kind: abmtest.FaultResultNotAccessible, Probability: 0.5, Applied: m.rnd.IntN(2) == 0},
		{Kind: abmtest.FaultResultThrottled, Count: few, Duration: time.Duration(1+m.rnd.IntN(24)) * time.Hour},
		{Kind: abmtest.FaultResultMissing, Count: few, Applied: m.rnd.IntN(2) == 0},
		{Kind: abmtest.FaultResultUnasked, Count: few},
		{Kind: abmtest.FaultThrottleReassigned},
	}
	one := f[m.rnd.IntN(len(f))]
	_, err := m.apple.SetFault(one)
	require.NoError(m.t, err, "%+v", one)
	m.say("fault %s count=%d applied=%t %v", one.Kind, one.Count, one.Applied, one.Serials)
}

// crash lets an engine work on a store that dies, and puts another in its place.
func (m *turmoil) crash() {
	dying := &crashStore{Store: m.store, at: 1 + m.rnd.IntN(40), after: m.rnd.IntN(2) == 0}
	m.say("an engine that dies at call %d, after=%t", dying.at, dying.after)
	var opts []Option
	if m.rnd.IntN(3) == 0 {
		opts = append(opts, off(2*time.Hour)) // its lease lasts longer than it should
	}
	e := m.engineWith(dying, 0, opts...)
	for range 4 {
		m.work(e)
	}
	m.restart()
	time.Sleep(4 * time.Minute) // its leases and open calls run out
}

// recreate deletes an account and creates it again, at once or while the engine waits for Apple's answer.
func (m *turmoil) recreate() {
	name := []string{acme, beta}[m.rnd.IntN(2)]
	again := func() {
		m.say("%s deleted and created again", name)
		m.watch.mu.Lock()
		m.watch.hook = nil // not in the middle of this one
		m.watch.mu.Unlock()
		m.apple.ClearFaults()
		m.apple.SetTermsSigned(true)
		require.NoError(m.t, m.accts.Delete(m.t.Context(), name))
		m.account(m.t, m.accts, name, m.servers[name])
	}
	if m.rnd.IntN(2) == 0 {
		again()
		return
	}
	m.watch.mu.Lock()
	m.watch.hook, m.watch.after = again, m.rnd.IntN(4)
	m.watch.mu.Unlock()
	for range 4 {
		m.work(m.engine)
	}
}

// work lets an engine do one of its steps for one account.
func (m *turmoil) work(e *Engine) {
	ctx, account := m.t.Context(), []string{acme, beta}[m.rnd.IntN(2)]
	var what string
	var err error
	switch m.rnd.IntN(8) {
	case 0:
		what = "sweep"
		_, err = e.SweepOnce(ctx, account)
	case 1:
		what = "plan"
		_, err = e.PlanOnce(ctx, account)
	case 2, 3, 4:
		what = "sync"
		_, err = e.SyncOnce(ctx, account)
	default:
		what = "assign"
		_, err = e.AssignOnce(ctx, account)
	}
	m.say("%s %s: %v", what, account, err)
}

// settle runs the engine as it runs in production, hour by hour, until all is as wanted.
func (m *turmoil) settle() {
	ctx := m.t.Context()
	m.restart()
	time.Sleep(time.Hour)
	for _, account := range []string{acme, beta} {
		_, err := m.engine.Retry(ctx, account, m.parked(account)...)
		require.NoError(m.t, err)
	}
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.engine.Run(running) }()
	const rounds = 20 * 24 // a throttle may have been put off for a week twice
	for round := range rounds {
		time.Sleep(time.Hour)
		synctest.Wait()
		if why := m.astray(); why == "" {
			m.say("as wanted after %d hours", round+1)
			break
		} else if round == rounds-1 {
			m.t.Errorf("not as wanted after %d hours: %s", rounds, why)
		}
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		require.NoError(m.t, err)
	}
	synctest.Wait()
}

func (m *turmoil) parked(account string) []string {
	var out []string
	for _, a := range m.rowsOf(account) {
		if a.State == storage.AssignmentParked {
			out = append(out, a.Serial)
		}
	}
	slices.Sort(out)
	return out
}
