package enroll

import (
	"encoding/json"
	"errors"
	"net/http"

	"go.uber.org/zap"
)

// form is how an error is shown.
type form int

const (
	asText form = iota // to a device, which shows an alert of its own
	asPage             // to a user in a web view
)

// answer is what a device or user gets for an error. Causes are for the log.
type answer struct {
	status int
	title  string
	text   string
	again  bool // the sign-in can be started again
}

// answerFor is the one place that turns errors into HTTP answers. Everything that says no to a device says the same.
// 401 is never among them: devices take it for an HTTP authentication challenge.
func answerFor(err error) answer {
	for _, row := range []struct {
		err error
		answer
	}{
		{ErrTooLarge, answer{http.StatusRequestEntityTooLarge, "Too large", "The request is too large.", false}},
		{ErrMalformed, answer{http.StatusBadRequest, "Not readable", "The request cannot be read.", false}},
		{ErrUnsigned, answer{http.StatusBadRequest, "Not readable", "The request cannot be read.", false}},
		{ErrSignature, answer{http.StatusBadRequest, "Not readable", "The request cannot be read.", false}},
		{ErrNoDeviceInfo, answer{http.StatusBadRequest, "Open this page in Setup Assistant",
			"This page is for a device that is being set up. Go back and continue with Remote Management.", false}},
		{ErrIssuer, notAllowed},
		{ErrNotAllowed, notAllowed},
		{ErrSessionExpired, answer{http.StatusBadRequest, "That took too long",
			"Your sign-in has expired. You can start it again.", true}},
		{ErrSessionMismatch, answer{http.StatusBadRequest, "Sign-in was interrupted",
			"This sign-in does not belong to the current session. You can start it again.", true}},
		{ErrToken, answer{http.StatusBadRequest, "Sign-in was interrupted",
			"This sign-in does not belong to the current session. You can start it again.", true}},
	} {
		if errors.Is(err, row.err) {
			return row.answer
		}
	}
	var se *SignInError
	if errors.As(err, &se) {
		return answer{http.StatusBadGateway, "Sign-in did not work", "You could not be signed in. You can try again.", true}
	}
	return answer{http.StatusInternalServerError, "Something went wrong", "Please try again in a moment.", true}
}

var notAllowed = answer{http.StatusForbidden, "Enrollment not allowed", "This device may not enroll here.", false}

// fail answers an error.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error, as form) {
	var update *updateError
	if errors.As(err, &update) {
		h.logFailure(r, http.StatusForbidden, err)
		h.demandUpdate(w, update.want)
		return
	}
	if as == asPage {
		_, _, none := h.browserSession(r)
		h.page(w, r, err, none == nil)
		return
	}
	a := answerFor(err)
	h.logFailure(r, a.status, err)
	http.Error(w, a.text, a.status)
}

// demandUpdate sends the document that makes a device update before it enrolls. Apple documents it for the POST;
// that the web view heeds it too was observed (https://github.com/fleetdm/fleet, its /mdm/sso page does so).
func (h *Handler) demandUpdate(w http.ResponseWriter, want OSMinimum) {
	body, err := json.Marshal(want.document())
	if err != nil { // it consists of strings
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusForbidden)
	if _, err := w.Write(body); err != nil { // the device will ask again
		h.set.log.Info("update demand not sent", zap.Error(err))
	}
}

// page answers an error as a page. restart says that the browser has a session to start again in.
func (h *Handler) page(w http.ResponseWriter, r *http.Request, err error, restart bool) {
	a := answerFor(err)
	h.logFailure(r, a.status, err)
	data := struct {
		Title, Text, Restart string
		Branding
	}{Title: a.title, Text: a.text, Branding: h.set.brand}
	switch {
	case a.again && restart && h.set.signIn != nil:
		data.Restart = h.path + pathRestart
	case a.again:
		data.Text = "Go back and continue with Remote Management."
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	// No form-action: it would also forbid the redirect to the identity provider that follows the button.
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(a.status)
	if err := h.tmpl.Execute(w, data); err != nil {
		h.set.log.Info("page not sent", zap.Error(err))
	}
}

// pageHTML is a page for the web view of Setup Assistant: nothing from elsewhere, no script, large type, light and dark.
const pageHTML = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{.Title}}</title>
<style>
body { font: 20px/1.5 -apple-system, system-ui, sans-serif; margin: 0; padding: 12vh 8vw; text-align: center;
  color: #1d1d1f; background: #fff; }
h1 { font-size: 1.6em; line-height: 1.2; }
button { font: inherit; padding: .5em 1.5em; border: 0; border-radius: .5em; color: #fff; background: #0066cc; }
.quiet { opacity: .7; font-size: .85em; }
@media (prefers-color-scheme: dark) { body { color: #f5f5f7; background: #1d1d1f; } }
</style>
</head>
<body>
{{with .Organization}}<p class="quiet">{{.}}</p>{{end}}
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{with .Restart}}<form method="get" action="{{.}}"><button type="submit">Start again</button></form>{{end}}
{{with .Support}}<p class="quiet">{{.}}</p>{{end}}
</body>
</html>
`
