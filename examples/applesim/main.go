// Command applesim serves a simulated Apple Business Manager: the device-assignment ("DEP") API that MDM servers talk
// to, and an administration API in place of the portal. Point any MDM server at it instead of
// https://mdmenrollment.apple.com. Everything is in memory and gone when it stops.
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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

const usage = `usage: applesim [flags]

Serves a simulated Apple Business Manager until interrupted: the API that MDM servers talk to, to be used instead of
https://mdmenrollment.apple.com, and below /admin/ an administration API in place of the portal. Everything is in memory.
What to do first is printed when it starts; GET /admin/ explains the administration.

flags:
  -listen address   where to listen (default 127.0.0.1:8480); port 0 picks a free one.
                    There is no password: keep it on loopback unless the network is yours
  -servers names    MDM server entries to create, separated by commas (default "MDM")
  -devices n        random devices to add, dealt out to the servers in turn (default 100)
  -seed n           the same seed gives the same devices and tokens (default 1)
  -rotate n         give out a new session token every n answers, 0 for never (default 20)
  -fault fault      misbehave from the start, see below; may be given several times
  -v                print a line for each request to standard error
  -h                print this help

examples:
  applesim -devices 1000 -servers "Berlin,Cupertino"
  applesim -fault unavailable,operation=/devices/sync,count=3,retry_after=30s
  applesim -fault latency,duration=500ms,jitter=2s -fault missing-from-sync,probability=0.1

faults:
  Apple's service misbehaves at times, and so does this one if told to. A fault is a kind with settings, "kind,key=value,…":

  id=name           to clear or replace it by; one is made up otherwise
  server=name       only calls of this MDM server (name or UUID)
  operation=call    only this call, such as "POST /devices/sync", or /devices/sync for all its methods
  serials=A+B       only these devices, or calls that name one of them
  profile_uuid=id   only this profile
  count=n           only n times: calls or, if the kind is about devices, devices in calls
  probability=p     only at random, 0 to 1; repeatable with -seed
  applied=true      the call takes effect though its answer is lost
  status=n, body=text, retry_after=30s, retry_after_date=true
                    what is answered
  duration=1m, jitter=1s, window=1m
                    how long it takes, what is added to that at random, how soon is too soon
  field=name, value=json
                    which member of a device becomes what
  bytes=n           the size of the body

  While it runs, faults are JSON with the same keys (serials being an array):

  curl http://127.0.0.1:8480/admin/faults                      those that are set, and how often each has struck
  curl -d '{"kind": "server-error", "count": 3}' http://127.0.0.1:8480/admin/faults
  curl -X DELETE http://127.0.0.1:8480/admin/faults/fault-1    clear one; without the name all
  curl http://127.0.0.1:8480/admin/fault-kinds                 the kinds, with the reports they stem from
  curl http://127.0.0.1:8480/admin/stats                       what was asked and what was answered

kinds of faults, with the settings they take beside id, server, count and probability:
`

// errUsage ends the program with status 2, as is the custom for wrong flags.
var errUsage = errors.New("see applesim -h")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "applesim:", err)
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

type config struct {
	listen  string
	servers []string
	devices int
	seed    uint64
	rotate  int
	faults  faultFlags
	verbose bool
}

// parse reads the flags. It returns flag.ErrHelp after -h.
func parse(args []string) (config, error) {
	var c config
	f := flag.NewFlagSet("applesim", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.listen, "listen", "127.0.0.1:8480", "")
	names := f.String("servers", "MDM", "")
	f.IntVar(&c.devices, "devices", 100, "")
	f.Uint64Var(&c.seed, "seed", 1, "")
	f.IntVar(&c.rotate, "rotate", 20, "")
	f.Var(&c.faults, "fault", "")
	f.BoolVar(&c.verbose, "v", false, "")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return c, err
		}
		return c, fmt.Errorf("%w; %w", err, errUsage)
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q; %w", f.Arg(0), errUsage)
	}
	if c.devices < 0 {
		return c, fmt.Errorf("-devices must not be negative; %w", errUsage)
	}
	for name := range strings.SplitSeq(*names, ",") {
		if name = strings.TrimSpace(name); name != "" {
			c.servers = append(c.servers, name)
		}
	}
	if len(c.servers) == 0 {
		return c, fmt.Errorf("-servers names none; %w", errUsage)
	}
	return c, nil
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, err = io.WriteString(stdout, usage+faultHelp())
		return err
	}
	if err != nil {
		return err
	}
	apple, err := build(c)
	if err != nil {
		return err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", c.listen)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host(listener.Addr())); ip != nil && !ip.IsLoopback() {
		fmt.Fprintln(stderr, "applesim: warning: everyone who can reach", listener.Addr(), "is its administrator")
	}
	handler := http.Handler(routes(apple))
	if c.verbose {
		handler = logged(handler, stderr)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	welcome(stdout, "http://"+listener.Addr().String(), c)

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	_ = apple.Close() // never fails; requests that a fault holds would hold up the shutdown
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// build makes the organization the flags describe.
func build(c config) (*abmtest.Service, error) {
	apple, err := abmtest.NewService(abmtest.WithSeed(c.seed), abmtest.WithSessionRotation(c.rotate))
	if err != nil {
		return nil, fmt.Errorf("%w; %w", err, errUsage)
	}
	devices := apple.RandomDevices(c.devices)
	for i, name := range c.servers {
		entry, err := apple.AddMDMServer(name)
		if err != nil {
			return nil, err
		}
		var share []abmtest.Device
		for j := i; j < len(devices); j += len(c.servers) {
			share = append(share, devices[j])
		}
		if err := apple.AddDevices(entry, share...); err != nil {
			return nil, err
		}
	}
	for _, fault := range c.faults {
		if _, err := apple.SetFault(fault); err != nil {
			return nil, fmt.Errorf("-fault %s: %w; %w", fault.Kind, err, errUsage)
		}
	}
	return apple, nil
}

// routes puts the two APIs side by side.
func routes(apple *abmtest.Service) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/", apple)
	mux.Handle("/admin/", http.StripPrefix("/admin", apple.AdminHandler()))
	return mux
}

func host(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return ""
	}
	return h
}

// logged prints method, path and status of each request, the path escaped so that a line stays one.
func logged(next http.Handler, to io.Writer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, status: noAnswer}
		defer func() { // also after a request that a fault aborts
			fmt.Fprintln(to, r.Method, r.URL.EscapedPath(), rec.status, w.Header().Get("X-Abmtest-Reason"))
		}()
		next.ServeHTTP(rec, r)
	})
}

// noAnswer is the status of a request that got none.
const noAnswer = "no answer"

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status string
}

// Unwrap lets the service reset a connection, which is one of its faults.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	r.status = strconv.Itoa(status)
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == noAnswer {
		r.status = strconv.Itoa(http.StatusOK)
	}
	return r.ResponseWriter.Write(b)
}
