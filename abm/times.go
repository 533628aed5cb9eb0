package abm

import "time"

// parseTime reads Apple's times, and forms near to them: a missing zone means UTC, a missing time midnight.
// It returns false, and the zero time, for anything else.
func parseTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			if t.Year() <= 1 { // Go's zero time, as some senders write for "none"
				return time.Time{}, false
			}
			return t.UTC().Truncate(time.Microsecond), true // as precise as stores keep it
		}
	}
	return time.Time{}, false
}
