package axm

import (
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxID is the length in bytes of the longest id that is taken for one.
const maxID = 128

// object is a JSON object whose values are read one by one, so that one of an unexpected type costs that value and not the
// document. A nil object has no members.
type object map[string]json.RawMessage

// members returns raw as an object; nil if it is none.
func members(raw json.RawMessage) object {
	var o object
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

func read[T any](o object, key string) (v T) {
	raw, ok := o[key]
	if !ok {
		return v
	}
	if json.Unmarshal(raw, &v) != nil {
		var zero T // a failed decoding may have set a part of v
		return zero
	}
	return v
}

func (o object) text(key string) string {
	return strings.ReplaceAll(read[string](o, key), "\x00", "\uFFFD")
}
func (o object) bool(key string) bool { return read[bool](o, key) }
func (o object) int(key string) int   { return read[int](o, key) }

// texts returns a list of strings, or the one string that older versions of the API send in its place.
func (o object) texts(key string) []string {
	if s := o.text(key); s != "" {
		return []string{s}
	}
	var out []string
	for _, raw := range read[[]json.RawMessage](o, key) {
		if s := (object{"": raw}).text(""); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// time reads a time of Apple's: ISO 8601 with milliseconds or without. A missing zone means UTC, a missing time midnight.
// Anything else is the zero time.
func (o object) time(key string) time.Time {
	s := o.text(key)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 1 {
			return t.UTC().Truncate(time.Microsecond)
		}
	}
	return time.Time{}
}

// stamp writes a time as Apple does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// resource is a resource of JSON:API.
type resource struct {
	id       string
	attrs    object
	document json.RawMessage // as received
}

// readResource reads one resource. It must be an object with a usable id.
func readResource(raw json.RawMessage) (resource, bool) {
	o := members(raw)
	id := o.text("id")
	if id == "" || len(id) > maxID {
		return resource{}, false
	}
	return resource{id, members(o["attributes"]), raw}, true
}

// readSingle reads a document with one resource. ok is false when the document is fine but holds none, as one without data,
// with null, or with an empty id.
func readSingle(body []byte) (r resource, ok bool, err error) {
	doc := members(body)
	if doc == nil {
		return resource{}, false, errors.New("not a JSON object")
	}
	raw, has := doc["data"]
	if !has {
		return resource{}, false, errors.New("no data in it")
	}
	if string(raw) == "null" {
		return resource{}, false, nil
	}
	o := members(raw)
	if o == nil {
		return resource{}, false, errors.New("data is not a JSON object")
	}
	if id, set := o["id"]; !set || string(id) == "null" || o.text("id") == "" {
		return resource{}, false, nil
	}
	if r, ok = readResource(raw); !ok {
		return resource{}, false, errors.New("unusable id")
	}
	return r, true, nil
}

// one reads a document that must hold a resource, into set.
func one(set func(resource)) func([]byte) error {
	return func(body []byte) error {
		r, ok, err := readSingle(body)
		if err == nil && !ok {
			err = errors.New("no resource in it")
		}
		if err == nil {
			set(r)
		}
		return err
	}
}

// ListOptions are what a list is asked for. The zero value asks for everything.
type ListOptions struct {
	// Fields are the attributes to return, in Apple's words. None means all; an attribute left out is the zero value.
	Fields []string
	// Limit is the number of entries per page, at most 1000; 0 lets Apple decide, and it takes 100.
	Limit int
	// Cursor is where to go on: Page.NextCursor. Empty begins at the beginning. It is opaque.
	Cursor string
}

func (o ListOptions) query(resourceType string) url.Values {
	q := fields(resourceType, o.Fields)
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	return q
}

func fields(resourceType string, names []string) url.Values {
	q := url.Values{}
	if len(names) > 0 {
		q.Set("fields["+resourceType+"]", strings.Join(names, ","))
	}
	return q
}

// Page is one page of a list.
type Page[T any] struct {
	// Items are in Apple's order.
	Items []T
	// NextCursor goes into the next call; empty on the last page.
	NextCursor string
	// Total is the length of the whole list; 0 if Apple does not say.
	Total int
	// Unreadable counts the entries that are no resources.
	Unreadable int
}

// readPage reads a document with a list of resources. It keeps nothing of body.
func readPage[T any](body []byte, item func(resource) T) (*Page[T], error) {
	var doc struct {
		Data  *[]json.RawMessage `json:"data"`
		Links json.RawMessage    `json:"links"`
		Meta  json.RawMessage    `json:"meta"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, errors.New("not a JSON:API list")
	}
	if doc.Data == nil {
		return nil, errors.New("no data in it")
	}
	p := &Page[T]{Items: make([]T, 0, len(*doc.Data))}
	for _, raw := range *doc.Data {
		r, ok := readResource(raw)
		if !ok {
			p.Unreadable++
			continue
		}
		p.Items = append(p.Items, item(r))
	}
	paging := members(members(doc.Meta)["paging"])
	p.Total = max(paging.int("total"), 0)
	var err error
	p.NextCursor, err = nextCursor(paging, members(doc.Links))
	if err != nil {
		return nil, err
	}
	return p, nil
}

// nextCursor returns the cursor of the next page; empty if there is none. Of links.next only the cursor is taken: following
// the link would send the access token wherever it points, and Apple's own examples name a host that does not exist.
func nextCursor(paging, links object) (string, error) {
	if c := paging.text("nextCursor"); c != "" {
		return c, nil
	}
	next := links.text("next")
	if next == "" {
		next = members(links["next"]).text("href") // the other form of a link in JSON:API
	}
	if next == "" {
		return "", nil
	}
	u, err := url.Parse(next)
	if err != nil || u.Query().Get("cursor") == "" {
		return "", errors.New("a next page without a cursor")
	}
	return u.Query().Get("cursor"), nil
}

// all walks the pages of a list. It ends after the first error.
func all[T any](op string, o ListOptions, page func(ListOptions) (*Page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		o := o // the sequence may be walked again, from the same beginning
		seen := make(map[string]bool)
		for {
			p, err := page(o)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.NextCursor == "" {
				return
			}
			if seen[p.NextCursor] {
				var zero T
				yield(zero, badResponse(op, http.StatusOK, nil, errors.New("the cursor repeats")))
				return
			}
			seen[p.NextCursor] = true
			o.Cursor = p.NextCursor
		}
	}
}
