package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"syscall"
	"time"
)

// result is what one piece of work cost.
type result struct {
	time   time.Duration
	cpu    time.Duration // of this process, all threads, garbage collection included
	bytes  uint64        // allocated
	allocs uint64
	peak   uint64 // the most of the heap that was in use, garbage included, above what was there before
	kept   uint64 // what the heap holds after it, above what was there before: the memory store
	beside uint64 // the most that a garbage collection found in use, above what is kept: what the work itself needs
}

// measure does work once, which must be done for n devices.
func measure(n int, work func() (int, error)) (result, error) {
	runtime.GC()
	runtime.GC() // what pools hold goes with the second one
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stop := watchHeap()
	start, startCPU := time.Now(), cpuTime()
	got, err := work()
	took, cpu := time.Since(start), cpuTime()-startCPU
	peak, live := stop()
	runtime.ReadMemStats(&after)
	if err == nil && got != n {
		err = fmt.Errorf("%d devices instead of %d", got, n)
	}
	if err != nil {
		return result{}, err
	}
	runtime.GC()
	kept, _ := heapInUse()
	base := before.HeapAlloc
	return result{
		time: took, cpu: cpu, bytes: after.TotalAlloc - before.TotalAlloc, allocs: after.Mallocs - before.Mallocs,
		peak: max(peak, base) - base, kept: max(kept, base) - base, beside: max(live, kept) - kept,
	}, nil
}

// cpuTime returns what this process has used of the processors. On a machine that others use as well it tells more than the
// time that has passed.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heapInUse returns what is on the heap, garbage included, and what of it was in use when garbage was collected last.
func heapInUse() (all, live uint64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64(), sample[1].Value.Uint64()
}

// watchHeap samples the heap until stop is called, which returns the most it saw of both.
func watchHeap() (stop func() (all, live uint64)) {
	done, peak := make(chan struct{}), make(chan [2]uint64)
	go func() {
		var highest [2]uint64
		look := func() {
			all, live := heapInUse()
			highest[0], highest[1] = max(highest[0], all), max(highest[1], live)
		}
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look()
			case <-done:
				look()
				peak <- highest
				return
			}
		}
	}()
	return func() (all, live uint64) {
		close(done)
		most := <-peak
		return most[0], most[1]
	}
}

// medians returns the median of each figure.
func medians(rs []result) result {
	return result{
		time:   median(rs, func(r result) time.Duration { return r.time }),
		cpu:    median(rs, func(r result) time.Duration { return r.cpu }),
		bytes:  median(rs, func(r result) uint64 { return r.bytes }),
		allocs: median(rs, func(r result) uint64 { return r.allocs }),
		peak:   median(rs, func(r result) uint64 { return r.peak }),
		kept:   median(rs, func(r result) uint64 { return r.kept }),
		beside: median(rs, func(r result) uint64 { return r.beside }),
	}
}

func median[T time.Duration | uint64](rs []result, of func(result) T) T {
	vs := make([]T, len(rs))
	for i, r := range rs {
		vs[i] = of(r)
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// job is work that is measured. prepare, which is not, returns it with what cleans up after it.
type job func() (work func() (int, error), cleanUp func() error, err error)

// plain is a job that needs no preparation.
func plain(work func() (int, error)) job {
	return func() (func() (int, error), func() error, error) { return work, func() error { return nil }, nil }
}

// warmed is j, done once before without being measured. A virtual machine takes its time to hand out memory that was not used
// lately; that is not what is to be measured, and would fall on the side that stores what it reads.
func warmed(j job) job {
	return func() (func() (int, error), func() error, error) {
		work, cleanUp, err := j()
		if err != nil {
			return nil, nil, err
		}
		_, err = work()
		if err = errors.Join(err, cleanUp()); err != nil {
			return nil, nil, err
		}
		return j()
	}
}

// engineSync is the job of reading the full list with a new engine on an empty store.
func engineSync(ctx context.Context, open opener, want wish, url string) job {
	return func() (func() (int, error), func() error, error) {
		e, err := newEngine(ctx, open, want, url)
		if err != nil {
			return nil, nil, err
		}
		return func() (int, error) { return e.sync(ctx) }, e.close, nil
	}
}

// engineAssign is the job of assigning a profile to all devices, which were read before.
func engineAssign(ctx context.Context, open opener, url string) job {
	return func() (func() (int, error), func() error, error) {
		e, err := newEngine(ctx, open, oneProfile, url)
		if err != nil {
			return nil, nil, err
		}
		if _, err := e.sync(ctx); err != nil {
			return nil, nil, errors.Join(err, e.close())
		}
		return func() (int, error) { return e.assign(ctx) }, e.close, nil
	}
}

// interleave does the jobs in turns, so that whatever else the machine does meets all of them, and returns the medians of
// each.
func interleave(rounds, n int, jobs ...job) ([]result, error) {
	all := make([][]result, len(jobs))
	for range rounds {
		for i, prepare := range jobs {
			r, err := once(n, prepare)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], r)
		}
	}
	out := make([]result, len(jobs))
	for i := range all {
		out[i] = medians(all[i])
	}
	return out, nil
}

func once(n int, prepare job) (result, error) {
	work, cleanUp, err := prepare()
	if err != nil {
		return result{}, err
	}
	r, err := measure(n, work)
	return r, errors.Join(err, cleanUp())
}
