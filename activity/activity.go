package activity

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// Actors that are not people. A person is "user:" followed by the name they signed in with, a device "device:"
// followed by its serial.
const (
	System = "enrollkit" // the library itself
	Apple  = "apple"     // Apple's service
)

// On says what an event happened to; fields that do not apply are empty. Every event embeds it.
type On struct {
	Account      string `json:"-"`
	Serial       string `json:"-"`
	EnrollmentID string `json:"-"`
}

func (o On) subject() On { return o }

// Event is one of the event types of this package.
type Event interface {
	// Kind is the event's name, such as "device_added". It never changes.
	Kind() string
	subject() On
}

// New returns the record of an event that actor made happen at the given time.
func New(at time.Time, actor string, e Event) storage.Activity {
	doc, err := detail(e)
	if err != nil { // events hold strings, numbers, booleans and times only
		doc, _ = json.Marshal(map[string]string{"error": err.Error()})
	}
	on := e.subject()
	return storage.Activity{
		At: at, Kind: e.Kind(), Actor: actor,
		Account: on.Account, Serial: on.Serial, EnrollmentID: on.EnrollmentID,
		Detail: doc,
	}
}

// Parse returns the event a record was made from, as a pointer to its type. It is an error if the kind is not known
// to this version of the package, or the detail does not fit it.
func Parse(a storage.Activity) (Event, error) {
	make, ok := kinds()[a.Kind]
	if !ok {
		return nil, fmt.Errorf("activity: unknown kind %q", a.Kind)
	}
	return make(a)
}

// parser returns how to read events of one type.
func parser[E any, P interface {
	*E
	Event
	setSubject(On)
}]() func(storage.Activity) (Event, error) {
	return func(a storage.Activity) (Event, error) {
		e := P(new(E))
		if err := json.Unmarshal(a.Detail, e); err != nil {
			return nil, fmt.Errorf("activity: parse %s: %w", a.Kind, err)
		}
		e.setSubject(On{Account: a.Account, Serial: a.Serial, EnrollmentID: a.EnrollmentID})
		return e, nil
	}
}

func (o *On) setSubject(s On) { *o = s }
