package sqlstore

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// The types below carry a field of a record to the database and back.

// timeField is microseconds since the Unix epoch, NULL for the zero time.
type timeField struct{ t *time.Time }

func (f timeField) Value() (driver.Value, error) { return micros(*f.t), nil }

func (f timeField) Scan(src any) error {
	var n sql.NullInt64
	if err := n.Scan(src); err != nil {
		return err
	}
	*f.t = time.Time{}
	if n.Valid {
		*f.t = time.UnixMicro(n.Int64).UTC()
	}
	return nil
}

// micros returns a time as it is stored.
func micros(t time.Time) driver.Value {
	if t = storage.Time(t); t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// docField is a document, NULL if empty.
type docField struct{ b *[]byte }

func (f docField) Value() (driver.Value, error) {
	if len(*f.b) == 0 {
		return nil, nil
	}
	return *f.b, nil
}

func (f docField) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*f.b = nil
	case []byte:
		*f.b = bytes.Clone(v)
	default:
		return fmt.Errorf("document is stored as %T", src)
	}
	return nil
}

// refField is text, NULL if empty, for unique columns in which many rows may have none.
type refField struct{ s *string }

func (f refField) Value() (driver.Value, error) {
	if *f.s == "" {
		return nil, nil
	}
	return *f.s, nil
}

func (f refField) Scan(src any) error {
	var s sql.NullString
	err := s.Scan(src)
	*f.s = s.String
	return err
}

// boolField is 1 or 0, which every database has and can index.
type boolField struct{ b *bool }

func (f boolField) Value() (driver.Value, error) {
	if *f.b {
		return int64(1), nil
	}
	return int64(0), nil
}

func (f boolField) Scan(src any) error {
	var n sql.NullInt64
	err := n.Scan(src)
	*f.b = n.Int64 != 0
	return err
}

// digestField is the 32 bytes of a digest.
type digestField struct{ d *storage.Digest }

func (f digestField) Value() (driver.Value, error) { return f.d[:], nil }

func (f digestField) Scan(src any) error {
	b, isBytes := src.([]byte)
	if !isBytes || len(b) != len(f.d) {
		return fmt.Errorf("digest is stored as %T of %d bytes", src, len(b))
	}
	copy(f.d[:], b)
	return nil
}
