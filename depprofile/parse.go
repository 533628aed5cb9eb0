package depprofile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Parse reads a profile as Apple returns it or an administrator writes it. It checks the form only; [Profile.Validate] judges the content.
//
// A known key that is null or "" counts as absent. A key that is not spelled exactly as Apple's is unknown and goes
// to Extra. It returns [ErrMalformed] for anything but one JSON object without duplicate keys, and [KeyErrors] that
// name every known key whose value has the wrong type.
func Parse(data []byte) (*Profile, error) {
	p, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("depprofile: parse: %w", err)
	}
	return p, nil
}

func parse(data []byte) (*Profile, error) {
	values, err := splitObject(data)
	if err != nil {
		return nil, err
	}
	p := new(Profile)
	var errs KeyErrors
	for _, m := range p.members() {
		v, ok := values[m.key]
		if !ok {
			continue
		}
		delete(values, m.key)
		if want := decodeInto(v, m.field); want != "" {
			errs = append(errs, &KeyError{
				Key: m.key, Reason: "want " + want + ", got " + kindName(v), Fix: "change its type or leave it out",
			})
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	if len(values) > 0 {
		p.Extra = values
	}
	return p, nil
}

// splitObject returns the members of the one JSON object in data. jsontext refuses duplicate names and invalid
// UTF-8 at every depth, both of which encoding/json lets pass.
func splitObject(data []byte) (map[string]json.RawMessage, error) {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if k := d.PeekKind(); k != '{' {
		_, err := d.ReadToken()
		return nil, malformed(err)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, malformed(err)
	}
	values := make(map[string]json.RawMessage)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, malformed(err)
		}
		key := name.String()
		v, err := d.ReadValue()
		if err != nil {
			return nil, malformed(err)
		}
		values[key] = json.RawMessage(v.Clone())
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, malformed(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, malformed(err)
	}
	return values, nil
}

// malformed ends the chain at ErrMalformed, so that the JSON library's error types stay in here.
func malformed(cause error) error {
	if cause == nil {
		return ErrMalformed
	}
	return fmt.Errorf("%w: %s", ErrMalformed, cause.Error())
}

// decodeInto stores v in field, a pointer as in member, and returns the type it wanted if v does not fit.
func decodeInto(v json.RawMessage, field any) (want string) {
	switch f := field.(type) {
	case *string:
		want = "a string"
	case **bool:
		want = "true or false"
	case *[]string:
		return decodeList(v, f)
	case *[]SkipKey:
		return decodeList(v, f)
	}
	if json.Unmarshal(v, field) != nil {
		return want
	}
	return ""
}

// decodeList goes by way of pointers because encoding/json reads a null item as "".
func decodeList[S ~string](v json.RawMessage, list *[]S) (want string) {
	var items []*S
	if json.Unmarshal(v, &items) != nil || slices.Contains(items, nil) {
		return "a list of strings only"
	}
	if items == nil {
		return ""
	}
	*list = make([]S, len(items))
	for i, s := range items {
		(*list)[i] = *s
	}
	return ""
}

func kindName(v json.RawMessage) string {
	switch jsontext.Value(v).Kind() {
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "a list"
	default:
		return string(v) // null, true or false
	}
}

// UnmarshalJSON replaces all of p by the profile in data, under the rules of [Parse]. On error p is unchanged.
// As encoding/json asks, null changes nothing.
func (p *Profile) UnmarshalJSON(data []byte) error {
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return nil
	}
	q, err := Parse(data)
	if err != nil {
		return err
	}
	*p = *q
	return nil
}
