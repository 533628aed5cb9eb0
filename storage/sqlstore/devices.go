package sqlstore

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// GetDevice implements storage.DeviceStore.
func (s *Store) GetDevice(ctx context.Context, account, serial string) (storage.Device, error) {
	return get(ctx, s, "get device", devices(), account, serial)
}

// GetDevices implements storage.DeviceStore.
func (s *Store) GetDevices(ctx context.Context, account string, serials []string) ([]storage.Device, error) {
	out, err := bySerials(ctx, s, devices(), account, serials)
	return out, s.fail(ctx, "get devices of", account, err)
}

// bySerials returns those of the records of an account that exist, by serial.
func bySerials[T any](ctx context.Context, s *Store, tb table[T], account string, serials []string) ([]T, error) {
	if err := storage.CheckBatch(len(serials)); err != nil {
		return nil, err
	}
	keys, err := jsonKeys(serials)
	if err != nil || !storage.ValidKey(account) {
		return nil, err
	}
	return many(ctx, s, s.db, tb, " WHERE account = ? AND serial"+s.d.inList+" ORDER BY serial", account, keys)
}

// DeviceDigests implements storage.DeviceStore.
func (s *Store) DeviceDigests(ctx context.Context, account string, serials []string) (map[string]storage.Digest, error) {
	type row struct {
		serial string
		digest storage.Digest
	}
	digests := table[row]{
		name: "enrollkit_devices", columns: []string{"serial", "digest"},
		fields: func(r *row) []any { return []any{&r.serial, digestField{&r.digest}} },
	}
	rows, err := bySerials(ctx, s, digests, account, serials)
	if err != nil {
		return nil, s.fail(ctx, "get digests of", account, err)
	}
	out := make(map[string]storage.Digest, len(rows))
	for _, r := range rows {
		out[r.serial] = r.digest
	}
	return out, nil
}

// FindDevices implements storage.DeviceStore.
func (s *Store) FindDevices(ctx context.Context, serials ...string) ([]storage.Device, error) {
	if err := storage.CheckBatch(len(serials)); err != nil {
		return nil, s.fail(ctx, "find devices", "", err)
	}
	keys, err := jsonKeys(serials)
	if err != nil {
		return nil, s.fail(ctx, "find devices", "", err)
	}
	out, err := many(ctx, s, s.db, devices(), " WHERE serial"+s.d.inList+" ORDER BY serial, account", keys)
	return out, s.fail(ctx, "find devices", "", err)
}

// ListDevices implements storage.DeviceStore.
func (s *Store) ListDevices(ctx context.Context, f storage.DeviceFilter, p storage.Page) ([]storage.Device, string, error) {
	if f.Account == "" {
		return nil, "", s.fail(ctx, "list devices of", "", storage.ErrInvalid)
	}
	out, next, err := list(ctx, s, devices(), inDevices(f, p), text, func(d *storage.Device) string { return d.Serial })
	return out, next, s.fail(ctx, "list devices of", f.Account, err)
}

// ListSerials implements storage.DeviceStore.
func (s *Store) ListSerials(ctx context.Context, f storage.DeviceFilter, p storage.Page) ([]string, string, error) {
	if f.Account == "" {
		return nil, "", s.fail(ctx, "list serials of", "", storage.ErrInvalid)
	}
	serials := table[string]{
		name: devices().name, columns: []string{"serial"},
		fields: func(serial *string) []any { return []any{serial} },
	}
	out, next, err := list(ctx, s, serials, inDevices(f, p), text, func(serial *string) string { return *serial })
	return out, next, s.fail(ctx, "list serials of", f.Account, err)
}

func inDevices(f storage.DeviceFilter, p storage.Page) listing {
	l := listing{order: "serial", page: p}
	l.equal("account", f.Account)
	l.equal("family", f.Family)
	l.when(!f.IncludeLeft, "left_at IS NULL")
	return l
}

// CountDevices implements storage.DeviceStore.
func (s *Store) CountDevices(ctx context.Context, account string) (present, left int, err error) {
	if !storage.ValidKey(account) {
		return 0, 0, s.fail(ctx, "count devices of", account, ctx.Err())
	}
	const query = "SELECT COUNT(*) - COUNT(left_at), COUNT(left_at) FROM enrollkit_devices WHERE account = ?"
	if err := s.db.QueryRowContext(ctx, s.sql(query), account).Scan(&present, &left); err != nil {
		return 0, 0, s.fail(ctx, "count devices of", account, err)
	}
	return present, left, nil
}
