package cms

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// ErrLimits means that a document is made to cost its reader more than any real one does.
var ErrLimits = errors.New("cms: document exceeds the limits")

// Limits of a document. Those of Apple's devices nest a dozen levels, have some hundred elements and three certificates
// with keys of at most 4096 bits (observed). Documents come from anybody, and each of these costs more than its size
// says: the library turns nested BER into DER once a level, and a signature by a key of 64 KiB takes minutes to check.
const (
	maxDepth        = 32
	maxElements     = 1 << 14
	maxCertificates = 8
	maxRSABits      = 4096
	maxRSAExponent  = 1<<16 + 1
)

func checkCertificates(certs []*x509.Certificate) error {
	if len(certs) > maxCertificates {
		return fmt.Errorf("%w: %d certificates", ErrLimits, len(certs))
	}
	for _, c := range certs {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && (key.N.BitLen() > maxRSABits || key.E > maxRSAExponent) {
			return fmt.Errorf("%w: RSA key of %d bits with exponent %d", ErrLimits, key.N.BitLen(), key.E)
		}
	}
	return nil
}

var errBER = errors.New("malformed BER")

// checkNesting walks through BER the way the library's reader does, oddities included: it has to see every element the
// reader would, and must fail where the reader goes deep or reads the same bytes again and again.
func checkNesting(ber []byte) error {
	w := walker{ber: ber}
	_, err := w.element(0, 1)
	return err
}

type walker struct {
	ber      []byte
	elements int
}

// element walks through the element at offset and returns the offset behind it.
func (w *walker) element(offset, depth int) (int, error) {
	if w.elements++; w.elements > maxElements || depth > maxDepth {
		return 0, fmt.Errorf("%w: %d elements, %d deep", ErrLimits, w.elements, depth)
	}
	constructed, offset, err := w.tag(offset)
	if err != nil {
		return 0, err
	}
	length, indefinite, offset, err := w.length(offset)
	if err != nil || length > len(w.ber)-offset || indefinite && !constructed {
		return 0, errBER
	}
	end := offset + length
	if !constructed {
		return end, nil
	}
	for offset < end || indefinite {
		if offset, err = w.element(offset, depth+1); err != nil {
			return 0, err
		}
		if indefinite && len(w.ber)-offset < 2 {
			return 0, errBER
		}
		if indefinite && w.ber[offset] == 0 && w.ber[offset+1] == 0 {
			return offset + 2, nil
		}
	}
	return end, nil // the reader goes on here, wherever the last element ended
}

// tag reads an identifier; in the long form, bytes with the high bit set go on and one more ends it.
func (w *walker) tag(offset int) (constructed bool, next int, err error) {
	if offset >= len(w.ber) {
		return false, 0, errBER
	}
	b := w.ber[offset]
	offset++
	if b&0x1f == 0x1f {
		for offset < len(w.ber) && w.ber[offset] >= 0x80 {
			offset++
		}
		offset++
	}
	if offset >= len(w.ber) {
		return false, 0, errBER
	}
	return b&0x20 != 0, offset, nil
}

// length reads a length of at most four bytes.
func (w *walker) length(offset int) (length int, indefinite bool, next int, err error) {
	l := int(w.ber[offset])
	offset++
	switch {
	case l == 0x80:
		return 0, true, offset, nil
	case l < 0x80:
		return l, false, offset, nil
	}
	n := l & 0x7f
	if n > 4 || n > len(w.ber)-offset || n == 4 && w.ber[offset] > 0x7f {
		return 0, false, 0, errBER
	}
	for _, b := range w.ber[offset : offset+n] {
		length = length<<8 | int(b)
	}
	return length, false, offset + n, nil
}
