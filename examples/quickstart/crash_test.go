package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/storage/inmem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/enroll/nano"
	"github.com/enrollkit/enrollkit/examples/internal/idp"
	"github.com/enrollkit/enrollkit/examples/internal/scepca"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/sqlstore"
)

// crashEvery leaves out crash points: 1 tries every request to the database, which takes long.
var crashEvery = flag.Int("crash-every", 97, "kill the server at each n-th request to its database")

// world is everything around a server that dies: Apple, the devices, and what the server keeps outside its database.
type world struct {
	t        *testing.T
	ctx      context.Context // ends before the test's time is over
	apple    *apple
	appleURL string
	fleet    *fleet
	config   serverConfig
	dsn      string
	handler  atomic.Pointer[http.Handler]
	skipped  atomic.Int64 // how far the server's clock is ahead
}

func newWorld(t *testing.T) *world {
	t.Helper()
	apple, err := newApple(12, 3)
	require.NoError(t, err)
	appleServer := httptest.NewServer(apple)
	t.Cleanup(appleServer.Close)
	tls, err := newLocalTLS(time.Now())
	require.NoError(t, err)
	deviceCA, err := enrolltest.NewDeviceCA()
	require.NoError(t, err)
	identityCA, err := scepca.New(time.Now)
	require.NoError(t, err)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, apple: apple, appleURL: appleServer.URL, dsn: sqlstore.SQLiteDSN(filepath.Join(dir, "enrollkit.db"))}
	w.fleet, err = newFleet(ctx, 3, apple, deviceCA, tls.client(), dir)
	require.NoError(t, err)

	front := http.NewServeMux()
	front.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		if h := w.handler.Load(); h != nil {
			(*h).ServeHTTP(rw, r)
			return
		}
		http.Error(rw, "the server is down", http.StatusServiceUnavailable)
	})
	devices := httptest.NewUnstartedServer(front)
	devices.TLS = tls.config()
	devices.Config.ErrorLog = zap.NewStdLog(zap.NewNop()) // devices hang up when the test ends
	devices.StartTLS()
	t.Cleanup(devices.Close)

	provider, err := idp.New(devices.URL+"/idp", oidcClient(devices.URL), w.fleet.users, time.Now)
	require.NoError(t, err)
	software, err := newSoftware(devices.URL + "/software")
	require.NoError(t, err)
	front.Handle("GET /software/{name}", software) // packages are elsewhere: a download that fails is tried again late
	keyset, err := storage.NewKeyset()
	require.NoError(t, err)
	sealer, err := storage.NewKeysetSealer(keyset)
	require.NoError(t, err)
	w.config = serverConfig{
		url: devices.URL, sealer: sealer, tls: tls, deviceCA: deviceCA.Certificate(), pusher: pushes(w.fleet.Push),
		log: zap.NewNop(), mdmStore: nano.Serialize(inmem.New()), identityCA: identityCA, provider: provider, software: software,
		sessionKey: randomKey(32), agentKey: randomKey(32),
		now: func() time.Time { return time.Now().Add(time.Duration(w.skipped.Load())) },
	}
	return w
}

// start starts a server whose database dies with the fuse. Its accounts are there once it has connected to Apple.
func (w *world) start(ctx context.Context, f *fuse) (s *server, db *sql.DB, err error) {
	db = sql.OpenDB(&fusedConnector{dsn: w.dsn, fuse: f})
	if err = sqlstore.Migrate(ctx, db, sqlstore.SQLite); err != nil {
		return nil, db, err
	}
	config := w.config
	if config.store, err = sqlstore.New(db, sqlstore.SQLite); err != nil {
		return nil, db, err
	}
	if s, err = newServer(config); err != nil {
		return nil, db, err
	}
	w.handler.Store(&s.handler)
	if _, err = s.engine.Accounts().Token(ctx, "quickstart"); err == nil {
		return s, db, nil
	}
	return s, db, w.apple.connect(ctx, s.engine.Accounts(), "quickstart", w.appleURL)
}

// live runs a server until its database dies or ctx ends. While it is dead, time passes.
func (w *world) live(ctx context.Context, f *fuse) {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	g, ctx := errgroup.WithContext(ctx)
	s, db, err := w.start(ctx, f)
	if err == nil {
		g.Go(func() error { return s.run(ctx) })
		select {
		case <-ctx.Done():
		case <-f.blown:
		}
	}
	kill()
	_ = g.Wait() // ctx ended, or the database died: both are meant
	w.handler.Store(nil)
	assert.NoError(w.t, db.Close())
	w.skipped.Add(int64(5 * time.Minute))
}

// TestServerDiesAtAnyRequestAndNothingIsLost kills the server at a request to its database, each time at another one,
// starts it again, and has the devices reach their users' desktops all the same. Users press "Retry".
func TestServerDiesAtAnyRequestAndNothingIsLost(t *testing.T) {
	t.Parallel()
	whole := newFuse(0)
	newWorld(t).checkAll(whole)
	total := int(whole.calls.Load())
	require.Greater(t, total, 100)
	t.Logf("%d requests to the database, dying at each %d-th", total, *crashEvery)
	for n := 1; n <= total; n += *crashEvery {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			newWorld(t).checkAll(newFuse(int64(n)))
		})
	}
}

// checkAll runs a server with the fuse, and another once that has died, until all is as it should be.
func (w *world) checkAll(f *fuse) {
	servers, ctx := errgroup.WithContext(w.ctx)
	ctx, stop := context.WithCancel(ctx)
	servers.Go(func() error {
		for w.live(ctx, f); ctx.Err() == nil; w.live(ctx, newFuse(0)) {
		}
		return nil
	})

	assert.True(w.t, eventually(ctx, func() bool {
		for _, d := range w.apple.devices {
			if s, err := w.apple.Device(d.SerialNumber); err != nil || s.ProfileStatus == "empty" {
				return false
			}
		}
		return true
	}), "devices without a profile")
	boots, bootCtx := errgroup.WithContext(ctx)
	for _, d := range w.fleet.Devices() {
		boots.Go(func() error {
			eventually(bootCtx, func() bool { return d.Boot(bootCtx) == nil })
			return nil
		})
	}
	_ = boots.Wait()
	w.fleet.agents.Wait()
	released := func() bool { return w.released(ctx) == len(w.fleet.Devices()) }
	assert.True(w.t, eventually(ctx, released), "not all devices are released")
	stop()
	_ = servers.Wait()

	for _, d := range w.apple.devices {
		assert.Equal(w.t, 1, w.apple.AssignCalls(d.SerialNumber), "assignments of %s", d.SerialNumber)
	}
	for _, d := range w.fleet.Devices() {
		assert.Equal(w.t, enrolltest.StateDesktop, d.State(), "%s: %v", d.Serial(), w.fleet.failures()[d.Serial()])
		w.checkCommands(d)
		if w.t.Failed() {
			w.tell(d)
		}
	}
}

// tell logs what happened to a device, on its own word and on the server's.
func (w *world) tell(d *enrolltest.Device) {
	for _, a := range d.Answers() {
		w.t.Logf("%s answered %s %s %s", d.Serial(), a.RequestType, a.CommandUUID, a.Status)
	}
	db, err := sql.Open("sqlite", w.dsn)
	require.NoError(w.t, err)
	defer func() { _ = db.Close() }()
	store, err := sqlstore.New(db, sqlstore.SQLite)
	require.NoError(w.t, err)
	var story strings.Builder
	assert.NoError(w.t, timeline(context.WithoutCancel(w.t.Context()), &story, store, d.Serial()))
	w.t.Log(story.String())
}

// checkCommands checks that a device got no command twice, and none that it had to refuse, except one: a release whose
// answer the server did not hear for minutes is sent again under another name, and means nothing to a device that has
// left Setup Assistant.
func (w *world) checkCommands(d *enrolltest.Device) {
	seen, released := map[string]int{}, false
	for _, a := range d.Answers() {
		if a.Status == "Acknowledged" || a.Status == "Error" {
			seen[a.CommandUUID]++
		}
		release := a.RequestType == "DeviceConfigured"
		assert.True(w.t, a.Status != "Error" || release && released, "%s: %s", d.Serial(), a.RequestType)
		released = released || release && a.Status == "Acknowledged"
	}
	assert.True(w.t, released, d.Serial())
	for uuid, n := range seen {
		assert.Equal(w.t, 1, n, "%s: command %s", d.Serial(), uuid)
	}
}

// released counts the enrollments that are released, by what is stored.
func (w *world) released(ctx context.Context) int {
	db, err := sql.Open("sqlite", w.dsn)
	if err != nil {
		return 0
	}
	defer func() { _ = db.Close() }()
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return 0
	}
	all, _, err := store.ListEnrollments(ctx, storage.EnrollmentFilter{State: storage.EnrollmentReleased}, storage.Page{})
	if err != nil {
		return 0
	}
	return len(all)
}

// eventually tries until cond holds or ctx ends, and reports whether it held.
func eventually(ctx context.Context, cond func() bool) bool {
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		if cond() {
			return true
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return false
		case <-tick.C:
		}
	}
}
