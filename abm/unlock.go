package abm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/enrollkit/enrollkit/internal/webapi"
)

// unlockURL is where Apple removes locks. It is another service than that of [Client], with other credentials.
const unlockURL = "https://deviceservices-external.apple.com/deviceservicesworkers/escrowKeyUnlock"

const opRemoveActivationLock = "RemoveActivationLock"

// ActivationLockRemoval asks Apple to remove the lock of a device. The names of its parameters are those that several
// independent clients use; Apple's page describes them.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/creating-and-using-bypass-codes
type ActivationLockRemoval struct {
	// Serial and ProductType, such as "iPad4,1", name the device; both are required.
	Serial, ProductType string
	// IMEI and MEID are those of the first subscription slot, IMEI2 that of the second; empty where the device has none.
	IMEI, IMEI2, MEID string
	// OrgName and GUID say for Apple's records which organization and which person asks; both are required.
	OrgName, GUID string
	// Code is a bypass code in its human form, [BypassCode.Reveal] or the device's own; it is required.
	Code Secret
	// URL replaces Apple's, for tests.
	URL string
}

// RemoveActivationLock makes the request. client must present the host's APNs certificate, the one of MDM push, as TLS
// client certificate. It returns the body of a success, at most 64 KiB; what is in it is not documented. Any other
// answer is an [*APIError]; that none came is a [*TransportError].
//
// nanomdm has the same, but only for the certificates of its own store.
func RemoveActivationLock(ctx context.Context, client *http.Client, r ActivationLockRemoval) ([]byte, error) {
	if client == nil || r.Serial == "" || r.ProductType == "" || r.OrgName == "" || r.GUID == "" || r.Code == "" {
		return nil, errors.New("abm: remove activation lock: client, Serial, ProductType, OrgName, GUID and Code are required")
	}
	query := url.Values{"serial": {r.Serial}, "productType": {r.ProductType}}
	for name, value := range map[string]string{"imei": r.IMEI, "imei2": r.IMEI2, "meid": r.MEID} {
		if value != "" {
			query.Set(name, value)
		}
	}
	form := url.Values{"orgName": {r.OrgName}, "guid": {r.GUID}, "escrowKey": {r.Code.Reveal()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, cmp.Or(r.URL, unlockURL)+"?"+query.Encode(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("abm: remove activation lock: bad URL")
	}
	req.Header.Set(headerContentType, "application/x-www-form-urlencoded")
	own := *client
	// Following a redirect would carry the code to another host.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := own.Do(req) //nolint:bodyclose // Drain closes it
	var body []byte
	if err == nil {
		defer webapi.Drain(resp.Body)
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("abm: remove activation lock: %w", context.Cause(ctx))
		}
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // its text repeats the URL with the serial number
		}
		return nil, &TransportError{Op: opRemoveActivationLock, Err: err}
	}
	if resp.StatusCode != http.StatusOK {
		return nil, newAPIError(opRemoveActivationLock, resp.StatusCode, body, 0)
	}
	return body, nil
}
