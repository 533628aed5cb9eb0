package abmtest

import "time"

// listRequest is the body of fetch and sync.
type listRequest struct {
	Cursor string `json:"cursor"`
	Limit  int    `json:"limit"`
}

// listResponse is the answer of fetch and sync.
type listResponse struct {
	Cursor       string       `json:"cursor"`
	Devices      []wireDevice `json:"devices"`
	FetchedUntil string       `json:"fetched_until"`
	MoreToFollow bool         `json:"more_to_follow"`
}

// limit returns the limits that are published for a path.
func (s *settings) limit(path string) pageLimits {
	if l, ok := s.limits[path]; ok {
		return l
	}
	return s.pages
}

// limit brings what a client asked for into the published range, and counts what is above. What Apple does with limits
// outside of it is not documented. The caller holds the lock.
func (s *Service) limit(path string, asked int) int {
	l := s.cfg.limit(path)
	if asked <= 0 {
		return l.byDefault
	}
	if asked > l.maximum {
		s.stats.OverLimit["POST "+path]++
	}
	return min(asked, l.maximum)
}

// fetchDevices serves POST /server/devices: what is assigned to the server now, ordered by the time of the last
// operation when the fetch began. What changes while the fetch is under way is in the sync that follows.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-devices
func (s *Service) fetchDevices(c *call) (any, error) {
	var in listRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endThrottles(c.now)
	m := c.server
	cur := cursor{bound: len(m.log)}
	if in.Cursor != "" {
		var ok bool
		cur, ok = s.decodeCursor(m, in.Cursor)
		// EXPIRED_CURSOR is documented for sync only.
		if !ok || c.now.Sub(cur.issued) > s.cfg.cursorLifetime {
			return nil, bad("INVALID_CURSOR")
		}
		if !cur.fetching() {
			return nil, bad("EXHAUSTED_CURSOR")
		}
	}
	listed := func(op *operation) bool { return m.current(op, cur.bound) }
	limit := s.limit("/server/devices", in.Limit)
	out, next := s.page(c, walk{cur: cur, limit: limit, show: listed, encode: func(op *operation) wireDevice {
		return newWireDevice(op.device, op.device.cur, c.version)
	}})
	// Without more to follow, next is the bound and the cursor is ready for sync.
	out.Cursor = s.encodeCursor(m, cursor{limit: limit, position: next.position, bound: cur.bound, issued: c.now})
	return out, nil
}

// syncDevices serves POST /devices/sync: every operation since the cursor, so one device may come several times.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/sync-devices
func (s *Service) syncDevices(c *call) (any, error) {
	var in listRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Cursor == "" {
		return nil, bad("CURSOR_REQUIRED")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endThrottles(c.now)
	m := c.server
	cur, ok := s.decodeCursor(m, in.Cursor)
	if ok && c.now.Sub(cur.issued) > s.cfg.cursorLifetime {
		return nil, bad("EXPIRED_CURSOR")
	}
	// The cursor of an unfinished fetch is no place to sync from: the devices not yet returned would be lost.
	if !ok || cur.fetching() {
		return nil, bad("INVALID_CURSOR")
	}
	cur.bound = len(m.log)
	visible := func(op *operation) bool {
		if s.throttled(op.device.hw.SerialNumber) {
			op.device.skip(m)
			return false
		}
		return true
	}
	limit := s.limit("/devices/sync", in.Limit)
	encode := func(op *operation) wireDevice {
		w := newWireDevice(op.device, op.state, c.version)
		w.OpType, w.OpDate = op.kind, stamp(time.Unix(op.date, 0))
		if c.version >= 10 && op.kind == opDeleted {
			w.ByReplacement = new(op.byReplacement)
		}
		return w
	}
	replayed := s.replayed(c, cur, limit, visible)
	out, next := s.page(c, walk{cur, limit - len(replayed), visible, encode, func(op *operation) bool {
		return op.next > 0 && s.strike(FaultLateEvents, m, c.op, op.device.hw.SerialNumber) != nil
	}})
	for _, op := range replayed {
		out.Devices = append(out.Devices, encode(op))
	}
	next.limit, next.bound, next.issued = limit, next.position, c.now
	out.Cursor = s.encodeCursor(m, next)
	return out, nil
}

// walk is how a page goes through the log.
type walk struct {
	cur    cursor
	limit  int
	show   func(*operation) bool
	encode func(*operation) wireDevice
	late   func(*operation) bool // whether an event is to come after a newer one of its device; nil: never
}

// page returns up to limit of the operations that show picks, from the cursor on, and where the next page begins: at the
// next operation that will be shown, or the bound if there is none, so that no page walks over what an earlier one has
// passed.
func (s *Service) page(c *call, w walk) (out listResponse, next cursor) {
	log, bound := c.server.log, w.cur.bound
	out = listResponse{Devices: make([]wireDevice, 0, max(0, min(w.limit, bound-w.cur.position))), FetchedUntil: stamp(c.now)}
	late := w.cur.late
	var last int64
	add := func(op *operation) {
		out.Devices = append(out.Devices, w.encode(op))
		last = op.date
	}
	for i := w.cur.position; i < bound; i++ {
		op := &log[i]
		if late > 0 && int(log[late-1].next) < i && len(out.Devices) < w.limit {
			add(&log[late-1])
			late = 0
		}
		if !w.show(op) {
			continue
		}
		if len(out.Devices) == w.limit {
			out.MoreToFollow = true
			out.FetchedUntil = stamp(time.Unix(last, 0))
			return out, cursor{position: i, late: late}
		}
		if late == 0 && w.late != nil && int(op.next) < bound && w.late(op) {
			late = i + 1
			continue
		}
		add(op)
	}
	if late > 0 && len(out.Devices) < w.limit {
		add(&log[late-1])
		late = 0
	}
	out.MoreToFollow = late > 0
	return out, cursor{position: bound, late: late}
}
