package abmtest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// replica is what an MDM server believes about its devices from fetch and sync alone.
type replica struct {
	*client
	cursor  string
	fetched bool // the first fetch is complete
	known   map[string]wire
}

// step reads one page and applies it in order.
func (r *replica) step(limit int) (more bool) {
	path := "/devices/sync"
	if !r.fetched {
		path = "/server/devices"
	}
	p := r.page(path, r.cursor, limit)
	for _, d := range p.Devices {
		if d["op_type"] == "deleted" {
			delete(r.known, d.serial())
			continue
		}
		r.known[d.serial()] = d
	}
	r.cursor = p.Cursor
	more = p.MoreToFollow || !r.fetched // after the fetch comes a sync
	r.fetched = r.fetched || !p.MoreToFollow
	return more
}

// TestReplicasConverge lets an administrator, devices and two MDM servers act at random while both servers read pages,
// and expects that each knows in the end exactly what is assigned to it.
func TestReplicasConverge(t *testing.T) {
	t.Parallel()
	for seed := range uint64(15) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable on purpose
			s, m, a := world(t, abmtest.WithSessionLifetime(1000*time.Hour))
			n, err := s.AddMDMServer("Other")
			require.NoError(t, err)
			servers := []*abmtest.MDMServer{m, n}
			replicas := []*replica{
				{client: a, known: map[string]wire{}},
				{client: newTestClient(t, s, n, a.clock), known: map[string]wire{}},
			}
			require.NoError(t, s.AddDevices(m, machines("D0", "D1", "D2", "D3")...))
			profiles := []string{replicas[0].define(simpleProfile), replicas[1].define(simpleProfile)}
			for range 400 {
				i := rng.IntN(2)
				r, serial := replicas[i], fmt.Sprintf("D%d", rng.IntN(12))
				// Acts on devices that are not there fail; that is part of the game.
				switch rng.IntN(14) {
				case 0, 1:
					_ = s.AddDevices(servers[i], machines(serial)...)
				case 2:
					_ = s.Assign(servers[i], serial)
				case 3:
					_ = s.Unassign(serial)
				case 4:
					_ = s.Release(serial)
				case 5:
					_ = s.Migrate(servers[i], a.clock.Now().Add(time.Hour), serial)
				case 6:
					_ = s.CancelMigration(serial)
				case 7:
					r.devices("POST", "/profile/devices", profiles[i], serial)
				case 8:
					r.devices("DELETE", "/profile/devices", "", serial)
				case 9:
					_, _ = s.ActivationRecord(serial)
				case 10:
					require.NoError(t, s.ForceAssignResult(serial, "THROTTLED", time.Duration(1+rng.IntN(20))*time.Second))
				case 11:
					a.clock.Advance(time.Second)
				default:
					r.step(1 + rng.IntN(3))
				}
			}
			a.clock.Advance(time.Minute) // no throttle is left
			for i, r := range replicas {
				for r.step(1 + rng.IntN(5)) {
				}
				want := map[string]string{}
				for _, d := range s.Devices(0, 0) {
					if d.ServerUUID == servers[i].UUID() {
						want[d.SerialNumber] = d.ProfileUUID + " " + d.ProfileStatus
					}
				}
				got := map[string]string{}
				for serial, d := range r.known {
					profile, _ := d["profile_uuid"].(string)
					got[serial] = fmt.Sprint(profile, " ", d["profile_status"])
				}
				assert.Equal(t, want, got)
				fresh, _ := r.all("/server/devices", "", 2)
				assert.Len(t, fresh, len(want))
			}
		})
	}
}

func FuzzRequest(f *testing.F) {
	for i, body := range []string{
		`{"cursor":"x","limit":10}`, `{"devices":["A"],"profile_uuid":"X"}`, `{"device":"A","escrow_key":"00"}`,
		`{"profile_name":"p","url":"https://e.org/","devices":["A"],"n":1e999}`, `{"mdm_service_discovery_url":"https://e"}`, `{`,
	} {
		f.Add(uint8(i), "device=A&profile_uuid=X", "10", body)
	}
	f.Fuzz(func(t *testing.T, which uint8, query, version, body string) {
		s, m, c := world(t)
		require.NoError(t, s.AddDevices(m, machines("A")...))
		require.Equal(t, http.StatusOK, c.open().status)
		method, path, _ := strings.Cut(endpoints()[1+int(which)%(len(endpoints())-1)], " ")
		r, err := http.NewRequestWithContext(t.Context(), method, "/"+path, strings.NewReader(body))
		require.NoError(t, err)
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header = c.header()
		r.Header.Set("X-Server-Protocol-Version", version)
		a := c.do(r)
		assert.Contains(t, []int{200, 400, 404}, a.status, a.body)
		switch {
		case a.status != http.StatusOK:
			assert.Equal(t, "text/plain;Charset=UTF8", a.header.Get("Content-Type"))
			assert.NotEmpty(t, a.body)
		case a.body != "":
			assert.True(t, json.Valid([]byte(a.body)), a.body)
			assert.Equal(t, "application/json;charset=UTF8", a.header.Get("Content-Type"))
		}
	})
}
