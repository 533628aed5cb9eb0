package sqlstore

import (
	"context"
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// ClaimEffects implements storage.EffectStore.
func (s *Store) ClaimEffects(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]storage.Effect, error) {
	out, err := claim(ctx, s, "claim effects", claiming[storage.Effect]{
		table: effects(),
		due:   " WHERE finished = 0 AND due_at <= ? AND claimed_until <= ? ORDER BY due_at, id LIMIT ?",
		take:  "UPDATE enrollkit_effects SET claimed_until = ?, attempts = attempts + 1 WHERE id = ?",
		id:    func(e *storage.Effect) string { return e.ID },
	}, now, hold, limit)
	for i := range out {
		out[i].Attempts++
	}
	return out, err
}

// FinishEffect implements storage.EffectStore.
func (s *Store) FinishEffect(ctx context.Context, id string) error {
	if !storage.ValidKey(id) {
		return s.fail(ctx, "finish effect", id, ctx.Err())
	}
	return s.write(ctx, "finish effect", id, nil, func(t *tx) (bool, error) {
		n, err := t.exec("UPDATE enrollkit_effects SET finished = 1, document = NULL WHERE id = ? AND finished = 0", id)
		return n > 0, err
	})
}

// RetryEffect implements storage.EffectStore.
func (s *Store) RetryEffect(ctx context.Context, id string, at time.Time, lastError string) error {
	err := ctx.Err()
	switch {
	case err != nil:
	case at.IsZero():
		err = storage.ErrInvalid
	case !storage.ValidKey(id):
		err = storage.ErrNotFound
	}
	if err != nil {
		return s.fail(ctx, "retry effect", id, err)
	}
	return s.write(ctx, "retry effect", id, nil, func(t *tx) (bool, error) {
		n, err := t.exec("UPDATE enrollkit_effects SET due_at = ?, last_error = ?, claimed_until = 0 WHERE id = ? AND finished = 0",
			micros(at), storage.Text(lastError), id)
		return must(storage.ErrNotFound)(n > 0, err)
	})
}

// ListEffects implements storage.EffectStore.
func (s *Store) ListEffects(ctx context.Context, runID string) ([]storage.Effect, error) {
	if !storage.ValidKey(runID) {
		return nil, s.fail(ctx, "list effects of", runID, ctx.Err())
	}
	out, err := many(ctx, s, s.db, effects(), " WHERE run_id = ? AND finished = 0 ORDER BY due_at, id", runID)
	return out, s.fail(ctx, "list effects of", runID, err)
}
