// Package backendtest runs the conformance suite on real engines. It is a module of its own, never tagged, so that the
// drivers it needs are not in the go.mod of the library.
package backendtest
