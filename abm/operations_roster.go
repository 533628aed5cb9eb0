package abm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	opRosterClasses     = "RosterClasses"
	opRosterClassesSync = "RosterClassesSync"
	opRosterCourses     = "RosterCourses"
	opRosterPersons     = "RosterPersons"
	opRosterPersonsSync = "RosterPersonsSync"
	opRosterLocations   = "RosterLocations"
)

// RosterPage is one page of the roster of Apple School Manager. This package reads no further: rosters have nothing to do
// with enrollment, and a host that wants them has its own types.
type RosterPage struct {
	// Items are Apple's objects as received, each JSON.
	Items []json.RawMessage
	// Cursor is opaque and goes into the next call; it may be empty when nothing follows.
	Cursor string
	// FetchedUntil is Apple's mark of progress; zero if it gives none.
	FetchedUntil time.Time
	// MoreToFollow says that the next call should be made at once.
	MoreToFollow bool
}

// RosterClasses returns one page of the classes. Organizations other than those of Apple School Manager have none.
//
// cursor is empty for the first page and opaque after that. limit counts items; 0 sends no limit and Apple applies its
// default of 1000, which is also the most. Any answer that is not a success is an [*APIError]; the codes of rosters are
// not documented.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-class-roster
//
//abm:operation POST /roster/class
func (c *Client) RosterClasses(ctx context.Context, cursor string, limit int) (*RosterPage, error) {
	return c.roster(ctx, opRosterClasses, "roster/class", "classes", cursor, limit)
}

// RosterClassesSync returns one page of the classes that have changed since cursor, at most 7 days ago. A class may appear
// more than once. For its arguments see [Client.RosterClasses].
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-class-roster-sync
//
//abm:operation POST /roster/class/sync
func (c *Client) RosterClassesSync(ctx context.Context, cursor string, limit int) (*RosterPage, error) {
	return c.roster(ctx, opRosterClassesSync, "roster/class/sync", "classes", cursor, limit)
}

// RosterCourses returns one page of the courses. For its arguments see [Client.RosterClasses]. Courses and locations seem
// to have a sync too; their paths could not be confirmed, so this package has none.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-course-roster
//
//abm:operation POST /roster/class/course
func (c *Client) RosterCourses(ctx context.Context, cursor string, limit int) (*RosterPage, error) {
	return c.roster(ctx, opRosterCourses, "roster/class/course", "courses", cursor, limit)
}

// RosterPersons returns one page of the people: students, instructors, and those who belong to no class. For its arguments
// see [Client.RosterClasses].
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-person-roster
//
//abm:operation POST /roster/class/person
func (c *Client) RosterPersons(ctx context.Context, cursor string, limit int) (*RosterPage, error) {
	return c.roster(ctx, opRosterPersons, "roster/class/person", "persons", cursor, limit)
}

// RosterPersonsSync returns one page of the people who have changed since cursor, at most 7 days ago. A person may appear
// more than once. For its arguments see [Client.RosterClasses].
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-person-roster-sync
//
//abm:operation POST /roster/class/person/sync
func (c *Client) RosterPersonsSync(ctx context.Context, cursor string, limit int) (*RosterPage, error) {
	return c.roster(ctx, opRosterPersonsSync, "roster/class/person/sync", "persons", cursor, limit)
}

// RosterLocations returns one page of the locations where classes are held. For its arguments see [Client.RosterClasses].
//
// Apple: https://developer.apple.com/documentation/devicemanagement/roster-management
//
//abm:operation POST /roster/class/location
func (c *Client) RosterLocations(ctx context.Context, cursor string, limit int) (*RosterPage, error) {
	return c.roster(ctx, opRosterLocations, "roster/class/location", "locations", cursor, limit)
}

func (c *Client) roster(ctx context.Context, op, path, key, cursor string, limit int) (*RosterPage, error) {
	var p *RosterPage
	err := c.do(ctx, call{
		op: op, method: http.MethodPost, path: path, in: pageRequest{Cursor: cursor, Limit: limit},
		out: func(body []byte) (err error) { p, err = decodeRoster(body, key); return err },
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// decodeRoster reads a page whose items are under key. The page keeps nothing of body.
func decodeRoster(body []byte, key string) (*RosterPage, error) {
	var m map[string]json.RawMessage // copies what it holds
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	items, ok := m[key]
	if !ok {
		return nil, fmt.Errorf("no %s in it", key)
	}
	p := new(RosterPage)
	if err := json.Unmarshal(items, &p.Items); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	var until string
	for name, v := range map[string]*string{"cursor": &p.Cursor, "fetched_until": &until} {
		if raw := m[name]; raw != nil {
			if err := json.Unmarshal(raw, v); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	p.FetchedUntil, _ = parseTime(until)
	// Apple documents a Boolean, and shows a string in examples.
	p.MoreToFollow = strings.Trim(string(m["more_to_follow"]), `"`) == "true"
	if p.MoreToFollow && p.Cursor == "" {
		return nil, errors.New("more to follow, but no cursor in it")
	}
	return p, nil
}
