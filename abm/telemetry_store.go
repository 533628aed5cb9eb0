package abm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/storage"
)

// measureTimeout limits one pass over the store: some readers, such as Prometheus', collect without a time limit, and a
// store that hangs would keep all metrics of the host from it.
const measureTimeout = 30 * time.Second

// gauges are read from the store when metrics are collected.
type gauges struct {
	syncLag, sweepLag, wait, throttle, token             metric.Float64ObservableGauge
	devices, states, blocked, throttled, health, circuit metric.Int64ObservableGauge
}

func (g *gauges) make(m metric.Meter) error {
	var errs []error
	float := func(name, unit, what string) metric.Float64ObservableGauge {
		i, err := m.Float64ObservableGauge("enrollkit.abm."+name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
		return i
	}
	whole := func(name, unit, what string) metric.Int64ObservableGauge {
		i, err := m.Int64ObservableGauge("enrollkit.abm."+name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
		return i
	}
	*g = gauges{
		syncLag:   float("sync.lag", "s", "Time since Apple last had no more changes to tell."),
		sweepLag:  float("sweep.lag", "s", "Time since the full list was last read to its end."),
		devices:   whole("device.count", "{device}", "Devices that are in the account, and that have left it."),
		states:    whole("assignment.count", "{assignment}", "Assignments by state."),
		blocked:   whole("assignment.blocked", "{assignment}", "Assignments that Apple cannot be asked for."),
		throttled: whole("assignment.throttled", "{assignment}", "Assignments that wait because Apple throttles the device."),
		wait:      float("assignment.wait", "s", "How long the assignment that is due longest has been due."),
		throttle:  float("throttle.remaining", "s", "Time until the last throttled assignment is due again."),
		health:    whole("account.health", "1", "1 for the health the account has, 0 for all others."),
		circuit:   whole("circuit.state", "1", "1 for the state of this process' circuit breaker, 0 for all others."),
		token:     float("token.remaining", "d", "Time until the server token ends; negative since it has."),
	}
	return errors.Join(errs...)
}

// all returns all gauges.
func (g *gauges) all() []metric.Observable {
	return []metric.Observable{
		g.syncLag, g.sweepLag, g.devices, g.states, g.blocked, g.throttled, g.wait, g.throttle, g.health, g.circuit, g.token,
	}
}

// States that are reported, also while nothing is in them: a series that ends and comes back is hard to alert on.
var (
	reportedStates = []storage.AssignmentState{
		storage.AssignmentPending, storage.AssignmentAssigning, storage.AssignmentAssigned, storage.AssignmentSatisfied,
		storage.AssignmentParked, storage.AssignmentGone,
	}
	reportedHealth = []storage.Health{
		storage.HealthNew, storage.HealthOK, storage.HealthExpiring, storage.HealthExpired, storage.HealthRejected,
		storage.HealthTermsNotSigned, storage.HealthUnreachable,
	}
	reportedCircuits = []string{circuitClosed, circuitPartial, circuitOpen, circuitPaused}
)

// States of a breaker. A circuit is open until a call has shown that it works again.
const (
	circuitClosed  = "closed"
	circuitPartial = "partial" // open for some operations
	circuitOpen    = "open"
	circuitPaused  = "paused" // Apple has asked to wait
)

// circuit returns the state of the breaker of an account's client; a client that was not made yet holds nothing back.
func (a *Accounts) circuit(account string) string {
	a.mu.Lock()
	c := a.clients[account].client
	a.mu.Unlock()
	if c == nil {
		return circuitClosed
	}
	return c.breaker.state()
}

func (b *breaker) state() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now().Before(b.pausedUntil) {
		return circuitPaused
	}
	if b.account.cause != nil {
		return circuitOpen
	}
	for _, c := range b.ops {
		if c.cause != nil {
			return circuitPartial
		}
	}
	return circuitClosed
}

// measures reads the gauges. It is called by whoever collects metrics, from several goroutines.
type measures struct {
	e   *Engine
	run context.Context // of the engine

	mu      sync.Mutex
	failing map[string]bool // accounts that could not be read the last time; "" is their list
}

// measure has the gauges read from the store until ctx ends or stop is called, which waits for a reading that is under way.
func (e *Engine) measure(ctx context.Context) (stop func()) {
	m := &measures{e: e, run: ctx}
	reg, err := e.s.tel.meter.RegisterCallback(m.read, e.s.tel.gauges.all()...)
	if err != nil {
		e.s.log.Error("cannot report metrics of the store", zap.Error(err))
		return func() {}
	}
	return func() { _ = reg.Unregister() } // it is registered once
}

// read reads all accounts. It never returns an error: a periodic reader would drop the metrics of the whole host for it.
func (m *measures) read(ctx context.Context, o metric.Observer) error {
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	defer context.AfterFunc(m.run, cancel)()
	failed := make(map[string]error)
	for after, more := "", true; more && ctx.Err() == nil; more = after != "" {
		accts, next, err := m.e.store.ListAccounts(ctx, storage.Page{After: after, Limit: storage.MaxPageSize})
		if err != nil {
			failed[""] = err
			break
		}
		for i := range accts {
			if err := m.readAccount(ctx, o, &accts[i]); err != nil {
				failed[accts[i].Name] = err
			}
		}
		after = next
	}
	m.tell(failed)
	return nil
}

// readAccount reports one account, if all of it can be read.
func (m *measures) readAccount(ctx context.Context, o metric.Observer, acct *storage.Account) error {
	cur, err := m.e.store.GetCursor(ctx, acct.Name)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("cursor: %w", err)
	}
	present, left, err := m.e.store.CountDevices(ctx, acct.Name)
	if err != nil {
		return fmt.Errorf("count devices: %w", err)
	}
	stats, err := m.e.store.AssignmentStats(ctx, acct.Name)
	if err != nil {
		return fmt.Errorf("count assignments: %w", err)
	}
	g, now := &m.e.s.tel.gauges, m.e.s.now()
	on := func(more ...attribute.KeyValue) metric.ObserveOption {
		return with([]attribute.KeyValue{keyAccount.String(acct.Name)}, more...)
	}
	if len(acct.SealedToken) > 0 {
		o.ObserveFloat64(g.syncLag, since(cur.LastSyncAt, acct.CreatedAt, now), on())
		o.ObserveFloat64(g.sweepLag, since(cur.LastSweepAt, acct.CreatedAt, now), on())
		o.ObserveFloat64(g.token, acct.TokenExpiresAt.Sub(now).Hours()/24, on())
	}
	o.ObserveInt64(g.devices, int64(present), on(keyDevice.String("present")))
	o.ObserveInt64(g.devices, int64(left), on(keyDevice.String("left")))
	for _, s := range reportedStates {
		o.ObserveInt64(g.states, int64(stats.States[s]), on(keyState.String(string(s))))
	}
	o.ObserveInt64(g.blocked, int64(stats.Blocked), on())
	o.ObserveInt64(g.throttled, int64(stats.Throttled), on())
	o.ObserveFloat64(g.wait, since(stats.FirstDueAt, now, now), on())
	o.ObserveFloat64(g.throttle, max(stats.ThrottledUntil.Sub(now).Seconds(), 0), on())
	for _, h := range reportedHealth {
		o.ObserveInt64(g.health, one(acct.Health == h), on(keyHealth.String(string(h))))
	}
	state := m.e.accounts.circuit(acct.Name)
	for _, s := range reportedCircuits {
		o.ObserveInt64(g.circuit, one(state == s), on(keyCircuit.String(s)))
	}
	return nil
}

func one(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// since returns the seconds from t to now, or from begin if t is not set; 0 if that is to come.
func since(t, begin, now time.Time) float64 {
	if t.IsZero() {
		t = begin
	}
	return max(now.Sub(t).Seconds(), 0)
}

// tell logs what could not be read, once until it was read again.
func (m *measures) tell(failed map[string]error) {
	if m.run.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := make(map[string]bool, len(failed))
	for name, err := range failed {
		now[name] = true
		switch {
		case m.failing[name]:
		case name == "":
			m.e.s.log.Warn("cannot list accounts for metrics; they are left out", zap.Error(err))
		default:
			m.e.log(name).Warn("cannot read account for metrics; it is left out", zap.Error(err))
		}
	}
	m.failing = now
}
