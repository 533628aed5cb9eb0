package activity

import (
	"encoding/json"
	"unicode/utf8"
)

// detail returns the JSON of an event. Those events that a large fleet has one of per device are written by hand, to the very
// bytes encoding/json writes, at a fraction of the cost.
func detail(e Event) ([]byte, error) {
	switch e := e.(type) {
	case DeviceAdded:
		o := newObject()
		o.text("model", e.Model)
		o.text("family", e.Family)
		o.textUnlessEmpty("profile_uuid", e.ProfileUUID)
		o.textUnlessEmpty("profile_status", e.ProfileStatus)
		o.flagIfSet("returned", e.Returned)
		return o.end(), nil
	case ProfileWanted:
		o := newObject()
		o.text("fingerprint", e.Fingerprint)
		o.textUnlessEmpty("from", e.From)
		o.textUnlessEmpty("reason", e.Reason)
		return o.end(), nil
	case ProfileAssigned:
		o := newObject()
		o.text("profile_uuid", e.ProfileUUID)
		return o.end(), nil
	case ProfileVerified:
		o := newObject()
		o.text("profile_uuid", e.ProfileUUID)
		o.text("profile_status", e.ProfileStatus)
		return o.end(), nil
	}
	return json.Marshal(e)
}

// object is a JSON object that is being written.
type object []byte

func newObject() object { return append(make(object, 0, 160), '{') }

func (o *object) key(k string) {
	if len(*o) > 1 {
		*o = append(*o, ',')
	}
	*o = append(append(append(*o, '"'), k...), '"', ':')
}

func (o *object) text(k, v string) {
	o.key(k)
	if asItIs(v) {
		*o = append(append(append(*o, '"'), v...), '"')
		return
	}
	b, _ := json.Marshal(v) // a string cannot fail
	*o = append(*o, b...)
}

func (o *object) textUnlessEmpty(k, v string) {
	if v != "" {
		o.text(k, v)
	}
}

func (o *object) flagIfSet(k string, v bool) {
	if v {
		o.key(k)
		*o = append(*o, "true"...)
	}
}

func (o *object) end() []byte { return append(*o, '}') }

// asItIs reports whether encoding/json writes nothing in a string differently.
func asItIs(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= utf8.RuneSelf, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}
