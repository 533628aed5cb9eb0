package abmtest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// rosterLimit is Apple's default and maximum of entries in a page.
const rosterLimit = 1000

// rosterPaths lists the roster calls: what the server manages, and with /sync what changed. That courses and locations have
// a /sync as classes and persons do is a guess.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/roster-management
func rosterPaths() []string {
	return []string{
		"/roster/class", "/roster/class/sync", "/roster/class/course", "/roster/class/course/sync",
		"/roster/class/person", "/roster/class/person/sync", "/roster/class/location", "/roster/class/location/sync",
	}
}

// rosterKey is the member of the answer that has the entries.
func rosterKey(path string) string {
	switch strings.TrimSuffix(path, "/sync") {
	case "/roster/class/course":
		return "courses"
	case "/roster/class/person":
		return "persons"
	case "/roster/class/location":
		return "locations"
	}
	return "classes"
}

// SetRoster sets what one of the School Manager's roster calls returns to all MDM servers, such as the path
// "/roster/class/person" or "/roster/class/person/sync". The entries are the caller's, JSON of whatever shape, and are
// served in this order; the service makes pages and cursors of them. A cursor from the end of a full list is where
// its sync begins, and one from the end of a sync is where a later sync goes on, should SetRoster have added entries.
// It returns ErrInvalid for another path or for what is not JSON.
//
// Apple does not publish what it answers to an organization without School Manager; here it is the same.
func (s *Service) SetRoster(path string, entries ...json.RawMessage) error {
	if !slices.Contains(rosterPaths(), path) {
		return fmt.Errorf("abmtest: set roster: %q is no roster call: %w", path, ErrInvalid)
	}
	kept := make([]json.RawMessage, len(entries))
	for i, entry := range entries {
		if !json.Valid(entry) {
			return fmt.Errorf("abmtest: set roster: entry %d is not JSON: %w", i, ErrInvalid)
		}
		kept[i] = slices.Clone(entry)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rosters[path] = kept
	return nil
}

// roster serves the roster calls. The limit is cut to Apple's maximum.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-class-roster and its neighbours
func (s *Service) roster(c *call) (any, error) {
	var in listRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	_, path, _ := strings.Cut(c.op, " ")
	s.mu.Lock()
	entries := s.rosters[path]
	s.mu.Unlock()
	position, ok := rosterPosition(path, in.Cursor)
	if !ok || position > len(entries) {
		return nil, bad("INVALID_CURSOR")
	}
	limit := in.Limit
	if limit <= 0 || limit > rosterLimit {
		limit = rosterLimit
	}
	end := min(position+limit, len(entries))
	out := map[string]any{
		rosterKey(path):  entries[position:end:end],
		"cursor":         hex.EncodeToString([]byte(path + ":" + strconv.Itoa(end))),
		"more_to_follow": end < len(entries),
	}
	if end == position {
		out[rosterKey(path)] = []json.RawMessage{} // not null
	}
	if strings.HasSuffix(path, "/sync") {
		out["fetched_until"] = stamp(c.now)
	}
	return out, nil
}

// rosterPosition reads a cursor: hex, as Apple says, of the path and a position in its entries. A sync takes the cursor
// of its full list for its own beginning.
func rosterPosition(path, cursor string) (int, bool) {
	if cursor == "" {
		return 0, true
	}
	text, err := hex.DecodeString(cursor)
	if err != nil {
		return 0, false
	}
	from, number, _ := strings.Cut(string(text), ":")
	position, err := strconv.Atoi(number)
	switch {
	case err != nil || position < 0:
		return 0, false
	case from == path:
		return position, true
	}
	return 0, from+"/sync" == path
}
