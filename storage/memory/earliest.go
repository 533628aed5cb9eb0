package memory

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// deadline is when the record with a key is due.
type deadline struct {
	at  time.Time
	key string
}

func compareDeadlines(a, b deadline) int {
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.key, b.key))
}

// earliest keeps the first few of many deadlines: a heap with the last of them on top. Sorting all that is due, for the few
// that are asked for, takes a second in a large store.
type earliest struct {
	limit int
	kept  []deadline
}

func (e *earliest) add(d deadline) {
	switch {
	case len(e.kept) < e.limit:
		heap.Push(e, d)
	case e.limit > 0 && compareDeadlines(d, e.kept[0]) < 0:
		e.kept[0] = d
		heap.Fix(e, 0)
	}
}

// keys returns the keys of what was kept, the longest due first, then by key.
func (e *earliest) keys() []string {
	slices.SortFunc(e.kept, compareDeadlines)
	keys := make([]string, len(e.kept))
	for i, d := range e.kept {
		keys[i] = d.key
	}
	return keys
}

// Len implements heap.Interface.
func (e *earliest) Len() int { return len(e.kept) }

// Less implements heap.Interface.
func (e *earliest) Less(i, j int) bool { return compareDeadlines(e.kept[i], e.kept[j]) > 0 }

// Swap implements heap.Interface.
func (e *earliest) Swap(i, j int) { e.kept[i], e.kept[j] = e.kept[j], e.kept[i] }

// Push implements heap.Interface.
func (e *earliest) Push(d any) { e.kept = append(e.kept, d.(deadline)) }

// Pop implements heap.Interface.
func (e *earliest) Pop() any {
	last := e.kept[len(e.kept)-1]
	e.kept = e.kept[:len(e.kept)-1]
	return last
}
