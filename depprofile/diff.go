package depprofile

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Change is one key whose value differs between two profiles.
type Change struct {
	// Key is the JSON key.
	Key string `json:"key"`
	// From and To are the values as canonical JSON, nil where the key is absent.
	From json.RawMessage `json:"from,omitempty"`
	To   json.RawMessage `json:"to,omitempty"`
}

// Diff returns what turns the content of a into the content of b, sorted by key. It compares what [Profile.Canonical]
// writes, so it is empty exactly if the fingerprints are equal. A nil profile counts as one without keys.
//
// Diff does not fail: in a profile that cannot be encoded, bytes that are not UTF-8 count as U+FFFD, an Extra
// that is not JSON counts as a string, and an Extra that repeats a documented key is left out.
func Diff(a, b *Profile) []Change {
	from, _ := a.content().encodeMembers() // the rendering described above, whatever the errors
	to, _ := b.content().encodeMembers()
	keys := maps.Clone(from)
	maps.Copy(keys, to)
	var changes []Change
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !bytes.Equal(from[k], to[k]) {
			changes = append(changes, Change{Key: k, From: json.RawMessage(from[k]), To: json.RawMessage(to[k])})
		}
	}
	return changes
}

// maxShown limits a value in Change.String, in bytes.
const maxShown = 100

// String returns the change for a reader, such as
//
//	is_mandatory: absent -> true
//	skip_setup_items: +FileVault -Siri
//
// Long values are cut. It shows values, and a URL may hold an enrollment secret: mind where it is logged.
func (c Change) String() string {
	from, okFrom := stringItems(c.From)
	to, okTo := stringItems(c.To)
	if !okFrom || !okTo {
		return c.Key + ": " + show(c.From) + " -> " + show(c.To)
	}
	var s strings.Builder
	for _, item := range to {
		if !slices.Contains(from, item) {
			s.WriteString(" +" + cut(item))
		}
	}
	for _, item := range from {
		if !slices.Contains(to, item) {
			s.WriteString(" -" + cut(item))
		}
	}
	if s.Len() == 0 {
		return c.Key + ": same items in another order or number"
	}
	return c.Key + ":" + s.String()
}

// stringItems returns the items of an array of strings; ok is false for any other value.
func stringItems(v json.RawMessage) (items []string, ok bool) {
	return items, json.Unmarshal(v, &items) == nil && items != nil
}

func show(v json.RawMessage) string {
	if v == nil {
		return "absent"
	}
	return cut(string(v))
}

func cut(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}
