// Command quickstart shows all of enrollkit in one process: a simulated Apple Business Manager, an MDM server with
// NanoMDM, a certificate authority and an identity provider, and simulated Macs, iPhones and iPads that go from Apple's
// inventory to their users' desktops. It needs no network and no configuration.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/micromdm/nanomdm/storage/inmem"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/enroll/nano"
	"github.com/enrollkit/enrollkit/examples/internal/idp"
	"github.com/enrollkit/enrollkit/examples/internal/scepca"
	"github.com/enrollkit/enrollkit/examples/internal/sqlitedb"
)

const usage = `usage: quickstart [flags]

Takes simulated devices from Apple's inventory to their users' desktops, in one process. The table at the end shows how
many of a device's setup items succeeded, and the time from its first request to its release.

flags:
  -once           end when all booted devices are released: 0 if they are, 1 if not, with the reason.
                  Without it the program stays up for a look at its page, until interrupted
  -devices n      devices in Apple's inventory (default 1000)
  -boot n         how many of them are switched on (default 25)
  -pace duration  time between two of them being switched on (default 100ms)
  -listen address where the page is (default 127.0.0.1:8484; a free port if that is taken)
  -dir folder     where the database and the log are kept, a new one for each run (default: a temporary
                  folder, which is left for you to look at)
  -seed n         the same seed gives the same devices (default 1)
  -timeout d      give up after this time; with -once only (default 3m)
  -v              print the log to standard error as well
  -h              print this help
`

// errUsage ends the program with status 2, as is the custom for wrong flags.
var errUsage = errors.New("see quickstart -h")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

type config struct {
	once          bool
	devices, boot int
	pace, timeout time.Duration
	listen, dir   string
	seed          uint64
	verbose       bool
}

// parse reads the flags. It returns flag.ErrHelp after -h.
func parse(args []string) (config, error) {
	var c config
	f := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&c.once, "once", false, "")
	f.IntVar(&c.devices, "devices", 1000, "")
	f.IntVar(&c.boot, "boot", 25, "")
	f.DurationVar(&c.pace, "pace", 100*time.Millisecond, "")
	f.StringVar(&c.listen, "listen", "127.0.0.1:8484", "")
	f.StringVar(&c.dir, "dir", "", "")
	f.Uint64Var(&c.seed, "seed", 1, "")
	f.DurationVar(&c.timeout, "timeout", 3*time.Minute, "")
	f.BoolVar(&c.verbose, "v", false, "")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return c, err
		}
		return c, fmt.Errorf("%w; %w", err, errUsage)
	}
	switch {
	case f.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q; %w", f.Arg(0), errUsage)
	case c.devices < 1 || c.boot < 0 || c.boot > c.devices:
		return c, fmt.Errorf("-devices must be positive, and -boot between 0 and that; %w", errUsage)
	case c.timeout <= 0 || c.pace < 0:
		return c, fmt.Errorf("-timeout must be positive and -pace not negative; %w", errUsage)
	}
	return c, nil
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, err = io.WriteString(stdout, usage)
		return err
	}
	if err != nil {
		return err
	}
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "enrollkit-quickstart-"); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(c.dir, sqlitedb.Database)); err == nil {
		return fmt.Errorf("%s has the database of another run, whose simulated Apple is gone: name another folder", c.dir)
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	log, err := newLog(c)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }()

	// Everything that works in the background works under one group: the first failure ends the program.
	background, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	demo := &demo{config: c, out: stdout, log: log, background: background}
	err = demo.run(ctx)
	stop()
	bg := background.Wait()
	for _, f := range demo.cleanup {
		err = errors.Join(err, f())
	}
	if bg != nil && !errors.Is(bg, context.Canceled) && !errors.Is(err, errUnreleased) {
		err = bg
	}
	return err
}

func newLog(c config) (*zap.Logger, error) {
	z := zap.NewProductionConfig()
	z.OutputPaths = []string{filepath.Join(c.dir, "quickstart.log")}
	if c.verbose {
		z.OutputPaths = append(z.OutputPaths, "stderr")
	}
	z.Sampling = nil
	return z.Build()
}

// demo is one run of the program.
type demo struct {
	config
	out        io.Writer
	log        *zap.Logger
	background *errgroup.Group
	cleanup    []func() error // for when nothing works in the background any more
}

// errUnreleased means that devices are not released in time.
var errUnreleased = errors.New("not all devices were released")

func (d *demo) run(ctx context.Context) error {
	apple, err := newApple(d.devices, d.seed)
	if err != nil {
		return err
	}
	appleURL, err := d.serve(ctx, "127.0.0.1:0", apple, nil)
	if err != nil {
		return err
	}
	tls, err := newLocalTLS(time.Now())
	if err != nil {
		return err
	}
	deviceCA, err := enrolltest.NewDeviceCA()
	if err != nil {
		return err
	}
	fleet, err := newFleet(ctx, d.boot, apple, deviceCA, tls.client(), d.dir)
	if err != nil {
		return err
	}
	db, err := sqlitedb.Create(ctx, d.dir)
	if err != nil {
		return err
	}
	d.cleanup = append(d.cleanup, db.Close)

	var handler http.Handler // known once its URL is
	serverURL, err := d.serve(ctx, "127.0.0.1:0",
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }), tls)
	if err != nil {
		return err
	}
	identityCA, err := scepca.New(time.Now)
	if err != nil {
		return err
	}
	provider, err := idp.New(serverURL+"/idp", oidcClient(serverURL), fleet.users, time.Now)
	if err != nil {
		return err
	}
	software, err := newSoftware(serverURL + "/software")
	if err != nil {
		return err
	}
	server, err := newServer(serverConfig{
		url: serverURL, store: db, sealer: db.Sealer, tls: tls, deviceCA: deviceCA.Certificate(),
		pusher: pushes(fleet.Push), now: time.Now, log: d.log, mdmStore: nano.Serialize(inmem.New()),
		identityCA: identityCA, provider: provider, software: software, sessionKey: randomKey(32), agentKey: randomKey(32),
	})
	if err != nil {
		return err
	}
	handler = server.handler
	if err := apple.connect(ctx, server.engine.Accounts(), "quickstart", appleURL); err != nil {
		return err
	}
	pageURL, err := d.servePage(ctx, pageHandler(server.board))
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(d.out, "page      %s/\nApple     %s/ (simulated)\nserver    %s/ (NanoMDM, enrollment, SCEP, sign-in, agent API)\nfiles     %s\n\n",
		pageURL, appleURL, serverURL, d.dir)
	d.background.Go(func() error { return server.run(ctx) })
	return d.show(ctx, server, fleet, db)
}

// serve serves h in the background until ctx ends, and returns its URL.
func (d *demo) serve(ctx context.Context, address string, h http.Handler, tls *localTLS) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: zap.NewStdLog(d.log)}
	d.background.Go(func() error {
		<-ctx.Done()
		return srv.Close()
	})
	scheme, start := "http", func() error { return srv.Serve(l) }
	if tls != nil {
		srv.TLSConfig = tls.config()
		scheme, start = "https", func() error { return srv.ServeTLS(l, "", "") }
	}
	d.background.Go(func() error {
		if err := start(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return scheme + "://" + l.Addr().String(), nil
}

// servePage serves the page where it was asked for, or on a free port if that is taken.
func (d *demo) servePage(ctx context.Context, h http.Handler) (string, error) {
	url, err := d.serve(ctx, d.listen, h, nil)
	if errors.Is(err, syscall.EADDRINUSE) {
		return d.serve(ctx, "127.0.0.1:0", h, nil)
	}
	return url, err
}
