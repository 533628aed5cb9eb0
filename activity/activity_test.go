package activity_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

var at = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)

// filled sets every field of an event to a distinct value that is not zero.
func filled(t *testing.T, e activity.Event) {
	t.Helper()
	v := reflect.ValueOf(e).Elem()
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		if name == "On" {
			f.Set(reflect.ValueOf(activity.On{Account: "acme", Serial: "C02A", EnrollmentID: "U-1"}))
			continue
		}
		switch f.Kind() {
		case reflect.String:
			f.SetString("value of " + name)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(i + 7))
		case reflect.Float64:
			f.SetFloat(float64(i) + 0.5)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"value of " + name}))
		case reflect.Struct:
			f.Set(reflect.ValueOf(at.Add(time.Duration(i) * time.Minute)))
		default:
			t.Fatalf("%T has a field of a kind that events may not hold: %s %s", e, name, f.Kind())
		}
	}
}

func TestEveryKindRoundTrips(t *testing.T) {
	t.Parallel()
	require.NotEmpty(t, activity.Kinds())
	for _, kind := range activity.Kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e, err := activity.Parse(storage.Activity{Kind: kind, Detail: []byte("{}")})
			require.NoError(t, err)
			filled(t, e)

			rec := activity.New(at, activity.System, e)
			assert.Equal(t, kind, rec.Kind)
			assert.Equal(t, "acme", rec.Account)
			assert.Equal(t, "C02A", rec.Serial)
			assert.Equal(t, "U-1", rec.EnrollmentID)
			assert.Equal(t, at, rec.At)

			back, err := activity.Parse(rec)
			require.NoError(t, err)
			assert.Equal(t, e, back)
		})
	}
}

// TestEventsHoldNoSecrets keeps fields out whose very name says that they would.
func TestEventsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	for _, kind := range activity.Kinds() {
		e, err := activity.Parse(storage.Activity{Kind: kind, Detail: []byte("{}")})
		require.NoError(t, err)
		filled(t, e)
		b, err := json.Marshal(e)
		require.NoError(t, err)
		var fields map[string]any
		require.NoError(t, json.Unmarshal(b, &fields))
		for name := range fields {
			for _, word := range []string{"secret", "password", "private", "challenge", "access_token", "bypass"} {
				assert.NotContains(t, strings.ToLower(name), word, kind)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	_, err := activity.Parse(storage.Activity{Kind: "no_such_kind", Detail: []byte("{}")})
	require.ErrorContains(t, err, "no_such_kind")
	_, err = activity.Parse(storage.Activity{Kind: "device_added", Detail: []byte("{")})
	require.Error(t, err)
}

func ExampleNew() {
	rec := activity.New(
		time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC), activity.Apple,
		activity.DeviceAdded{On: activity.On{Account: "acme", Serial: "C02XK1JDJGH5"}, Model: "MacBook Pro", Family: "Mac"})
	fmt.Println(rec.Kind, rec.Account, rec.Serial, string(rec.Detail))
	// Output: device_added acme C02XK1JDJGH5 {"model":"MacBook Pro","family":"Mac"}
}
