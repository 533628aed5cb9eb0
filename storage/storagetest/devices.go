package storagetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// commitDevices stores devices of one account.
func commitDevices(t testing.TB, s storage.Store, account string, devices ...storage.Device) {
	t.Helper()
	ok(t, s.CommitInventory(t.Context(), storage.InventoryChange{Account: account, Devices: devices}))
}

// serials returns n serials in order.
func serials(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("S%06d", i)
	}
	return out
}

// RunDevices checks storage.DeviceStore.
func RunDevices(t *testing.T, open Open) {
	values(t, open, record[storage.Device]{
		fresh:   func(t testing.TB) storage.Device { return newDevice(t, 1, "acme", "s") },
		prepare: func(t testing.TB, s storage.Store, d storage.Device) { ensureAccount(t, s, d.Account) },
		put: func(ctx context.Context, s storage.Store, d storage.Device) error {
			return s.CommitInventory(ctx, storage.InventoryChange{Account: d.Account, Devices: []storage.Device{d}})
		},
		get: func(ctx context.Context, s storage.Store, d storage.Device) (storage.Device, error) {
			return s.GetDevice(ctx, d.Account, d.Serial)
		},
		stored: func(*storage.Device) {},
		key:    []string{"Account", "Serial"},
	})
	pages(t, open, list[storage.Device]{
		put: func(t testing.TB, s storage.Store, key string) {
			ensureAccount(t, s, "acme")
			commitDevices(t, s, "acme", newDevice(t, 1, "acme", key))
		},
		page: func(ctx context.Context, s storage.Store) pager[storage.Device] { return listDevices(ctx, s, "acme") },
		other: func(ctx context.Context, s storage.Store) pager[storage.Device] {
			return func(p storage.Page) ([]storage.Device, string, error) {
				return s.ListDevices(ctx, storage.DeviceFilter{Account: "acme"}, p)
			}
		},
		key: func(d storage.Device) string { return d.Serial },
	})
	readingDevices(t, open)
	listingDevices(t, open)
	cancelled(t, open, func(t testing.TB, s storage.Store) map[string]func(context.Context) error {
		withAccount(t, s, "acme")
		return map[string]func(context.Context) error{
			"GetDevice":     func(ctx context.Context) error { _, err := s.GetDevice(ctx, "acme", "s"); return err },
			"GetDevices":    func(ctx context.Context) error { _, err := s.GetDevices(ctx, "acme", []string{"s"}); return err },
			"DeviceDigests": func(ctx context.Context) error { _, err := s.DeviceDigests(ctx, "acme", []string{"s"}); return err },
			"FindDevices":   func(ctx context.Context) error { _, err := s.FindDevices(ctx, "s"); return err },
			"CountDevices":  func(ctx context.Context) error { _, _, err := s.CountDevices(ctx, "acme"); return err },
			"ListSerials": func(ctx context.Context) error {
				_, _, err := s.ListSerials(ctx, storage.DeviceFilter{Account: "acme"}, storage.Page{})
				return err
			},
			"ListDevices": func(ctx context.Context) error { _, _, err := listPage(listDevices(ctx, s, "acme")); return err },
		}
	})
}

func listPage[T any](page pager[T]) ([]T, string, error) { return page(storage.Page{}) }

func readingDevices(t *testing.T, open Open) {
	sentence(t, open, "A missing device is ErrNotFound", func(t *testing.T, s storage.Store) {
		withAccount(t, s, "acme")
		commitDevices(t, s, "acme", newDevice(t, 1, "acme", "s"))
		for _, key := range [][2]string{{"acme", "S"}, {"Acme", "s"}, {"acme", ""}} {
			_, err := s.GetDevice(t.Context(), key[0], key[1])
			isErr(t, err, storage.ErrNotFound)
		}
	})
	sentence(t, open, "GetDevices and DeviceDigests return those that exist", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		withAccount(t, s, "other")
		a, b, c := newDevice(t, 1, "acme", "a"), newDevice(t, 2, "acme", "B"), newDevice(t, 3, "acme", "ä😀")
		commitDevices(t, s, "acme", a, b, c)
		commitDevices(t, s, "other", newDevice(t, 4, "other", "a"), newDevice(t, 4, "other", "z"))
		ask := []string{"ä😀", "a", "z", "B", "a", "", "A", `"`, "\xff", "a\x00b"}
		got, err := s.GetDevices(ctx, "acme", ask)
		ok(t, err)
		equal(t, got, []storage.Device{b, a, c})
		digests, err := s.DeviceDigests(ctx, "acme", ask)
		ok(t, err)
		equal(t, digests, map[string]storage.Digest{"a": a.Digest, "B": b.Digest, "ä😀": c.Digest})
		for _, account := range []string{"nobody", ""} {
			got, err = s.GetDevices(ctx, account, ask)
			ok(t, err)
			equal(t, len(got), 0)
			digests, err = s.DeviceDigests(ctx, account, nil)
			ok(t, err)
			equal(t, len(digests), 0)
		}
	})
	sentence(t, open, "A batch holds MaxBatch keys and no more", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		ask := serials(storage.MaxBatch + 1)
		commitDevices(t, s, "acme", newDevice(t, 1, "acme", ask[0]), newDevice(t, 1, "acme", ask[storage.MaxBatch-1]))
		got, err := s.GetDevices(ctx, "acme", ask[:storage.MaxBatch])
		ok(t, err)
		equal(t, len(got), 2)
		digests, err := s.DeviceDigests(ctx, "acme", ask[:storage.MaxBatch])
		ok(t, err)
		equal(t, len(digests), 2)
		_, err = s.GetDevices(ctx, "acme", ask)
		isErr(t, err, storage.ErrTooLarge)
		_, err = s.DeviceDigests(ctx, "acme", ask)
		isErr(t, err, storage.ErrTooLarge)
	})
	sentence(t, open, "FindDevices returns serials in all accounts, by serial and account", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		var want []storage.Device
		for i, account := range keysInOrder() {
			withAccount(t, s, account)
			want = append(want, newDevice(t, i+1, account, "s"))
			commitDevices(t, s, account, want[i], newDevice(t, 50, account, "S"), newDevice(t, 51, account, "T"))
		}
		got, err := s.FindDevices(ctx, "s")
		ok(t, err)
		equal(t, got, want)
		both, err := s.FindDevices(ctx, "s", "none", "S", "s", "", "\xff")
		ok(t, err)
		equal(t, len(both), 2*len(want))
		equal(t, both[len(want):], want)
		equal(t, both[0].Serial, "S")
		for _, keys := range [][]string{nil, {""}} {
			none, err := s.FindDevices(ctx, keys...)
			ok(t, err)
			equal(t, len(none), 0)
		}
		_, err = s.FindDevices(ctx, serials(storage.MaxBatch+1)...)
		isErr(t, err, storage.ErrTooLarge)
	})
}

func listingDevices(t *testing.T, open Open) {
	sentence(t, open, "ListDevices narrows by family and leaves out devices that have left", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		withAccount(t, s, "other")
		var devices []storage.Device
		for i, serial := range serials(8) {
			d := newDevice(t, i+1, "acme", serial)
			d.Family = []string{"Mac", "mac"}[i%2]
			if i < 4 {
				d.LeftAt = time.Time{}
			}
			devices = append(devices, d)
		}
		commitDevices(t, s, "acme", devices...)
		commitDevices(t, s, "other", newDevice(t, 1, "other", "S000000"))
		for _, c := range []struct {
			f    storage.DeviceFilter
			want []storage.Device
		}{
			{storage.DeviceFilter{Account: "acme", IncludeLeft: true}, devices},
			{storage.DeviceFilter{Account: "acme"}, devices[:4]},
			{storage.DeviceFilter{Account: "acme", Family: "Mac"}, []storage.Device{devices[0], devices[2]}},
			{
				storage.DeviceFilter{Account: "acme", Family: "mac", IncludeLeft: true},
				[]storage.Device{devices[1], devices[3], devices[5], devices[7]},
			},
			{storage.DeviceFilter{Account: "acme", Family: "iPad"}, nil},
			{storage.DeviceFilter{Account: "acme", Family: "\xff\x00"}, nil},
			{storage.DeviceFilter{Account: "Acme", IncludeLeft: true}, nil},
		} {
			for _, limit := range []int{1, 3, 0} {
				equal(t, collect(t, limit, func(p storage.Page) ([]storage.Device, string, error) {
					return s.ListDevices(ctx, c.f, p)
				}), c.want)
				var want []string
				for i := range c.want {
					want = append(want, c.want[i].Serial)
				}
				equal(t, collect(t, limit, func(p storage.Page) ([]string, string, error) {
					return s.ListSerials(ctx, c.f, p)
				}), want)
			}
		}
		_, _, err := s.ListDevices(ctx, storage.DeviceFilter{}, storage.Page{})
		isErr(t, err, storage.ErrInvalid)
		_, _, err = s.ListSerials(ctx, storage.DeviceFilter{}, storage.Page{})
		isErr(t, err, storage.ErrInvalid)
		_, _, err = s.ListSerials(ctx, storage.DeviceFilter{Account: "acme"}, storage.Page{After: "x"})
		isErr(t, err, storage.ErrBadCursor)
		for account, want := range map[string][2]int{"acme": {4, 4}, "Acme": {}, "": {}, "\xff": {}} {
			present, left, err := s.CountDevices(ctx, account)
			ok(t, err)
			equal(t, [2]int{present, left}, want)
		}
	})
	sentence(t, open, "A limit above MaxPageSize means MaxPageSize", func(t *testing.T, s storage.Store) {
		ctx := t.Context()
		withAccount(t, s, "acme")
		var devices []storage.Device
		for _, serial := range serials(storage.MaxPageSize + 1) {
			devices = append(devices, storage.Device{Account: "acme", Serial: serial})
		}
		commitDevices(t, s, "acme", devices...)
		equal(t, collect(t, 2*storage.MaxPageSize, listDevices(ctx, s, "acme")), devices)
		equal(t, collect(t, storage.MaxPageSize, listDevices(ctx, s, "acme")), devices)
	})
}
