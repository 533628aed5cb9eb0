// Package pagecursor makes the opaque cursors that pages of a list are continued with.
//
// A cursor holds the key of the last record of a page and a checksum over the list, its filter and that key, so that a
// cursor of another list, of another filter, or a damaged one is told apart. It is no secret and no proof: who forges
// one only chooses where a list goes on that they may read anyway.
package pagecursor

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// version is the first byte of every cursor; it changes with the format.
const version = 1

const sumSize = 8

// Encode returns the cursor that continues after key in the named list, narrowed by filter.
func Encode(list string, filter []string, key string) string {
	b := append([]byte{version}, sum(list, filter, key)...)
	return base64.RawURLEncoding.EncodeToString(append(b, key...))
}

// Decode returns the key a cursor continues after. It reports false if the cursor was not made by Encode for this list
// and this filter.
func Decode(cursor, list string, filter []string) (key string, ok bool) {
	if strings.ContainsAny(cursor, "\r\n") { // the decoder, though strict, skips line breaks
		return "", false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 1+sumSize || b[0] != version {
		return "", false
	}
	key = string(b[1+sumSize:])
	if string(b[1:1+sumSize]) != string(sum(list, filter, key)) {
		return "", false
	}
	return key, true
}

// sum is unambiguous because every part is preceded by its length.
func sum(list string, filter []string, key string) []byte {
	var b []byte
	for _, part := range append([]string{list, key}, filter...) {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	h := sha256.Sum256(b)
	return h[:sumSize]
}
