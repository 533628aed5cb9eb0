package backendtest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

const benchPage = 1000

// benchDevices returns a page of devices with documents of the size Apple sends.
func benchDevices(page int) ([]storage.Device, []string) {
	devices, serials := make([]storage.Device, benchPage), make([]string, benchPage)
	for i := range devices {
		serials[i] = fmt.Sprintf("C02%06d%04d", page, i)
		devices[i] = storage.Device{
			Account: "acme", Serial: serials[i], Model: "MacBook Pro", Family: "Mac", OS: "OSX", ProfileStatus: "empty",
			Document: fmt.Appendf(nil, `{"serial_number":%q,"model":"MacBook Pro","description":"MBP 14 SPG","color":"SPACE GRAY",`+
				`"asset_tag":"","profile_status":"empty","device_assigned_by":"admin@example.com",`+
				`"device_assigned_date":"2026-03-01T12:00:00Z","os":"OSX","device_family":"Mac"}`, serials[i]),
			Digest: storage.Digest{byte(page), byte(i), byte(i >> 8)}, FirstSeenAt: start, UpdatedAt: start,
		}
	}
	return devices, serials
}

func benchStore(b *testing.B) storage.Store {
	b.Helper()
	s := tempSQLite(b)
	require.NoError(b, s.CreateAccount(b.Context(), storage.Account{Name: "acme"}))
	return s
}

func reportRows(b *testing.B, rows int) {
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkSQLiteNewPage stores pages of 1000 new devices, each with its cursor.
func BenchmarkSQLiteNewPage(b *testing.B) {
	s := benchStore(b)
	for page := 0; b.Loop(); page++ {
		devices, _ := benchDevices(page)
		cursor := storage.Cursor{Account: "acme", Value: "x", Version: int64(page)}
		require.NoError(b, s.CommitInventory(b.Context(), storage.InventoryChange{Account: "acme", Devices: devices, Cursor: &cursor}))
	}
	reportRows(b, benchPage)
}

// BenchmarkSQLiteUnchangedPage is a page of a sweep that brings nothing new: digests are read and no device is written.
func BenchmarkSQLiteUnchangedPage(b *testing.B) {
	s := benchStore(b)
	devices, serials := benchDevices(0)
	require.NoError(b, s.CommitInventory(b.Context(), storage.InventoryChange{Account: "acme", Devices: devices}))
	for version := int64(0); b.Loop(); version++ {
		digests, err := s.DeviceDigests(b.Context(), "acme", serials)
		require.NoError(b, err)
		for i := range devices {
			require.True(b, digests[serials[i]] == devices[i].Digest)
		}
		cursor := storage.Cursor{Account: "acme", Value: "x", Version: version}
		require.NoError(b, s.CommitInventory(b.Context(), storage.InventoryChange{Account: "acme", Cursor: &cursor}))
	}
	reportRows(b, benchPage)
}

// BenchmarkSQLiteOneByOne is what pages are compared with: a transaction for every device.
func BenchmarkSQLiteOneByOne(b *testing.B) {
	s := benchStore(b)
	devices, _ := benchDevices(0)
	for i := 0; b.Loop(); i++ {
		c := storage.InventoryChange{Account: "acme", Devices: devices[i%benchPage : i%benchPage+1]}
		require.NoError(b, s.CommitInventory(b.Context(), c))
	}
	reportRows(b, 1)
}
