package abm

import (
	"fmt"
	"log/slog"
)

const redacted = "REDACTED"

// Secret is text that must not be printed. Every way of formatting, logging or encoding it gives REDACTED;
// [Secret.Reveal] returns the text.
type Secret string

// Reveal returns the secret text.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// Format implements fmt.Formatter: a verb that does not fit a string would print it otherwise.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, for JSON and all else that encodes.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
