package abm

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/storage"
)

// watchful hands requests to the simulator without a network, as direct does, and has an answer end early where the
// simulator aborts it. It notes each device for which a profile is asked that Apple shows it to have.
type watchful struct {
	apple *abmtest.Service

	mu       sync.Mutex
	needless []string
	hook     func() // called once, before the request that is so many after the next
	after    int
}

func (w *watchful) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Host, r.TLS = r.URL.Host, new(tls.ConnectionState)
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w.mu.Lock()
	hook := w.hook
	if hook != nil {
		if w.after--; w.after >= 0 {
			hook = nil
		} else {
			w.hook = nil
		}
	}
	w.mu.Unlock()
	if hook != nil {
		hook()
	}
	if r.URL.Path == "/profile/devices" && r.Method == http.MethodPost {
		if err := w.note(r); err != nil {
			return nil, err
		}
	}
	rec := httptest.NewRecorder()
	aborted := serve(w.apple, rec, r)
	switch {
	case aborted && r.Context().Err() != nil:
		return nil, r.Context().Err()
	case aborted && rec.Body.Len() == 0:
		return nil, errors.New("connection reset")
	}
	resp := rec.Result()
	if aborted {
		resp.Body = io.NopCloser(io.MultiReader(resp.Body, brokenReader{}))
	}
	return resp, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// serve reports whether the handler aborted the answer.
func serve(h http.Handler, w http.ResponseWriter, r *http.Request) (aborted bool) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler { //nolint:errorlint // it is the panic value itself
			aborted = true
		} else if p != nil {
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

func (w *watchful) note(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var in struct {
		ProfileUUID string   `json:"profile_uuid"`
		Devices     []string `json:"devices"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, serial := range in.Devices {
		d, err := w.apple.Device(serial)
		if err != nil {
			continue
		}
		shown := d.ProfileUUID == in.ProfileUUID && (d.ProfileStatus == "assigned" || d.ProfileStatus == "pushed")
		// One from an earlier stay is on show only.
		if shown && !d.ProfileAssignTime.Before(d.AssignedDate) && !strings.Contains(strings.Join(w.needless, " "), serial) {
			w.needless = append(w.needless, serial+" at "+time.Now().Format("02 15:04:05"))
		}
	}
	return nil
}

func joinLines(lines []string) string { return strings.Join(lines, "\n") }

func (m *turmoil) rowsOf(account string) []storage.Assignment {
	rows, next, err := m.store.ListAssignments(m.t.Context(), storage.AssignmentFilter{Account: account},
		storage.Page{Limit: storage.MaxPageSize})
	require.NoError(m.t, err)
	require.Empty(m.t, next)
	return rows
}

func (m *turmoil) devicesOf(account string) []storage.Device {
	devs, next, err := m.store.ListDevices(m.t.Context(), storage.DeviceFilter{Account: account, IncludeLeft: true},
		storage.Page{Limit: storage.MaxPageSize})
	require.NoError(m.t, err)
	require.Empty(m.t, next)
	return devs
}

// astray says what is not as wanted at Apple or in the store; empty if all is.
func (m *turmoil) astray() string {
	for account, server := range m.servers {
		stored := make(map[string]storage.Device)
		for _, d := range m.devicesOf(account) {
			stored[d.Serial] = d
		}
		rows := make(map[string]storage.Assignment)
		for _, a := range m.rowsOf(account) {
			rows[a.Serial] = a
		}
		for _, d := range m.apple.Devices(0, 0) {
			row, a := stored[d.SerialNumber], rows[d.SerialNumber]
			if d.Released || d.ServerUUID != server.UUID() {
				if row.Serial != "" && row.Present() || a.Serial != "" && a.State != storage.AssignmentGone {
					return fmt.Sprintf("%s is not in %s any more: %+v", d.SerialNumber, account, a)
				}
				continue
			}
			print, why := m.printOf(d.SerialNumber, a)
			if why != "" {
				return fmt.Sprintf("%s in %s %s: %+v", d.SerialNumber, account, why, a)
			}
			switch p, err := m.store.GetProfile(m.t.Context(), account, print); {
			case row.Serial == "" || !row.Present():
				return fmt.Sprintf("%s is in %s, but not known there", d.SerialNumber, account)
			case err != nil || p.UUID == "":
				return fmt.Sprintf("%s in %s: its profile is not defined: %v", d.SerialNumber, account, err)
			case d.ProfileUUID != p.UUID || d.ProfileStatus != "assigned" && d.ProfileStatus != "pushed":
				return fmt.Sprintf("%s in %s has profile %q %s, not %q: %+v", d.SerialNumber, account, d.ProfileUUID, d.ProfileStatus, p.UUID, a)
			case a.State != storage.AssignmentSatisfied || a.Profile != p.Fingerprint || a.Problem != "":
				return fmt.Sprintf("%s in %s has what is wanted, but: %+v", d.SerialNumber, account, a)
			case row.ProfileUUID != d.ProfileUUID || row.ProfileStatus != d.ProfileStatus:
				return fmt.Sprintf("%s in %s is stored with %q %s", d.SerialNumber, account, row.ProfileUUID, row.ProfileStatus)
			}
		}
	}
	return ""
}

// printOf is the fingerprint of the profile that a device shall have, or why its assignment cannot be right.
func (m *turmoil) printOf(serial string, a storage.Assignment) (print, why string) {
	f, err := testProfile([]string{"A", "B", "C"}[wantedOf(m.rules.Load(), serial)]).Fingerprint()
	require.NoError(m.t, err)
	if a.Deferred == "" {
		return f.String(), ""
	}
	r := m.rolloutOf(m.rules.Load())
	if r == nil || r.covers(serial, f.String()) || a.Deferred != f.String() || a.Profile == a.Deferred {
		return "", "is deferred wrongly"
	}
	return a.Profile, ""
}

// verify checks what must hold at the end of all.
func (m *turmoil) verify() {
	assert.Empty(m.t, m.watch.needless, "devices were assigned what Apple showed them to have")
	for account, server := range m.servers {
		m.verifyActivities(account)
		for _, d := range m.apple.Devices(0, 0) {
			if d.Released || d.ServerUUID != server.UUID() {
				continue
			}
			// What counts is what the device gets.
			a, err := m.store.GetAssignment(m.t.Context(), account, d.SerialNumber)
			require.NoError(m.t, err)
			print, _ := m.printOf(d.SerialNumber, a)
			p, err := m.store.GetProfile(m.t.Context(), account, print)
			require.NoError(m.t, err)
			got, err := m.apple.ActivationRecord(d.SerialNumber)
			if assert.NoError(m.t, err, "%s in %s boots", d.SerialNumber, account) {
				assert.Equal(m.t, p.UUID, got.ProfileUUID, "%s in %s", d.SerialNumber, account)
			}
		}
	}
}

// story is what the activities of one serial say about it.
type story struct {
	known, present              bool
	uuid, status, wanted, shown string
}

// verifyActivities plays the activities of an account back and compares what they tell with what is stored.
func (m *turmoil) verifyActivities(account string) {
	t := m.t
	all := make(map[string]story)
	for after := ""; ; {
		acts, next, err := m.store.ListActivities(t.Context(), storage.ActivityFilter{Account: account},
			storage.Page{After: after, Limit: storage.MaxPageSize})
		require.NoError(t, err)
		for _, a := range acts {
			if a.Kind == "account_deleted" {
				clear(all)
			}
			if a.Serial != "" {
				all[a.Serial] = m.play(all[a.Serial], a)
			}
		}
		if next == "" {
			break
		}
		after = next
	}
	for _, d := range m.devicesOf(account) {
		x := all[d.Serial]
		assert.Equal(t, d.Present(), x.present, "%s in %s: present", d.Serial, account)
		if d.Present() {
			assert.Equal(t, [2]string{d.ProfileUUID, d.ProfileStatus}, [2]string{x.uuid, x.status}, "%s in %s: profile", d.Serial, account)
		}
	}
	for _, a := range m.rowsOf(account) {
		x := all[a.Serial]
		assert.Equal(t, a.Profile, x.wanted, "%s in %s: wanted", a.Serial, account)
		if a.State == storage.AssignmentSatisfied && a.Profile != "" {
			p, err := m.store.GetProfile(t.Context(), account, a.Profile)
			require.NoError(t, err)
			assert.Equal(t, p.UUID, x.shown, "%s in %s: verified", a.Serial, account)
		}
	}
}

// play adds one activity to what the earlier ones told.
func (m *turmoil) play(x story, a storage.Activity) story {
	var ev struct {
		Returned      bool   `json:"returned"`
		ProfileUUID   string `json:"profile_uuid"`
		ProfileStatus string `json:"profile_status"`
		Fingerprint   string `json:"fingerprint"`
		From          string `json:"from"`
	}
	require.NoError(m.t, json.Unmarshal(a.Detail, &ev))
	who := fmt.Sprintf("%s in %s: activity %d %s", a.Serial, a.Account, a.Seq, a.Kind)
	switch a.Kind {
	case "device_added":
		assert.False(m.t, x.present, who)
		x.known, x.present, x.uuid, x.status = true, true, ev.ProfileUUID, ev.ProfileStatus
	case "device_left":
		// One that came and went between two looks is told to have left only.
		assert.True(m.t, x.present || !x.known, who)
		x.known, x.present = true, false
	case "device_changed":
		assert.True(m.t, x.present, who)
		x.uuid, x.status = ev.ProfileUUID, ev.ProfileStatus
	case "profile_wanted":
		assert.Equal(m.t, x.wanted, ev.From, who)
		x.wanted = ev.Fingerprint
	case "profile_verified":
		x.shown = ev.ProfileUUID
	}
	return x
}
