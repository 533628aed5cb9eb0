package plist

import (
	"encoding/binary"
	"errors"
)

// Limits of a binary property list. Apple's own are far below.
const (
	maxDepth = 64
	// maxExpanded bounds the bytes of all objects once every reference is followed, beside some times the document: a
	// string may rightly be referenced from many places, an array that leads to itself may not.
	maxExpanded = 8 << 20
)

var errBinary = errors.New("plist: unmarshal: malformed binary document")

// binaryDocument is a binary property list on its way to the library. The library follows references without looking
// where they lead: a document of 43 bytes whose array contains itself overflows the stack, which ends the process and
// cannot be recovered from, and one whose arrays contain each other twice fills the memory. So all references are
// followed here first.
//
// The form is described in Apple's CFBinaryPList.c.
type binaryDocument struct {
	data          []byte
	offsets       []byte
	offsetSize    int
	refSize       int
	objects, root uint64
	budget        int
}

// checkBinary returns an error for a binary property list the library would choke on.
func checkBinary(data []byte) error {
	if len(data) < 8+1+1+32 {
		return errBinary
	}
	trailer := data[len(data)-32:]
	d := binaryDocument{
		data: data[:len(data)-32], offsetSize: int(trailer[6]), refSize: int(trailer[7]),
		objects: binary.BigEndian.Uint64(trailer[8:]), root: binary.BigEndian.Uint64(trailer[16:]),
		budget: maxExpanded + 16*len(data),
	}
	table, size := binary.BigEndian.Uint64(trailer[24:]), uint64(len(d.data))
	switch {
	case d.offsetSize < 1 || d.offsetSize > 8 || d.refSize < 1 || d.refSize > 8:
		return errBinary
	case d.objects > size || table > size || d.objects*uint64(d.offsetSize) > size-table:
		return errBinary
	}
	d.offsets = d.data[table : table+d.objects*uint64(d.offsetSize)]
	return d.object(d.root, 0)
}

// object follows one object and all it refers to.
func (d *binaryDocument) object(index uint64, depth int) error {
	if index >= d.objects || depth > maxDepth {
		return errBinary
	}
	at := int(index) * d.offsetSize //nolint:gosec // below the number of objects, which is below the size of the document
	offset := number(d.offsets[at : at+d.offsetSize])
	if offset >= uint64(len(d.data)) {
		return errBinary
	}
	rest := d.data[offset:]
	marker, rest := rest[0], rest[1:]
	switch marker >> 4 {
	case 0x0, 0x1, 0x2, 0x3, 0x8, 0xc: // of fixed size, or not read by the library
		return d.spend(16)
	}
	count, rest, ok := countOf(marker, rest)
	if !ok || count > uint64(len(rest)) {
		return errBinary
	}
	refs := uint64(0)
	switch marker >> 4 {
	case 0x4, 0x5: // data, ASCII
	case 0x6: // UTF-16
		if 2*count > uint64(len(rest)) {
			return errBinary
		}
	case 0xa:
		refs = count
	case 0xd:
		refs = 2 * count
	default:
		return errBinary
	}
	if refs*uint64(d.refSize) > uint64(len(rest)) {
		return errBinary
	}
	if err := d.spend(16 + 16*int(count)); err != nil { //nolint:gosec // below the size of the document
		return err
	}
	for ; refs > 0; refs-- {
		if err := d.object(number(rest[:d.refSize]), depth+1); err != nil {
			return err
		}
		rest = rest[d.refSize:]
	}
	return nil
}

func (d *binaryDocument) spend(n int) error {
	if d.budget -= n; d.budget < 0 {
		return errBinary
	}
	return nil
}

// countOf reads the length of a data, string, array or dictionary object.
func countOf(marker byte, rest []byte) (count uint64, after []byte, ok bool) {
	if marker&0xf != 0xf {
		return uint64(marker & 0xf), rest, true
	}
	if len(rest) == 0 || rest[0]&0xf > 3 {
		return 0, nil, false
	}
	n := 1 << (rest[0] & 0xf)
	if len(rest) < 1+n {
		return 0, nil, false
	}
	return number(rest[1 : 1+n]), rest[1+n:], true
}

// number reads a big-endian number of up to 8 bytes.
func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}
