package abm

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/internal/retry"
	"github.com/enrollkit/enrollkit/storage"
)

const (
	// storeTimeout limits what is asked of the store on the way to Apple, which must not wait for a store that hangs. It is
	// a quarter of the time for an exchange if that is shorter.
	storeTimeout = 5 * time.Second
	// loginTTL is how long other replicas leave one alone that signs in, whatever its clock says; at most half of the time
	// for an exchange. It may take longer: two sessions do no harm.
	loginTTL = 15 * time.Second
	// Waits of a replica for another one that signs in.
	firstLoginWait = 25 * time.Millisecond
	maxLoginWait   = time.Second
	// youngTries is how often a replica looks again for the session that follows a young one.
	youngTries = 4
)

// sharedSession is the session of an account in the store, where all replicas find it. A lease lets one of them sign in
// at a time; each change replaces the record that was read, and the one who comes too late uses what is there.
//
// Nothing here fails a request to Apple: without the store, each replica has a session of its own.
type sharedSession struct {
	store   storage.ServiceSessionStore
	leaser  storage.Leaser
	sealer  storage.Sealer
	s       settings
	account string
	owner   string
	digest  storage.Digest
	alone   atomic.Bool // the last change could not be stored
}

// shareSession lets c share its session with the other replicas of the account, if the store can keep it.
func (a *Accounts) shareSession(c *Client, account string) {
	store, ok := a.store.(storage.ServiceSessionStore)
	leaser, also := a.store.(storage.Leaser)
	if ok && also {
		c.sessions.shared = &sharedSession{
			store: store, leaser: leaser, sealer: a.sealer, s: c.s, account: account,
			owner: rand.Text(), digest: sessionDigest(c.sessions.token, c.base.String()),
		}
	}
}

// sessionDigest identifies what a session is good for: a server token, at a service. It covers the base URL so that a
// session is not sent to another host when that changes, and tells nothing of the secrets, which are long and random.
func sessionDigest(t Token, base string) storage.Digest {
	return sha256.Sum256(fmt.Appendf(nil, "enrollkit/abm/session %q %q %q %q %q",
		base, t.ConsumerKey, t.ConsumerSecret.Reveal(), t.AccessToken.Reveal(), t.AccessSecret.Reveal()))
}

// sessionAD is the associated data of a sealed session.
func sessionAD(account string, d storage.Digest) []byte {
	return fmt.Appendf(nil, "enrollkit/abm/session/%q/%x", account, d)
}

// take returns the stored session, or the right to sign in. refused is a session that is of no use, and with force any is.
// The right is given back with release, which is nil if there is a session to use. The version that is returned with it is
// the one a new session replaces.
func (h *sharedSession) take(ctx context.Context, refused string, force bool) (known session, release func(), err error) {
	bounded, cancel := context.WithTimeout(ctx, min(loginTTL, h.s.timeout/2))
	defer cancel()
	wait := retry.Exponential(h.s.now, firstLoginWait, maxLoginWait)
	for n := 0; ; n++ {
		known, release, err = h.tryTake(bounded, refused, force, n)
		if !errors.Is(err, storage.ErrLeaseHeld) || sleep(bounded, wait.NextBackOff()) != nil {
			break
		}
	}
	switch {
	case err == nil:
		return known, release, nil
	case ctx.Err() != nil:
		return session{}, nil, ctx.Err()
	}
	h.goAlone(err)
	return known, func() {}, nil
}

// tryTake is the n-th try of take. It returns storage.ErrLeaseHeld if another replica has the right, or seems about to store
// a session: the stored one is so young that it has not expired, but was replaced.
func (h *sharedSession) tryTake(ctx context.Context, refused string, force bool, n int) (known session, release func(), err error) {
	known, stored, err := h.read(ctx)
	if err != nil || !force && known.token != "" && known.token != refused {
		return known, nil, err
	}
	if age := h.s.now().Sub(stored); !force && known.token != "" && n < youngTries && age < patience && age > -patience {
		return known, nil, storage.ErrLeaseHeld
	}
	if release, err = h.acquire(ctx); err != nil {
		return known, nil, err
	}
	// Whoever had the lease before may have signed in.
	if again, _, err := h.read(ctx); err == nil {
		known = again
	}
	if !force && known.token != "" && known.token != refused {
		release()
		release = nil
	}
	return known, release, nil
}

// acquire takes the right to sign in.
func (h *sharedSession) acquire(ctx context.Context) (release func(), err error) {
	bounded, cancel := h.bounded(ctx)
	defer cancel()
	l, err := h.leaser.AcquireLease(bounded, leaseNameOf("abm/session", h.account), h.owner, h.s.now(), loginTTL)
	if err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := h.bounded(context.WithoutCancel(ctx))
		defer cancel()
		_ = h.leaser.ReleaseLease(ctx, l) // one that cannot be released expires
	}, nil
}

// bounded returns a context for a question to the store.
func (h *sharedSession) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, min(storeTimeout, h.s.timeout/4))
}

// read returns the stored session and when it was stored. One of another server token, one that does not open and one that is
// no session are none, but have the version that a new one replaces.
func (h *sharedSession) read(ctx context.Context) (session, time.Time, error) {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	rec, err := h.store.GetServiceSession(ctx, h.account)
	if errors.Is(err, storage.ErrNotFound) {
		return session{}, time.Time{}, nil
	}
	if err != nil {
		return session{}, time.Time{}, err
	}
	out := session{version: rec.Version}
	if rec.TokenDigest != h.digest {
		return out, rec.UpdatedAt, nil
	}
	plain, err := h.sealer.Open(ctx, rec.SealedSession, sessionAD(h.account, h.digest))
	if err != nil && !errors.Is(err, storage.ErrSealed) {
		return session{}, time.Time{}, err
	}
	if err == nil && validSession(string(plain)) {
		out.token = string(plain)
	}
	return out, rec.UpdatedAt, nil
}

// publish stores a session that has taken the place of from, and returns the one to use from now on: another if another
// replica was faster. It finishes even if ctx has ended, as the others are of no use with a session that is over.
func (h *sharedSession) publish(ctx context.Context, got session, from string) session {
	ctx, cancel := h.bounded(context.WithoutCancel(ctx))
	defer cancel()
	sealed, err := h.sealer.Seal(ctx, []byte(got.token), sessionAD(h.account, h.digest))
	for range maxConflicts {
		if err == nil {
			err = h.store.PutServiceSession(ctx, storage.ServiceSession{
				Account: h.account, SealedSession: sealed, TokenDigest: h.digest, UpdatedAt: h.s.now(), Version: got.version,
			})
		}
		if err == nil {
			h.alone.Store(false)
			got.version++
			return got
		}
		if !errors.Is(err, storage.ErrConflict) {
			break
		}
		var known session
		if known, _, err = h.read(ctx); err != nil {
			break
		}
		if known.token != "" && known.token != from && known.token != got.token {
			return known
		}
		got.version = known.version
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) { // the account was deleted
		h.goAlone(err)
	}
	return got
}

// goAlone says once that the session is not shared, until it is again.
func (h *sharedSession) goAlone(err error) {
	if !h.alone.Swap(true) {
		h.s.log.Warn("session at Apple cannot be shared with other replicas; using one of its own",
			zap.String("account", h.account), zap.Error(err))
	}
}
