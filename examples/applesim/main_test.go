package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// start runs the program on a free port and returns its base URL. It stops it, and expects it to stop cleanly, when
// the test ends.
func start(t *testing.T, args ...string) (base, greeting string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), in, io.Discard)
		assert.NoError(t, in.Close())
	}()
	var text strings.Builder
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		text.WriteString(scanner.Text() + "\n")
		if strings.Contains(scanner.Text(), "Ctrl-C") {
			break
		}
	}
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	base = regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(text.String())
	require.NotEmpty(t, base, text.String())
	return base, text.String()
}

func ask(t *testing.T, method, url string, body []byte) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, data
}

func TestServesBothAPIs(t *testing.T) {
	t.Parallel()
	base, greeting := start(t, "-devices", "7", "-servers", "Berlin, Cupertino")
	assert.Contains(t, greeting, "7 devices, MDM servers: Berlin, Cupertino")
	assert.Contains(t, greeting, base+"/admin/servers/Berlin/token")

	status, body := ask(t, "GET", base+"/account", nil)
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.Equal(t, "UNAUTHORIZED", string(body))

	var devices []struct {
		Server string `json:"server_uuid"`
	}
	status, body = ask(t, "GET", base+"/admin/devices", nil)
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, json.Unmarshal(body, &devices))
	count := map[string]int{}
	for _, d := range devices {
		count[d.Server]++
	}
	assert.Len(t, count, 2)
	assert.Len(t, devices, 7)

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	status, body = ask(t, "PUT", base+"/admin/servers/Berlin/certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	require.Equal(t, http.StatusOK, status, string(body))
	status, body = ask(t, "POST", base+"/admin/servers/Berlin/token", nil)
	require.Equal(t, http.StatusOK, status, string(body))
	assert.True(t, strings.HasPrefix(string(body), "Content-Type: application/pkcs7-mime"))
}

func TestHelpAndMistakes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-h"}, &out, io.Discard))
	assert.True(t, strings.HasPrefix(out.String(), "usage: applesim"))
	for _, args := range [][]string{
		{"-fault", "nonsense"}, {"-fault", "hang,count"}, {"-fault", "hang,count=1,count=2"}, {"-fault", "hang,count=x"},
		{"-fault", "hang,serial=A"}, {"-fault", "latency,duration=1"}, {"-fault", "hang,server=X"},
		{"-nope"}, {"extra"}, {"-devices", "-1"}, {"-devices", "x"}, {"-servers", " , "}, {"-rotate", "-1"},
	} {
		require.ErrorIs(t, run(t.Context(), args, &out, io.Discard), errUsage, "%v", args)
	}
	require.Error(t, run(t.Context(), []string{"-listen", "no-such-host.invalid:1"}, &out, io.Discard))
	require.Error(t, run(t.Context(), []string{"-servers", "A,A", "-listen", "127.0.0.1:0"}, &out, io.Discard))
}

func TestVerboseLogsRequests(t *testing.T) {
	t.Parallel()
	apple, err := build(config{servers: []string{"MDM"}, seed: 1})
	require.NoError(t, err)
	var log bytes.Buffer
	h := logged(routes(apple), &log)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/account", nil)
	require.NoError(t, err)
	r.Header.Set("User-Agent", "test")
	h.ServeHTTP(nopWriter{http.Header{}}, r)
	assert.Equal(t, "GET /account 401 the header X-ADM-Auth-Session is missing\n", log.String())
	log.Reset()
	r.URL.Path = "/a\nb"
	h.ServeHTTP(nopWriter{http.Header{}}, r)
	assert.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
}

// nopWriter takes an answer and forgets it.
type nopWriter struct{ header http.Header }

func (w nopWriter) Header() http.Header         { return w.header }
func (w nopWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w nopWriter) WriteHeader(int)             {}
