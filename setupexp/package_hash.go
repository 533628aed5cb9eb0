package setupexp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// DefaultChunkSize is the chunk size of package hashes: 10 MiB.
const DefaultChunkSize = 10 << 20

// HashPackage reads a package to its end and returns its size and the SHA-256 hex digests of its chunks of chunkSize
// bytes, as [PackageSpec] has them. The device checks each chunk as it arrives.
func HashPackage(r io.Reader, chunkSize int64) (size int64, sha256s []string, err error) {
	if chunkSize <= 0 {
		return 0, nil, fmt.Errorf("setupexp: hash package: chunk size %d is not positive", chunkSize)
	}
	for {
		h := sha256.New()
		n, err := io.CopyN(h, r, chunkSize)
		if n > 0 {
			size += n
			sha256s = append(sha256s, hex.EncodeToString(h.Sum(nil)))
		}
		if errors.Is(err, io.EOF) {
			return size, sha256s, nil
		}
		if err != nil {
			return 0, nil, fmt.Errorf("setupexp: hash package: %w", err)
		}
	}
}
