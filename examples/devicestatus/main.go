// Command devicestatus prints what is known about devices: what Apple says of them now, why they have the enrollment profile
// they have and what happens next, or what other rules would do to all of them. It reads the database that a server works
// with, and can run beside it.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/enrollkit/enrollkit/examples/internal/sqlitedb"
)

const usage = `usage: devicestatus -dir folder [flags] serial ...
       devicestatus -dir folder -explain [flags] serial ...
       devicestatus -dir folder -dry-run file [flags]

The first form asks Apple and prints what it says about devices. The second asks nobody and prints, from the database, why
a device has the enrollment profile it has, or none, what happens next and when, and what you can do. The third prints what
would become of all devices with other rules; it changes nothing. With "-" the serials are read from standard input, one a line.

flags:
  -dir folder    folder of the database (enrollkit.db) and of the keyset its secrets are sealed with (keyset.json)
  -account name  the account to ask with, which may be left out if there is one only; with -dry-run the account to look at, all
                 if left out
  -json          print JSON: Apple's records as they are or explanations, one object a line, or the result of the dry run
  -explain       explain devices
  -rules file    with -explain: the rules of the server, to say which of them decides; without, what is stored must do
  -dry-run file  try rules, or a profile for all devices
  -samples n     with -dry-run: how many serials of each group are printed (default 5)
  -h             print this help

files:
  A file with a "rules" key is a list of rules, any other a profile in Apple's format, which is for all devices. The first rule
  that applies decides. A list that is left out does not narrow, and a rule without profile leaves its devices alone. A profile is
  written out, or the name of its file, seen from the folder of the rules. With a rollout only so many percent of the devices that
  have another profile get it, so many an hour. Devices that no rule applies to are left alone.
    {"order": 1, "rules": [
      {"name": "the lab", "accounts": ["acme"], "serials": ["C02A", "C02B"]},
      {"name": "kiosks", "assetTags": ["KIOSK"], "models": ["iPad Air"], "profile": "kiosk.json",
       "rollout": {"percent": 10, "perHour": 100}},
      {"name": "Macs", "families": ["Mac"], "profile": {"profile_name": "Macs", "url": "https://mdm.example.com/enroll"}}
    ]}

The status is 1 if something cannot be read, or Apple not be asked; 2 if the flags or files are wrong; 3 if Apple gives no record of
a device, or with -explain no account has it; and 0 otherwise.

examples, while "go -C examples run ./quickstart -dir /tmp/quickstart" runs:
  go -C examples run ./devicestatus -dir /tmp/quickstart 06CYF2XVX6
  go -C examples run ./devicestatus -dir /tmp/quickstart -explain 06CYF2XVX6
  go -C examples run ./devicestatus -dir /tmp/quickstart -dry-run rules.json
`

var (
	errUsage = errors.New("see devicestatus -h")
	// errNotAccessible means that there is no record of a device.
	errNotAccessible = errors.New("not all devices are accessible")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "devicestatus:", err)
		os.Exit(status(err))
	}
}

// status returns the exit status for an error.
func status(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, errNotAccessible):
		return 3
	}
	return 1
}

type config struct {
	dir, account  string
	json, explain bool
	rules, dryRun string // files
	samples       int
	serials       []string
}

// parse reads the flags. It returns flag.ErrHelp after -h.
func parse(args []string, stdin io.Reader) (config, error) {
	var c config
	f := flag.NewFlagSet("devicestatus", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.dir, "dir", "", "")
	f.StringVar(&c.account, "account", "", "")
	f.BoolVar(&c.json, "json", false, "")
	f.BoolVar(&c.explain, "explain", false, "")
	f.StringVar(&c.rules, "rules", "", "")
	f.StringVar(&c.dryRun, "dry-run", "", "")
	f.IntVar(&c.samples, "samples", 5, "")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return c, err
		}
		return c, fmt.Errorf("%w; %w", err, errUsage)
	}
	given := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	dry := given["dry-run"]
	c.serials = f.Args()
	if slices.Equal(c.serials, []string{"-"}) && !dry {
		var err error
		if c.serials, err = lines(stdin); err != nil {
			return c, err
		}
	}
	for _, wrong := range []struct {
		is   bool
		what string
	}{
		{c.dir == "", "-dir is missing"},
		{dry && c.explain, "-dry-run and -explain are two things"},
		{dry && c.dryRun == "", "-dry-run needs a file"},
		{dry && len(c.serials) > 0, "-dry-run is for all devices"},
		{!dry && len(c.serials) == 0, "name at least one serial"},
		{given["rules"] && !c.explain, "-rules is for -explain"},
		{given["account"] && c.explain, "-explain is about all accounts"},
		{given["samples"] && !dry, "-samples is for -dry-run"},
		{c.samples < 0, "-samples cannot be negative"},
	} {
		if wrong.is {
			return c, fmt.Errorf("%s; %w", wrong.what, errUsage)
		}
	}
	return c, nil
}

// lines returns the lines of r that are not empty.
func lines(r io.Reader) ([]string, error) {
	var out []string
	s := bufio.NewScanner(r)
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" {
			out = append(out, line)
		}
	}
	return out, s.Err()
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	c, err := parse(args, stdin)
	if errors.Is(err, flag.ErrHelp) {
		_, err = io.WriteString(stdout, usage)
		return err
	}
	if err != nil {
		return err
	}
	db, err := sqlitedb.Open(ctx, c.dir)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	switch {
	case c.explain:
		return explain(ctx, db, c, stdout)
	case c.dryRun != "":
		return dryRun(ctx, db, c, stdout)
	}
	return ask(ctx, db, c, stdout)
}
