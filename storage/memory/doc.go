// Package memory is a storage backend that keeps everything in the process and loses it when the process ends. It is
// made for tests, simulations and a first look.
//
//	store := memory.New()
//
// It keeps the whole contract of package storage. One lock guards everything, so a write waits for every other one, and
// lists look at all records of their kind: use sqlstore for more than some ten thousand devices.
package memory
