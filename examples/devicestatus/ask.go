package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/examples/internal/sqlitedb"
)

// ask prints what Apple says about devices now.
func ask(ctx context.Context, db *sqlitedb.DB, c config, stdout io.Writer) error {
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
		if len(all) == 0 {
			return nil, errors.New("there is no account in the database")
		}
		if len(all) > 1 {
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
