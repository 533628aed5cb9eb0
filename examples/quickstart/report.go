package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// follow prints where the devices are until ctx ends or done is true: one line that is rewritten on a terminal, else a
// line whenever something has moved, at most two a second.
func follow(ctx context.Context, w io.Writer, b *board, done func(snapshot) bool) error {
	term := isTerminal(w)
	last := ""
	for {
		s, changed := b.Snapshot()
		if line := progressLine(s); line != last {
			last = line
			if term {
				line = "\r\x1b[K" + line
			} else {
				line += "\n"
			}
			_, _ = io.WriteString(w, line)
		}
		if done(s) {
			if term {
				_, _ = io.WriteString(w, "\n")
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func progressLine(s snapshot) string {
	var parts []string
	for i, n := range s.Counts {
		if stage(i) != stageSetup { // as many as enrolled; the line has to fit 80 columns
			parts = append(parts, fmt.Sprintf("%s %d", strings.ToLower(s.Stages[i]), n))
		}
	}
	return strings.Join(parts, ", ")
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// summary prints a table of the devices that have booted.
func summary(w io.Writer, s snapshot, failures map[string]error) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\nSERIAL\tDEVICE\tUSER\tSTAGE\tITEMS\tTOOK\tPROBLEM")
	for _, r := range s.Rows {
		good := 0
		for _, it := range r.Items {
			if it.State == "succeeded" || it.State == "skipped" {
				good++
			}
		}
		took := "-"
		if r.Stage == stageReleased {
			took = fmt.Sprintf("%.1f s", r.Seconds)
		}
		problem := ""
		if err := failures[r.Serial]; err != nil {
			problem = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d/%d\t%s\t%s\n",
			r.Serial, r.Model, r.User, r.Stage, good, r.Planned, took, problem)
	}
	return t.Flush()
}

// timeline prints all activities of one device, in UTC.
func timeline(ctx context.Context, w io.Writer, store storage.ActivityStore, serial string) error {
	_, _ = fmt.Fprintf(w, "\nTimeline of %s\n", serial)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	page := storage.Page{Limit: storage.MaxPageSize}
	for {
		acts, next, err := store.ListActivities(ctx, storage.ActivityFilter{Serial: serial}, page)
		if err != nil {
			return err
		}
		for _, a := range acts {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", a.At.UTC().Format("15:04:05.000Z"), a.Actor, a.Kind, a.Detail)
		}
		if next == "" {
			return t.Flush()
		}
		page.After = next
	}
}
