package memory

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/enrollkit/enrollkit/storage"
)

// Documents in one array do not reach into each other, whatever their sizes.
func TestArenaKeepsDocumentsApart(t *testing.T) {
	t.Parallel()
	var a arena
	var in, out [][]byte
	for i := range 300 {
		b := bytes.Repeat([]byte{byte(i)}, i*37%(arenaSize/3)+1)
		in, out = append(in, b), append(out, a.clone(b))
	}
	for i := range out {
		_ = append(out[i], 0xff) // must not be written into the neighbour
	}
	assert.Equal(t, in, out)
	assert.Nil(t, a.clone([]byte{}))
	in[0][0]++
	assert.NotEqual(t, in[0], out[0], "a copy")
}

// What is written again stays where it is; new records that share an array are records of their own.
func TestPut(t *testing.T) {
	t.Parallel()
	m := map[string]*storage.Assignment{}
	write := func(profile string, from, to int) int {
		var rows []storage.Assignment
		for i := from; i < to; i++ {
			rows = append(rows, storage.Assignment{Serial: fmt.Sprint(i), Profile: profile})
		}
		return put(m, rows, func(a *storage.Assignment) string { return a.Serial }, storeAssignment)
	}
	assert.Equal(t, 40, write("first", 0, 40))
	before := m["7"]
	assert.Equal(t, 5, write("second", 5, 45))
	assert.Same(t, before, m["7"])
	for serial, a := range m {
		assert.Equal(t, serial, a.Serial)
	}
	assert.Equal(t, "first", m["4"].Profile)
	assert.Equal(t, "second", m["5"].Profile)
	assert.Equal(t, "second", m["44"].Profile)
	assert.Len(t, m, 45)
}
