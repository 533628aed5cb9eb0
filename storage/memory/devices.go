package memory

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/enrollkit/enrollkit/storage"
)

// GetDevice implements storage.DeviceStore.
func (s *Store) GetDevice(ctx context.Context, account, serial string) (storage.Device, error) {
	d, err := get(ctx, s, func() map[string]*storage.Device { return s.devices[account] }, serial, of(cloneDevice))
	return d, fail("get device", serial, err)
}

// GetDevices implements storage.DeviceStore.
func (s *Store) GetDevices(ctx context.Context, account string, serials []string) ([]storage.Device, error) {
	if err := storage.CheckBatch(len(serials)); err != nil {
		return nil, fail("get devices of", account, err)
	}
	if err := s.lock(ctx); err != nil {
		return nil, fail("get devices of", account, err)
	}
	defer s.mu.Unlock()
	return pick(s.devices[account], serials, cloneDevice), nil
}

// DeviceDigests implements storage.DeviceStore.
func (s *Store) DeviceDigests(ctx context.Context, account string, serials []string) (map[string]storage.Digest, error) {
	if err := storage.CheckBatch(len(serials)); err != nil {
		return nil, fail("get digests of", account, err)
	}
	if err := s.lock(ctx); err != nil {
		return nil, fail("get digests of", account, err)
	}
	defer s.mu.Unlock()
	devices := s.devices[account]
	var digests map[string]storage.Digest // made for the first: none are known of a fleet that is new
	for i, serial := range serials {
		if d, found := devices[serial]; found {
			if digests == nil {
				digests = make(map[string]storage.Digest, len(serials)-i)
			}
			digests[serial] = d.Digest
		}
	}
	return digests, nil
}

// FindDevices implements storage.DeviceStore.
func (s *Store) FindDevices(ctx context.Context, serials ...string) ([]storage.Device, error) {
	if err := storage.CheckBatch(len(serials)); err != nil {
		return nil, fail("find devices", "", err)
	}
	if err := s.lock(ctx); err != nil {
		return nil, fail("find devices", "", err)
	}
	defer s.mu.Unlock()
	var out []storage.Device
	for _, devices := range s.devices {
		out = append(out, pick(devices, serials, cloneDevice)...)
	}
	slices.SortFunc(out, func(a, b storage.Device) int {
		return cmp.Or(cmp.Compare(a.Serial, b.Serial), cmp.Compare(a.Account, b.Account))
	})
	return out, nil
}

// ListDevices implements storage.DeviceStore.
func (s *Store) ListDevices(ctx context.Context, f storage.DeviceFilter, p storage.Page) ([]storage.Device, string, error) {
	if f.Account == "" {
		return nil, "", fail("list devices of", "", storage.ErrInvalid)
	}
	if err := s.lock(ctx); err != nil {
		return nil, "", fail("list devices of", f.Account, err)
	}
	defer s.mu.Unlock()
	devices, next, err := s.devicePage(matching(f, cloneDevice), f.Account, p)
	return devices, next, fail("list devices of", f.Account, err)
}

// ListSerials implements storage.DeviceStore.
func (s *Store) ListSerials(ctx context.Context, f storage.DeviceFilter, p storage.Page) ([]string, string, error) {
	if f.Account == "" {
		return nil, "", fail("list serials of", "", storage.ErrInvalid)
	}
	if err := s.lock(ctx); err != nil {
		return nil, "", fail("list serials of", f.Account, err)
	}
	defer s.mu.Unlock()
	devices, next, err := s.devicePage(matching(f, same[storage.Device]), f.Account, p)
	var serials []string
	for i := range devices {
		serials = append(serials, devices[i].Serial)
	}
	return serials, next, fail("list serials of", f.Account, err)
}

func (s *Store) devicePage(l listing[storage.Device], account string, p storage.Page) ([]storage.Device, string, error) {
	devices := s.devices[account]
	return page(l, func(key string) *storage.Device { return devices[key] }, keys(s.deviceKeys, account, devices), p)
}

func matching(f storage.DeviceFilter, clone func(storage.Device) storage.Device) listing[storage.Device] {
	return listing[storage.Device]{
		name:   "devices",
		filter: []string{f.Account, f.Family, strconv.FormatBool(f.IncludeLeft)},
		match: func(d *storage.Device) bool {
			return (f.Family == "" || d.Family == f.Family) && (f.IncludeLeft || d.Present())
		},
		clone: clone,
	}
}

// CountDevices implements storage.DeviceStore.
func (s *Store) CountDevices(ctx context.Context, account string) (present, left int, err error) {
	if err := s.lock(ctx); err != nil {
		return 0, 0, fail("count devices of", account, err)
	}
	defer s.mu.Unlock()
	for _, d := range s.devices[account] {
		if d.Present() {
			present++
		} else {
			left++
		}
	}
	return present, left, nil
}

func cloneDevice(d storage.Device) storage.Device {
	d.Document = cloneDocument(d.Document)
	return d
}
