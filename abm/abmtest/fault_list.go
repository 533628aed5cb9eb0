package abmtest

import (
	"encoding/json"
	"slices"
)

// distort makes of an answer with devices what the faults of classList want. The caller does not hold the lock.
func (s *Service) distort(c *call, answer any) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed(classList) {
		return answer, nil
	}
	switch out := answer.(type) {
	case listResponse:
		return s.distortList(c, out)
	case detailsResponse:
		devices := make(map[string]any, len(out.Devices))
		for serial, w := range out.Devices {
			var err error
			if devices[serial], err = s.distortDevice(c, w); err != nil {
				return nil, err
			}
		}
		return map[string]any{"devices": devices}, nil
	}
	return answer, nil
}

func (s *Service) distortList(c *call, out listResponse) (any, error) {
	devices := make([]any, 0, len(out.Devices))
	for _, w := range out.Devices {
		if s.strike(FaultMissingFromSync, c.server, c.op, w.SerialNumber) != nil ||
			s.strike(FaultMissingFromFetch, c.server, c.op, w.SerialNumber) != nil {
			continue
		}
		d, err := s.distortDevice(c, w)
		if err != nil {
			return nil, err
		}
		devices = append(devices, d)
		if s.strike(FaultDuplicateEvents, c.server, c.op, w.SerialNumber) != nil {
			devices = append(devices, d)
		}
	}
	if len(devices) > 1 && s.strike(FaultReversedEvents, c.server, c.op) != nil {
		slices.Reverse(devices)
	}
	if f := s.strike(FaultNonObjectDevice, c.server, c.op); f != nil {
		devices = slices.Insert(devices, 0, any(f.becomes()))
	}
	var in listRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	// The first page of a fetch has no cursor that could be repeated.
	if in.Cursor != "" && s.strike(FaultRepeatedCursor, c.server, c.op) != nil {
		out.Cursor, out.MoreToFollow = in.Cursor, true
	}
	return map[string]any{
		"cursor": out.Cursor, "devices": devices, "fetched_until": out.FetchedUntil, "more_to_follow": out.MoreToFollow,
	}, nil
}

// distortDevice changes the members of one device.
func (s *Service) distortDevice(c *call, w wireDevice) (any, error) {
	data, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	if w.OpType == opAdded && s.strike(FaultModifiedNotAdded, c.server, c.op, w.SerialNumber) != nil {
		members["op_type"] = json.RawMessage(`"` + opModified + `"`)
	}
	for _, f := range s.faults {
		if f.info.field == "" || !s.strikes(f, c.server, c.op, []string{w.SerialNumber}) {
			continue
		}
		field := f.info.field
		if f.Field != "" {
			field = f.Field
		}
		if members[field] = f.becomes(); members[field] == nil {
			delete(members, field)
		}
	}
	return members, nil
}

// becomes is what the fault turns something into; nil if into nothing.
func (f *fault) becomes() json.RawMessage {
	if len(f.Value) > 0 {
		return f.Value
	}
	if f.info.value == "" {
		return nil
	}
	return json.RawMessage(f.info.value)
}

// maxReplayed is how many events come again.
const maxReplayed = 10

// replayed returns the events before a cursor that come again in a page of at most limit devices, oldest first. They take
// the place of at most half of it, so that a sync still gets on. The caller holds the lock.
func (s *Service) replayed(c *call, cur cursor, limit int, show func(*operation) bool) []*operation {
	if !s.armed(classList) {
		return nil
	}
	var out []*operation
	log := c.server.log
	for i := cur.position - 1; i >= 0 && len(out) < min(maxReplayed, limit/2); i-- {
		if show(&log[i]) && s.strike(FaultReplayedEvents, c.server, c.op, log[i].device.hw.SerialNumber) != nil {
			out = append(out, &log[i])
		}
	}
	slices.Reverse(out)
	return out
}
