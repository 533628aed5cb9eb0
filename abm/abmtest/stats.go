package abmtest

import "maps"

// Stats counts what MDM servers asked for since the service began. It does not count what the methods and the
// admin handler do.
type Stats struct {
	// Calls is the number of requests per endpoint, such as "POST /devices/sync", whatever the answer was.
	Calls map[string]int `json:"calls"`
	// LargestBatch is the largest number of devices in one request per endpoint. Apple asks for at most 1000.
	LargestBatch map[string]int `json:"largest_batch"`
	// OverLimit is the number of requests per endpoint that named, or asked for, more devices than GET /account
	// publishes for it. What Apple does with them is not documented; here they are answered.
	OverLimit map[string]int `json:"over_limit"`
	// AssignCalls is how often a profile assignment was asked for per serial number, whatever the result was.
	AssignCalls map[string]int `json:"assign_calls"`
}

func newStats() Stats {
	return Stats{make(map[string]int), make(map[string]int), make(map[string]int), make(map[string]int)}
}

// Stats returns a copy of the counters.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Calls: maps.Clone(s.stats.Calls), LargestBatch: maps.Clone(s.stats.LargestBatch),
		OverLimit: maps.Clone(s.stats.OverLimit), AssignCalls: maps.Clone(s.stats.AssignCalls),
	}
}

// AssignCalls returns how often MDM servers asked to assign a profile to the device: more than once for the same
// profile is what gets a client throttled.
func (s *Service) AssignCalls(serial string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats.AssignCalls[serial]
}
