// Package plist reads and writes Apple property lists.
//
// It is the only importer of the property list library, so that the library can be replaced in one place.
package plist

import (
	"bytes"
	"fmt"

	"github.com/micromdm/plist"
)

// Marshal returns the XML property list of v, indented with tabs as Apple's own tools write it.
func Marshal(v any) ([]byte, error) {
	b, err := plist.MarshalIndent(v, "\t")
	if err != nil {
		return nil, fmt.Errorf("plist: marshal: %w", err)
	}
	return b, nil
}

// Unmarshal reads an XML or binary property list into v. Malformed input is an error, never a panic.
func Unmarshal(data []byte, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("plist: unmarshal: malformed document: %v", r)
		}
	}()
	if bytes.HasPrefix(data, []byte("bplist")) {
		if err := checkBinary(data); err != nil {
			return err
		}
	}
	if err := plist.Unmarshal(data, v); err != nil {
		return fmt.Errorf("plist: unmarshal: %w", err)
	}
	return nil
}
