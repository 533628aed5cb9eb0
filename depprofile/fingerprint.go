package depprofile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrFingerprint means that a text is not 64 hexadecimal digits.
var ErrFingerprint = errors.New("depprofile: malformed fingerprint")

// Fingerprint is the SHA-256 of a profile's canonical JSON. It identifies content: Apple's profiles cannot be changed, so
// equal fingerprints mean that a profile defined before can be used again. It is comparable and its zero value
// belongs to no profile.
type Fingerprint [sha256.Size]byte

// Fingerprint returns the SHA-256 of [Profile.Canonical], whose documentation says what counts. A new version of this package
// that knows more keys gives the same fingerprint for a profile that had them in Extra.
func (p *Profile) Fingerprint() (Fingerprint, error) {
	b, err := p.Canonical()
	if err != nil {
		return Fingerprint{}, err
	}
	return sha256.Sum256(b), nil
}

// ParseFingerprint reads the form of [Fingerprint.String], in either case. It returns [ErrFingerprint] for other text.
func ParseFingerprint(s string) (Fingerprint, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size {
		return Fingerprint{}, fmt.Errorf("%w: want %d hexadecimal digits, got %d bytes", ErrFingerprint, 2*sha256.Size, len(s))
	}
	return Fingerprint(b), nil
}

// String returns 64 lower-case hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// MarshalText returns the form of [Fingerprint.String].
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is [ParseFingerprint]. On error f is unchanged.
func (f *Fingerprint) UnmarshalText(text []byte) error {
	g, err := ParseFingerprint(string(text))
	if err != nil {
		return err
	}
	*f = g
	return nil
}
