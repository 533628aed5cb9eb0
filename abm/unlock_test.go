package abm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unlockService is a server that wants a certificate of the client, and a client that has one.
func unlockService(t *testing.T, h http.HandlerFunc) (serverURL string, withCert, without *http.Client) {
	t.Helper()
	k, key, err := newKeyPair("push", newClock().Now())
	require.NoError(t, err)
	cert, err := parseCertificate(k)
	require.NoError(t, err)
	srv := httptest.NewUnstartedServer(h)
	clients := x509.NewCertPool()
	clients.AddCert(cert)
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS12}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	client := func(certs ...tls.Certificate) *http.Client {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs, MinVersion: tls.VersionTLS12}}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	return srv.URL, client(tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}), client()
}

func removal(serverURL string) ActivationLockRemoval {
	return ActivationLockRemoval{
		Serial: "C02SECRET", ProductType: "iPad4,1", IMEI: "1", IMEI2: "2", MEID: "3", OrgName: "Acme & Co", GUID: "jane@example.org",
		Code: "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", URL: serverURL + "/deviceservicesworkers/escrowKeyUnlock",
	}
}

func TestRemoveActivationLock(t *testing.T) {
	t.Parallel()
	status, answer := 200, "OK"
	serverURL, client, without := unlockService(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(body))
		assert.NoError(t, err)
		assert.NotEmpty(t, r.TLS.PeerCertificates)
		assert.Equal(t, "POST", r.Method)
		assert.Equal(t, "/deviceservicesworkers/escrowKeyUnlock", r.URL.Path)
		assert.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
		assert.Equal(t, url.Values{"orgName": {"Acme & Co"}, "guid": {"jane@example.org"}, "escrowKey": {"3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"}}, form)
		want := url.Values{"serial": {"C02SECRET"}, "productType": {"iPad4,1"}}
		if r.URL.Query().Has("imei") {
			want["imei"], want["imei2"], want["meid"] = []string{"1"}, []string{"2"}, []string{"3"}
		}
		assert.Equal(t, want, r.URL.Query())
		w.Header().Set("Location", "https://elsewhere.example/")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	})
	body, err := RemoveActivationLock(t.Context(), client, removal(serverURL))
	require.NoError(t, err)
	assert.Equal(t, "OK", string(body))
	mac := removal(serverURL)
	mac.IMEI, mac.IMEI2, mac.MEID = "", "", ""
	_, err = RemoveActivationLock(t.Context(), client, mac)
	require.NoError(t, err)

	for _, status = range []int{307, 400, 404, 500} {
		answer = strings.Repeat("x", 5000)
		body, err := RemoveActivationLock(t.Context(), client, removal(serverURL))
		var apiErr *APIError
		require.ErrorAs(t, err, &apiErr)
		assert.Equal(t, status, apiErr.StatusCode)
		assert.Equal(t, "RemoveActivationLock", apiErr.Op)
		assert.Len(t, apiErr.Body, maxQuotedBody)
		assert.Nil(t, body)
	}

	_, err = RemoveActivationLock(t.Context(), without, removal(serverURL))
	var lost *TransportError
	require.ErrorAs(t, err, &lost)
	for _, secret := range []string{"C02SECRET", "3UM43"} {
		assert.NotContains(t, err.Error(), secret)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = RemoveActivationLock(ctx, client, removal(serverURL))
	require.ErrorIs(t, err, context.Canceled)
}

func TestRemoveActivationLockWantsAll(t *testing.T) {
	t.Parallel()
	for _, empty := range []func(*ActivationLockRemoval){
		func(r *ActivationLockRemoval) { r.Serial = "" }, func(r *ActivationLockRemoval) { r.ProductType = "" },
		func(r *ActivationLockRemoval) { r.OrgName = "" }, func(r *ActivationLockRemoval) { r.GUID = "" },
		func(r *ActivationLockRemoval) { r.Code = "" }, func(r *ActivationLockRemoval) { r.URL = "\x00" },
	} {
		r := removal("https://apple.test")
		empty(&r)
		_, err := RemoveActivationLock(t.Context(), &http.Client{Transport: deadNetwork{}}, r)
		require.Error(t, err)
		assert.NotErrorIs(t, err, ErrBadRequest)
		assert.NotContains(t, err.Error(), "3UM43")
	}
	_, err := RemoveActivationLock(t.Context(), nil, removal("https://apple.test"))
	require.Error(t, err)
}
