package plist

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// document puts a binary property list together from its objects, with references of one byte; the first is the root.
func document(objects ...string) []byte {
	out := []byte("bplist00")
	var offsets []byte
	for _, o := range objects {
		offsets = binary.BigEndian.AppendUint16(offsets, uint16(len(out))) //nolint:gosec // small documents
		out = append(out, o...)
	}
	table := len(out)
	out = append(out, offsets...)
	out = append(out, 0, 0, 0, 0, 0, 0, 2, 1)
	out = binary.BigEndian.AppendUint64(out, uint64(len(objects)))
	out = binary.BigEndian.AppendUint64(out, 0)
	return binary.BigEndian.AppendUint64(out, uint64(table)) //nolint:gosec // not negative
}

func TestUnmarshalBinary(t *testing.T) {
	t.Parallel()
	// {A: [true, 7, "é", data, "A"], B: "A"}: one string is referenced three times.
	doc := document("\xd2\x01\x02\x03\x01", "\x51A", "\x51B", "\xa5\x04\x05\x06\x07\x01", "\x09", "\x10\x07", "\x61\x00\xe9", "\x42\x01\x02")
	var got map[string]any
	require.NoError(t, Unmarshal(doc, &got))
	assert.Equal(t, map[string]any{"A": []any{true, uint64(7), "é", []byte{1, 2}, "A"}, "B": "A"}, got)
}

func TestUnmarshalBinaryRefuses(t *testing.T) {
	t.Parallel()
	// Thirty arrays, each with the next one twice: 2^30 values.
	var doubling []string
	for i := range 30 {
		doubling = append(doubling, "\xa2"+string([]byte{byte(i + 1), byte(i + 1)}))
	}
	nested := make([]string, 0, 101)
	for i := range 100 {
		nested = append(nested, "\xa1"+string([]byte{byte(i + 1)}))
	}
	for name, doc := range map[string][]byte{
		"contains itself":           document("\xa1\x00"),
		"contain each other":        document("\xa1\x01", "\xa1\x00"),
		"dictionary of itself":      document("\xd1\x01\x00", "\x51A"),
		"expands without end":       document(append(doubling, "\x09")...),
		"nested too deep":           document(append(nested, "\x09")...),
		"reference to nowhere":      document("\xa1\x01"),
		"array larger than all":     document("\xaf\x13\x7f\xff\xff\xff\xff\xff\xff\xff"),
		"data larger than all":      document("\x4f\x12\x7f\xff\xff\xff"),
		"text larger than all":      document("\x6f\x10\x20"),
		"count of 2^15 bytes":       document("\x4f\x1f"),
		"type nobody knows":         document("\xf0"),
		"no object":                 document(),
		"too short":                 []byte("bplist00"),
		"offsets beyond the end":    append(document("\x09")[:len(document("\x09"))-1], 0xff),
		"too many objects":          append(document("\x09")[:len(document("\x09"))-24], make([]byte, 24)...),
		"dictionary cut in its end": document("\xdf\x10\x20\x00"),
	} {
		var got any
		require.Error(t, Unmarshal(doc, &got), name)
		assert.Nil(t, got, name)
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(document("\xd1\x01\x02", "\x51A", "\xa2\x01\x01"))
	f.Add(document("\xa1\x00"))
	f.Add([]byte(`<plist version="1.0"><dict><key>A</key><true/></dict></plist>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got map[string]any
		if Unmarshal(data, &got) != nil {
			return
		}
		if _, err := Marshal(got); err != nil {
			t.Skip("values XML cannot hold")
		}
	})
}
