package enroll

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// cookieName is the cookie that ties a sign-in to the web view that began it.
const cookieName = "enrollment"

// ServeWeb serves the configuration_web_url endpoint alone: the GET with which the web view of Setup Assistant begins.
// The sign-in goes on below the public URL, so [Handler.ServeHTTP] has to be mounted too.
func (h *Handler) ServeWeb(w http.ResponseWriter, r *http.Request) {
	header := r.Header.Get(headerDeviceInfo)
	if header == "" {
		h.resume(w, r)
		return
	}
	v, err := h.arriveWeb(r.Context(), header)
	if err == nil {
		err = h.admit(r.Context(), v)
	}
	switch {
	case err != nil:
	case h.set.signIn == nil:
		err = h.deliver(r.Context(), w, v)
	default:
		err = h.beginSignIn(r.Context(), w, r, v)
	}
	if err != nil {
		h.fail(w, r, err, asPage)
	}
}

func (h *Handler) arriveWeb(ctx context.Context, header string) (*visit, error) {
	if int64(len(header)) > h.set.maxBody*3/2 { // base64 with line breaks
		return nil, ErrTooLarge
	}
	signed, err := DecodeDeviceInfo(header)
	if err != nil {
		return nil, err
	}
	if int64(len(signed)) > h.set.maxBody {
		return nil, ErrTooLarge
	}
	return h.arrive(ctx, signed, true)
}

// resume serves the public URL when the web view comes back to it: the header is on the first request only.
func (h *Handler) resume(w http.ResponseWriter, r *http.Request) {
	if h.set.signIn == nil || !h.hasCookie(r) {
		h.fail(w, r, ErrNoDeviceInfo, asPage)
		return
	}
	_, f, err := h.browserSession(r)
	switch {
	case err != nil:
		h.fail(w, r, err, asPage)
	case h.signedIn(f):
		h.redirect(w, h.base+pathProfile)
	default:
		h.redirect(w, h.base+pathRestart)
	}
}

func (h *Handler) signedIn(f webFlow) bool {
	return !f.SignedInAt.IsZero() && h.set.now().Before(f.SignedInAt.Add(h.set.signInTTL))
}

// beginSignIn sends the web view to the identity provider. If that cannot be reached, the session is there all the
// same and the user can try again.
func (h *Handler) beginSignIn(ctx context.Context, w http.ResponseWriter, r *http.Request, v *visit) error {
	f := webFlow{Info: v.Device.Raw, StartedAt: h.set.now()}
	var err error
	if f.Browser, err = h.nonce(); err != nil {
		return err
	}
	if f.State, err = h.nonce(); err != nil {
		return err
	}
	provider := h.set.signIn.Name()
	start, beginErr := h.set.signIn.Begin(ctx, SignInRequest{
		State: h.keys.sign(forState, v.SessionID+":"+f.State), CallbackURL: h.base + pathCallback, Candidate: v.Candidate,
	})
	state := storage.SessionSigningIn
	if beginErr != nil {
		state, f.State = storage.SessionStarted, ""
		v.did(h, activity.SignInFailed{On: v.on(), SessionID: v.SessionID, Provider: provider, Reason: reasonOf(beginErr)})
	} else {
		f.Provider = start.Flow
		v.did(h, activity.SignInStarted{On: v.on(), SessionID: v.SessionID, Provider: provider})
	}
	err = h.change(ctx, v, func(s *storage.EnrollmentSession) error {
		s.State = state
		return h.sealFlow(ctx, s, f)
	})
	if err != nil {
		return err
	}
	h.setCookie(w, v.SessionID+":"+f.Browser, start.CrossSitePost)
	if beginErr != nil {
		h.page(w, r, beginErr, true)
		return nil
	}
	h.redirect(w, start.URL)
	return nil
}

// serveCallback takes the answer of the identity provider.
func (h *Handler) serveCallback(w http.ResponseWriter, r *http.Request) {
	if h.set.signIn == nil {
		http.NotFound(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20) // SAML answers are tens of kilobytes
	if err := h.finishSignIn(r.Context(), r); err != nil {
		h.fail(w, r, err, asPage)
		return
	}
	h.redirect(w, h.base+pathProfile)
}

func (h *Handler) finishSignIn(ctx context.Context, r *http.Request) error {
	payload, err := h.keys.open(forState, h.set.signIn.State(r))
	if err != nil {
		return err
	}
	id, state, _ := strings.Cut(payload, ":")
	s, f, err := h.browserSession(r)
	switch {
	case err != nil:
		return err
	case s.ID != id || !same(state, f.State):
		return ErrSessionMismatch
	case !h.set.now().Before(f.StartedAt.Add(h.set.signInTTL)):
		return ErrSessionExpired
	}
	v, err := h.revisit(ctx, s, f)
	if err != nil {
		return err
	}
	user, finishErr := h.set.signIn.Finish(ctx, r, h.base+pathCallback, f.Provider)
	f.State, f.Provider = "", nil // an answer counts once; the sign-in can be started again
	provider := h.set.signIn.Name()
	if finishErr != nil {
		v.did(h, activity.SignInFailed{On: v.on(), SessionID: s.ID, Provider: provider, Reason: reasonOf(finishErr)})
		s.State = storage.SessionStarted
		if err := h.saveFlow(ctx, s, f, v); err != nil {
			return err
		}
		return finishErr
	}
	v.User = &user
	v.acts = append(v.acts, activity.New(h.set.now(), "user:"+user.Username, activity.SignedIn{
		On: v.on(), SessionID: s.ID, Provider: provider, Username: user.Username,
	}))
	if err := h.authorize(ctx, v); err != nil {
		return err
	}
	s.State, f.SignedInAt = storage.SessionAuthorized, h.set.now()
	if s.User, err = json.Marshal(user); err != nil {
		return fmt.Errorf("enroll: user: %w", err)
	}
	return h.saveFlow(ctx, s, f, v)
}

// saveFlow stores the session as it was read: if another request of the device changed it meanwhile, that one counts.
func (h *Handler) saveFlow(ctx context.Context, s storage.EnrollmentSession, f webFlow, v *visit) error {
	s.UpdatedAt = h.set.now()
	if err := h.sealFlow(ctx, &s, f); err != nil {
		return err
	}
	err := h.store.UpdateSession(ctx, s, v.acts...)
	if errors.Is(err, storage.ErrConflict) {
		return ErrSessionMismatch
	}
	if err != nil {
		return fmt.Errorf("enroll: store session: %w", err)
	}
	return nil
}

// serveProfile delivers the profile after a sign-in, as often as it is asked for.
func (h *Handler) serveProfile(w http.ResponseWriter, r *http.Request) {
	s, f, err := h.browserSession(r)
	if err == nil && !h.signedIn(f) {
		err = ErrSessionExpired
	}
	var v *visit
	if err == nil {
		v, err = h.revisit(r.Context(), s, f)
	}
	if err == nil {
		v.User, err = ParseUser(s.User)
	}
	if err == nil {
		err = h.authorize(r.Context(), v)
	}
	if err == nil {
		err = h.deliver(r.Context(), w, v)
	}
	if err != nil {
		h.fail(w, r, err, asPage)
	}
}

// serveRestart begins the sign-in once more.
func (h *Handler) serveRestart(w http.ResponseWriter, r *http.Request) {
	s, f, err := h.browserSession(r)
	var v *visit
	if err == nil {
		v, err = h.revisit(r.Context(), s, f)
	}
	if err == nil {
		v.SignInAhead = true
		err = h.authorize(r.Context(), v)
	}
	if err == nil {
		err = h.beginSignIn(r.Context(), w, r, v)
	}
	if err != nil {
		h.fail(w, r, err, asPage)
	}
}

// revisit is a later request of a web view.
func (h *Handler) revisit(ctx context.Context, s storage.EnrollmentSession, f webFlow) (*visit, error) {
	info, err := ParseMachineInfo(f.Info)
	if err != nil {
		return nil, err
	}
	v, err := h.visitOf(ctx, info, s.ID) // the keys may have been rotated since
	if err != nil {
		return nil, err
	}
	if v.SessionID != s.ID {
		return nil, ErrSessionMismatch
	}
	v.Web = true
	return v, nil
}

// browserSession finds the session of the browser by its cookie.
func (h *Handler) browserSession(r *http.Request) (storage.EnrollmentSession, webFlow, error) {
	fail := func(err error) (storage.EnrollmentSession, webFlow, error) {
		return storage.EnrollmentSession{}, webFlow{}, err
	}
	c, err := r.Cookie(cookieName)
	if err != nil || h.set.signIn == nil {
		return fail(ErrNoDeviceInfo)
	}
	payload, err := h.keys.open(forBrowser, c.Value)
	if err != nil {
		return fail(err)
	}
	id, browser, _ := strings.Cut(payload, ":")
	s, err := h.store.GetSession(r.Context(), id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return fail(ErrSessionExpired)
	case err != nil:
		return fail(fmt.Errorf("enroll: read session: %w", err))
	case expired(s, h.set.now()):
		return fail(ErrSessionExpired)
	}
	f, err := h.openFlow(r.Context(), s)
	if err != nil {
		return fail(err)
	}
	if !same(browser, f.Browser) {
		return fail(ErrSessionMismatch)
	}
	return s, f, nil
}

// same compares two nonces; an empty one equals none.
func same(a, b string) bool { return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (h *Handler) hasCookie(r *http.Request) bool {
	_, err := r.Cookie(cookieName)
	return err == nil
}

// setCookie sets a cookie for the life of the web view. Lax lets it come along when the identity provider sends the
// user back by a link or redirect; None is needed where it does so by a form.
func (h *Handler) setCookie(w http.ResponseWriter, payload string, crossSitePost bool) {
	c := &http.Cookie{
		Name: cookieName, Value: h.keys.sign(forBrowser, payload), Path: h.path + "/",
		HttpOnly: true, Secure: h.secure, SameSite: http.SameSiteLaxMode,
	}
	if h.path != "" {
		c.Path = h.path
	}
	if crossSitePost && h.secure { // browsers drop a None cookie that is not Secure
		c.SameSite = http.SameSiteNoneMode
	}
	http.SetCookie(w, c)
}

func (h *Handler) redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

func (h *Handler) nonce() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(h.set.rand, b[:]); err != nil {
		return "", fmt.Errorf("enroll: randomness: %w", err)
	}
	return encode(b[:]), nil
}

// reasonOf is what an activity says of a failed sign-in.
func reasonOf(err error) string {
	var se *SignInError
	if errors.As(err, &se) {
		return se.Reason
	}
	return "error"
}

func (h *Handler) logFailure(r *http.Request, status int, err error) {
	fields := []zap.Field{zap.Int("status", status), zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Error(err)}
	if status >= http.StatusInternalServerError {
		h.set.log.Error("enrollment request failed", fields...)
		return
	}
	h.set.log.Info("enrollment request refused", fields...)
}
