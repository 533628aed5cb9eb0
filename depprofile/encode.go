package depprofile

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// MarshalJSON returns the whole profile with its keys sorted, Devices and ProfileUUID included. The order of skip items is kept.
// To define the profile at Apple send [Profile.Canonical].
//
// It fails only for text that is not UTF-8 and for an Extra that is not JSON or repeats a documented key.
func (p Profile) MarshalJSON() ([]byte, error) {
	values, errs := p.encodeMembers()
	if len(errs) > 0 {
		return nil, fmt.Errorf("depprofile: marshal: %w", errs)
	}
	return joinObject(values)
}

// Canonical returns the one JSON text of the profile's content. Profiles with the same content have the same text.
//
// It is RFC 8785: keys sorted, no white space, shortest string escapes; only numbers in Extra are kept as written,
// because rounding them to float64 would make different values equal. Skip items are sorted and named once, as Apple
// gives their order no meaning. Other lists keep their order. Devices and ProfileUUID are left out.
//
// Nothing is added: a key that is absent and a key explicitly set to Apple's default give different texts. That
// costs at most one more profile at Apple, while writing today's defaults into the text would tie stored
// fingerprints to them. Errors are those of [Profile.MarshalJSON].
func (p *Profile) Canonical() ([]byte, error) {
	values, errs := p.content().encodeMembers()
	if len(errs) > 0 {
		return nil, fmt.Errorf("depprofile: canonical: %w", errs)
	}
	return joinObject(values)
}

// content returns a shallow copy of p without what [Profile.Canonical] leaves out.
func (p *Profile) content() *Profile {
	var c Profile
	if p != nil {
		c = *p
	}
	c.Devices, c.ProfileUUID = nil, ""
	if c.SkipSetupItems != nil {
		c.SkipSetupItems = slices.Compact(slices.Sorted(slices.Values(c.SkipSetupItems)))
		if c.SkipSetupItems == nil {
			c.SkipSetupItems = []SkipKey{} // Sorted returns nil for no items, and [] is not absent
		}
	}
	return &c
}

// encodeMembers returns the JSON of every key that is present. It reports all that cannot be sent and still returns
// the best rendering of it, which Diff shows: U+FFFD for bytes that are not UTF-8, a string for what is not JSON.
func (p *Profile) encodeMembers() (map[string]jsontext.Value, KeyErrors) {
	var errs KeyErrors
	values := make(map[string]jsontext.Value, len(p.Extra)+16)
	for _, m := range p.members() {
		v, err := encode(m.field)
		if err != nil {
			errs = append(errs, &KeyError{Key: m.key, Reason: "the text is not valid UTF-8", Fix: "correct its encoding"})
		}
		if v != nil {
			values[m.key] = v
		}
	}
	for _, k := range slices.Sorted(maps.Keys(p.Extra)) {
		v, err := encodeExtra(k, p.Extra[k])
		if err != nil {
			errs = append(errs, err)
		}
		if !isDocumented(k) {
			values[k] = v
		}
	}
	return values, errs
}

// encode returns the JSON of a member's field, and nil for an absent one.
func encode(field any) (jsontext.Value, error) {
	switch f := field.(type) {
	case *string:
		if *f != "" {
			return jsontext.AppendQuote(nil, *f)
		}
	case **bool:
		if *f != nil {
			return strconv.AppendBool(nil, **f), nil
		}
	case *[]string:
		return encodeList(*f)
	case *[]SkipKey:
		return encodeList(*f)
	}
	return nil, nil
}

func encodeList[S ~string](items []S) (jsontext.Value, error) {
	if items == nil {
		return nil, nil
	}
	var errs []error
	b := []byte{'['}
	for i, s := range items {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		b, err = jsontext.AppendQuote(b, string(s))
		errs = append(errs, err)
	}
	return append(b, ']'), errors.Join(errs...)
}

func encodeExtra(key string, raw json.RawMessage) (jsontext.Value, *KeyError) {
	v := jsontext.Value(raw).Clone()
	if canonicalize(&v) != nil {
		v, _ = jsontext.AppendQuote(nil, raw) // the error would say "not UTF-8", and the one below says enough
		return v, &KeyError{Key: key, Reason: "the value in Extra is not valid JSON", Fix: "correct it or remove the key"}
	}
	switch {
	case isDocumented(key):
		return v, &KeyError{Key: key, Reason: "Extra holds a key that has a field", Fix: "set the field instead"}
	case !utf8.ValidString(key):
		return v, &KeyError{Key: strconv.Quote(key), Reason: "the name of a key in Extra is not valid UTF-8", Fix: "correct its encoding"}
	}
	return v, nil
}

// joinObject makes one canonical object of values.
func joinObject(values map[string]jsontext.Value) ([]byte, error) {
	b := jsontext.Value{'{'}
	for k, v := range values {
		if len(b) > 1 {
			b = append(b, ',')
		}
		var err error
		if b, err = jsontext.AppendQuote(b, k); err != nil {
			return nil, fmt.Errorf("depprofile: key %q: %w", k, err)
		}
		b = append(append(b, ':'), v...)
	}
	b = append(b, '}')
	if err := canonicalize(&b); err != nil {
		return nil, fmt.Errorf("depprofile: %w", malformed(err))
	}
	return b, nil
}

func canonicalize(v *jsontext.Value) error {
	return v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
}
