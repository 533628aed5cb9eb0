package abmtest

import (
	"slices"
	"strings"
)

// The per-device results of the API.
const (
	resultSuccess       = "SUCCESS"
	resultNotAccessible = "NOT_ACCESSIBLE"
	resultFailed        = "FAILED"
	resultThrottled     = "THROTTLED"
)

// deviceRequest is the body of the calls that name devices.
type deviceRequest struct {
	Devices     []string `json:"devices"`
	ProfileUUID string   `json:"profile_uuid"`
}

// deviceResults is the answer of the calls that report one word per device.
type deviceResults struct {
	ProfileUUID string            `json:"profile_uuid,omitempty"`
	Devices     map[string]string `json:"devices"`
	RetryAfter  int64             `json:"retry_after_seconds,omitempty"`
}

// put adds the result of a device; an empty one is not reported.
func (r *deviceResults) put(serial, result string) {
	if result != "" {
		r.Devices[serial] = result
	}
}

// decodeDevices reads a body that must name at least one device, each once from here on.
func (s *Service) decodeDevices(c *call) (deviceRequest, error) {
	var in deviceRequest
	if err := c.decode(&in); err != nil {
		return in, err
	}
	if len(in.Devices) == 0 {
		return in, bad("DEVICE_ID_REQUIRED")
	}
	s.mu.Lock()
	key := c.op
	_, path, _ := strings.Cut(key, " ")
	s.stats.LargestBatch[key] = max(s.stats.LargestBatch[key], len(in.Devices))
	if len(in.Devices) > s.cfg.limit(path).maximum {
		s.stats.OverLimit[key]++
	}
	s.mu.Unlock()
	slices.Sort(in.Devices)
	in.Devices = slices.Compact(in.Devices)
	return in, nil
}
