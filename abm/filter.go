package abm

import "hash/maphash"

// Sizes of a filter, in bytes. With eight bytes for each device one absent device in a hundred million is taken for present;
// at the largest size that holds up to a million devices, and among ten million it is one in twenty.
const (
	minFilter = 8 << 10
	maxFilter = 8 << 20
)

// filter remembers serials in a fixed space, whatever their number: a Bloom filter. It may take a serial for one that it was given, never the
// other way round: an absent device can stay hidden, until the next sweep, whose filter has another seed.
type filter struct {
	seed maphash.Seed
	bits []uint64
}

// filterHashes is how many bits a serial sets.
const filterHashes = 8

// newFilter returns one for so many devices that may be missed. More may be added: they are not missed.
func newFilter(devices int) *filter {
	words := minFilter / 8
	for words < min(devices, maxFilter/8) {
		words *= 2
	}
	return &filter{seed: maphash.MakeSeed(), bits: make([]uint64, words)}
}

func (f *filter) add(serial string) {
	h, step := f.hash(serial)
	for range filterHashes {
		f.bits[h%uint64(len(f.bits)*64)/64] |= 1 << (h % 64)
		h += step
	}
}

func (f *filter) has(serial string) bool {
	h, step := f.hash(serial)
	for range filterHashes {
		if f.bits[h%uint64(len(f.bits)*64)/64]&(1<<(h%64)) == 0 {
			return false
		}
		h += step
	}
	return true
}

// hash returns where the bits of a serial begin, and how far they are apart: odd, so that they differ.
func (f *filter) hash(serial string) (first, step uint64) {
	h := maphash.String(f.seed, serial)
	return h, h>>32 | h<<32 | 1
}
