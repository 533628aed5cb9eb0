package abm

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// scanner goes forward over JSON text, once, checks its syntax on the way and hands out parts of it:
//
//	s.open()
//	for s.next('}') {
//		name, value := s.name(), s.value()
//	}
//	err := s.end()
//
// Where the syntax is wrong it stops for good: next returns false, all else "", and end tells. It takes exactly what
// json.Valid takes. Duplicate names and invalid UTF-8 inside strings are among that: they cost the value they are in, not
// the page.
type scanner struct {
	json string
	at   int
	// first says that an object or array was opened and no member of it was read yet.
	first bool
	// depth counts the objects and arrays that at is in.
	depth int
	// plain says that the strings since it was last set were as they look: ASCII without escapes.
	plain bool
	bad   bool
}

// maxDepth is how deep objects and arrays may be nested, as in encoding/json.
const maxDepth = 10000

// inString tells the bytes that a string may hold and that stand for themselves.
var inString = func() (t [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// peek goes to the next token and returns its first byte, 0 if there is none.
func (s *scanner) peek() byte {
	for ; s.at < len(s.json); s.at++ {
		if c := s.json[s.at]; c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// take goes behind the byte c if it is the next token, and reports whether it was.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// fail stops the scanner where it is.
func (s *scanner) fail() { s.bad = true }

// open goes into the object or array whose first byte was peeked.
func (s *scanner) open() {
	s.at, s.first = s.at+1, true
	if s.depth++; s.depth > maxDepth {
		s.fail()
	}
}

// next goes to the next member or element of what ends with end, and reports whether there is one; if not, it goes behind
// the end.
func (s *scanner) next(end byte) bool {
	first := s.first
	s.first = false
	switch {
	case s.bad:
		return false
	case s.take(end):
		s.depth--
		return false
	case !first && !s.take(','):
		s.fail()
		return false
	}
	return true
}

// name returns the name of the member that is next and goes to its value.
func (s *scanner) name() string {
	name := text(s.str(), s.plain)
	if !s.take(':') {
		s.fail()
	}
	return name
}

// value returns the value that is next, raw.
func (s *scanner) value() string {
	c := s.peek()
	start := s.at
	switch c {
	case '"':
		return s.str()
	case '{', '[':
		s.nested(c)
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
	if s.bad {
		return ""
	}
	return s.json[start:s.at]
}

// nested goes behind an object or array that begins with c.
func (s *scanner) nested(c byte) {
	s.open()
	if c == '{' {
		for s.next('}') {
			s.name()
			s.value()
		}
	} else {
		for s.next(']') {
			s.value()
		}
	}
}

func (s *scanner) literal(word string) {
	if !strings.HasPrefix(s.json[s.at:], word) {
		s.fail()
		return
	}
	s.at += len(word)
}

// number goes behind a number: an integer, maybe a fraction, maybe an exponent.
func (s *scanner) number() {
	s.skip("-")
	if !s.skip("0") {
		s.digits()
	}
	if s.skip(".") {
		s.digits()
	}
	if s.skip("eE") {
		s.skip("+-")
		s.digits()
	}
}

// digits goes behind one or more digits.
func (s *scanner) digits() {
	if !s.skip("0123456789") {
		s.fail()
	}
	for s.skip("0123456789") {
	}
}

// skip goes behind one byte if it is one of these, and reports whether it was.
func (s *scanner) skip(these string) bool {
	if s.at >= len(s.json) || strings.IndexByte(these, s.json[s.at]) < 0 {
		return false
	}
	s.at++
	return true
}

// str returns the string that is next, raw.
func (s *scanner) str() string {
	if s.bad || s.peek() != '"' {
		s.fail()
		return ""
	}
	start := s.at
	for i := start + 1; i < len(s.json); i++ {
		c := s.json[i]
		switch {
		case inString[c]:
		case c == '"':
			s.at = i + 1
			return s.json[start:s.at]
		case c == '\\' && escapes(s.json[i+1:]):
			s.plain = false
			i++ // what is escaped may be a quote
		case c >= utf8.RuneSelf:
			s.plain = false
		default:
			s.fail()
			return ""
		}
	}
	s.fail()
	return ""
}

// escapes reports whether what follows a backslash is an escape.
func escapes(s string) bool {
	if s == "" || strings.IndexByte(`"\/bfnrtu`, s[0]) < 0 {
		return false
	}
	if s[0] != 'u' {
		return true
	}
	for i := 1; i <= 4; i++ {
		if i == len(s) || strings.IndexByte("0123456789abcdefABCDEF", s[i]) < 0 {
			return false
		}
	}
	return true
}

// end returns an error if the syntax was wrong, or if something follows what was read.
func (s *scanner) end() error {
	if s.peek() != 0 || s.at < len(s.json) || s.bad {
		return fmt.Errorf("not JSON from byte %d on", s.at)
	}
	return nil
}

// text returns the string that v, a raw JSON value, stands for; "" if it is not a string. What is invalid UTF-8, and NUL,
// which databases do not take in a text, is replaced. plain says that v is known to be plain.
func text(v string, plain bool) string {
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	if plain || strings.IndexByte(v, '\\') < 0 && utf8.ValidString(v) {
		return v[1 : len(v)-1]
	}
	b, _ := jsontext.AppendUnquote(nil, v) // an error means invalid UTF-8, which was replaced
	return strings.ReplaceAll(string(b), "\x00", "\uFFFD")
}

// texts returns the strings in v, a raw JSON value, if it is an array.
func texts(v string, plain bool) []string {
	if len(v) <= len("[]") || v[0] != '[' {
		return nil
	}
	var out []string
	s := scanner{json: v}
	s.open()
	for s.next(']') {
		if t := text(s.value(), plain); t != "" {
			out = append(out, t)
		}
	}
	return out
}
