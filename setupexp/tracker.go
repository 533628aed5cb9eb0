package setupexp

import (
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/storage"
)

// Store is what a Tracker keeps its runs in.
type Store interface {
	storage.RunStore
	storage.EffectStore
	storage.EnrollmentStore
	storage.ActivityStore
}

// Tracker brings devices through their setup. Any number of trackers may work on one store. Its methods may be called
// from any number of goroutines.
type Tracker struct {
	store     Store
	planner   Planner
	commander Commander
	sealer    storage.Sealer
	executors map[Kind]Executor
	releaser  Releaser
	settings  settings
	kick      chan struct{} // there is work
	watchers  watchers
}

var _ Observer = (*Tracker)(nil)

type settings struct {
	now       func() time.Time
	log       *zap.Logger
	limits    Limits
	random    io.Reader
	agentKeys *AgentKeys
	poll      time.Duration
	unheld    bool
	executors map[Kind]Executor
	releaser  Releaser
}

// Option changes how a Tracker works.
type Option func(*settings) error

// WithClock sets the clock. The default is the time of the machine.
func WithClock(now func() time.Time) Option {
	return func(s *settings) error {
		if now == nil {
			return errors.New("setupexp: WithClock: nil clock")
		}
		s.now = now
		return nil
	}
}

// WithLogger sets where errors are logged that the tracker tries again after. The default is nowhere.
func WithLogger(log *zap.Logger) Option {
	return func(s *settings) error {
		if log == nil {
			return errors.New("setupexp: WithLogger: nil logger")
		}
		s.log = log
		return nil
	}
}

// WithLimits sets the timers of new runs. Zero fields keep their defaults.
func WithLimits(l Limits) Option {
	return func(s *settings) error {
		for _, d := range []time.Duration{
			l.Plan, l.AgentArrival, l.AwaitGrace, l.Backoff, l.Silence, l.SilenceAlert, l.ReleasePush, l.ReleaseResend,
			l.Abandon, l.Settle, l.Finish, l.Reminder, time.Duration(l.ReleaseSends),
			time.Duration(l.AgentRetries),
		} {
			if d < 0 {
				return errors.New("setupexp: WithLimits: negative limit")
			}
		}
		s.limits = l
		return nil
	}
}

// WithExecutor adds an executor for items of a kind, or replaces a built-in one.
func WithExecutor(k Kind, e Executor) Option {
	return func(s *settings) error {
		if k == "" || k[0] == '_' || e == nil {
			return errors.New("setupexp: WithExecutor: bad kind or nil executor")
		}
		s.executors[k] = e
		return nil
	}
}

// WithReleaser sets how devices are released. The default is Apple's, by the commander.
func WithReleaser(r Releaser) Option {
	return func(s *settings) error {
		if r == nil {
			return errors.New("setupexp: WithReleaser: nil releaser")
		}
		s.releaser = r
		return nil
	}
}

// WithAgentKeys sets the keys that agents' tokens are checked with. Without them there are no agents.
func WithAgentKeys(keys *AgentKeys) Option {
	return func(s *settings) error {
		if keys == nil {
			return errors.New("setupexp: WithAgentKeys: nil keys")
		}
		s.agentKeys = keys
		return nil
	}
}

// WithRandom sets where runs get what makes the UUIDs of their commands their own. The default is crypto/rand.
func WithRandom(random io.Reader) Option {
	return func(s *settings) error {
		if random == nil {
			return errors.New("setupexp: WithRandom: nil reader")
		}
		s.random = random
		return nil
	}
}

// WithPoll sets how often the store is asked for due work: the delay of what another process or the clock made due. Own
// work is done at once. The default is a second.
func WithPoll(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return errors.New("setupexp: WithPoll: not positive")
		}
		s.poll = d
		return nil
	}
}

// WithUnheldRuns opens a run also for a device that does not wait in Setup Assistant, such as one enrolled by hand, at
// its first TokenUpdate of a generation. There is nothing to release then, and no item holds the device. The default
// opens none.
func WithUnheldRuns() Option {
	return func(s *settings) error {
		s.unheld = true
		return nil
	}
}

// New returns a tracker. It does nothing by itself before [Tracker.Run].
//
// The sealer encrypts the specs of items before a run is stored: they hold password hashes, agents' tokens, scripts and
// profiles. A run forgets them when it ends. A host that wants them in the clear says so by [InsecureNoSealer].
func New(store Store, planner Planner, commander Commander, sealer storage.Sealer, opts ...Option) (*Tracker, error) {
	if store == nil || planner == nil || commander == nil || sealer == nil {
		return nil, errors.New("setupexp: new tracker: store, planner, commander and sealer are needed")
	}
	s := settings{
		now: time.Now, log: zap.NewNop(), poll: time.Second, random: rand.Reader,
		executors: make(map[Kind]Executor), releaser: appleRelease{commander},
	}
	for _, opt := range opts {
		if err := opt(&s); err != nil {
			return nil, err
		}
	}
	t := &Tracker{
		store: store, planner: planner, commander: commander, sealer: sealer, releaser: s.releaser, settings: s,
		executors: map[Kind]Executor{
			KindProfile: profiles{commander},
			KindPackage: packages{commander},
			KindScript:  scripts{},
			KindAccount: accounts{commander},
		},
		kick:     make(chan struct{}, 1),
		watchers: watchers{m: make(map[string]*watched)},
	}
	maps.Copy(t.executors, s.executors)
	return t, nil
}

// wake has Run look for work now.
func (t *Tracker) wake() {
	select {
	case t.kick <- struct{}{}:
	default: // it will
	}
}

// watchers wakes those who wait for a run to change, in this process.
type watchers struct {
	mu sync.Mutex
	m  map[string]*watched
}

// watched is a run that somebody waits for.
type watched struct {
	changed chan struct{}
	waiting int
}

// watch returns a channel that is closed at the run's next change, and what to call when nobody waits for it any more.
func (w *watchers) watch(runID string) (changed <-chan struct{}, stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	run := w.m[runID]
	if run == nil {
		run = &watched{changed: make(chan struct{})}
		w.m[runID] = run
	}
	run.waiting++
	return run.changed, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if run.waiting--; run.waiting == 0 && w.m[runID] == run {
			delete(w.m, runID)
		}
	}
}

func (w *watchers) changed(runID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if run := w.m[runID]; run != nil {
		close(run.changed)
		delete(w.m, runID)
	}
}
