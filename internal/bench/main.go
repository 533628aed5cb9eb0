// Command bench does the same work with enrollkit and with nanodep and prints how they compare. Only the ratios mean
// something: both sides run in turns, in one process, on one machine, against one server. The server is in another process.
//
// It is a module of its own, never tagged: what it compares with is no business of those who import the library.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// plan says how much is measured.
type plan struct {
	devices   int
	rounds    int
	latencies []time.Duration
	decodes   int // how often a page is decoded in one measurement
	full      int // devices of the one large fetch; 0 for none
}

func main() {
	serveIfAsked()
	p := plan{decodes: 50}
	flag.IntVar(&p.devices, "devices", 100_000, "how many devices are fetched")
	flag.IntVar(&p.rounds, "rounds", 3, "how often each side does its work; medians count")
	latencies := flag.String("latency", "0s,50ms,200ms", "how long the server takes to answer")
	flag.Parse()
	for _, s := range strings.Split(*latencies, ",") {
		d, err := time.ParseDuration(s)
		if err != nil {
			fatal(err)
		}
		p.latencies = append(p.latencies, d)
	}
	if os.Getenv("BENCH_FULL") != "" {
		p.full = 1_000_000
	}
	if err := p.run(context.Background(), os.Stdout); err != nil {
		fatal(err)
	}
}

func (p plan) run(ctx context.Context, w io.Writer) error {
	t := &table{w: w}
	t.head()
	if err := p.decode(t); err != nil {
		return err
	}
	for _, latency := range p.latencies {
		if err := p.fetch(ctx, t, p.devices, latency, p.roundsAt(latency)); err != nil {
			return err
		}
	}
	if err := p.assign(ctx, t); err != nil {
		return err
	}
	if p.full > 0 {
		return p.fetch(ctx, t, p.full, 0, 1)
	}
	return nil
}

// roundsAt returns how often work is done that mostly waits: it is slow, and steady.
func (p plan) roundsAt(latency time.Duration) int {
	if latency > 0 {
		return 1
	}
	return p.rounds
}

// decode compares reading one page of a thousand devices.
func (p plan) decode(t *table) error {
	times := p.decodes
	page := newPages(2 * pageSize).page(0)
	repeat := func(f func([]byte) (int, error)) func() (int, error) {
		return func() (n int, err error) {
			for range times {
				if n, err = f(page); err != nil {
					break
				}
			}
			return n * times, err
		}
	}
	theirs, ours, once := repeat(nanodepDecode), repeat(ourDecode()), repeat(ourDecodeOnce)
	rs, err := interleave(max(p.rounds, 3)*3, times*pageSize, plain(theirs), plain(ours), plain(once))
	if err != nil {
		return err
	}
	t.section(fmt.Sprintf("decode a page of %d devices, %d bytes each, digest included", pageSize, len(page)/pageSize))
	t.row("nanodep godep types", rs[0], rs[0], times*pageSize)
	t.row("enrollkit, page used again (as the engine does)", rs[1], rs[0], times*pageSize)
	t.row("enrollkit, new page", rs[2], rs[0], times*pageSize)
	return nil
}

// fetch compares reading the full list of n devices from a server.
func (p plan) fetch(ctx context.Context, t *table, n int, latency time.Duration, rounds int) error {
	url, stop, err := startApple(ctx, n, latency)
	if err != nil {
		return err
	}
	defer stop()
	jobs := []job{
		plain(func() (int, error) { return nanodepClient(ctx, url) }),
		plain(func() (int, error) { return ourClient(ctx, url) }),
		plain(func() (int, error) { return nanodepSyncer(ctx, url) }),
		warmed(engineSync(ctx, openMemory, nothing, url)),
		warmed(engineSync(ctx, openMemory, oneProfile, url)),
	}
	onDisk := n <= 200_000 // more takes SQLite minutes
	if onDisk {
		jobs = append(jobs, engineSync(ctx, openSQLite, oneProfile, url))
	}
	rs, err := interleave(rounds, n, jobs...)
	if err != nil {
		return err
	}
	t.section(fmt.Sprintf("fetch %d devices, %d per page, server answers after %s", n, pageSize, latency))
	t.row("nanodep godep client", rs[0], rs[0], n)
	t.row("enrollkit client", rs[1], rs[0], n)
	t.row("nanodep syncer, empty callback, stores nothing", rs[2], rs[2], n)
	t.row("enrollkit engine, inventory into memory", rs[3], rs[2], n)
	t.row("the same and assignments into memory", rs[4], rs[2], n)
	if onDisk {
		t.row("the same and assignments into SQLite", rs[5], rs[2], n)
	}
	return nil
}

// assign compares assigning a profile to devices. The engine has fetched them before, and records what came of each.
func (p plan) assign(ctx context.Context, t *table) error {
	url, stop, err := startApple(ctx, p.devices, 0)
	if err != nil {
		return err
	}
	defer stop()
	rs, err := interleave(p.rounds, p.devices,
		plain(func() (int, error) { return nanodepAssign(ctx, url, p.devices) }),
		warmed(engineAssign(ctx, openMemory, url)),
		engineAssign(ctx, openSQLite, url),
	)
	if err != nil {
		return err
	}
	t.section(fmt.Sprintf("assign a profile to %d devices, %d per call, no latency", p.devices, pageSize))
	t.row("nanodep godep client, results counted", rs[0], rs[0], p.devices)
	t.row("enrollkit engine, results kept in memory", rs[1], rs[0], p.devices)
	t.row("enrollkit engine, results kept in SQLite", rs[2], rs[0], p.devices)
	return nil
}
