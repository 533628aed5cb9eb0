package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	serveIfAsked()
	os.Exit(m.Run())
}

// TestRun does all of the work once, with few devices. Both sides must have read or assigned all of them; how long it takes
// is not looked at.
func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := plan{devices: 1100, rounds: 1, latencies: []time.Duration{time.Millisecond}, decodes: 1, full: 1001}
	require.NoError(t, p.run(t.Context(), &out))
	for _, want := range []string{"decode a page", "fetch 1100 devices", "answers after 1ms", "assign a profile to 1100", "fetch 1001 devices", "inventory into memory", "SQLite"} {
		assert.Contains(t, out.String(), want)
	}
	assert.NotContains(t, out.String(), "NaN")
}

func TestPages(t *testing.T) {
	t.Parallel()
	p := newPages(2500)
	assert.Contains(t, string(p.page(1)), `"serial_number":"C02000001999"`)
	for n, want := range []int{1000, 1000, 500, 0} {
		for _, decode := range []func([]byte) (int, error){nanodepDecode, ourDecode(), ourDecodeOnce} {
			got, err := decode(p.page(n))
			require.NoError(t, err)
			assert.Equal(t, want, got)
		}
	}
}

func TestMeasureCountsDevices(t *testing.T) {
	t.Parallel()
	_, err := measure(2, func() (int, error) { return 1, nil })
	assert.ErrorContains(t, err, "1 devices instead of 2")
}

func BenchmarkDecode(b *testing.B) {
	page := newPages(pageSize).page(0)
	for name, decode := range map[string]func([]byte) (int, error){
		"nanodep": nanodepDecode, "enrollkit": ourDecode(), "enrollkit-new-page": ourDecodeOnce,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := decode(page)
				require.NoError(b, err)
			}
			b.ReportMetric(pageSize*float64(b.N)/b.Elapsed().Seconds(), "devices/s")
		})
	}
}

func BenchmarkFetch(b *testing.B) {
	const n = 20_000
	url, stop, err := startApple(b.Context(), n, 0)
	require.NoError(b, err)
	defer stop()
	for name, j := range map[string]job{
		"nanodep-client":      plain(func() (int, error) { return nanodepClient(b.Context(), url) }),
		"enrollkit-client":    plain(func() (int, error) { return ourClient(b.Context(), url) }),
		"nanodep-syncer":      plain(func() (int, error) { return nanodepSyncer(b.Context(), url) }),
		"enrollkit-inventory": warmed(engineSync(b.Context(), openMemory, nothing, url)),
		"enrollkit-memory":    warmed(engineSync(b.Context(), openMemory, oneProfile, url)),
		"enrollkit-sqlite":    engineSync(b.Context(), openSQLite, oneProfile, url),
	} {
		b.Run(name, func(b *testing.B) { benchmark(b, n, j) })
	}
}

func BenchmarkAssign(b *testing.B) {
	const n = 20_000
	url, stop, err := startApple(b.Context(), n, 0)
	require.NoError(b, err)
	defer stop()
	for name, j := range map[string]job{
		"nanodep-client":   plain(func() (int, error) { return nanodepAssign(b.Context(), url, n) }),
		"enrollkit-memory": warmed(engineAssign(b.Context(), openMemory, url)),
		"enrollkit-sqlite": engineAssign(b.Context(), openSQLite, url),
	} {
		b.Run(name, func(b *testing.B) { benchmark(b, n, j) })
	}
}

func benchmark(b *testing.B, n int, j job) {
	b.Helper()
	var rs []result
	for b.Loop() {
		r, err := once(n, j)
		require.NoError(b, err)
		rs = append(rs, r)
	}
	m := medians(rs)
	b.ReportMetric(float64(n)/m.time.Seconds(), "devices/s")
	b.ReportMetric(float64(m.bytes)/float64(n), "B/device")
	b.ReportMetric(mb(m.peak), "peak-MB")
}
