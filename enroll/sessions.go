package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// maxTries bounds how often a change is made again because another request changed the record meanwhile.
const maxTries = 5

// change loads the session of a visit, or begins it, lets f change it and stores it with the visit's activities.
func (h *Handler) change(ctx context.Context, v *visit, f func(s *storage.EnrollmentSession) error) error {
	var err error
	for range maxTries {
		var s storage.EnrollmentSession
		s, err = h.store.GetSession(ctx, v.SessionID)
		if errors.Is(err, storage.ErrNotFound) {
			s, err = storage.EnrollmentSession{ID: v.SessionID, CreatedAt: h.set.now()}, nil
		}
		if err != nil {
			return fmt.Errorf("enroll: read session: %w", err)
		}
		if s.Version != 0 && (s.Serial != v.Device.Serial || s.UDID != v.Device.UDID) {
			return fmt.Errorf("enroll: session %s: %w", s.ID, ErrSessionMismatch)
		}
		h.fill(&s, v)
		if err := f(&s); err != nil {
			return err
		}
		if err = h.save(ctx, s, v.acts); err == nil {
			v.acts = nil
			return nil
		}
		if !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrExists) && !errors.Is(err, storage.ErrNotFound) {
			break
		}
	}
	return fmt.Errorf("enroll: store session: %w", err)
}

// fill writes what the visit says of the device into its session.
func (h *Handler) fill(s *storage.EnrollmentSession, v *visit) {
	now := h.set.now()
	s.Account, s.Serial, s.UDID = v.Account, v.Device.Serial, v.Device.UDID
	s.Product, s.OSVersion = v.Device.Product, v.Device.OSVersion
	s.UpdatedAt, s.ExpiresAt = now, now.Add(h.set.sessionTTL)
	s.Reason = ""
}

func (h *Handler) save(ctx context.Context, s storage.EnrollmentSession, acts []storage.Activity) error {
	if s.Version == 0 {
		return h.store.CreateSession(ctx, s, acts...)
	}
	return h.store.UpdateSession(ctx, s, acts...)
}

// refuse records a refusal, ends the session if there is one, and returns the refusal. A device that was never let in
// leaves an activity and no session, so that invented serials do not fill the store.
func (h *Handler) refuse(ctx context.Context, v *visit, no *Refusal) error {
	_, err := h.store.GetSession(ctx, v.SessionID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return h.noteRefusal(ctx, v, no)
	case err == nil:
		v.acts = append(v.acts, h.refusalOf(v, no))
		err = h.change(ctx, v, func(s *storage.EnrollmentSession) error {
			s.State, s.Reason, s.SealedFlow = storage.SessionRefused, no.Reason, nil
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("enroll: record refusal: %w", err)
	}
	return no
}

// noteRefusal records a refusal that leaves the session as it is, and returns the refusal.
func (h *Handler) noteRefusal(ctx context.Context, v *visit, no *Refusal) error {
	if err := h.store.AppendActivities(ctx, h.refusalOf(v, no)); err != nil {
		return fmt.Errorf("enroll: record refusal: %w", err)
	}
	return no
}

func (h *Handler) refusalOf(v *visit, no *Refusal) storage.Activity {
	return activity.New(h.set.now(), activity.System, activity.EnrollmentRefused{
		On: v.on(), SessionID: v.SessionID, Reason: no.Reason, By: no.By,
	})
}

// DeleteExpired removes at most limit sessions whose time is over, and returns how many. Call it now and then, for
// example once an hour, until it returns 0.
func (h *Handler) DeleteExpired(ctx context.Context, limit int) (int, error) {
	return h.store.DeleteExpiredSessions(ctx, h.set.now(), limit)
}

// webFlow is what a web view's session remembers, sealed in the session.
type webFlow struct {
	// Browser is the random part of the cookie of the browser that showed the MachineInfo.
	Browser string `json:"browser"`
	// Info is that MachineInfo, which is sent on the first request only.
	Info []byte `json:"info"`
	// State is the random part of the state of the sign-in under way, Provider what the SignIn wants back, and
	// StartedAt when it began. State is empty when none is under way.
	State     string    `json:"state,omitempty"`
	Provider  []byte    `json:"provider,omitempty"`
	StartedAt time.Time `json:"started_at,omitzero"`
	// SignedInAt is when the user last signed in.
	SignedInAt time.Time `json:"signed_in_at,omitzero"`
}

// expired reports whether the time of a session is over; one without a time never expires.
func expired(s storage.EnrollmentSession, now time.Time) bool {
	return !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt)
}

func flowData(sessionID string) []byte { return []byte("enrollkit session flow " + sessionID) }

func (h *Handler) sealFlow(ctx context.Context, s *storage.EnrollmentSession, f webFlow) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("enroll: seal flow: %w", err)
	}
	if s.SealedFlow, err = h.set.sealer.Seal(ctx, b, flowData(s.ID)); err != nil {
		return fmt.Errorf("enroll: seal flow: %w", err)
	}
	return nil
}

func (h *Handler) openFlow(ctx context.Context, s storage.EnrollmentSession) (webFlow, error) {
	var f webFlow
	if len(s.SealedFlow) == 0 {
		return f, fmt.Errorf("enroll: no sign-in in the session: %w", ErrSessionMismatch)
	}
	b, err := h.set.sealer.Open(ctx, s.SealedFlow, flowData(s.ID))
	if err != nil {
		return f, fmt.Errorf("enroll: open flow: %w", err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("enroll: open flow: %w", err)
	}
	return f, nil
}
