package abm

import "time"

// parseTime reads Apple's times, and forms near to them: a missing zone means UTC, a missing time midnight.
// It returns false, and the zero time, for anything else.
func parseTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, false
	}
	if t, ok := parseAppleTime(s); ok {
		return t, true
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

// parseAppleTime reads the one form that Apple writes, 2006-01-02T15:04:05Z, in a fraction of the time time.Parse needs. It
// also returns false for the 29th of February and the 31st of any month, which are left to those who know the calendar.
func parseAppleTime(s string) (time.Time, bool) {
	const form = "0000-00-00T00:00:00Z"
	if len(s) != len(form) {
		return time.Time{}, false
	}
	for i := range len(form) {
		if form[i] == '0' && (s[i] < '0' || s[i] > '9') || form[i] != '0' && s[i] != form[i] {
			return time.Time{}, false
		}
	}
	two := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	year, month, day := two(0)*100+two(2), two(5), two(8)
	hour, minute, second := two(11), two(14), two(17)
	if year <= 1 || month < 1 || month > 12 || day < 1 || day > 28 && (month == 2 || day > 30) || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC), true
}
