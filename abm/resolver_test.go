package abm

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// decided returns what r decides for one device.
func decided(t *testing.T, r Resolver, d storage.Device) Decision {
	t.Helper()
	out, err := r.Resolve(t.Context(), []storage.Device{d})
	require.NoError(t, err)
	require.Len(t, out, 1)
	return out[0]
}

func TestStaticResolverFirstMatchWins(t *testing.T) {
	t.Parallel()
	r, err := NewStaticResolver(StaticRules{Order: 7, Rules: []Rule{
		{Name: "alone", Serials: []string{"S2", "S1"}},
		{Name: "kiosk", AssetTags: []string{"KIOSK"}, Profile: testProfile("kiosk")},
		{Name: "lab", Accounts: []string{"lab"}, Families: []string{"Mac"}, Profile: testProfile("lab")},
		{Models: []string{"iMac", "Mac mini"}, Profile: testProfile("desktop")},
		{Name: "macs", Families: []string{"Mac"}, Profile: testProfile("macs")},
		{Name: "school", Accounts: []string{"school"}, Profile: testProfile("school")},
	}})
	require.NoError(t, err)
	tagged := []byte(`{"serial_number":"S5","asset_tag":"KIOSK"}`)
	for _, tt := range []struct {
		device       storage.Device
		want, reason string
	}{
		{storage.Device{Serial: "S1", Family: "Mac"}, "", "alone"},
		{storage.Device{Serial: "s1", Family: "Mac"}, "macs", "macs"},
		{storage.Device{Serial: "S5", Family: "Mac", Document: tagged}, "kiosk", "kiosk"},
		{storage.Device{Serial: "S5", Family: "Mac", Document: []byte("{")}, "macs", "macs"},
		{storage.Device{Serial: "S6", Family: "Mac", Account: "lab", Model: "iMac"}, "lab", "lab"},
		{storage.Device{Serial: "S6", Family: "iPad", Account: "lab"}, "", "no rule applies"},
		{storage.Device{Serial: "S7", Model: "Mac mini", Family: "Mac"}, "desktop", "rule 4"},
		{storage.Device{Serial: "S8", Family: "iPad", Account: "school"}, "school", "school"},
	} {
		d := decided(t, r, tt.device)
		require.NoError(t, d.Err)
		assert.Equal(t, tt.reason, d.Reason)
		if tt.want == "" {
			assert.Nil(t, d.Profile, tt.reason)
			continue
		}
		assert.Equal(t, tt.want, d.Profile.ProfileName)
	}
	assert.EqualValues(t, 7, r.Rules().Order)
}

func TestStaticResolverRules(t *testing.T) {
	t.Parallel()
	id := func(rules ...Rule) string {
		r, err := NewStaticResolver(StaticRules{Rules: rules})
		require.NoError(t, err)
		return r.Rules().ID
	}
	x, y := Rule{Profile: testProfile("x")}, Rule{Profile: testProfile("y")}
	assert.Equal(t, id(x), forAll(t, "x").Rules().ID, "names do not count")
	assert.NotEqual(t, id(x), id(y))
	assert.NotEqual(t, id(x, y), id(y, x))
	assert.Equal(t, id(Rule{Serials: []string{"a", "b"}}), id(Rule{Serials: []string{"b", "a", "b"}}))
	assert.NotEqual(t, id(Rule{Serials: []string{"a"}}), id(Rule{Models: []string{"a"}}))
	assert.NotEqual(t, id(Rule{}), id(), "a rule without lists applies to all")

	_, err := ForAll(&depprofile.Profile{ProfileName: "no URL"})
	require.Error(t, err)
	_, err = NewStaticResolver(StaticRules{Rules: []Rule{{Name: "lab", Serials: []string{"a", ""}}}})
	require.ErrorContains(t, err, "lab")
	none, err := ForAll(nil)
	require.NoError(t, err)
	assert.Nil(t, decided(t, none, storage.Device{}).Profile)
}

// What was handed in can be changed afterwards.
func TestStaticResolverKeepsCopies(t *testing.T) {
	t.Parallel()
	p, serials := testProfile("before"), []string{"S1"}
	r, err := NewStaticResolver(StaticRules{Rules: []Rule{{Serials: serials, Profile: p}}})
	require.NoError(t, err)
	p.ProfileName, serials[0] = "after", "S2"
	d := decided(t, r, storage.Device{Serial: "S1"})
	require.NotNil(t, d.Profile)
	assert.Equal(t, "before", d.Profile.ProfileName)
}

func TestForEach(t *testing.T) {
	t.Parallel()
	p := testProfile("x")
	r, err := ForEach(func() Rules { return Rules{ID: "one", Order: 3} }, func(_ context.Context, d storage.Device) Decision {
		switch d.Serial {
		case "bad":
			panic("bug of the host")
		case "none":
			return Decision{Reason: "left alone"}
		}
		return Decision{Profile: p, Reason: d.Family}
	})
	require.NoError(t, err)
	assert.Equal(t, Rules{ID: "one", Order: 3}, r.Rules())
	out, err := r.Resolve(t.Context(), []storage.Device{{Serial: "a", Family: "Mac"}, {Serial: "bad"}, {Serial: "none"}})
	require.NoError(t, err)
	require.Len(t, out, 3)
	assert.Equal(t, Decision{Profile: p, Reason: "Mac"}, out[0])
	require.ErrorContains(t, out[1].Err, "bug of the host")
	assert.Equal(t, Decision{Reason: "left alone"}, out[2])
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Resolve(ctx, []storage.Device{{}})
	require.ErrorIs(t, err, context.Canceled)
	_, err = ForEach(nil, nil)
	require.Error(t, err)
}

func TestNoProfileWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	none, err := ForAll(nil)
	require.NoError(t, err)
	e, err := New(w.store, w.sealer, none, w.opts...)
	require.NoError(t, err)
	_, err = e.SyncOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, AssignResult{}, assignAll(t, e))
	assert.Empty(t, w.rows(t))

	// Rules that want one, then none again.
	std := w.engine(t)
	_, err = std.PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Equal(t, 3, assignAll(t, std).Assigned)
	_, err = e.PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	w.clock.Add(time.Hour)
	assert.Equal(t, AssignResult{}, assignAll(t, e))
	n, err := e.PlanOnce(t.Context(), acme)
	require.NoError(t, err)
	assert.Zero(t, n)
}

// badResolver fails for the Macs, or for the batches they are in, in the way it is told.
type badResolver struct {
	*StaticResolver
	bad atomic.Int32
}

const (
	works = iota
	oneError
	oneInvalid
	batchError
	batchPanic
	batchShort
)

func (b *badResolver) Resolve(ctx context.Context, devices []storage.Device) ([]Decision, error) {
	out, err := b.StaticResolver.Resolve(ctx, devices)
	for i := range devices {
		if devices[i].Family != "Mac" {
			continue
		}
		switch b.bad.Load() {
		case oneError:
			out[i] = Decision{Err: errors.New("directory is down")}
		case oneInvalid:
			out[i].Profile = &depprofile.Profile{}
		case batchError:
			return nil, errors.New("directory is down")
		case batchPanic:
			panic("bug of the host")
		case batchShort:
			return out[1:], nil
		}
	}
	return out, err
}

func TestResolverErrorHoldsBackNoOther(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]int32{
		"error": oneError, "invalid profile": oneInvalid, "error of the batch": batchError, "panic": batchPanic, "too few": batchShort,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 40)
			macs := 0
			for _, d := range w.apple.Devices(0, 40) {
				if d.Family == "Mac" {
					macs++
				}
			}
			if how >= batchError {
				macs = 40 // which share the batch
			}
			r := &badResolver{StaticResolver: forAll(t, "Standard")}
			r.bad.Store(how)
			e, err := New(w.store, w.sealer, r, w.opts...)
			require.NoError(t, err)
			res, err := e.SyncOnce(t.Context(), acme)
			require.NoError(t, err)
			assert.Equal(t, 40, res.Changed, "every device is stored")
			assert.Equal(t, 40-macs, assignAll(t, e).Assigned)

			w.clock.Add(time.Hour) // still failing
			assignAll(t, e)
			r.bad.Store(works)
			w.clock.Add(2 * time.Hour)
			assignAll(t, e)
			w.clock.Add(2 * time.Hour)
			assignAll(t, e)
			assert.Equal(t, map[storage.AssignmentState]int{storage.AssignmentSatisfied: 40}, w.states(t))
			for serial, calls := range w.apple.Stats().AssignCalls {
				assert.Equal(t, 1, calls, serial)
			}
		})
	}
}
