package enrolltest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

const (
	// maxPages bounds what a web view loads, so that pages that lead in a circle end in an error.
	maxPages = 30
	// headerMachineInfo carries the signed MachineInfo, on the initial load only.
	//
	// Apple: https://developer.apple.com/documentation/devicemanagement/authenticating-through-web-views
	headerMachineInfo = "x-apple-aspen-deviceinfo"
)

// browser is one web view: cookies, and a user who fills forms.
type browser struct {
	d      *Device
	client http.Client
	start  *url.URL
	typed  map[string]bool // inputs filled before: to be asked for a password again means that it was wrong
}

// webView opens raw, signs the user in and returns the profile the last page delivers.
func (d *Device) webView(ctx context.Context, raw string) ([]byte, error) {
	start, err := checkURL(raw)
	if err != nil {
		return nil, &SetupError{Step: StepWebView, Err: err}
	}
	signed, err := d.machineInfo()
	if err != nil {
		return nil, &SetupError{Step: StepWebView, URL: withoutQuery(start), Err: err}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, &SetupError{Step: StepWebView, Err: err}
	}
	b := &browser{d: d, client: *d.client(), start: start, typed: map[string]bool{}}
	b.client.Jar = jar
	// Redirects are followed below: http.Client would send the device's header along.
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, start.String(), http.NoBody)
	if err != nil {
		return nil, &SetupError{Step: StepWebView, URL: withoutQuery(start), Err: err}
	}
	req.Header.Set(headerMachineInfo, base64.StdEncoding.EncodeToString(signed))
	d.emit(Event{Kind: EventMachineInfo, Detail: withoutQuery(start)})
	return b.browse(req)
}

func (b *browser) browse(req *http.Request) ([]byte, error) {
	for range maxPages {
		fail := func(a *answer, err error) error {
			e := &SetupError{Step: StepWebView, URL: withoutQuery(req.URL), Err: err}
			if a != nil {
				e.StatusCode, e.Message = a.status, pageText(a.body)
			}
			return e
		}
		a, err := do(&b.client, req, maxDocument)
		if err != nil {
			return nil, fail(nil, err)
		}
		b.d.emit(Event{Kind: EventPage, Detail: fmt.Sprintf("%d %s", a.status, withoutQuery(a.url))})
		if a.status < 300 && a.mime() == mimeProfile {
			if !sameOrigin(b.start.Hostname(), a.url.Hostname()) {
				return nil, fail(nil, fmt.Errorf("%w: %s, want %s", ErrOrigin, a.url.Hostname(), b.start.Hostname()))
			}
			return a.body, nil
		}
		// Apple defines error documents for the POST; whether the web view heeds them too is not documented, and a
		// server that sends one here means it.
		if _, ok := parseErrorDocument(a); ok {
			return nil, b.d.refused(StepWebView, a)
		}
		next, err := b.next(req, a)
		if err != nil {
			return nil, fail(a, err)
		}
		req = next
	}
	return nil, &SetupError{Step: StepWebView, URL: withoutQuery(req.URL),
		Err: fmt.Errorf("%w: no profile after %d pages", ErrSignIn, maxPages)}
}

// next is what the view loads after a: the target of a redirect, or of the page's form.
func (b *browser) next(req *http.Request, a *answer) (*http.Request, error) {
	if loc := a.header.Get("Location"); loc != "" && a.status >= 300 && a.status < 400 {
		return redirect(req, a, loc)
	}
	f, ok := chooseForm(parseForms(a.body))
	if !ok {
		return nil, fmt.Errorf("%w: the page has no form and no redirect", ErrSignIn)
	}
	values, err := b.fill(f)
	if err != nil {
		return nil, err
	}
	target, err := a.url.Parse(f.action)
	if err != nil {
		return nil, fmt.Errorf("form action: %w", err)
	}
	if _, err := checkURL(target.String()); err != nil {
		return nil, err
	}
	b.d.emit(Event{Kind: EventForm, Detail: withoutQuery(target)})
	if f.method != http.MethodPost {
		target.RawQuery = values.Encode()
		return http.NewRequestWithContext(req.Context(), http.MethodGet, target.String(), http.NoBody)
	}
	r, err := http.NewRequestWithContext(req.Context(), http.MethodPost, target.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", a.url.Scheme+"://"+a.url.Host)
	r.Header.Set("Referer", withoutQuery(a.url))
	return r, nil
}

// redirect repeats the method for 307 and 308 and turns everything else into GET, as browsers do.
func redirect(req *http.Request, a *answer, location string) (*http.Request, error) {
	target, err := a.url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("redirect: %w", err)
	}
	if _, err := checkURL(target.String()); err != nil {
		return nil, fmt.Errorf("redirect: %w", err)
	}
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if a.status == http.StatusTemporaryRedirect || a.status == http.StatusPermanentRedirect {
		method = req.Method
		if req.GetBody != nil {
			rc, err := req.GetBody()
			if err != nil {
				return nil, fmt.Errorf("redirect: %w", err)
			}
			body = rc
		}
	}
	r, err := http.NewRequestWithContext(req.Context(), method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if method != http.MethodGet {
		r.Header.Set("Content-Type", req.Header.Get("Content-Type"))
		r.ContentLength, r.GetBody = req.ContentLength, req.GetBody
	}
	return r, nil
}

// fill types the user's values into the form and presses its first button.
func (b *browser) fill(f form) (url.Values, error) {
	out := url.Values{}
	for _, in := range f.inputs {
		key, typed := b.valueFor(in)
		switch {
		case typed && in.kind == "password" && b.typed[in.name]:
			return nil, fmt.Errorf("%w: the page asks for %q again", ErrSignIn, in.name)
		case typed:
			b.typed[in.name] = true
			out.Add(in.name, b.d.set.values[key])
		case in.kind == "password":
			return nil, fmt.Errorf("%w: no user is there to type a password (WithUser)", ErrSignIn)
		case in.name != "":
			out.Add(in.name, in.value)
		}
	}
	if f.button.name != "" {
		out.Add(f.button.name, f.button.value)
	}
	return out, nil
}

// valueFor finds what the user types into an input. Hidden inputs keep what the page put there.
func (b *browser) valueFor(in input) (key string, ok bool) {
	if in.kind == "hidden" || in.kind == "checkbox" || in.kind == "radio" || in.name == "" {
		return "", false
	}
	if _, ok := b.d.set.values[in.name]; ok {
		return in.name, true
	}
	key = ""
	switch name := strings.ToLower(in.name); {
	case in.kind == "password" || name == "password":
		key = valuePassword
	case in.kind == "email" || name == "username" || name == "user" || name == "email" || name == "login":
		key = valueUser
	}
	_, ok = b.d.set.values[key]
	return key, ok && key != ""
}

// sameOrigin is Apple's rule for the host that delivers the profile: the host of configuration_web_url, or one that
// shares the last two labels with it. For addresses and bare names only equality makes sense.
func sameOrigin(start, end string) bool {
	start, end = strings.ToLower(start), strings.ToLower(end)
	if start == end {
		return true
	}
	if net.ParseIP(start) != nil || net.ParseIP(end) != nil {
		return false
	}
	a, errA := lastTwoLabels(start)
	b, errB := lastTwoLabels(end)
	return errA == nil && errB == nil && a == b
}

func lastTwoLabels(host string) (string, error) {
	labels := strings.Split(host, ".")
	if len(labels) < 2 {
		return "", errors.New("a bare name")
	}
	return strings.Join(labels[len(labels)-2:], "."), nil
}
