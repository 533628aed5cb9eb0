package setupexp

import (
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// namespace is the UUID namespace of everything the package names. It never changes: a run must find its commands again.
func namespace() uuid.UUID { return uuid.MustParse("c1ba2a6e-3f55-5a0e-9d0b-5b8f0d8a6c1e") }

// stableID returns the UUIDv5 of its parts, in upper case as Apple writes UUIDs. Parts are joined by NUL, which occurs in
// none of them.
func stableID(parts ...string) string {
	id := uuid.NewSHA1(namespace(), []byte(strings.Join(parts, "\x00")))
	return strings.ToUpper(id.String())
}

// RunID returns the id of the run of an enrollment's generation.
func RunID(enrollmentID string, generation int64) string {
	return stableID("run", enrollmentID, strconv.FormatInt(generation, 10))
}

// id returns the id of something of this run.
func (s *State) id(what, which string, n int) string {
	parts := []string{what, s.Subject.EnrollmentID, strconv.FormatInt(s.Subject.Generation, 10), which, strconv.Itoa(n)}
	if s.Nonce != "" {
		parts = append(parts, s.Nonce)
	}
	return stableID(parts...)
}

// executionID names the n-th attempt of an item; it is the UUID of its command.
func (s *State) executionID(item string, n int) string { return s.id("item", item, n) }

// releaseID is the UUID of the n-th release command.
func (s *State) releaseID(n int) string { return s.id("release", "", n) }

// queryID is the UUID of the n-th query of a kind.
func (s *State) queryID(key string, n int) string { return s.id("query", key, n) }
