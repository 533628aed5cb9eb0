// Command devicestatus prints what Apple says about devices: which MDM server entry has them, and which enrollment
// profile they are assigned. It asks Apple with the server token of an account that is stored in a database.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/examples/internal/sqlitedb"
)

const usage = `usage: devicestatus -dir folder [flags] serial ...

Prints what Apple says about devices. With "-" the serials are read from standard input, one a line.

flags:
  -dir folder    folder of the database (enrollkit.db) and of the keyset its secrets are sealed with (keyset.json)
  -account name  the account to ask with; may be left out if there is one only
  -json          print Apple's records as they are, one JSON object a line, instead of a table
  -h             print this help

The status is 1 if Apple cannot be asked, 3 if a device is not accessible to the account, and 0 otherwise.

example, while "go -C examples run ./quickstart -dir /tmp/quickstart" runs:
  go -C examples run ./devicestatus -dir /tmp/quickstart 06CYF2XVX6
`

var (
	errUsage = errors.New("see devicestatus -h")
	// errNotAccessible means that Apple gives no record of a device.
	errNotAccessible = errors.New("not all devices are accessible")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	switch {
	case err == nil:
		return
	case errors.Is(err, errNotAccessible):
		fmt.Fprintln(os.Stderr, "devicestatus:", err)
		os.Exit(3)
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "devicestatus:", err)
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "devicestatus:", err)
	os.Exit(1)
}

type config struct {
	dir, account string
	json         bool
	serials      []string
}

// parse reads the flags. It returns flag.ErrHelp after -h.
func parse(args []string, stdin io.Reader) (config, error) {
	var c config
	f := flag.NewFlagSet("devicestatus", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.dir, "dir", "", "")
	f.StringVar(&c.account, "account", "", "")
	f.BoolVar(&c.json, "json", false, "")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return c, err
		}
		return c, fmt.Errorf("%w; %w", err, errUsage)
	}
	c.serials = f.Args()
	if slices.Equal(c.serials, []string{"-"}) {
		c.serials = nil
		for lines := bufio.NewScanner(stdin); lines.Scan(); {
			if s := strings.TrimSpace(lines.Text()); s != "" {
				c.serials = append(c.serials, s)
			}
		}
	}
	switch {
	case c.dir == "":
		return c, fmt.Errorf("-dir is missing; %w", errUsage)
	case len(c.serials) == 0:
		return c, fmt.Errorf("name at least one serial; %w", errUsage)
	}
	return c, nil
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
	client, err := clientOf(ctx, db, c.account)
	if err != nil {
		return err
	}
	devices, err := details(ctx, client, c.serials)
	if err != nil {
		return err
	}
	if c.json {
		err = printJSON(stdout, devices)
	} else {
		err = printTable(stdout, devices)
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(devices, func(d abm.Device) bool { return d.ResponseStatus != abm.ResultSuccess }) {
		return errNotAccessible
	}
	return nil
}

// clientOf returns a client with the token of the account, or of the only account.
func clientOf(ctx context.Context, db *sqlitedb.DB, account string) (*abm.Client, error) {
	if account == "" {
		all, err := allAccounts(ctx, db)
		if err != nil {
			return nil, err
		}
		if len(all) != 1 {
			return nil, fmt.Errorf("there are %d accounts (%s): choose one with -account", len(all), strings.Join(all, ", "))
		}
		account = all[0]
	}
	accounts, err := abm.NewAccounts(db, db.Sealer)
	if err != nil {
		return nil, err
	}
	return accounts.Client(ctx, account)
}

// details asks Apple for the devices, in the order of the serials.
func details(ctx context.Context, client *abm.Client, serials []string) ([]abm.Device, error) {
	devices := make([]abm.Device, 0, len(serials))
	for chunk := range slices.Chunk(serials, abm.MaxLimit) {
		records, err := client.DeviceDetails(ctx, chunk...)
		if err != nil {
			return nil, err
		}
		for _, serial := range chunk {
			d, ok := records[serial]
			if !ok {
				d.ResponseStatus = "NO_ANSWER"
			}
			d.SerialNumber = serial
			devices = append(devices, d)
		}
	}
	return devices, nil
}

func printTable(w io.Writer, devices []abm.Device) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "SERIAL\tANSWER\tMODEL\tFAMILY\tPROFILE\tPROFILE UUID\tASSIGNED\tPUSHED\tON THIS SERVER SINCE")
	for _, d := range devices {
		_, _ = fmt.Fprintln(t, strings.Join([]string{
			d.SerialNumber, string(d.ResponseStatus), orDash(d.Model), orDash(d.DeviceFamily), orDash(string(d.ProfileStatus)),
			orDash(d.ProfileUUID), date(d.ProfileAssignTime), date(d.ProfilePushTime), date(d.DeviceAssignedDate),
		}, "\t"))
	}
	return t.Flush()
}

func printJSON(w io.Writer, devices []abm.Device) error {
	for _, d := range devices {
		doc := []byte(d.Document)
		if len(doc) == 0 {
			var err error
			if doc, err = json.Marshal(map[string]string{
				"serial_number": d.SerialNumber, "response_status": string(d.ResponseStatus),
			}); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "%s\n", doc); err != nil {
			return err
		}
	}
	return nil
}

func orDash(s string) string { return cmp.Or(s, "-") }

func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
