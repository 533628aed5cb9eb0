package setupexp

import (
	"errors"
	"maps"
	"slices"
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
	sealer    storage.Sealer
	tokenKey  []byte
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

// WithSealer has the specs of items, which may hold secrets, sealed before a run is stored. The default stores them in
// the clear.
func WithSealer(sealer storage.Sealer) Option {
	return func(s *settings) error {
		if sealer == nil {
			return errors.New("setupexp: WithSealer: nil sealer")
		}
		s.sealer = sealer
		return nil
	}
}

// WithAgentKey sets the key agent tokens are made with, at least 32 bytes. Without it there are no agents.
func WithAgentKey(key []byte) Option {
	return func(s *settings) error {
		if len(key) < 32 {
			return errors.New("setupexp: WithAgentKey: key is shorter than 32 bytes")
		}
		s.tokenKey = slices.Clone(key)
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
func New(store Store, planner Planner, commander Commander, opts ...Option) (*Tracker, error) {
	if store == nil || planner == nil || commander == nil {
		return nil, errors.New("setupexp: new tracker: store, planner and commander are needed")
	}
	s := settings{
		now: time.Now, log: zap.NewNop(), poll: time.Second,
		executors: make(map[Kind]Executor), releaser: appleRelease{commander},
	}
	for _, opt := range opts {
		if err := opt(&s); err != nil {
			return nil, err
		}
	}
	t := &Tracker{
		store: store, planner: planner, commander: commander, releaser: s.releaser, settings: s,
		executors: map[Kind]Executor{
			KindProfile: profiles{commander},
			KindPackage: packages{commander},
			KindScript:  scripts{},
			KindAccount: accounts{commander},
		},
		kick:     make(chan struct{}, 1),
		watchers: watchers{m: make(map[string]chan struct{})},
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
	m  map[string]chan struct{}
}

// watch returns a channel that is closed at the run's next change.
func (w *watchers) watch(runID string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.m[runID]
	if c == nil {
		c = make(chan struct{})
		w.m[runID] = c
	}
	return c
}

func (w *watchers) changed(runID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.m[runID]; c != nil {
		close(c)
		delete(w.m, runID)
	}
}
