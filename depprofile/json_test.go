package depprofile_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/depprofile"
)

func TestParseAbsentEmptyAndNull(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, out string }{
		{"nothing", `{}`, `{}`},
		{"an empty string is never sent", `{"department":"","url":""}`, `{}`},
		{"null is absent", `{"url":null,"is_supervised":null,"skip_setup_items":null,"devices":null}`, `{}`},
		{"false is not absent", `{"allow_pairing":false,"is_mdm_removable":false}`, `{"allow_pairing":false,"is_mdm_removable":false}`},
		{"an empty list is not absent", `{"skip_setup_items":[],"devices":[]}`, `{"devices":[],"skip_setup_items":[]}`},
		{"skip items keep their order", `{"skip_setup_items":["TOS","Siri","New"]}`, `{"skip_setup_items":["TOS","Siri","New"]}`},
		{"unknown keys keep null, empty and big numbers", `{"x":null,"y":"","z":12345678901234567890}`, `{"x":null,"y":"","z":12345678901234567890}`},
		{"a key without a name", `{"":1}`, `{"":1}`},
		{"keys are case-sensitive", `{"URL":"https://a.example"}`, `{"URL":"https://a.example"}`},
		{"escapes and markup", `{"department":"\u003ca\u003e & \ud83d\ude00"}`, `{"department":"<a> & 😀"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := depprofile.Parse([]byte(tt.in))
			require.NoError(t, err)
			out, err := p.MarshalJSON()
			require.NoError(t, err)
			assert.Equal(t, tt.out, string(out))
		})
	}
}

func TestParseRefusesMalformedDocuments(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in string }{
		{"nothing", ``},
		{"null", `null`},
		{"array", `[]`},
		{"string", `"{}"`},
		{"cut short", `{"url":"https://a.exa`},
		{"cut short after a value", `{"url":"https://a.example"`},
		{"two documents", `{}{}`},
		{"text after the document", `{} x`},
		{"comma at the end", `{"url":"https://a.example",}`},
		{"duplicate key", `{"url":"https://a.example","url":"https://b.example"}`},
		{"duplicate key, escaped", `{"url":"https://a.example","\u0075rl":"https://b.example"}`},
		{"duplicate key inside an unknown value", `{"x":{"a":1,"a":2}}`},
		{"not UTF-8", "{\"department\":\"\xff\"}"},
		{"half a surrogate pair", `{"department":"\ud83d"}`},
		{"byte order mark", "\ufeff{}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := depprofile.Parse([]byte(tt.in))
			require.ErrorIs(t, err, depprofile.ErrMalformed)
			assert.Nil(t, p)
		})
	}
}

func TestParseNamesEveryKeyOfTheWrongType(t *testing.T) {
	t.Parallel()
	p, err := depprofile.Parse([]byte(`{"url":5,"is_supervised":"yes","is_mandatory":1,"skip_setup_items":["TOS",null],` +
		`"anchor_certs":"MII","devices":{},"region":true,"department":["IT"]}`))
	assert.Nil(t, p)
	var errs depprofile.KeyErrors
	require.ErrorAs(t, err, &errs)
	assert.Equal(t, `url: want a string, got a number; change its type or leave it out
is_supervised: want true or false, got a string; change its type or leave it out
is_mandatory: want true or false, got a number; change its type or leave it out
region: want a string, got true; change its type or leave it out
skip_setup_items: want a list of strings only, got a list; change its type or leave it out
department: want a string, got a list; change its type or leave it out
anchor_certs: want a list of strings only, got a string; change its type or leave it out
devices: want a list of strings only, got an object; change its type or leave it out`, errs.Error())
}

func TestUnmarshalReplacesTheWholeProfile(t *testing.T) {
	t.Parallel()
	type doc struct{ Profile *depprofile.Profile }
	d := doc{Profile: depprofile.Default("https://a.example")}
	require.NoError(t, json.Unmarshal([]byte(`{"Profile":{"profile_name":"n"}}`), &d))
	assert.Equal(t, &depprofile.Profile{ProfileName: "n"}, d.Profile)

	require.Error(t, json.Unmarshal([]byte(`{"profile_name":"other","url":1}`), d.Profile))
	assert.Equal(t, "n", d.Profile.ProfileName, "unchanged on error")

	require.NoError(t, d.Profile.UnmarshalJSON([]byte(` null`)))
	assert.Equal(t, "n", d.Profile.ProfileName, "null changes nothing")
}

func TestMarshalRefusesWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	tests := []struct {
		name, key string
		p         depprofile.Profile
	}{
		{"text is not UTF-8", "department", depprofile.Profile{Department: "\xff"}},
		{"item is not UTF-8", "skip_setup_items", depprofile.Profile{SkipSetupItems: []depprofile.SkipKey{"TOS", "\xff"}}},
		{"extra is not JSON", "x", depprofile.Profile{Extra: map[string]json.RawMessage{"x": raw(`{`)}}},
		{"extra is nil", "x", depprofile.Profile{Extra: map[string]json.RawMessage{"x": nil}}},
		{"extra would add a member", "x", depprofile.Profile{Extra: map[string]json.RawMessage{"x": raw(`1,"url":"https://evil.example"`)}}},
		{"extra repeats a field", "url", depprofile.Profile{Extra: map[string]json.RawMessage{"url": raw(`"https://b.example"`)}}},
		{"extra's name is not UTF-8", `"\xff"`, depprofile.Profile{Extra: map[string]json.RawMessage{"\xff": raw(`1`)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, encode := range []func() ([]byte, error){tt.p.MarshalJSON, tt.p.Canonical} {
				out, err := encode()
				assert.Nil(t, out)
				var e *depprofile.KeyError
				require.ErrorAs(t, err, &e)
				assert.Equal(t, tt.key, e.Key)
			}
			f, err := tt.p.Fingerprint()
			require.Error(t, err)
			assert.Zero(t, f)
			assert.ErrorContains(t, tt.p.Validate(), tt.key)
		})
	}
}
