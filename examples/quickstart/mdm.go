package main

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"

	"github.com/micromdm/nanolib/log"
	"github.com/micromdm/nanomdm/certverify"
	"github.com/micromdm/nanomdm/cryptoutil"
	nanoapi "github.com/micromdm/nanomdm/http/api"
	nanohttp "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	nanostorage "github.com/micromdm/nanomdm/storage"

	nlhttp "github.com/micromdm/nanolib/http"

	"github.com/enrollkit/enrollkit/enroll"
	"github.com/enrollkit/enrollkit/enroll/nano"
)

// mountMDM mounts a NanoMDM server as its own program would: the device endpoint at /mdm, where a device proves who it
// is by the signature of its identity certificate, and the HTTP API below /v1/ with a password.
func mountMDM(
	mux *http.ServeMux, store nanostorage.AllStorage, checkIns *enroll.CheckIns,
	identityCA []byte, pusher push.Pusher, apiKey string,
) error {
	wrapped, err := nano.Wrap(certauth.New(nanomdm.New(store), store), checkIns)
	if err != nil {
		return err
	}
	verifier, err := certverify.NewPoolVerifier(identityCA, nil, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	var h http.Handler = nanohttp.CheckinAndCommandHandler(wrapped, log.NopLogger)
	h = nanohttp.CertVerifyMiddleware(h, verifier, log.NopLogger)
	h = nanohttp.CertExtractMdmSignatureMiddleware(h, nanohttp.MdmSignatureVerifierFunc(cryptoutil.VerifyMdmSignature))
	mux.Handle("/mdm", http.MaxBytesHandler(h, 16<<20))

	api := http.NewServeMux()
	nanoapi.HandleAPIv1("/v1", api, log.NopLogger, store, pusher)
	mux.Handle("/v1/", nlhttp.NewSimpleBasicAuthHandler(api, "nanomdm", apiKey, "nanomdm"))
	return nil
}

// pushes stands for Apple's push service: it wakes the simulated devices.
type pushes func(udid string) bool

var errNoDevice = errors.New("no such device")

// Push implements push.Pusher.
func (p pushes) Push(_ context.Context, ids []string) (map[string]*push.Response, error) {
	answers := make(map[string]*push.Response, len(ids))
	for _, id := range ids {
		answers[id] = &push.Response{Id: id}
		if !p(id) {
			answers[id].Err = errNoDevice
		}
	}
	return answers, nil
}
