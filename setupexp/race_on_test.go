//go:build race

package setupexp

// raceEnabled says that the race detector is on. It makes pure functions many times slower and finds nothing in them, so
// that tests which only call those look at fewer cases.
const raceEnabled = true
