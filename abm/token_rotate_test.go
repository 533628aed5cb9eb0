package abm

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// slowRefusals hold back every answer that refuses something, once armed, until release is closed: what Apple says to a
// token that is being replaced arrives when the new one is in use.
type slowRefusals struct {
	next    http.RoundTripper
	armed   *atomic.Bool
	refused chan<- struct{}
	release <-chan struct{}
}

func (s slowRefusals) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && s.armed.Load() {
		select {
		case s.refused <- struct{}{}:
		default:
		}
		<-s.release
	}
	return resp, err
}

// A renewal is imported while calls are in flight and an engine syncs: each is carried out, with the old token or the
// new one, and the old session and key pair are of no use after it.
func TestRotationWithoutGap(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	require.NoError(t, w.apple.AddDevices(w.entry, w.apple.RandomDevices(2500)...))
	_, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.NoError(t, err)

	var armed atomic.Bool
	refused, release := make(chan struct{}, 1), make(chan struct{})
	w.opts = append(w.opts, WithTransport(slowRefusals{direct{w.apple}, &armed, refused, release}))
	e := w.engine(t)
	old, err := e.Accounts().Client(ctx, "school")
	require.NoError(t, err)
	var begun, done sync.WaitGroup
	for range 8 {
		begun.Add(1)
		done.Go(func() {
			_, err := old.AccountDetail(ctx)
			assert.NoError(t, err, "before")
			begun.Done()
			for range 30 {
				_, err := old.AccountDetail(ctx)
				assert.NoError(t, err, "during")
				_, err = old.FetchDevices(ctx, "", 1000)
				assert.NoError(t, err, "during")
			}
		})
	}
	var res SyncResult
	done.Go(func() {
		var err error
		res, err = e.SyncOnce(ctx, "school")
		assert.NoError(t, err)
	})

	begun.Wait()
	second, err := w.accts.CreateKeyPair(ctx, "school")
	require.NoError(t, err)
	require.NoError(t, w.entry.UploadCertificate(second.Certificate))
	armed.Store(true)
	file := w.mint(t) // from here on Apple refuses the old token
	<-refused
	acct, err := w.accts.ImportToken(ctx, "school", file, ImportOptions{}) // in another process, as far as e can tell
	require.NoError(t, err)
	assert.Equal(t, second.ID, acct.KeyPairID)
	close(release)
	done.Wait()

	assert.Equal(t, 2500, res.Devices)
	present, _, err := w.store.CountDevices(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, 2500, present)
	assert.Equal(t, storage.HealthOK, w.get(t).Health)
	fresh, err := e.Accounts().Client(ctx, "school")
	require.NoError(t, err)
	assert.NotSame(t, old, fresh)
	token, err := e.Accounts().Token(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, w.entry.Credentials().AccessToken, token.AccessToken.Reveal())
}

// What was asked of one MDM server is not asked of another, though the account has been moved there.
func TestCallsDoNotFollowToAnotherServer(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	_, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.NoError(t, err)
	c, err := w.accts.Client(ctx, "school")
	require.NoError(t, err)
	w.mint(t) // the old token is void
	other, err := w.apple.AddMDMServer("Other")
	require.NoError(t, err)
	require.NoError(t, other.UploadCertificate(w.pair.Certificate))
	file, err := other.MintToken()
	require.NoError(t, err)
	_, err = w.accts.ImportToken(ctx, "school", file, ImportOptions{Force: true})
	require.NoError(t, err)
	_, err = c.AccountDetail(ctx)
	require.ErrorIs(t, err, ErrUnauthorized)
	require.NoError(t, w.accts.Delete(ctx, "school"))
	_, err = c.AccountDetail(ctx)
	require.ErrorIs(t, err, ErrUnauthorized, "an account that has gone has no other token")
}

// Of several staged key pairs, each opens what was encrypted to it. Those older than the one in use can be pruned.
func TestStagedKeyPairsAndPruning(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	pairs := []storage.KeyPair{w.pair}
	for range 3 {
		w.clock.Add(time.Hour)
		k, err := w.accts.CreateKeyPair(ctx, "school")
		require.NoError(t, err)
		pairs = append(pairs, k)
	}
	n, err := w.accts.PruneKeyPairs(ctx, "school")
	require.NoError(t, err)
	assert.Zero(t, n, "the portal may have any of them")
	for _, i := range []int{3, 0, 2} {
		require.NoError(t, w.entry.UploadCertificate(pairs[i].Certificate))
		acct, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
		require.NoError(t, err)
		assert.Equal(t, pairs[i].ID, acct.KeyPairID)
	}
	n, err = w.accts.PruneKeyPairs(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	left, err := w.store.ListKeyPairs(ctx, "school")
	require.NoError(t, err)
	require.Len(t, left, 2, "the one in use, and the one after it")
	assert.Equal(t, pairs[2].ID, left[0].ID)
	acts, _, err := w.store.ListActivities(ctx, storage.ActivityFilter{Account: "school", Kind: activity.KeyPairDeleted{}.Kind()}, storage.Page{})
	require.NoError(t, err)
	assert.Len(t, acts, 2)

	for _, i := range []int{2, 3} { // a renewal to the same certificate, and to the next one
		require.NoError(t, w.entry.UploadCertificate(pairs[i].Certificate))
		_, err = w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
		require.NoError(t, err)
	}
	_, err = w.accts.PruneKeyPairs(ctx, "unknown")
	require.ErrorIs(t, err, storage.ErrNotFound)
}

// beforeUpdate does something once, just before an account is written.
type beforeUpdate struct {
	AccountsStore
	once sync.Once
	do   func()
}

func (s *beforeUpdate) UpdateAccount(ctx context.Context, a storage.Account, acts ...storage.Activity) error {
	s.once.Do(s.do)
	return s.AccountsStore.UpdateAccount(ctx, a, acts...)
}

// A key pair that is pruned while it is taken into use again stays: a token has its key whatever others do.
func TestPruningWhileTokenIsImported(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(*Accounts, *tokenWorld, context.Context) error{
		"ImportToken": func(a *Accounts, w *tokenWorld, ctx context.Context) error {
			require.NoError(t, w.entry.UploadCertificate(w.pair.Certificate))
			_, err := a.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
			return err
		},
		"UseKeyPair": func(a *Accounts, w *tokenWorld, ctx context.Context) error {
			return a.UseKeyPair(ctx, "school", w.pair.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTokenWorld(t)
			ctx := t.Context()
			w.clock.Add(time.Hour)
			next, err := w.accts.CreateKeyPair(ctx, "school")
			require.NoError(t, err)
			require.NoError(t, w.entry.UploadCertificate(next.Certificate))
			_, err = w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
			require.NoError(t, err)
			raced, err := NewAccounts(&beforeUpdate{AccountsStore: w.store, do: func() {
				n, err := w.accts.PruneKeyPairs(ctx, "school")
				assert.NoError(t, err)
				assert.Equal(t, 1, n)
			}}, w.sealer, w.opts...)
			require.NoError(t, err)
			require.NoError(t, use(raced, w, ctx))
			assert.Equal(t, w.pair.ID, w.get(t).KeyPairID)
			_, err = w.accts.MAIDToken(ctx, "school")
			require.NoError(t, err)
		})
	}
}

// Of two renewals that are imported at the same time the one that Apple takes stays: the other was void by the time it would
// have been stored.
func TestTwoImportsAtOnce(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	raced, err := NewAccounts(&beforeUpdate{AccountsStore: w.store, do: func() {
		_, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
		assert.NoError(t, err)
	}}, w.sealer, w.opts...)
	require.NoError(t, err)
	_, err = raced.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.ErrorIs(t, err, ErrUnauthorized)
	token, err := w.accts.Token(ctx, "school")
	require.NoError(t, err)
	assert.Equal(t, w.entry.Credentials().AccessToken, token.AccessToken.Reveal())
	assert.Equal(t, storage.HealthOK, w.get(t).Health)
}

// The right token is taken after another program has stored a wrong one: the account's server is known.
func TestImportAfterForeignPut(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	_, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.NoError(t, err)
	other, err := w.apple.AddMDMServer("Other")
	require.NoError(t, err)
	w.put(t, other)
	acct, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
	require.NoError(t, err)
	assert.Equal(t, w.entry.UUID(), acct.ServerUUID)
	assert.Equal(t, storage.HealthOK, acct.Health)
}

// A renewal of another server, of another organization, or under another consumer key is shown as such and refused, and
// nothing is written: neither the token nor the key pair in use.
func TestForeignRenewals(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*tokenWorld, *storage.Account){
		"server_uuid": func(_ *tokenWorld, a *storage.Account) { a.ServerUUID = "another" },
		"org_id":      func(_ *tokenWorld, a *storage.Account) { a.Detail = []byte(`{"org_id":"another"}`) },
		"consumer_key": func(w *tokenWorld, a *storage.Account) { // stored by another program, and not tried yet
			a.ServerUUID, a.Detail = "", nil
			token, err := w.accts.token(context.Background(), *a)
			require.NoError(t, err)
			token.ConsumerKey = "CK_another"
			a.SealedToken, err = w.accts.sealToken(context.Background(), a.Name, token)
			require.NoError(t, err)
		},
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			w := newTokenWorld(t)
			ctx := t.Context()
			_, err := w.accts.ImportToken(ctx, "school", w.mint(t), ImportOptions{})
			require.NoError(t, err)
			acct := w.get(t)
			change(w, &acct)
			require.NoError(t, w.store.UpdateAccount(ctx, acct))
			before := w.get(t)
			next, err := w.accts.CreateKeyPair(ctx, "school")
			require.NoError(t, err)
			require.NoError(t, w.entry.UploadCertificate(next.Certificate))
			file := w.mint(t)

			info, err := w.accts.InspectToken(ctx, "school", file)
			require.NoError(t, err)
			require.NotNil(t, info.Mismatch)
			assert.Equal(t, field, info.Mismatch.Field)
			_, err = w.accts.ImportToken(ctx, "school", file, ImportOptions{})
			var mismatch *TokenMismatchError
			require.ErrorAs(t, err, &mismatch)
			require.ErrorIs(t, err, ErrOtherServer)
			assert.Equal(t, field, mismatch.Field)
			assert.NotEqual(t, mismatch.Have, mismatch.Want)
			assert.Equal(t, before, w.get(t))

			forced, err := w.accts.ImportToken(ctx, "school", file, ImportOptions{Force: true})
			require.NoError(t, err)
			assert.Equal(t, next.ID, forced.KeyPairID)
			assert.Equal(t, w.entry.UUID(), forced.ServerUUID)
		})
	}
}

func TestInspectToken(t *testing.T) {
	t.Parallel()
	w := newTokenWorld(t)
	ctx := t.Context()
	file, empty := w.mint(t), w.get(t)
	info, err := w.accts.InspectToken(ctx, "school", file)
	require.NoError(t, err)
	assert.Equal(t, empty, w.get(t), "nothing is stored")
	creds := w.entry.Credentials()
	assert.Equal(t, TokenInfo{
		ConsumerKey: creds.ConsumerKey, ExpiresAt: creds.AccessTokenExpiry, KeyPairID: w.pair.ID, Server: info.Server,
	}, info)
	assert.Equal(t, w.entry.UUID(), info.Server.ServerUUID)
	assert.NotEmpty(t, info.Server.OrgName)
	printed, err := json.Marshal(info)
	require.NoError(t, err)
	assert.NotContains(t, string(printed), creds.AccessToken)

	_, err = w.accts.ImportToken(ctx, "school", file, ImportOptions{})
	require.NoError(t, err)
	info, err = w.accts.InspectToken(ctx, "school", w.mint(t))
	require.NoError(t, err)
	assert.True(t, info.Renewal)
	assert.Nil(t, info.Mismatch)
	assert.Empty(t, info.OtherAccount)

	_, err = w.accts.Create(ctx, "twin", "")
	require.NoError(t, err)
	pair, err := w.accts.CreateKeyPair(ctx, "twin")
	require.NoError(t, err)
	require.NoError(t, w.entry.UploadCertificate(pair.Certificate))
	info, err = w.accts.InspectToken(ctx, "twin", w.mint(t))
	require.NoError(t, err)
	assert.False(t, info.Renewal)
	assert.Equal(t, "school", info.OtherAccount)

	_, err = w.accts.InspectToken(ctx, "school", []byte("x"))
	var fileErr *TokenFileError
	require.ErrorAs(t, err, &fileErr)
	_, err = w.accts.InspectToken(ctx, "school", file)
	require.ErrorIs(t, err, ErrUnauthorized, "void since a newer one was issued")
	w.clock.Add(400 * 24 * time.Hour)
	_, err = w.accts.InspectToken(ctx, "school", file)
	require.ErrorIs(t, err, ErrTokenExpired)
}
