package abm

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/micromdm/nanodep/client"

	"github.com/enrollkit/enrollkit/internal/retry"
	"github.com/enrollkit/enrollkit/internal/webapi"
)

// Names and values of headers.
const (
	headerContentType = "Content-Type"
	headerUserAgent   = "User-Agent"
	// mediaType is Apple's own spelling.
	mediaType = "application/json;charset=UTF8"
	// newestProtocol is the newest documented version. Without it Apple leaves out the fields and answers that came with
	// later versions: throttling (9), retry_after_seconds and hardware addresses (10).
	newestProtocol = 10
)

// maxErrorBody limits bodies of answers that are not a success, and of the session endpoint.
const maxErrorBody = 64 << 10

const opSession = "Session"

// sessionRefused reports whether resp asks for a new session. It leaves the body to be read.
func sessionRefused(resp *http.Response) (bool, error) {
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return true, nil
	case http.StatusForbidden:
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		webapi.Drain(resp.Body)
		if err != nil {
			return false, fmt.Errorf("read body: %w", err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return codeIn(body) == "FORBIDDEN", nil
	}
	return false, nil
}

// signIn gets a session: GET /session with an OAuth 1.0a signature.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/authenticating-for-automated-device-enrollment
func (s *sessions) signIn(req *http.Request) (token string, err error) {
	ctx, x := s.tel.exchange(req.Context(), opSession, http.MethodGet, 0)
	defer func() { x.end(ctx, err) }()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return "", err
	}
	for _, h := range []string{headerUserAgent, client.ServerProtocolVersion} {
		r.Header.Set(h, req.Header.Get(h))
	}
	r.Header.Set(headerContentType, mediaType) // Apple's old simulator insists on it
	s.authorize(r, rand.Text())
	resp, err := s.next.RoundTrip(r) //nolint:bodyclose // Drain closes it
	if err != nil {
		return "", err
	}
	defer webapi.Drain(resp.Body)
	x.status = resp.StatusCode
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return "", fmt.Errorf("read body: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		e := newAPIError(opSession, resp.StatusCode, body, retry.After(resp.Header, s.now()))
		if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			e.Skew = at.Sub(s.now())
		}
		return "", e
	}
	var out struct {
		Session string `json:"auth_session_token"`
	}
	if json.Unmarshal(body, &out) != nil || !validSession(out.Session) {
		return "", badResponse(opSession, resp.StatusCode, nil, errors.New("no session token in it"))
	}
	return out.Session, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
