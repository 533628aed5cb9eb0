package abm

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/micromdm/nanodep/albc"
)

// BypassCode opens a device that is locked to the organization; see [Client.ActivationLock]. It is a secret: every way of
// formatting, logging or encoding it gives REDACTED. Keep its 16 bytes sealed, with the device.
//
// A device has a second code, of its own making, and it is not known which of them the lock has: try both.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/creating-and-using-bypass-codes
type BypassCode [16]byte

// ErrBypassCode means that a text is no bypass code. It does not quote the text.
var ErrBypassCode = errors.New("abm: not a bypass code")

// NewBypassCode returns a code of 16 bytes from random, such as crypto/rand.Reader.
func NewBypassCode(random io.Reader) (BypassCode, error) {
	if random == nil {
		return BypassCode{}, errors.New("abm: new bypass code: no source of randomness")
	}
	var c BypassCode
	// nanodep's constructor takes a short read for a whole one.
	if _, err := io.ReadFull(random, c[:]); err != nil {
		return BypassCode{}, fmt.Errorf("abm: new bypass code: %w", err)
	}
	return c, nil
}

// The symbols of the human form, and its lengths in symbols and with dashes.
const (
	bypassAlphabet = "0123456789ACDEFGHJKLMNPQRTUVWXYZ"
	bypassSymbols  = 26
	bypassText     = 31
)

// ParseBypassCode reads the human form, in either case and with or without its dashes. It returns [ErrBypassCode] for
// anything else, including the letters B, I, O and S, which Apple leaves out as they look like digits.
func ParseBypassCode(s string) (BypassCode, error) {
	if len(s) != bypassSymbols && len(s) != bypassText {
		return BypassCode{}, ErrBypassCode
	}
	s = strings.ToUpper(s)
	symbols := strings.ReplaceAll(s, "-", "")
	if len(symbols) != bypassSymbols || strings.Trim(symbols, bypassAlphabet) != "" {
		return BypassCode{}, ErrBypassCode // nanodep would skip what is no symbol, and panics if that leaves too few
	}
	raw, err := albc.NewFromCode(s)
	if err != nil {
		return BypassCode{}, ErrBypassCode
	}
	// nanodep drops the upper bits of the last symbol, which holds three, and takes dashes anywhere. What was read says the
	// same as what was given only if it is written the same.
	c := BypassCode(raw)
	if t := c.Reveal(); t != s && (symbols != s || strings.ReplaceAll(t, "-", "") != s) {
		return BypassCode{}, ErrBypassCode
	}
	return c, nil
}

// Reveal returns the human form, such as 3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4.
func (c BypassCode) Reveal() string {
	s, err := albc.BypassCode(c).Code()
	if err != nil {
		panic(err) // fails for digits of more than 8 bits only
	}
	return s
}

// EscrowKey returns the hash of the code, for [Client.ActivationLock]. It takes some milliseconds. It fails where the
// process is confined to FIPS 140, which Apple's salt of four bytes does not meet.
func (c BypassCode) EscrowKey() (Secret, error) {
	h, err := albc.BypassCode(c).Hash()
	if err != nil {
		return "", fmt.Errorf("abm: bypass code: hash: %w", err)
	}
	return Secret(h), nil
}

// String implements fmt.Stringer.
func (BypassCode) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (BypassCode) GoString() string { return redacted }

// Format implements fmt.Formatter: a verb that does not fit a string would print the bytes.
func (BypassCode) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (BypassCode) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, for JSON and all else that encodes.
func (BypassCode) MarshalText() ([]byte, error) { return []byte(redacted), nil }
