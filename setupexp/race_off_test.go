//go:build !race

package setupexp

// raceEnabled says that the race detector is off.
const raceEnabled = false
