package abm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/micromdm/nanodep/client"
)

// Names and values of headers.
const (
	headerContentType = "Content-Type"
	headerUserAgent   = "User-Agent"
	// mediaType is Apple's own spelling.
	mediaType = "application/json;charset=UTF8"
	// protocolVersion is the newest documented one. Without it Apple leaves out the fields and answers that came with
	// later versions: throttling (9), retry_after_seconds and hardware addresses (10).
	protocolVersion = "10"
)

// maxErrorBody limits bodies of answers that are not a success, and of the session endpoint.
const maxErrorBody = 64 << 10

const opSession = "Session"

// sessions is an http.RoundTripper that signs in to Apple's service and keeps the session. It has one session for one
// server token, as Apple may not tolerate several, and signs in once however many requests wait for it.
//
// nanodep's own transport signs in once per waiting request, leaks the connection of an expired session, and keeps the
// session of a token that was replaced.
type sessions struct {
	next  http.RoundTripper
	url   *url.URL // of the session endpoint
	token Token
	now   func() time.Time

	mu      sync.Mutex
	current string
	login   *login // under way, or nil
}

// login is one sign-in that any number of requests wait for.
type login struct {
	done    chan struct{}
	session string
	err     error
}

// RoundTrip implements http.RoundTripper. A session that Apple does not accept is replaced once and the request sent
// again. Replacing it is safe for every request, as Apple has refused to carry it out.
func (s *sessions) RoundTrip(req *http.Request) (*http.Response, error) {
	session, err := s.session(req, "")
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, refused, err := s.send(req, req.Body, session)
	if err != nil || !refused {
		return resp, err
	}
	drain(resp.Body)
	body := io.ReadCloser(nil)
	if req.GetBody != nil {
		if body, err = req.GetBody(); err != nil {
			return nil, fmt.Errorf("repeat body: %w", err)
		}
	}
	if session, err = s.session(req, session); err != nil {
		return nil, err
	}
	resp, _, err = s.send(req, body, session)
	return resp, err
}

// send sends a copy of req, as a RoundTripper must not change its request, and reports whether the session was refused.
// It takes over a new session from the answer, unless the answer refuses the session it follows from, or the session is
// another one by now.
func (s *sessions) send(req *http.Request, body io.ReadCloser, session string) (resp *http.Response, refused bool, err error) {
	r := req.Clone(req.Context())
	r.Body = body
	r.Header.Set(client.ADMAuthSession, session)
	if resp, err = s.next.RoundTrip(r); err != nil {
		return nil, false, err
	}
	if refused, err = sessionRefused(resp); err != nil {
		return nil, false, err
	}
	if next := resp.Header.Get(client.ADMAuthSession); next != "" && !refused {
		s.mu.Lock()
		if s.current == session {
			s.current = next
		}
		s.mu.Unlock()
	}
	return resp, refused, nil
}

// sessionRefused reports whether resp asks for a new session. It leaves the body to be read.
func sessionRefused(resp *http.Response) (bool, error) {
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return true, nil
	case http.StatusForbidden:
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		drain(resp.Body)
		if err != nil {
			return false, fmt.Errorf("read body: %w", err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return codeIn(body) == "FORBIDDEN", nil
	}
	return false, nil
}

// session returns the session to use. refused names one that Apple has refused: unless someone else has replaced it
// already, a new one is got.
func (s *sessions) session(req *http.Request, refused string) (string, error) {
	for {
		s.mu.Lock()
		if s.current != "" && s.current != refused {
			defer s.mu.Unlock()
			return s.current, nil
		}
		l := s.login
		if l == nil {
			l = &login{done: make(chan struct{})}
			s.login, s.current = l, ""
			s.mu.Unlock()
			s.lead(req, l)
			return l.session, l.err
		}
		s.mu.Unlock()
		select {
		case <-req.Context().Done():
			return "", req.Context().Err()
		case <-l.done:
		}
		if l.err == nil {
			return l.session, nil
		}
		// The one that signed in may have been cancelled, which is no answer to the others.
		if !errors.Is(l.err, context.Canceled) && !errors.Is(l.err, context.DeadlineExceeded) {
			return "", l.err
		}
	}
}

// lead signs in and tells those who wait.
func (s *sessions) lead(req *http.Request, l *login) {
	l.session, l.err = s.signIn(req)
	s.mu.Lock()
	s.login = nil
	if l.err == nil {
		s.current = l.session
	}
	s.mu.Unlock()
	close(l.done)
}

// signIn gets a session: GET /session with an OAuth 1.0a signature.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/authenticating-for-automated-device-enrollment
func (s *sessions) signIn(req *http.Request) (string, error) {
	r, err := http.NewRequestWithContext(req.Context(), http.MethodGet, s.url.String(), nil)
	if err != nil {
		return "", err
	}
	for _, h := range []string{headerUserAgent, client.ServerProtocolVersion} {
		r.Header.Set(h, req.Header.Get(h))
	}
	r.Header.Set(headerContentType, mediaType) // Apple's old simulator insists on it
	s.authorize(r, rand.Text())
	resp, err := s.next.RoundTrip(r) //nolint:bodyclose // drain closes it
	if err != nil {
		return "", err
	}
	defer drain(resp.Body)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return "", fmt.Errorf("read body: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		e := newAPIError(opSession, resp.StatusCode, body, retryAfter(resp.Header, s.now()))
		if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			e.Skew = at.Sub(s.now())
		}
		return "", e
	}
	var out struct {
		Session string `json:"auth_session_token"`
	}
	if json.Unmarshal(body, &out) != nil || out.Session == "" {
		return "", badResponse(opSession, resp.StatusCode, nil, errors.New("no session token in it"))
	}
	return out.Session, nil
}

// drain reads a little of what is left, so that the connection can be used again, and closes.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxErrorBody)
	_ = body.Close()
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// retryAfter returns how long the Retry-After header asks to wait, in seconds or until a date; 0 if it does not.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	const longest = 7 * 24 * time.Hour
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(min(max(n, 0), int64(longest/time.Second))) * time.Second
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(t.Sub(now), 0), longest)
}
