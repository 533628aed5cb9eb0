package enrolltest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/enrollkit/enrollkit/internal/cms"
	"github.com/enrollkit/enrollkit/internal/plist"
)

const (
	contentCheckIn = "application/x-apple-aspen-mdm-checkin"
	contentMDM     = "application/x-apple-aspen-mdm; charset=UTF-8"

	capabilityBootstrap = "com.apple.mdm.bootstraptoken"
)

// enrollment is what an enrolled device keeps.
type enrollment struct {
	profile  *Profile
	mdm      *mdmPayload
	identity *Identity
}

// tokens are what a device invents when it enrolls and hands to the server.
type tokens struct {
	push, unlock, bootstrap []byte
	magic                   string
}

// errUnenroll is a server's answer that makes a device drop its MDM profile.
var errUnenroll = errors.New("the server does not know the device")

// statusError is an answer a device takes for a failed connection.
type statusError struct {
	url    string
	status int
}

func (e *statusError) Error() string { return fmt.Sprintf("PUT %s: status %d", e.url, e.status) }

// put sends a property list as an enrolled device does and returns the body of the answer.
// With SignMessage the Mdm-Signature header carries a detached CMS signature by the MDM identity.
func (d *Device) put(ctx context.Context, e *enrollment, url, contentType string, msg map[string]any) ([]byte, error) {
	body, err := plist.Marshal(msg)
	if err != nil {
		return nil, err
	}
	u, err := checkURL(url)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	if e.mdm.SignMessage {
		sig, err := cms.SignDetached(body, e.identity.Certificate, e.identity.key)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Mdm-Signature", base64.StdEncoding.EncodeToString(sig))
	}
	c := *d.client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a, err := do(&c, req, maxDocument)
	if err != nil {
		return nil, err
	}
	if a.status >= 200 && a.status < 300 {
		return a.body, nil
	}
	doc, ok := parseErrorDocument(a)
	if a.status == http.StatusUnauthorized || ok && doc.Code == codeUnrecognized {
		return nil, fmt.Errorf("%w: status %d", errUnenroll, a.status)
	}
	return nil, &statusError{url: withoutQuery(u), status: a.status}
}

// checkIn sends one check-in message. UDID and MessageType are added.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/check-in
func (d *Device) checkIn(ctx context.Context, e *enrollment, messageType string, keys map[string]any) ([]byte, error) {
	msg := map[string]any{"MessageType": messageType, "UDID": d.UDID()}
	maps.Copy(msg, keys)
	body, err := d.put(ctx, e, e.mdm.checkInURL(), contentCheckIn, msg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", messageType, err)
	}
	d.emit(Event{Kind: EventCheckIn, Detail: messageType})
	return body, nil
}

func (d *Device) authenticate(ctx context.Context, e *enrollment) error {
	info := d.Info()
	msg := map[string]any{
		"Topic": e.mdm.Topic, "DeviceName": d.hw.name, "Model": d.hw.model, "ProductName": info.Product,
		"SerialNumber": info.Serial, "OSVersion": info.OSVersion, "BuildVersion": info.Build,
	}
	if d.kind == Mac {
		msg["ModelName"] = d.hw.modelName
	}
	if info.IMEI != "" {
		msg["IMEI"] = info.IMEI
	}
	if info.MEID != "" {
		msg["MEID"] = info.MEID
	}
	_, err := d.checkIn(ctx, e, "Authenticate", msg)
	return err
}

// tokenUpdate tells the server where to push, and whether the device waits for it. AwaitingConfiguration is absent
// when it is false.
func (d *Device) tokenUpdate(ctx context.Context, e *enrollment, awaiting bool) error {
	tok := d.tokens()
	msg := map[string]any{"Topic": e.mdm.Topic, "Token": tok.push, "PushMagic": tok.magic}
	if d.kind == Mac {
		msg["NotOnConsole"] = false
	} else {
		msg["UnlockToken"] = tok.unlock
	}
	if awaiting {
		msg["AwaitingConfiguration"] = true
	}
	_, err := d.checkIn(ctx, e, "TokenUpdate", msg)
	return err
}

func (d *Device) setBootstrapToken(ctx context.Context, e *enrollment, awaiting bool) error {
	msg := map[string]any{"BootstrapToken": d.tokens().bootstrap}
	if awaiting {
		msg["AwaitingConfiguration"] = true
	}
	_, err := d.checkIn(ctx, e, "SetBootstrapToken", msg)
	return err
}

// escrows reports whether the device hands its bootstrap token to the server: Macs do, as soon as they are enrolled.
func (d *Device) escrows(m *mdmPayload) bool { return d.kind == Mac && m.capable(capabilityBootstrap) }

// enroll installs an enrollment profile: trust, identity, check-in. On an error nothing has changed, as Apple promises.
func (d *Device) enroll(ctx context.Context, p *Profile, awaiting bool) error {
	mdm, scepPayload, err := enrollmentPayload(p)
	if err != nil {
		return &SetupError{Step: StepProfile, Err: err}
	}
	certs, err := p.certificates()
	if err != nil {
		return &SetupError{Step: StepProfile, Err: err}
	}
	d.mu.Lock()
	oldClient, oldOwn, anchors, old := d.st.http, d.st.ownTransport, d.st.record.anchors, d.st.enrollment
	d.mu.Unlock()
	if old != nil {
		if err := mdm.checkUpdate(old.mdm); err != nil {
			return &SetupError{Step: StepProfile, Err: err}
		}
	}
	d.trust(anchors, certs)
	e, err := d.join(ctx, p, mdm, scepPayload, old, awaiting)
	if err != nil {
		d.closeIdle()
		d.mu.Lock()
		d.st.http, d.st.ownTransport = oldClient, oldOwn
		d.mu.Unlock()
		return err
	}
	d.mu.Lock()
	d.st.enrollment = e
	d.storeProfile(*p)
	d.mu.Unlock()
	return nil
}

// join gets an identity and checks in with it.
func (d *Device) join(ctx context.Context, p *Profile, mdm *mdmPayload, s *scepPayload, old *enrollment,
	awaiting bool) (*enrollment, error) {
	id, err := d.obtainIdentity(ctx, s)
	if err != nil {
		return nil, &SetupError{Step: StepIdentity, Err: err}
	}
	d.emit(Event{Kind: EventIdentity, Detail: id.Certificate.SerialNumber.Text(16)})
	e := &enrollment{profile: p, mdm: mdm, identity: id}
	if old == nil { // known before the server is told, so that it can push from within its answer
		d.setTokens(tokens{
			push: randomBytes(d.rng, 32), magic: newUUID(d.rng), unlock: randomBytes(d.rng, 64), bootstrap: randomBytes(d.rng, 64),
		})
	}
	fail := func(err error) error {
		se := &SetupError{Step: StepCheckIn, Err: err}
		var status *statusError
		if errors.As(err, &status) {
			se.URL, se.StatusCode = status.url, status.status
		}
		return se
	}
	if err := d.authenticate(ctx, e); err != nil {
		return nil, fail(err)
	}
	if err := d.tokenUpdate(ctx, e, awaiting); err != nil {
		return nil, fail(err)
	}
	if old == nil && d.escrows(mdm) {
		if err := d.setBootstrapToken(ctx, e, awaiting); err != nil {
			// A token that could not be escrowed does not undo an enrollment.
			d.emit(Event{Kind: EventConnectionFailed, Detail: "SetBootstrapToken", Err: err})
		}
	}
	return e, nil
}

// RefreshToken sends TokenUpdate again, as devices do from time to time, with the device's present state. rotate gives
// it a new push token first. It returns [ErrNotEnrolled] for a device without an MDM profile.
func (d *Device) RefreshToken(ctx context.Context, rotate bool) error {
	done, err := d.drive()
	if err != nil {
		return err
	}
	defer done()
	e := d.enrollment()
	if e == nil {
		return ErrNotEnrolled
	}
	if rotate {
		tok := d.tokens()
		tok.push = randomBytes(d.rng, 32)
		d.setTokens(tok)
	}
	if err := d.tokenUpdate(ctx, e, d.Awaiting()); err != nil {
		return d.connectionError(err)
	}
	return nil
}

func (d *Device) tokens() tokens {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.st.tokens
}

func (d *Device) setTokens(t tokens) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.st.tokens = t
}

// CheckOut removes the MDM profile as a user with administrator rights can: the server is told if the profile asks for
// it, in one attempt whose failure changes nothing. It returns [ErrNotEnrolled], or [ErrNotRemovable] if the activation
// record or the profile forbids it.
func (d *Device) CheckOut(ctx context.Context) error {
	done, err := d.drive()
	if err != nil {
		return err
	}
	defer done()
	e := d.enrollment()
	if e == nil {
		return ErrNotEnrolled
	}
	d.mu.Lock()
	removable := d.st.record.removable() && !e.profile.RemovalDisallowed
	d.mu.Unlock()
	if !removable {
		return ErrNotRemovable
	}
	d.leave(ctx, e, "removed by the user")
	return nil
}

// leave sends CheckOut if the profile asks for it and forgets the enrollment.
func (d *Device) leave(ctx context.Context, e *enrollment, why string) {
	if e.mdm.CheckOutWhenRemoved {
		if _, err := d.checkIn(ctx, e, "CheckOut", map[string]any{"Topic": e.mdm.Topic}); err != nil {
			d.emit(Event{Kind: EventConnectionFailed, Detail: "CheckOut", Err: err})
		}
	}
	d.unenroll(why)
}

// unenroll drops the MDM profile and what it managed.
func (d *Device) unenroll(why string) {
	d.mu.Lock()
	d.st.enrollment, d.st.tokens, d.st.pending = nil, tokens{}, nil
	d.st.awaiting, d.st.pollAgain = false, false
	kept := d.st.profiles[:0:0]
	for _, p := range d.st.profiles {
		if !p.Managed {
			kept = append(kept, p)
		}
	}
	d.st.profiles = kept
	d.st.gone = ErrUnenrolled
	d.mu.Unlock()
	d.emit(Event{Kind: EventUnenrolled, Detail: why})
}

// connectionError drops the enrollment if err says so. Other errors are returned as they are.
func (d *Device) connectionError(err error) error {
	if !errors.Is(err, errUnenroll) {
		return err
	}
	d.unenroll(err.Error())
	return fmt.Errorf("%w: %w", ErrUnenrolled, err)
}
