package axm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/internal/retry"
	"github.com/enrollkit/enrollkit/internal/webapi"
)

const (
	// maxBody limits the body of a success. A page of 1000 devices is about a megabyte.
	maxBody = 32 << 20
	// maxErrorBody limits bodies of answers that are not a success.
	maxErrorBody = 64 << 10
)

// Client makes the calls of the Apple Business or School Manager API for one API account. It is safe for concurrent use; all
// uses share one access token.
//
// Calls that only read are repeated on network errors and on HTTP 429 and 5xx. Calls that change something are repeated only
// when it is certain that nothing was done: on 429, when no connection was made, and when there was no access token.
type Client struct {
	s      settings
	base   *url.URL
	tokens *tokens
	http   *http.Client // follows no redirects
}

// New returns a client for an API account. It sends nothing. It returns [ErrUnknownClientID] when the client id does not tell
// the service and [WithScope] and [WithBaseURL] do not either; [ErrNoKey] and [ErrKeyType] for keys that are no use.
func New(creds Credentials, opts ...Option) (*Client, error) {
	s, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	if err := creds.check(); err != nil {
		return nil, err
	}
	svc, known := serviceOf(creds.ClientID)
	if !known && (s.scope == "" || s.baseURL == "") {
		return nil, ErrUnknownClientID
	}
	if s.scope == "" {
		s.scope = svc.scope
	}
	if s.baseURL == "" {
		s.baseURL = svc.baseURL
	}
	base, err := webapi.ParseURL(s.baseURL)
	if err != nil {
		return nil, fmt.Errorf("axm: base URL: %w", err)
	}
	// Nothing of Apple's redirects here, and following one would carry secrets to another host.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client := &http.Client{Transport: s.transport, CheckRedirect: stay}
	i, err := newIssuer(creds, s.scope, client, s)
	if err != nil {
		return nil, err
	}
	return &Client{s: s, base: base, tokens: &tokens{source: i.source, now: s.now}, http: client}, nil
}

// call is one operation of the API.
type call struct {
	op     string
	method string
	path   []string // segments below the base URL, not escaped
	query  url.Values
	in     any  // sent as JSON, unless nil
	write  bool // changes something, so must not be repeated blindly
	// out reads the body of a success, which is valid during the call only. nil ignores the body.
	out func(body []byte) error

	target string // the URL; set by do
	body   []byte // in as JSON; set by do
}

func (c *Client) do(ctx context.Context, k call) (err error) {
	if k.target, err = c.target(k); err != nil {
		return fmt.Errorf("axm: %s: %w", k.op, err)
	}
	if k.in != nil {
		if k.body, err = json.Marshal(k.in); err != nil {
			return fmt.Errorf("axm: %s: encode: %w", k.op, err)
		}
	}
	return c.retry(ctx, k, func() error { return c.once(ctx, k) })
}

// once makes one attempt. An access token that Apple refuses is dropped, and the request sent once more with a new one: that
// is safe for every request, as Apple has refused to carry it out.
func (c *Client) once(ctx context.Context, k call) error {
	refused := ""
	for {
		token, err := c.tokens.get(ctx, refused)
		if err != nil {
			return fmt.Errorf("axm: %s: %w", k.op, err)
		}
		err = c.exchange(ctx, k, token)
		if refused != "" || !errors.Is(err, ErrUnauthorized) {
			return err
		}
		c.s.log.Debug("access token refused", zap.String("operation", k.op))
		refused = token
	}
}

// exchange makes one HTTP exchange.
func (c *Client) exchange(parent context.Context, k call, token string) error {
	ctx, cancel := context.WithTimeout(parent, c.s.timeout)
	defer cancel()
	req, err := c.request(ctx, k)
	if err != nil {
		return fmt.Errorf("axm: %s: %w", k.op, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.http.Do(req) //nolint:bodyclose // Drain closes it
	if err != nil {
		return transportError(parent, k.op, err)
	}
	defer webapi.Drain(resp.Body)
	body, err := readBody(resp, maxBody)
	if err != nil {
		return transportError(parent, k.op, err)
	}
	status := resp.StatusCode
	switch {
	case status != http.StatusOK && status != http.StatusCreated && (status != http.StatusNoContent || k.out != nil):
		return newAPIError(k.op, status, body, retry.After(resp.Header, c.s.now()))
	case len(body) > maxBody:
		return badResponse(k.op, status, body, errors.New("body too large"))
	case k.out == nil:
		return nil
	}
	if err := k.out(body); err != nil {
		return badResponse(k.op, status, body, err)
	}
	return nil
}

// target returns the URL of a call.
func (c *Client) target(k call) (string, error) {
	segments := make([]string, len(k.path))
	for i, s := range k.path {
		// An id comes from outside. As a segment it must not climb, nor vanish and so name the list.
		if s == "" || s == "." || s == ".." {
			return "", errors.New("empty or impossible id")
		}
		segments[i] = url.PathEscape(s)
	}
	u := c.base.JoinPath(segments...)
	u.RawQuery = k.query.Encode()
	return u.String(), nil
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	var body io.Reader
	if k.body != nil {
		body = bytes.NewReader(k.body)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, k.target, body)
	if err != nil {
		return nil, errors.New("cannot make the request") // the error quotes the URL
	}
	req.Header.Set("User-Agent", c.s.userAgent)
	req.Header.Set("Accept", "application/json")
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// readBody reads one byte more than limit, so that what is too long is seen.
func readBody(resp *http.Response, limit int64) ([]byte, error) {
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		limit = maxErrorBody
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return body, nil
}

// transportError sorts out why no answer came: the caller's context, or the network.
func transportError(parent context.Context, op string, err error) error {
	if parent.Err() != nil {
		return fmt.Errorf("axm: %s: %w", op, context.Cause(parent))
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // its text repeats the URL with its query
	}
	return &TransportError{Op: op, Err: err}
}
