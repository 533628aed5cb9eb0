package enrolltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// Apple's codes of error documents: https://developer.apple.com/documentation/devicemanagement (ErrorCode... pages).
const (
	codeUpdateRequired = "com.apple.softwareupdate.required"
	codeUnrecognized   = "com.apple.unrecognized.device"
)

// updateRequired is the answer that sends a device off to update itself.
type updateRequired struct{ want SoftwareUpdate }

func (e *updateRequired) Error() string { return "OS update to " + e.want.OSVersion + " required" }

// errorDocument is the body of a 403, JSON or property list.
type errorDocument struct {
	Code        string `json:"code" plist:"code"`
	Description string `json:"description" plist:"description"`
	Message     string `json:"message" plist:"message"`
	Details     struct {
		OSVersion          string `json:"OSVersion" plist:"OSVersion"`
		BuildVersion       string `json:"BuildVersion" plist:"BuildVersion"`
		RequireBetaProgram *struct {
			Description string `json:"Description" plist:"Description"`
			Token       string `json:"Token" plist:"Token"`
		} `json:"RequireBetaProgram" plist:"RequireBetaProgram"`
	} `json:"details" plist:"details"`
}

// parseErrorDocument reads the document of a 403. Its content type must say what it is, as Apple demands; anything
// else is an error without a code.
func parseErrorDocument(a *answer) (doc errorDocument, ok bool) {
	if a.status != http.StatusForbidden {
		return doc, false
	}
	var err error
	switch a.mime() {
	case "application/json":
		err = json.Unmarshal(a.body, &doc)
	case "application/xml":
		err = plist.Unmarshal(a.body, &doc)
	default:
		return doc, false
	}
	if err != nil || doc.Code == "" {
		return errorDocument{}, false
	}
	return doc, true
}

// machineInfo signs what the device says of itself.
func (d *Device) machineInfo() ([]byte, error) {
	id, err := d.factory()
	if err != nil {
		return nil, err
	}
	return id.SignMachineInfo(d.Info(), d.set.chain)
}

// fetchProfile obtains the enrollment profile: through the web view if the record has one, else by POST to url.
// It returns an *updateRequired when that is the answer.
func (d *Device) fetchProfile(ctx context.Context, rec activationRecord) ([]byte, error) {
	if rec.ConfigurationWebURL != "" {
		d.enter(StateWebView)
		return d.webView(ctx, rec.ConfigurationWebURL)
	}
	d.enter(StateRemoteManagement)
	a, err := d.postMachineInfo(ctx, rec.URL, false)
	if err == nil && a.status == http.StatusUnauthorized && d.set.values[valueUser] != "" &&
		strings.HasPrefix(strings.ToLower(a.header.Get("WWW-Authenticate")), "basic") {
		a, err = d.postMachineInfo(ctx, rec.URL, true)
	}
	if err != nil {
		return nil, err
	}
	if a.status == http.StatusOK && a.mime() == mimeProfile {
		return a.body, nil
	}
	return nil, d.refused(StepRemote, a)
}

func (d *Device) postMachineInfo(ctx context.Context, raw string, authenticate bool) (*answer, error) {
	u, err := checkURL(raw)
	if err != nil {
		return nil, &SetupError{Step: StepRemote, Err: err}
	}
	fail := func(err error) error { return &SetupError{Step: StepRemote, URL: withoutQuery(u), Err: err} }
	signed, err := d.machineInfo()
	if err != nil {
		return nil, fail(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(signed))
	if err != nil {
		return nil, fail(err)
	}
	req.Header.Set("Content-Type", mimeMachineInfo)
	if authenticate {
		req.SetBasicAuth(d.set.values[valueUser], d.set.values[valuePassword])
	}
	d.emit(Event{Kind: EventMachineInfo, Detail: withoutQuery(u)})
	a, err := do(d.client(), req, maxDocument)
	if err != nil {
		return nil, fail(err)
	}
	return a, nil
}

// refused turns an answer that is no profile into the error the user sees, or into the update it demands.
func (d *Device) refused(step Step, a *answer) error {
	doc, ok := parseErrorDocument(a)
	e := &SetupError{Step: step, URL: withoutQuery(a.url), StatusCode: a.status}
	if !ok {
		e.Err = errors.New("the answer is neither a profile nor a known error")
		if a.status == http.StatusOK {
			e.Err = fmt.Errorf("the answer has content type %q, want %s", a.header.Get("Content-Type"), mimeProfile)
		}
		return e
	}
	e.Code, e.Message, e.Description = doc.Code, doc.Message, doc.Description
	if doc.Code != codeUpdateRequired {
		e.Err = errors.New("the server refuses the device")
		return e
	}
	switch {
	case !d.Info().CanRequestSoftwareUpdate:
		e.Err = fmt.Errorf("%w: the device did not say that it can be asked for one", ErrUpdate)
	case doc.Details.OSVersion == "":
		e.Err = fmt.Errorf("%w: details has no OSVersion", ErrUpdate)
	default:
		want := SoftwareUpdate{OSVersion: doc.Details.OSVersion, BuildVersion: doc.Details.BuildVersion}
		if b := doc.Details.RequireBetaProgram; b != nil {
			if b.Description == "" || b.Token == "" {
				e.Err = fmt.Errorf("%w: RequireBetaProgram needs Description and Token", ErrUpdate)
				return e
			}
			want.BetaProgram, want.BetaToken = b.Description, b.Token
		}
		return &updateRequired{want: want}
	}
	return e
}
