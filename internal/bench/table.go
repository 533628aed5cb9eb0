package main

import (
	"fmt"
	"io"
	"time"
)

// table prints results as plain text. What a row is compared with is the last row of nanodep above it.
type table struct{ w io.Writer }

func (t *table) head() {
	fmt.Fprintf(t.w, "%-48s %10s %8s %8s %8s %10s %7s %8s %8s %8s %9s\n",
		"", "devices/s", "faster", "us CPU", "less CPU", "bytes/dev", "part", "allocs", "peak MB", "kept MB", "beside MB")
}

func (t *table) section(title string) { fmt.Fprintf(t.w, "\n%s\n", title) }

// row prints what r cost for n devices, beside base.
func (t *table) row(name string, r, base result, n int) {
	per := func(v uint64) float64 { return float64(v) / float64(n) }
	fmt.Fprintf(t.w, "  %-46s %10.0f %7.2fx %8.2f %7.2fx %10.0f %6.0f%% %8.2f %8.1f %8.1f %9.1f\n", name,
		float64(n)/r.time.Seconds(), ratio(base.time, r.time), float64(r.cpu.Microseconds())/float64(n), ratio(base.cpu, r.cpu),
		per(r.bytes), 100*ratio(r.bytes, base.bytes), per(r.allocs), mb(r.peak), mb(r.kept), mb(r.beside))
}

func ratio[T time.Duration | uint64](a, b T) float64 { return float64(a) / float64(max(b, 1)) }

func mb(bytes uint64) float64 { return float64(bytes) / (1 << 20) }
