package storagetest

import (
	"bytes"
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// record says how one kind of record is written and read, so that the sentences about values are checked on all kinds.
type record[T any] struct {
	// fresh returns a record that does not exist, with every field filled that a new record may have.
	fresh func(t testing.TB) T
	// prepare, if set, creates what v depends on, as far as it does not exist and can.
	prepare func(t testing.TB, s storage.Store, v T)
	// put stores v as a new record.
	put func(ctx context.Context, s storage.Store, v T) error
	// get reads the record with the key of v.
	get func(ctx context.Context, s storage.Store, v T) (T, error)
	// stored gives v what a store gives to a new record.
	stored func(v *T)
	// key are the fields that make up the key; required the other identifiers that must not be empty; refs those that
	// may; needed the times that must be set.
	key, required, refs, needed []string
}

// values checks the sentences about values.
func values[T any](t *testing.T, open Open, r record[T]) {
	t.Helper()
	back := func(t testing.TB, s storage.Store, in, want T) {
		t.Helper()
		ok(t, r.add(t, s, in))
		got, err := r.get(t.Context(), s, in)
		ok(t, err)
		r.stored(&want)
		equal(t, got, want)
	}
	sentence(t, open, "Every field comes back", func(t *testing.T, s storage.Store) {
		v := r.fresh(t)
		back(t, s, v, v)
	})
	r.times(t, open, back)
	r.documents(t, open, back)
	r.texts(t, open, back)
	r.keys(t, open)
	r.aliases(t, open)
}

// add prepares and puts.
func (r *record[T]) add(t testing.TB, s storage.Store, v T) error {
	t.Helper()
	if r.prepare != nil {
		r.prepare(t, s, v)
	}
	return r.put(t.Context(), s, v)
}

// refused checks that v is ErrInvalid and nothing is written.
func (r *record[T]) refused(t testing.TB, s storage.Store, v T) {
	t.Helper()
	if r.prepare != nil {
		r.prepare(t, s, v)
	}
	writesNothing(t, s, storage.ErrInvalid, func() error { return r.put(t.Context(), s, v) })
}

// identifiers returns the names of all identifiers.
func (r *record[T]) identifiers() []string { return slices.Concat(r.key, r.required, r.refs) }

type backFunc[T any] func(t testing.TB, s storage.Store, in, want T)

func (r *record[T]) times(t *testing.T, open Open, back backFunc[T]) {
	if !has[time.Time, T](r.needed...) {
		return
	}
	sentence(t, open, "The zero time means unset and comes back as zero", func(t *testing.T, s storage.Store) {
		v := set(r.fresh(t), time.Time{}, r.needed...)
		back(t, s, v, v)
	})
	for name, at := range map[string]time.Time{
		"0 µs":                  epoch(),
		"999,999 µs":            epoch().Add(999_999 * time.Microsecond),
		"999,999,999 ns":        epoch().Add(999_999_999),
		"another zone":          epoch().In(time.FixedZone("", 5*3600+1800)),
		"the Unix epoch":        time.Unix(0, 0),
		"before the Unix epoch": time.Date(1969, 12, 31, 23, 59, 58, 999_999_999, time.UTC),
		"the year 9999":         time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	} {
		sentence(t, open, "Times are stored in UTC, cut to microseconds: "+name, func(t *testing.T, s storage.Store) {
			v := r.fresh(t)
			back(t, s, set(v, at), set(v, at.UTC().Truncate(time.Microsecond)))
		})
	}
}

func (r *record[T]) documents(t *testing.T, open Open, back backFunc[T]) {
	if !has[[]byte, T]() {
		return
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(255 - i)
	}
	for name, document := range map[string][]byte{
		"every byte value": every,
		"one NUL":          {0},
		"1 MiB":            bytes.Repeat([]byte("0123456\xff"), 1<<17),
		"not quite JSON":   []byte(`{"b": 1.0,"a":"\u0041", "b":2}` + "\n "),
	} {
		sentence(t, open, "Documents come back byte for byte: "+name, func(t *testing.T, s storage.Store) {
			v := set(r.fresh(t), document)
			back(t, s, v, v)
		})
	}
	sentence(t, open, "A nil document comes back as nil", func(t *testing.T, s storage.Store) {
		v := set[[]byte](r.fresh(t), nil)
		back(t, s, v, v)
	})
	sentence(t, open, "An empty document comes back as nil", func(t *testing.T, s storage.Store) {
		v := r.fresh(t)
		back(t, s, set(v, []byte{}), set[[]byte](v, nil))
	})
}

func (r *record[T]) texts(t *testing.T, open Open, back backFunc[T]) {
	identifiers := r.identifiers()
	if has[string, T](identifiers...) {
		for name, text := range map[string]string{
			"empty":       "",
			"quotes":      `'; "\` + "\n\t%_?$1{}",
			"long":        strings.Repeat("é😀", 20_000),
			"NUL":         "a\x00b",
			"invalid":     "a\xff\xc3b",
			"unpaired":    "\xed\xa0\x80",
			"blanks kept": " a  ",
		} {
			sentence(t, open, "Other text is stored as valid UTF-8 without NUL: "+name, func(t *testing.T, s storage.Store) {
				v := r.fresh(t)
				back(t, s, set(v, text, identifiers...), set(v, storage.Text(text), identifiers...))
			})
		}
	}
	sentence(t, open, "Identifiers may be empty unless they make up the key", func(t *testing.T, s storage.Store) {
		v := r.fresh(t)
		for _, field := range r.refs {
			v = setField(v, field, "")
		}
		back(t, s, v, v)
	})
	sentence(t, open, "Identifiers hold up to MaxKey bytes", func(t *testing.T, s storage.Store) {
		v := r.fresh(t)
		for _, field := range identifiers {
			v = setField(v, field, strings.Repeat("x", storage.MaxKey-4)+"😀")
		}
		back(t, s, v, v)
	})
}

func (r *record[T]) keys(t *testing.T, open Open) {
	for _, field := range r.identifiers() {
		sentence(t, open, "An identifier that is too long or no text is ErrInvalid: "+field, func(t *testing.T, s storage.Store) {
			for _, value := range []string{strings.Repeat("x", storage.MaxKey+1), "a\x00", "\xff"} {
				r.refused(t, s, setField(r.fresh(t), field, value))
			}
		})
	}
	for _, field := range slices.Concat(r.key, r.required) {
		sentence(t, open, "An empty key is ErrInvalid: "+field, func(t *testing.T, s storage.Store) {
			r.refused(t, s, setField(r.fresh(t), field, ""))
		})
	}
	for _, field := range r.key {
		sentence(t, open, "Keys are compared byte for byte: "+field, func(t *testing.T, s storage.Store) {
			ctx := t.Context()
			alike := []string{"straße", "Straße", "STRASSE", "strasse", "strasse ", " strasse", "strásse", "stra\u0301sse", "0", "00", "0.0"}
			var want []T
			for _, value := range alike {
				v := setField(unlike(r.fresh(t), slices.Concat(r.required, r.refs), value), field, value)
				ok(t, r.add(t, s, v))
				r.stored(&v)
				want = append(want, v)
			}
			for _, v := range want {
				got, err := r.get(ctx, s, v)
				ok(t, err)
				equal(t, got, v)
			}
			_, err := r.get(ctx, s, setField(want[0], field, "strAsse"))
			isErr(t, err, storage.ErrNotFound)
		})
		sentence(t, open, "A key no record can have is ErrNotFound: "+field, func(t *testing.T, s storage.Store) {
			v := r.fresh(t)
			ok(t, r.add(t, s, v))
			for _, value := range []string{"", "\xff", "a\x00b", strings.Repeat("x", 100_000)} {
				_, err := r.get(t.Context(), s, setField(v, field, value))
				isErr(t, err, storage.ErrNotFound)
			}
		})
	}
}

// unlike makes the other identifiers differ, since some of them are unique.
func unlike[T any](v T, refs []string, mark string) T {
	for _, field := range refs {
		v = setField(v, field, "other "+mark)
	}
	return v
}

func (r *record[T]) aliases(t *testing.T, open Open) {
	if !has[[]byte, T]() {
		return
	}
	spoil := func(v T) {
		leaves(reflect.ValueOf(&v).Elem(), "", func(_ string, f reflect.Value) {
			if b, isBytes := f.Interface().([]byte); isBytes {
				for i := range b {
					b[i] = 'x'
				}
			}
		})
	}
	sentence(t, open, "Values passed in are not kept", func(t *testing.T, s storage.Store) {
		in, want := r.fresh(t), r.fresh(t)
		ok(t, r.add(t, s, in))
		spoil(in)
		got, err := r.get(t.Context(), s, want)
		ok(t, err)
		r.stored(&want)
		equal(t, got, want)
	})
	sentence(t, open, "Returned values belong to the caller", func(t *testing.T, s storage.Store) {
		want := r.fresh(t)
		ok(t, r.add(t, s, want))
		first, err := r.get(t.Context(), s, want)
		ok(t, err)
		spoil(first)
		got, err := r.get(t.Context(), s, want)
		ok(t, err)
		r.stored(&want)
		equal(t, got, want)
	})
}
