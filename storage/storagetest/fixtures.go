package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// epoch is where the times of fixtures begin.
func epoch() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// filled returns a record in which every field has a value of its own, other ones for every n.
func filled[T any](t testing.TB, n int) T {
	t.Helper()
	var v T
	i := n * 100
	leaves(reflect.ValueOf(&v).Elem(), "", func(name string, f reflect.Value) {
		i++
		switch x := f.Addr().Interface().(type) {
		case *time.Time:
			*x = epoch().Add(time.Duration(i)*time.Hour + time.Duration(i)*time.Microsecond)
		case *[]byte:
			*x = fmt.Appendf(nil, `{"b": %d,  "a": "%s é 😀"}`, i, name)
		case *storage.Digest:
			copy(x[:], bytes.Repeat([]byte{byte(i), byte(i >> 8), 0, 255}, len(x)/4))
		default:
			switch f.Kind() {
			case reflect.String:
				f.SetString(fmt.Sprintf("%s %d é 😀", name, n))
			case reflect.Bool:
				f.SetBool(true)
			case reflect.Int, reflect.Int64:
				f.SetInt(int64(i))
			default:
				t.Fatalf("no fixture for %s of kind %s", name, f.Kind())
			}
		}
		if f.IsZero() {
			t.Fatalf("fixture leaves %T.%s at zero", v, name)
		}
	})
	return v
}

// leaves calls fn with every field of a record, those of records inside it included.
func leaves(v reflect.Value, path string, fn func(name string, f reflect.Value)) {
	for i := range v.NumField() {
		f, name := v.Field(i), path+v.Type().Field(i).Name
		if _, isTime := f.Interface().(time.Time); f.Kind() == reflect.Struct && !isTime {
			leaves(f, name+".", fn)
			continue
		}
		fn(name, f)
	}
}

// set gives a value to every field of type F that is not named in except.
func set[F, T any](record T, value F, except ...string) T {
	skip := map[string]bool{}
	for _, name := range except {
		skip[name] = true
	}
	leaves(reflect.ValueOf(&record).Elem(), "", func(name string, f reflect.Value) {
		if f.Type() == reflect.TypeFor[F]() && !skip[name] {
			f.Set(reflect.ValueOf(value))
		}
	})
	return record
}

// setField gives a value to the string field of this name, whatever its string type.
func setField[T any](record T, field, value string) T {
	leaves(reflect.ValueOf(&record).Elem(), "", func(name string, f reflect.Value) {
		if name == field {
			f.SetString(value)
		}
	})
	return record
}

// has reports whether the record has a field of type F that is not named in except.
func has[F, T any](except ...string) bool {
	var zero, marked T
	var value F
	v := reflect.ValueOf(&value).Elem()
	switch v.Kind() {
	case reflect.Slice:
		v.SetBytes([]byte{1})
	case reflect.String:
		v.SetString("x")
	default:
		v.Set(reflect.ValueOf(epoch()))
	}
	marked = set(zero, value, except...)
	return !reflect.DeepEqual(zero, marked)
}

func newAccount(t testing.TB, n int, name string) storage.Account {
	a := filled[storage.Account](t, n)
	a.Name = name
	return a
}

func newKeyPair(t testing.TB, n int, account, id string) storage.KeyPair {
	k := filled[storage.KeyPair](t, n)
	k.Account, k.ID = account, id
	return k
}

func newDevice(t testing.TB, n int, account, serial string) storage.Device {
	d := filled[storage.Device](t, n)
	d.Account, d.Serial = account, serial
	return d
}

// newAssignment returns one that does not exist yet.
func newAssignment(t testing.TB, n int, account, serial string) storage.Assignment {
	a := filled[storage.Assignment](t, n)
	a.Account, a.Serial, a.Version = account, serial, 0
	return a
}

func newProfile(t testing.TB, n int, account, fingerprint string) storage.Profile {
	p := filled[storage.Profile](t, n)
	p.Account, p.Fingerprint = account, fingerprint
	return p
}

// newCursor returns one that does not exist yet.
func newCursor(t testing.TB, n int, account string) storage.Cursor {
	c := filled[storage.Cursor](t, n)
	c.Account, c.Version = account, 0
	return c
}

// newServiceSession returns one that does not exist yet.
func newServiceSession(t testing.TB, n int, account string) storage.ServiceSession {
	s := filled[storage.ServiceSession](t, n)
	s.Account, s.Version = account, 0
	return s
}

// newNanoDEP returns one that does not exist yet.
func newNanoDEP(t testing.TB, n int, account string) storage.NanoDEP {
	v := filled[storage.NanoDEP](t, n)
	v.Account, v.Version = account, 0
	return v
}

func newSession(t testing.TB, n int, id string) storage.EnrollmentSession {
	s := filled[storage.EnrollmentSession](t, n)
	s.ID = id
	return s
}

// newEnrollment returns one that does not exist yet.
func newEnrollment(t testing.TB, n int, id string) storage.Enrollment {
	e := filled[storage.Enrollment](t, n)
	e.ID, e.Version = id, 0
	return e
}

// newRun returns one that does not exist yet, alone in its enrollment.
func newRun(t testing.TB, n int, id string) storage.Run {
	r := filled[storage.Run](t, n)
	r.ID, r.EnrollmentID, r.Version = id, "enrollment of "+id, 0
	return r
}

func newEffect(t testing.TB, n int, run, id string) storage.Effect {
	e := filled[storage.Effect](t, n)
	e.RunID, e.ID = run, id
	return e
}

func newActivity(t testing.TB, n int) storage.Activity {
	return filled[storage.Activity](t, n)
}

// withAccount creates an account.
func withAccount(t testing.TB, s storage.Store, name string) {
	t.Helper()
	a := newAccount(t, 1, name)
	a.ServerUUID = "" // not unique
	ok(t, s.CreateAccount(t.Context(), a))
}

// ensureAccount creates an account unless there is one or the name is invalid.
func ensureAccount(t testing.TB, s storage.Store, name string) {
	t.Helper()
	a := newAccount(t, 1, name)
	a.ServerUUID = ""
	if err := s.CreateAccount(t.Context(), a); err != nil && !errors.Is(err, storage.ErrExists) && !errors.Is(err, storage.ErrInvalid) {
		t.Fatalf("create account: %v", err)
	}
}
