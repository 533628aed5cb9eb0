package memory

import "github.com/enrollkit/enrollkit/storage"

// log is a list of activities that only grows. It is kept in blocks, so that growing copies nothing: a large fleet that is
// read for the first time writes millions.
type log struct {
	blocks  [][]storage.Activity
	details arena
	size    int
}

const logBlock = 1024

func (l *log) add(a storage.Activity) {
	if l.size%logBlock == 0 {
		l.blocks = append(l.blocks, make([]storage.Activity, 0, logBlock))
	}
	last := &l.blocks[len(l.blocks)-1]
	*last = append(*last, a)
	l.size++
}

// at returns activity i, from 0. It is not the caller's to change.
func (l *log) at(i int) *storage.Activity { return &l.blocks[i/logBlock][i%logBlock] }
