package abm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
)

// verifyProfiles asks Apple for each profile of ours that devices have, by UUID. One that is lost is defined again; one with
// other content than it was defined with is told of once, as only a person can know what that means.
func (s *step) verifyProfiles(ctx context.Context, inUse map[string]bool) error {
	rows, err := s.e.store.ListProfiles(ctx, s.account)
	if err != nil {
		return fmt.Errorf("abm: profiles: %w", err)
	}
	var failed error
	for _, p := range rows {
		if p.UUID == "" || !inUse[p.UUID] {
			continue
		}
		got, err := s.apple().FetchProfile(ctx, p.UUID)
		switch {
		case errors.Is(err, ErrProfileNotFound):
			err = s.redefine(ctx, p)
		case err == nil:
			err = s.compareProfile(ctx, p, got)
		}
		failed = errors.Join(failed, err)
		if stops(err) || ctx.Err() != nil {
			break
		}
	}
	return failed
}

// lose forgets the UUID of a profile that Apple does not know any more. Apple may define it with another one, which the
// devices that have it now have to get too, so all are planned anew: that is written first, as nothing else would tell.
func (s *step) lose(ctx context.Context, p storage.Profile) error {
	s.log.Warn("apple does not know the profile any more; defining it again", zap.String("uuid", p.UUID))
	if _, err := s.observe(ctx, nil, func(cur *storage.Cursor) { cur.Rules = "" }, nil); err != nil {
		return err
	}
	lost := activity.ProfileLost{On: activity.On{Account: s.account}, Fingerprint: p.Fingerprint, ProfileUUID: p.UUID}
	p.UUID, p.DefinedAt = "", zeroTime
	return s.putProfile(ctx, p, lost)
}

// redefine defines a lost profile again.
func (s *step) redefine(ctx context.Context, p storage.Profile) error {
	if err := s.lose(ctx, p); err != nil {
		return err
	}
	_, err := s.define(ctx, p.Fingerprint)
	return err
}

// compareProfile tells of the keys in which Apple's content of a profile differs from ours.
func (s *step) compareProfile(ctx context.Context, p storage.Profile, got *depprofile.Profile) error {
	want, err := depprofile.Parse(p.Document)
	if err != nil {
		return nil // written by a later version; there is nothing to compare with
	}
	var keys []string
	for _, c := range depprofile.Diff(want, got) {
		if c.From != nil || !isDefault(c.Key, string(c.To)) {
			keys = append(keys, c.Key)
		}
	}
	if !s.tellsDrift(p.UUID, strings.Join(keys, " ")) {
		return nil
	}
	s.log.Warn("apple shows other content of a profile than it was defined with", zap.String("uuid", p.UUID), zap.Strings("keys", keys))
	return s.putProfile(ctx, p, activity.ProfileDrifted{
		On: activity.On{Account: s.account}, Fingerprint: p.Fingerprint, ProfileUUID: p.UUID, Name: want.ProfileName, Keys: keys,
	})
}

// tellsDrift reports whether keys differ that were not told of yet, by this engine.
func (s *step) tellsDrift(uuid, keys string) bool {
	g := s.e.gate(s.account)
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if g.drifted[uuid] == keys {
		return false
	}
	g.drifted[uuid] = keys
	return keys != ""
}

// isDefault reports whether a value means the same as none: Apple may send keys that it was not sent.
func isDefault(key, value string) bool {
	switch value {
	case "null", "false", `""`, "[]":
		return true
	case "true":
		return key == "allow_pairing" || key == "is_mdm_removable"
	}
	return false
}
