// Package storagetest checks that a storage backend keeps the contract of package storage.
//
// A backend, of this module or of anyone else's, calls [Run] from one of its tests:
//
//	func TestContract(t *testing.T) {
//		storagetest.Run(t, func(tb testing.TB) storage.Store { return openEmptyStore(tb) })
//	}
//
// Every subtest asks for a fresh, empty store and is named after the sentence of the contract it checks. The open
// function registers with tb.Cleanup what has to be closed. Durable backends call [RunReopen] too.
//
// The package uses the standard library only. There is no way to leave out a part of the contract: a backend that
// cannot keep a sentence of it needs the sentence changed, for all.
package storagetest

import (
	"testing"

	"github.com/enrollkit/enrollkit/storage"
)

// Open returns a store that holds nothing. The stores of two calls share nothing.
type Open func(tb testing.TB) storage.Store

// Run checks the whole contract.
func Run(t *testing.T, open Open) {
	t.Helper()
	t.Run("Accounts", func(t *testing.T) { RunAccounts(t, open) })
	t.Run("KeyPairs", func(t *testing.T) { RunKeyPairs(t, open) })
	t.Run("ServiceSessions", func(t *testing.T) { RunServiceSessions(t, open) })
	t.Run("NanoDEP", func(t *testing.T) { RunNanoDEP(t, open) })
	t.Run("Devices", func(t *testing.T) { RunDevices(t, open) })
	t.Run("Assignments", func(t *testing.T) { RunAssignments(t, open) })
	t.Run("Profiles", func(t *testing.T) { RunProfiles(t, open) })
	t.Run("Inventory", func(t *testing.T) { RunInventory(t, open) })
	t.Run("Sessions", func(t *testing.T) { RunSessions(t, open) })
	t.Run("Enrollments", func(t *testing.T) { RunEnrollments(t, open) })
	t.Run("Runs", func(t *testing.T) { RunRuns(t, open) })
	t.Run("Effects", func(t *testing.T) { RunEffects(t, open) })
	t.Run("Activities", func(t *testing.T) { RunActivities(t, open) })
	t.Run("Leases", func(t *testing.T) { RunLeases(t, open) })
}

// sentence runs a subtest on a fresh store, in parallel with the others.
func sentence(t *testing.T, open Open, name string, fn func(t *testing.T, s storage.Store)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		fn(t, open(t))
	})
}
