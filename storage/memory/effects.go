package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// ClaimEffects implements storage.EffectStore.
func (s *Store) ClaimEffects(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]storage.Effect, error) {
	if hold <= 0 {
		return nil, fail("claim effects for", hold.String(), storage.ErrInvalid)
	}
	if err := s.lock(ctx); err != nil {
		return nil, fail("claim effects for", hold.String(), err)
	}
	defer s.mu.Unlock()
	effects := claim(s.effects, now, hold, limit,
		func(e *storage.Effect) time.Time { return e.DueAt },
		func(e storage.Effect) storage.Effect { e.Attempts++; return e })
	for i := range effects {
		effects[i] = cloneEffect(effects[i])
	}
	return effects, nil
}

// FinishEffect implements storage.EffectStore.
func (s *Store) FinishEffect(ctx context.Context, id string) error {
	if err := s.lock(ctx); err != nil {
		return fail("finish effect", id, err)
	}
	defer s.mu.Unlock()
	if _, found := s.effects[id]; found {
		delete(s.effects, id)
		s.finished[id] = struct{}{}
	}
	return nil
}

// RetryEffect implements storage.EffectStore.
func (s *Store) RetryEffect(ctx context.Context, id string, at time.Time, lastError string) error {
	if at.IsZero() {
		return fail("retry effect", id, storage.ErrInvalid)
	}
	if err := s.lock(ctx); err != nil {
		return fail("retry effect", id, err)
	}
	defer s.mu.Unlock()
	c, found := s.effects[id]
	if !found {
		return fail("retry effect", id, storage.ErrNotFound)
	}
	c.record.DueAt, c.record.LastError, c.hiddenUntil = storage.Time(at), storage.Text(lastError), time.Time{}
	s.effects[id] = c
	return nil
}

// ListEffects implements storage.EffectStore.
func (s *Store) ListEffects(ctx context.Context, runID string) ([]storage.Effect, error) {
	if err := s.lock(ctx); err != nil {
		return nil, fail("list effects of", runID, err)
	}
	defer s.mu.Unlock()
	var out []storage.Effect
	for _, c := range s.effects {
		if c.record.RunID == runID {
			out = append(out, cloneEffect(c.record))
		}
	}
	slices.SortFunc(out, func(a, b storage.Effect) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

func cloneEffect(e storage.Effect) storage.Effect {
	e.Document = cloneDocument(e.Document)
	return e
}
