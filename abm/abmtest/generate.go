package abmtest

import (
	"fmt"
	"strings"
)

// RandomDevices returns n made-up devices with serial numbers that are new to the organization: about half Macs,
// the rest iPhones and iPads. They are not added to it. n below 1 gives none.
func (s *Service) RandomDevices(n int) []Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	models := modelList()
	seen := make(map[string]bool, max(n, 0))
	out := make([]Device, 0, max(n, 0))
	for len(out) < n {
		serial := s.text("0123456789CDFGHJKLMNPQRTVWXY", 10)
		if _, taken := s.devices[serial]; taken || seen[serial] {
			continue
		}
		seen[serial] = true
		m := models[s.rng.IntN(len(models))]
		d := Device{
			SerialNumber: serial, Model: m.model, Description: m.description,
			Color:   m.colors[s.rng.IntN(len(m.colors))],
			WiFiMAC: s.mac(), BluetoothMAC: s.mac(),
		}
		switch {
		case m.ethernet:
			d.EthernetMAC = s.mac()
		case m.cellular:
			d.IMEI = []string{"35" + s.text("0123456789", 13), "35" + s.text("0123456789", 13)}
			d.MEID = []string{d.IMEI[0][:14]}
			d.EID = "8904" + s.text("0123456789", 28)
		}
		d.complete()
		out = append(out, d)
	}
	return out
}

type modelEntry struct {
	model, description string
	colors             []string
	ethernet, cellular bool
}

// modelList is a function so that nobody can change the list.
func modelList() []modelEntry {
	metal := []string{"SILVER", "SPACE GRAY", "MIDNIGHT"}
	return []modelEntry{
		{"MacBook Air", "MBA 13.6 MDN/10CPU/8GPU/16GB/256GB", metal, false, false},
		{"MacBook Pro", "MBP 14.2 SB/12CPU/16GPU/24GB/512GB", metal, false, false},
		{"Mac mini", "MAC MINI 10CPU/10GPU/16GB/256GB", []string{"SILVER"}, true, false},
		{"iMac", "IMAC 24 BLUE/10CPU/10GPU/16GB/512GB", []string{"BLUE", "SILVER"}, true, false},
		{"iPhone 16", "IPHONE 16 128GB", []string{"BLACK", "WHITE", "TEAL"}, false, true},
		{"iPhone 17 Pro", "IPHONE 17 PRO 256GB", []string{"SILVER", "DEEP BLUE"}, false, true},
		{"iPad", "IPAD WI-FI 128GB", []string{"BLUE", "SILVER"}, false, false},
		{"iPad Air 11-inch", "IPAD AIR 11 CELL 256GB", []string{"SPACE GRAY"}, false, true},
	}
}

// text returns n random characters of an alphabet. The caller holds the lock.
func (s *Service) text(alphabet string, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(alphabet[s.rng.IntN(len(alphabet))])
	}
	return b.String()
}

// mac returns a random address with an Apple prefix. The caller holds the lock.
func (s *Service) mac() string {
	v := s.rng.Uint32()
	return fmt.Sprintf("F0:18:98:%02X:%02X:%02X", byte(v), byte(v>>8), byte(v>>16))
}
