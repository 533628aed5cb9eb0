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

func familyProfiles(family string, p *depprofile.Profile) map[string]*depprofile.Profile {
	return map[string]*depprofile.Profile{family: p}
}

func TestStaticResolver(t *testing.T) {
	t.Parallel()
	r, err := NewStaticResolver(StaticRules{
		Serials:  map[string]*depprofile.Profile{"S1": testProfile("one"), "S2": nil},
		Families: familyProfiles("Mac", testProfile("macs")),
		Default:  testProfile("rest"),
	})
	require.NoError(t, err)
	for _, tt := range []struct{ serial, family, want string }{
		{"S1", "Mac", "one"}, {"S2", "Mac", ""}, {"S3", "Mac", "macs"}, {"S3", "iPad", "rest"},
	} {
		p, err := r.Resolve(t.Context(), storage.Device{Serial: tt.serial, Family: tt.family})
		require.NoError(t, err)
		if tt.want == "" {
			assert.Nil(t, p)
			continue
		}
		assert.Equal(t, tt.want, p.ProfileName)
	}

	a, b, c := forAll(t, "x"), forAll(t, "x"), forAll(t, "y")
	assert.Equal(t, a.Rules(), b.Rules())
	assert.NotEqual(t, a.Rules(), c.Rules())

	_, err = ForAll(&depprofile.Profile{ProfileName: "no URL"})
	require.Error(t, err)
	none, err := ForAll(nil)
	require.NoError(t, err)
	p, err := none.Resolve(t.Context(), storage.Device{})
	require.NoError(t, err)
	assert.Nil(t, p)
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

// badResolver fails for one family, in the way it is told.
type badResolver struct {
	*StaticResolver
	bad atomic.Int32 // 0 works, 1 error, 2 panic, 3 invalid profile
}

func (b *badResolver) Resolve(ctx context.Context, d storage.Device) (*depprofile.Profile, error) {
	if d.Family == "Mac" {
		switch b.bad.Load() {
		case 1:
			return nil, errors.New("directory is down")
		case 2:
			panic("bug of the host")
		case 3:
			return &depprofile.Profile{}, nil
		}
	}
	return b.StaticResolver.Resolve(ctx, d)
}

func TestResolverErrorConcernsOneDeviceOnly(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]int32{"error": 1, "panic": 2, "invalid profile": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 40)
			macs := 0
			for _, d := range w.apple.Devices(0, 40) {
				if d.Family == "Mac" {
					macs++
				}
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
			r.bad.Store(0)
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
