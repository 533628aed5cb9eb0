package abm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/enrollkit/enrollkit/storage"
)

// Rollout brings a profile in stages to the devices that have another one of ours. Devices that have none get the
// profile at once, whatever it says: only what works already is worth to be careful with.
//
// A device that is to wait keeps what it has; its assignment names the other one as Deferred. A roll-out is gone back on by
// deciding for the old profile again, which costs no call for the devices that still have it.
type Rollout struct {
	// Percent is how many of the devices get the profile, 0 to 100. Which ones follows from serial and profile alone,
	// so that a larger number only adds devices.
	Percent float64
	// PerHour is at how many devices an hour they get it, in steps of five minutes; 0 sets no limit. All roll-outs of an account
	// share its hours. It spreads what begins; a device that fails is tried again at its own time.
	PerHour int
}

// check returns what is wrong with r; nil is a roll-out to all at once.
func (r *Rollout) check() error {
	if r != nil && (!(r.Percent >= 0 && r.Percent <= 100) || r.PerHour < 0 || r.PerHour > 1_000_000) {
		return fmt.Errorf("roll-out of %v percent, %d devices an hour: want 0 to 100, and 0 to 1000000", r.Percent, r.PerHour)
	}
	return nil
}

// covers reports whether a device is among those that get a profile.
func (r *Rollout) covers(serial, print string) bool {
	sum := sha256.Sum256([]byte(serial + "\x00" + print))
	const all = 1 << 53 // what a float64 counts exactly
	return float64(binary.BigEndian.Uint64(sum[:])%all)/all*100 < r.Percent
}

// stage changes what is wanted for a device by the roll-out of the profile.
func (s *step) stage(ctx context.Context, r *Rollout, sg *sighting, old *storage.Assignment, want desire) (desire, error) {
	has, err := s.ours(ctx, sg, old)
	if err != nil || has.Fingerprint == "" || has.Fingerprint == want.print {
		return want, err
	}
	if !r.covers(sg.row.Serial, want.print) {
		return desire{print: has.Fingerprint, uuid: has.UUID, reason: want.reason, deferred: want.print}, nil
	}
	if r.PerHour > 0 {
		if _, err := s.cursor(ctx); err != nil { // which knows the next free slot
			return want, err
		}
		want.perHour, want.slot = r.PerHour, s.slot
	}
	return want, nil
}

// ours returns the profile of ours that a device has or is about to have; none for one that has none, or has come back.
func (s *step) ours(ctx context.Context, sg *sighting, old *storage.Assignment) (storage.Profile, error) {
	if sg.returned {
		return storage.Profile{}, nil
	}
	switch old.State {
	case storage.AssignmentAssigning, storage.AssignmentAssigned:
		if old.Profile != "" {
			return s.profile(ctx, old.Profile)
		}
	}
	if s.byUUID == nil {
		rows, err := s.e.store.ListProfiles(ctx, s.account)
		if err != nil {
			return storage.Profile{}, fmt.Errorf("abm: profiles: %w", err)
		}
		s.byUUID = make(map[string]storage.Profile, len(rows))
		for _, p := range rows {
			s.byUUID[p.UUID] = p
		}
	}
	if p := s.byUUID[sg.row.ProfileUUID]; holds(old, &sg.row, p.UUID) {
		return p, nil
	}
	return storage.Profile{}, nil
}
