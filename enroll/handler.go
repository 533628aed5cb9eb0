package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// Store is what a [Handler] keeps and reads.
type Store interface {
	storage.DeviceStore
	storage.SessionStore
	storage.EnrollmentStore
	storage.ActivityStore
}

// headerDeviceInfo carries the signed MachineInfo of a web view, on its first request only.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/authenticating-through-web-views
const headerDeviceInfo = "x-apple-aspen-deviceinfo"

// contentTypeProfile is what makes a device install the answer.
const contentTypeProfile = "application/x-apple-aspen-config"

// Paths below the public URL.
const (
	pathCallback = "/callback" // where the identity provider sends the user back to
	pathProfile  = "/profile"  // the profile, after a sign-in
	pathRestart  = "/restart"  // the sign-in once more
)

// Handler serves what a device asks for before it is enrolled: its enrollment profile, by the url and by the
// configuration_web_url of its assigned profile, which may be the same.
//
// It is safe for concurrent use, keeps its state in the store alone, and any number of replicas may serve one URL.
type Handler struct {
	base     string // the public URL, without a trailing slash
	path     string // its path
	secure   bool   // it is https
	store    Store
	keys     *SessionKeys
	profiles *profileBuilder
	verifier *Verifier
	tmpl     *template.Template
	set      settings
}

var _ http.Handler = (*Handler)(nil)

// New returns a handler that devices reach at publicURL, for example https://mdm.example.com/mdm/sso: the value of url
// and configuration_web_url. Mount it there and at the paths below, and register publicURL plus /callback with the
// identity provider. It must be https, but for a server on this machine.
//
// With no options it pins Apple's device authority, lets devices enroll that are in the inventory, and asks nobody to
// sign in.
func New(publicURL string, store Store, keys *SessionKeys, profile ProfileSettings, identity Identity, opts ...Option) (*Handler, error) {
	h, err := newHandler(publicURL, store, keys, profile, identity, opts)
	if err != nil {
		return nil, fmt.Errorf("enroll: new handler: %w", err)
	}
	return h, nil
}

func newHandler(public string, store Store, keys *SessionKeys, profile ProfileSettings, identity Identity, opts []Option) (*Handler, error) {
	u, err := publicURL(public)
	switch {
	case err != nil:
		return nil, fmt.Errorf("public URL: %w", err)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("public URL has a query or fragment")
	case store == nil || keys == nil:
		return nil, errors.New("a store and session keys are required")
	}
	set, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		base: strings.TrimRight(public, "/"), path: strings.TrimRight(u.Path, "/"), secure: u.Scheme == "https",
		store: store, keys: keys, set: set,
	}
	if h.verifier, err = NewVerifier(set.cas...); err != nil {
		return nil, err
	}
	if h.profiles, err = newProfileBuilder(profile, identity, set.rand); err != nil {
		return nil, err
	}
	if h.tmpl, err = template.New("page").Parse(pageHTML); err != nil {
		return nil, err
	}
	return h, nil
}

// ServeHTTP serves the public URL (POST and GET) and the paths below it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(strings.TrimRight(r.URL.Path, "/"), h.path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	switch {
	case rest == "" && r.Method == http.MethodPost:
		h.ServeDevice(w, r)
	case rest == "" && r.Method == http.MethodGet:
		h.ServeWeb(w, r)
	case rest == pathCallback && (r.Method == http.MethodGet || r.Method == http.MethodPost):
		h.serveCallback(w, r)
	case rest == pathProfile && r.Method == http.MethodGet:
		h.serveProfile(w, r)
	case rest == pathRestart && r.Method == http.MethodGet:
		h.serveRestart(w, r)
	case rest == "" || rest == pathCallback || rest == pathProfile || rest == pathRestart:
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
	default:
		http.NotFound(w, r)
	}
}

// ServeDevice serves the url endpoint alone: a POST whose body is a signed MachineInfo. The content type is not
// looked at, as devices differ in it. Mount it by itself where url is another URL than configuration_web_url.
func (h *Handler) ServeDevice(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.set.maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			err = ErrTooLarge
		} else {
			err = fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		h.fail(w, r, err, asText)
		return
	}
	v, err := h.arrive(r.Context(), body, false)
	if err == nil {
		err = h.admit(r.Context(), v)
	}
	if err == nil {
		err = h.deliver(r.Context(), w, v)
	}
	if err != nil {
		h.fail(w, r, err, asText)
	}
}

// visit is one request of a device whose MachineInfo is known.
type visit struct {
	Candidate
	token string             // the check-in token of the session
	acts  []storage.Activity // what has happened in this visit and is not stored yet
}

// arrive verifies a MachineInfo and finds out who it is. It writes nothing.
func (h *Handler) arrive(ctx context.Context, signed []byte, web bool) (*visit, error) {
	info, err := h.verifier.Verify(signed)
	if err != nil {
		return nil, err
	}
	v, err := h.visitOf(ctx, info, "")
	if err != nil {
		return nil, err
	}
	v.Web, v.SignInAhead = web, web && h.set.signIn != nil
	v.did(h, activity.EnrollmentStarted{
		On: v.on(), SessionID: v.SessionID, Product: info.Product, OSVersion: info.OSVersion, Web: web,
	})
	return v, nil
}

// visitOf finds the session of a device. current is the one it is in; empty if that has to be found out.
func (h *Handler) visitOf(ctx context.Context, info MachineInfo, current string) (*visit, error) {
	v := &visit{Candidate: Candidate{Device: info}}
	if err := v.place(ctx, h.store); err != nil {
		return nil, err
	}
	// A device that has a profile gets one with the same ServerURL, or it would refuse it as an update. Whether it
	// still has it, or was erased since, cannot be told from here; the same URL is right in both cases.
	if current == "" {
		switch e, err := h.store.GetEnrollment(ctx, info.UDID); {
		case err == nil && e.Serial == info.Serial:
			current = e.SessionID
		case err != nil && !errors.Is(err, storage.ErrNotFound):
			return nil, fmt.Errorf("enroll: read enrollment: %w", err)
		}
	}
	v.SessionID, v.token = h.keys.device(info.Serial, info.UDID, current)
	return v, nil
}

func (v *visit) on() activity.On { return activity.On{Account: v.Account, Serial: v.Device.Serial} }

// did notes an activity of the device, to be stored with the next change.
func (v *visit) did(h *Handler, e activity.Event) {
	v.acts = append(v.acts, activity.New(h.set.now(), "device:"+v.Device.Serial, e))
}

// admit asks the authorizers and the OS gate. What it returns is stored as an activity already.
func (h *Handler) admit(ctx context.Context, v *visit) error {
	if err := h.authorize(ctx, v); err != nil {
		return err
	}
	if h.set.gate != nil {
		if err := h.passGate(ctx, v); err != nil {
			return err
		}
	}
	if h.set.signIn != nil && !v.Web { // a sign-in under way in the device's web view goes on
		return h.noteRefusal(ctx, v, &Refusal{By: "sign_in", Reason: "sign_in_required"})
	}
	return nil
}

func (h *Handler) authorize(ctx context.Context, v *visit) error {
	err := h.set.authorizers.Authorize(ctx, v.Candidate)
	var no *Refusal
	if errors.As(err, &no) {
		return h.refuse(ctx, v, no)
	}
	return err
}

// updateError is the answer of an OS gate that sends a device off to update.
type updateError struct{ want OSMinimum }

func (e *updateError) Error() string { return "enroll: OS " + e.want.Update + " required" }

func (h *Handler) passGate(ctx context.Context, v *visit) error {
	d := h.set.gate.Check(ctx, v.Candidate)
	if d.Pass && d.Reason == "" {
		return nil
	}
	noted := activity.OSUpdateRequired{
		On: v.on(), SessionID: v.SessionID, From: v.Device.OSVersion, To: d.To, Reason: d.Reason,
	}
	switch {
	case d.Pass:
		noted.Reason = "passed: " + d.Reason
		v.did(h, noted)
		return nil
	case d.Update == nil:
		return h.refuse(ctx, v, &Refusal{By: "os_gate", Reason: d.Reason})
	}
	v.did(h, noted)
	err := h.change(ctx, v, func(s *storage.EnrollmentSession) error {
		s.State, s.SealedFlow = storage.SessionOSRequired, nil
		return nil
	})
	if err != nil {
		return err
	}
	return &updateError{want: *d.Update}
}

// deliver issues the enrollment profile and sends it. It can be done any number of times.
func (h *Handler) deliver(ctx context.Context, w http.ResponseWriter, v *visit) error {
	profile, err := h.profiles.build(ctx, v.Candidate, v.token)
	if err != nil {
		return err
	}
	issued := activity.EnrollmentProfileIssued{On: v.on(), SessionID: v.SessionID}
	var user []byte
	if v.User != nil {
		issued.Username = v.User.Username
		if user, err = json.Marshal(v.User); err != nil {
			return fmt.Errorf("enroll: user: %w", err)
		}
	}
	v.did(h, issued)
	err = h.change(ctx, v, func(s *storage.EnrollmentSession) error {
		s.State, s.Reason, s.User = storage.SessionIssued, "", user
		return nil
	})
	if err != nil {
		return err
	}
	h.set.log.Info("enrollment profile issued", zap.String("serial", v.Device.Serial), zap.String("session", v.SessionID))
	w.Header().Set("Content-Type", contentTypeProfile)
	w.Header().Set("Cache-Control", "no-store")
	_, err = w.Write(profile)
	if err != nil { // the device will ask again
		h.set.log.Info("enrollment profile not sent", zap.String("serial", v.Device.Serial), zap.Error(err))
	}
	return nil
}
