package abmtest_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

func entries(ids ...string) []json.RawMessage {
	out := make([]json.RawMessage, len(ids))
	for i, id := range ids {
		out[i] = json.RawMessage(fmt.Sprintf(`{"unique_identifier":%q}`, id))
	}
	return out
}

func TestRoster(t *testing.T) {
	t.Parallel()
	s, _, c := world(t)
	for path, key := range map[string]string{
		"/roster/class": "classes", "/roster/class/course": "courses", "/roster/class/person": "persons", "/roster/class/location": "locations",
	} {
		require.NoError(t, s.SetRoster(path, entries("1", "2", "3")...))
		require.NoError(t, s.SetRoster(path+"/sync", entries("4")...))
		// read returns the answer less the cursor, and the cursor.
		read := func(path, body string) (string, string) {
			t.Helper()
			var page map[string]json.RawMessage
			c.call("POST", path, body).decode(t, &page)
			var cursor string
			require.NoError(t, json.Unmarshal(page["cursor"], &cursor))
			assert.Regexp(t, `^([0-9a-f]{2})+$`, cursor)
			delete(page, "cursor")
			rest, err := json.Marshal(page)
			require.NoError(t, err)
			return string(rest), cursor
		}
		page, cursor := read(path, `{"limit":2}`)
		assert.JSONEq(t, `{"`+key+`":[{"unique_identifier":"1"},{"unique_identifier":"2"}],"more_to_follow":true}`, page)
		page, cursor = read(path, `{"limit":2,"cursor":"`+cursor+`"}`)
		assert.JSONEq(t, `{"`+key+`":[{"unique_identifier":"3"}],"more_to_follow":false}`, page)
		page, cursor = read(path+"/sync", `{"cursor":"`+cursor+`"}`)
		assert.JSONEq(t, `{"`+key+`":[{"unique_identifier":"4"}],"more_to_follow":false,"fetched_until":"2026-09-01T12:00:00Z"}`, page)
		require.NoError(t, s.SetRoster(path+"/sync", entries("4", "5")...))
		page, cursor = read(path+"/sync", `{"cursor":"`+cursor+`"}`)
		assert.Contains(t, page, `[{"unique_identifier":"5"}]`, "what came since")
		page, _ = read(path+"/sync", `{"cursor":"`+cursor+`"}`)
		assert.Contains(t, page, `"`+key+`":[]`)
		for _, bad := range []string{"x", "00", cursor + "00"} {
			assert.Equal(t, "INVALID_CURSOR", c.call("POST", path, `{"cursor":"`+bad+`"}`).body)
		}
		assert.Equal(t, "INVALID_CURSOR", c.call("POST", path, `{"cursor":"`+cursor+`"}`).body, "that of a sync is none of a full list")
	}
	require.ErrorIs(t, s.SetRoster("/roster/class/teacher"), abmtest.ErrInvalid)
	require.ErrorIs(t, s.SetRoster("/roster/class", json.RawMessage("{")), abmtest.ErrInvalid)
}

func TestRosterLimitAndPublication(t *testing.T) {
	t.Parallel()
	s, _, c := world(t)
	many := make([]string, 1500)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	require.NoError(t, s.SetRoster("/roster/class/person", entries(many...)...))
	for _, body := range []string{`{}`, `{"limit":0}`, `{"limit":1000}`, `{"limit":5000}`} {
		var page struct{ Persons []json.RawMessage }
		c.call("POST", "/roster/class/person", body).decode(t, &page)
		assert.Len(t, page.Persons, 1000, body)
	}
	assert.NotContains(t, c.call("GET", "/account", "").body, "roster")
	_, _, school := world(t, abmtest.WithOrganization(abmtest.Organization{Name: "n", ID: "1", AdminID: "a", Type: "edu", Version: "v2"}))
	assert.Contains(t, school.call("GET", "/account", "").body, `{"uri":"/roster/class/person/sync","http_method":["POST"]}`)
}
