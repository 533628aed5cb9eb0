package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// pageSize is the most devices Apple puts on a page, and what both sides ask for.
const pageSize = 1000

// serialDigits is how long the number in a serial is. It makes all records the same length.
const serialDigits = 9

func serial(n int) string { return fmt.Sprintf("C02%0*d", serialDigits, n) }

// pages serves the pages of a list of any length from one that was rendered once: a server that renders takes the processor
// from those who are measured.
type pages struct {
	total  int
	devs   []byte // the records of a page, between commas
	record int    // the length of one, with its comma
	number int    // where the number of its serial begins
}

func newPages(total int) *pages {
	p := &pages{total: total}
	for i := range pageSize {
		p.devs = append(appendDevice(p.devs, i), ',')
	}
	p.record = len(p.devs) / pageSize
	p.number = bytes.Index(p.devs, []byte(serial(0))) + len("C02")
	return p
}

// appendDevice appends one record as Apple sends it in a full list at protocol version 10: 20 keys, 463 bytes. Both sides
// can read it; nanodep would fail on a time that is empty.
func appendDevice(b []byte, n int) []byte {
	return fmt.Appendf(b, `{"serial_number":"%s","model":"Mac mini","description":"MBP 14","color":"SILVER",`+
		`"asset_tag":"A-%06d","device_family":"Mac","os":"OSX","device_assigned_date":"2026-03-01T12:00:%02dZ",`+
		`"device_assigned_by":"-1","profile_uuid":"88FC4E378FEC","profile_assign_time":"2026-03-01T12:05:%02dZ",`+
		`"profile_push_time":"2026-03-02T08:00:%02dZ","profile_status":"removed","wifi_mac_address":"F0:18:98:00:%02X:%02X",`+
		`"imei":[],"meid":[],"eid":"","is_replacement_device":false}`,
		serial(n), n, n%60, n%60, n%60, byte(n>>8), byte(n))
}

// page returns page number n, from 0. Its cursor is the number of the next one.
func (p *pages) page(n int) []byte {
	first := min(n*pageSize, p.total)
	count := min(pageSize, p.total-first)
	b := fmt.Appendf(make([]byte, 0, len(p.devs)+200), `{"cursor":"%d","more_to_follow":%t,"fetched_until":"2026-03-03T00:00:00Z","devices":[`,
		n+1, first+count < p.total)
	at := len(b)
	b = append(b, p.devs[:count*p.record]...)
	for i := range count {
		number := b[at+i*p.record+p.number:][:serialDigits]
		copy(number, "000000000")
		text := strconv.AppendInt(nil, int64(first+i), 10)
		copy(number[serialDigits-len(text):], text)
	}
	if count > 0 {
		b = b[:len(b)-1] // the last comma
	}
	return append(b, "]}"...)
}
