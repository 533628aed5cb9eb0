package abm

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// readOnly fails, and remembers, when something is written to the store.
type readOnly struct {
	Store
	t testing.TB
}

func (r readOnly) wrote(what string) error {
	r.t.Errorf("%s was called", what)
	return errors.New("the store is read only")
}

func (r readOnly) CommitInventory(context.Context, storage.InventoryChange) error {
	return r.wrote("CommitInventory")
}
func (r readOnly) PutProfile(context.Context, storage.Fence, storage.Profile, ...storage.Activity) error {
	return r.wrote("PutProfile")
}
func (r readOnly) CreateAccount(context.Context, storage.Account, ...storage.Activity) error {
	return r.wrote("CreateAccount")
}
func (r readOnly) UpdateAccount(context.Context, storage.Account, ...storage.Activity) error {
	return r.wrote("UpdateAccount")
}
func (r readOnly) DeleteAccount(context.Context, string, ...storage.Activity) error {
	return r.wrote("DeleteAccount")
}
func (r readOnly) CreateKeyPair(context.Context, storage.KeyPair, ...storage.Activity) error {
	return r.wrote("CreateKeyPair")
}
func (r readOnly) DeleteKeyPair(context.Context, string, string, ...storage.Activity) error {
	return r.wrote("DeleteKeyPair")
}
func (r readOnly) AcquireLease(context.Context, string, string, time.Time, time.Duration) (storage.Lease, error) {
	return storage.Lease{}, r.wrote("AcquireLease")
}

// listed is a store that is read only and shows its activities.
type listed struct {
	readOnly
	storage.ActivityStore
}

// reader returns an engine that cannot write, with the resolver.
func (w *world) reader(t *testing.T, r Resolver) *Engine {
	t.Helper()
	e, err := New(listed{readOnly{w.store, t}, w.store}, w.sealer, r, w.opts...)
	require.NoError(t, err)
	return e
}

func (w *world) explain(t *testing.T, r Resolver, serial string) Explanation {
	t.Helper()
	before := w.apple.Stats()
	x, err := w.reader(t, r).Explain(t.Context(), serial)
	require.NoError(t, err)
	assert.Equal(t, before, w.apple.Stats(), "Apple was asked")
	return x
}

// A device on its way, as a person sees it who asks again and again.
func TestExplainOnTheWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	e, r := w.engine(t), forAll(t, "Standard")
	serial := w.apple.Devices(0, 1)[0].SerialNumber

	x := w.explain(t, r, serial)
	assert.Equal(t, VerdictUnknown, x.Verdict)
	require.Len(t, x.Do, 2)
	assert.Contains(t, x.Do[1], "acme (never synced)")

	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	x = w.explain(t, r, serial)
	assert.Equal(t, VerdictWaiting, x.Verdict)
	assert.Equal(t, acme, x.Account)
	a := x.Accounts[0]
	assert.Equal(t, "Standard", a.Wanted.Name)
	assert.Empty(t, a.Wanted.UUID)
	assert.Contains(t, a.Next, "The profile is defined at Apple and then assigned: as soon as")
	assert.Equal(t, "all devices", a.Rule.Reason)
	assert.Equal(t, a.Wanted.Fingerprint, a.Rule.Profile.Fingerprint)
	assert.Empty(t, a.Rule.Note)

	assignAll(t, e)
	x = w.explain(t, r, serial)
	assert.Equal(t, VerdictVerifying, x.Verdict)
	assert.Equal(t, "SUCCESS", x.Accounts[0].Assignment.LastAttempt.Result)
	assert.Equal(t, w.row(t, serial).NextAttemptAt, x.Accounts[0].NextAt)
	assert.NotEmpty(t, x.Accounts[0].Wanted.UUID)

	w.clock.Add(time.Hour)
	assignAll(t, e)
	x = w.explain(t, r, serial)
	assert.Equal(t, VerdictSatisfied, x.Verdict)
	assert.Empty(t, x.Accounts[0].Do)
	assert.Zero(t, x.Accounts[0].NextAt)
	assert.Equal(t, "profile_verified", x.Activities[0].Kind, "the newest first")
	assert.Equal(t, "Standard", x.Accounts[0].Device.Profile.Name)

	doc, err := json.Marshal(x)
	require.NoError(t, err)
	assert.Contains(t, string(doc), `"verdict":"satisfied"`)
	assert.NotContains(t, string(doc), "0001-01-01")
	text := x.String()
	assert.Contains(t, text, serial+": It has the wanted profile \"Standard\".\n  account: acme. No other account has had it.\n")
	assert.NotContains(t, text, "mdm.example.com", "the content of a profile may hold a secret")

	require.NoError(t, w.apple.Release(serial))
	w.clock.Add(time.Minute)
	_, err = e.SweepOnce(t.Context(), acme)
	require.NoError(t, err)
	x = w.explain(t, r, serial)
	assert.Equal(t, VerdictLeft, x.Verdict)
	assert.Empty(t, x.Account)
	assert.Equal(t, x.Accounts[0].Do, x.Do)
	assert.Nil(t, x.Accounts[0].Rule)
}

func TestExplainChangedRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	e := w.engine(t)
	serial := w.apple.Devices(0, 1)[0].SerialNumber
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	a := w.explain(t, forAll(t, "Other"), serial).Accounts[0]
	assert.Equal(t, "Standard", a.Wanted.Name)
	assert.Equal(t, "Other", a.Rule.Profile.Name)
	assert.Equal(t, `The rules want profile "Other" for it now (all devices), as they have changed since the account was planned.`, a.Rule.Note)
	assert.Equal(t, "The account is planned anew as soon as an engine comes to it.", a.Next)

	for how, want := range map[int32]string{batchPanic: "resolver panicked: bug of the host", batchShort: "0 decisions", oneInvalid: "CONFIG_URL_REQUIRED"} {
		bad := &badResolver{StaticResolver: forAll(t, "Standard")}
		bad.bad.Store(how)
		d := w.device(t, serial)
		d.Family = "Mac"
		require.NoError(t, w.store.CommitInventory(t.Context(), storage.InventoryChange{Account: acme, Devices: []storage.Device{d}}))
		a = w.explain(t, bad, serial).Accounts[0]
		assert.Contains(t, a.Rule.Error, want)
		assert.Equal(t, VerdictWaiting, a.Verdict, "what is stored counts")
	}
}

func TestExplainFindsTheAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	serial := w.apple.Devices(0, 1)[0].SerialNumber
	other, err := w.apple.AddMDMServer("Other")
	require.NoError(t, err)
	e := w.engine(t)
	w.account(t, e.Accounts(), "other", other)
	sync := func(account string) {
		_, err := e.SyncOnce(t.Context(), account)
		require.NoError(t, err)
	}
	sync(acme)
	sync("other")
	w.clock.Add(time.Hour)
	require.NoError(t, w.apple.Assign(other, serial))
	sync("other") // acme has not heard yet
	x := w.explain(t, forAll(t, "Standard"), serial)
	require.Len(t, x.Accounts, 2)
	assert.Equal(t, "other", x.Account)
	assert.Equal(t, "other", x.Accounts[0].Account)
	assert.Equal(t, VerdictMoved, x.Accounts[1].Verdict)
	assert.Contains(t, x.AccountReason, "it was assigned to other last")
	w.clock.Add(time.Minute)
	sync(acme)
	x = w.explain(t, forAll(t, "Standard"), serial)
	assert.Equal(t, VerdictLeft, x.Accounts[1].Verdict)
	assert.Empty(t, x.Accounts[1].Do, "another account has it")
	assert.Equal(t, "It has left all other accounts that have had it.", x.AccountReason)
}

// While calls are held back the engine's own process says until when, and all others what Apple asked for.
func TestExplainWhileCallsAreHeldBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	e := w.engine(t)
	_, err := e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	serial := w.apple.Devices(0, 1)[0].SerialNumber
	_, err = w.apple.SetFault(abmtest.Fault{Kind: abmtest.FaultTooManyRequests, RetryAfter: time.Hour})
	require.NoError(t, err)
	_, err = e.SyncOnce(t.Context(), acme)
	require.ErrorIs(t, err, ErrRateLimited)
	until := w.clock.Now().Add(time.Hour)
	w.clock.Add(10 * time.Minute)

	x, err := e.Explain(t.Context(), serial)
	require.NoError(t, err)
	a := x.Accounts[0]
	assert.Equal(t, storage.HealthUnreachable, a.Health.Health)
	assert.Equal(t, until, a.Health.RetryAt.UTC())
	assert.Contains(t, a.Next, "calls are held back until "+at(until, w.clock.Now())+", and are tried again after that.")
	assert.Contains(t, a.Do[len(a.Do)-1], "to apple.test, and")
	assert.Contains(t, x.String(), "; calls held back until "+at(until, w.clock.Now())+"; last worked ")

	x = w.explain(t, forAll(t, "Standard"), serial) // as another process
	assert.Zero(t, x.Accounts[0].Health.RetryAt)
	assert.Contains(t, x.Accounts[0].Next, "Apple asked to wait until "+until.Format(time.RFC3339))
	assert.Contains(t, x.String(), "; last worked ")

	_, err = e.Accounts().Create(t.Context(), "new", "")
	require.NoError(t, err)
	x, err = e.Explain(t.Context(), "NEVERSEEN")
	require.NoError(t, err)
	assert.Contains(t, x.Do[1], "Account acme may have it and not show it, as it is not synced now: Apple has given no usable answer since ")
	assert.Contains(t, x.Do[1], "calls are held back until ")
	assert.Contains(t, x.Do[2], "Account new may have it and not show it, as it is not synced now: the account has no server token yet. Download ")

	w.clock.Add(time.Hour)
	x, err = e.Explain(t.Context(), serial)
	require.NoError(t, err)
	assert.Zero(t, x.Accounts[0].Health.RetryAt, "the wait is over")
	w.apple.ClearFaults()
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	x, err = e.Explain(t.Context(), serial)
	require.NoError(t, err)
	assert.NotContains(t, x.String(), "outage")
}

// Nobody listens: the circuit of the account opens, and is tried again.
func TestExplainWhileNobodyListens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	e := w.engine(t, WithCircuitBreaker(1, time.Hour), WithTransport(deserted{}))
	_, err := e.SyncOnce(t.Context(), acme)
	require.Error(t, err)
	x, err := e.Explain(t.Context(), "NEVERSEEN")
	require.NoError(t, err)
	assert.Contains(t, x.Do[1], "connection refused")
	assert.Contains(t, x.Do[1], "calls are held back until "+at(w.clock.Now().Add(time.Hour), w.clock.Now()))
}

// deserted is a network on which nobody listens.
type deserted struct{}

func (deserted) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
}

func TestExplainUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	serial := w.apple.Devices(0, 1)[0].SerialNumber
	_, err := w.engine(t).SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	x := w.explain(t, forAll(t, "Standard"), " "+serial)
	assert.Equal(t, VerdictUnknown, x.Verdict)
	assert.Contains(t, x.Do[0], serial)
	x = w.explain(t, forAll(t, "Standard"), "")
	assert.Equal(t, VerdictUnknown, x.Verdict)
	assert.Empty(t, x.Activities)
	x = w.explain(t, forAll(t, "Standard"), "bad\x00serial")
	assert.Equal(t, VerdictUnknown, x.Verdict)

	// Wanted, but not in the inventory.
	require.NoError(t, w.store.CommitInventory(t.Context(), storage.InventoryChange{Account: acme, Assignments: []storage.Assignment{
		{Account: acme, Serial: "FUTURE", Profile: "abc", State: storage.AssignmentPending, NextAttemptAt: w.clock.Now()},
	}}))
	x = w.explain(t, forAll(t, "Standard"), "FUTURE")
	assert.Equal(t, VerdictUnseen, x.Verdict)
	require.Len(t, x.Accounts, 1)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.engine(t).Explain(ctx, serial)
	require.ErrorIs(t, err, context.Canceled)
}
