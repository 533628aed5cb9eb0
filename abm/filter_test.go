package abm

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	const n = 100_000
	f := newFilter(n)
	assert.LessOrEqual(t, len(f.bits)*8, 2<<20)
	for i := range n {
		f.add(fmt.Sprint("C02", i))
	}
	for i := range n {
		if !f.has(fmt.Sprint("C02", i)) {
			t.Fatal("a device that is there is never taken for absent")
		}
	}
	hidden := 0
	for i := range n {
		if f.has(fmt.Sprint("F17", i)) {
			hidden++
		}
	}
	assert.LessOrEqual(t, hidden, 1)
}

// One that hides a device does so until the next sweep only, and it takes no more space than it may.
func TestFilterOverfilled(t *testing.T) {
	t.Parallel()
	hidden := make(map[string]int)
	for range 8 {
		f := newFilter(0)
		assert.Len(t, f.bits, minFilter/8)
		for i := range 8_000 {
			f.add(fmt.Sprint("C02", i))
		}
		for i := range 1000 {
			if s := fmt.Sprint("F17", i); f.has(s) {
				hidden[s]++
			}
		}
	}
	assert.NotEmpty(t, hidden)
	for s, times := range hidden {
		assert.Less(t, times, 8, s)
	}
	assert.Len(t, newFilter(50_000_000).bits, maxFilter/8)
}
