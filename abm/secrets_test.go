package abm

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/enrollkit/enrollkit/storage"
)

// wiretap keeps the sessions that Apple gives out, and makes Apple repeat what it was sent when it refuses something: the
// worst a server can do to who logs its answers.
type wiretap struct {
	next http.RoundTripper

	mu       sync.Mutex
	sessions []string
}

func (w *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var session struct {
		Token string `json:"auth_session_token"`
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if json.Unmarshal(body, &session) == nil && session.Token != "" {
		w.sessions = append(w.sessions, session.Token)
	}
	if resp.StatusCode != http.StatusOK {
		body = append(body, fmt.Sprintf(" you sent %v", r.Header)...)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// told is all that people and other programs may see.
type told struct {
	mu sync.Mutex
	b  strings.Builder
}

func (o *told) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// see adds values in every form in which one might be printed. The raw body of an answer is for the host to look at, not
// to print: it is not part of any of them but the Go-syntax of the error itself.
func (o *told) see(values ...any) {
	for _, v := range values {
		if err, ok := v.(error); ok {
			for ; err != nil; err = errors.Unwrap(err) {
				_, _ = fmt.Fprintf(o, "%s %v %q\n", err, err, err)
			}
			continue
		}
		j, err := json.Marshal(v)
		_, _ = fmt.Fprintf(o, "%s %v %v %+v %#v\n", j, err, v, v, v)
	}
}

// The secrets of a token, of key pairs and of sessions are in nothing that is told: errors, logs, activities, results, and
// what a store keeps, in any encoding.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	var out told
	tap := &wiretap{}
	w := newTokenWorld(t)
	ctx := t.Context()
	tap.next = direct{w.apple}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.DebugLevel)
	w.opts = append(w.opts, WithTransport(tap), WithLogger(zap.New(core)))
	e := w.engine(t)
	accts := e.Accounts()
	require.NoError(t, w.apple.AddDevices(w.entry, w.apple.RandomDevices(3)...))

	secrets := make(map[string]string)
	remember := func(file []byte) []byte {
		c := w.entry.Credentials()
		for _, s := range []string{c.ConsumerSecret, c.AccessToken, c.AccessSecret} {
			secrets[s[:8]] = s
		}
		return file
	}
	run := func() {
		for _, f := range []func() error{
			func() error { r, err := e.SyncOnce(ctx, "school"); out.see(r); return err },
			func() error { r, err := e.AssignOnce(ctx, "school"); out.see(r); return err },
			func() error { r, err := e.SweepOnce(ctx, "school"); out.see(r); return err },
		} {
			if err := f(); err != nil {
				out.see(err)
			}
		}
	}
	file := remember(w.mint(t))
	info, err := accts.InspectToken(ctx, "school", file)
	require.NoError(t, err)
	acct, err := accts.ImportToken(ctx, "school", file, ImportOptions{})
	require.NoError(t, err)
	token, err := accts.Token(ctx, "school")
	require.NoError(t, err)
	client, err := accts.Client(ctx, "school")
	require.NoError(t, err)
	out.see(info, acct, token)
	out.see(client.sessions.token)
	run()

	// Everything that goes wrong.
	remember(w.mint(t))
	run() // refused
	for _, bad := range [][]byte{file, file[:len(file)/2], []byte("CS_x"), nil} {
		_, err := accts.ImportToken(ctx, "school", bad, ImportOptions{})
		out.see(err)
		_, err = accts.InspectToken(ctx, "school", bad)
		out.see(err)
	}
	_, err = accts.PutToken(ctx, "school", tokenOf(w.entry))
	require.NoError(t, err)
	w.apple.SetTermsSigned(false)
	run()
	w.apple.SetTermsSigned(true)
	run()
	lost, err := NewAccounts(w.store, testSealer(t), w.opts...)
	require.NoError(t, err)
	for _, call := range []func() error{
		func() error { _, err := lost.Token(ctx, "school"); return err },
		func() error { _, err := lost.MAIDToken(ctx, "school"); return err },
		func() error { _, err := lost.ImportToken(ctx, "school", file, ImportOptions{}); return err },
		func() error { _, err := lost.PrivateKey(ctx, w.pair); return err },
	} {
		err := call()
		require.Error(t, err)
		out.see(err)
	}
	w.clock.Add(400 * 24 * time.Hour)
	require.NoError(t, accts.CheckExpiry(ctx))
	run()

	key := testKey(t, w)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	secrets["private key"] = string(der[len(der)-64:])
	require.NotEmpty(t, tap.sessions)
	for i, s := range tap.sessions {
		secrets[fmt.Sprint("session ", i)] = s
	}
	w.seeStore(t, &out)
	all := out.b.String()
	require.Contains(t, all, "token_imported")
	require.Contains(t, all, "refuses the server token")
	for name, secret := range secrets {
		for form, encoded := range map[string]string{
			"plain": secret, "base64": base64.StdEncoding.EncodeToString([]byte(secret))[:20], "hex": hex.EncodeToString([]byte(secret))[:32],
			"upper hex": strings.ToUpper(hex.EncodeToString([]byte(secret)))[:32],
		} {
			assert.False(t, strings.Contains(all, encoded), "%s in %s", name, form)
		}
	}
}

// seeStore adds what the store keeps of the account.
func (w *world) seeStore(t *testing.T, out *told) {
	t.Helper()
	ctx := t.Context()
	acts, _, err := w.store.ListActivities(ctx, storage.ActivityFilter{}, storage.Page{Limit: storage.MaxPageSize})
	require.NoError(t, err)
	for _, a := range acts {
		_, _ = fmt.Fprintf(out, "%s %s\n", a.Kind, a.Detail)
		out.see(a)
	}
	accts, _, err := w.store.ListAccounts(ctx, storage.Page{})
	require.NoError(t, err)
	for _, a := range accts {
		pairs, err := w.store.ListKeyPairs(ctx, a.Name)
		require.NoError(t, err)
		session, err := w.store.GetServiceSession(ctx, a.Name)
		if err == nil {
			out.see(session)
			_, _ = fmt.Fprintf(out, "%s %x\n", session.SealedSession, session.SealedSession)
		}
		out.see(a, pairs)
		_, _ = fmt.Fprintf(out, "%s %x %s %s\n", a.SealedToken, a.SealedToken, a.Detail, a.HealthReason)
	}
}
