package abm

import (
	"bytes"
	"context"
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

	"github.com/enrollkit/enrollkit/internal/retry"
	"github.com/enrollkit/enrollkit/internal/webapi"
)

// maxBody limits the body of a success. A page of 1000 devices is about half a megabyte.
const maxBody = 64 << 20

// Client makes the calls of Apple's device assignment service for one server token. Its methods carry Apple's
// operation names and have no effect but the call. It is safe for concurrent use; all uses share one session.
//
// Calls that only read are repeated on network errors and on HTTP 429 and 5xx. Calls that change something are
// repeated only on 429, which says that nothing was done: whoever calls them must look before asking again. While Apple
// has asked to wait or does not answer, calls are held back: see [HeldBackError].
//
// It takes header names, base URL and the token file reader from nanodep. It does not go through nanodep's
// godep.Client.Do, which drops the headers of an answer (Retry-After is lost), keeps only the first KiB of an error,
// drops the path of a base URL, and decodes pages with encoding/json, a third as fast as needed.
type Client struct {
	s        settings
	base     *url.URL
	http     *http.Client
	sessions *sessions
	// breaker holds calls back while they would be in vain.
	breaker *breaker
	// buffers holds *bytes.Buffer of finished answers; pages are large and alike.
	buffers sync.Pool
	// successor returns the client that has taken the place of this one, or nil; it may be nil.
	successor func(context.Context) *Client
}

// NewClient returns a client that signs in with token.
func NewClient(token Token, opts ...Option) (*Client, error) {
	s, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	return newClient(token, s, s.baseURL)
}

func newClient(token Token, s settings, base string) (*Client, error) {
	if err := token.check(); err != nil {
		return nil, err
	}
	u, err := parseBaseURL(base)
	if err != nil {
		return nil, fmt.Errorf("abm: base URL: %w", err)
	}
	next := s.transport
	if next == nil {
		next = http.DefaultTransport
	}
	ses := &sessions{next: next, url: u.JoinPath("session"), token: token, now: s.now, tel: &s.tel, turn: make(chan struct{}, 1)}
	return &Client{
		s: s, base: u, sessions: ses,
		breaker: &breaker{now: s.now, max: s.breakAfter, coolDown: s.coolDown},
		http: &http.Client{
			Transport: ses,
			// The service does not redirect. Following one would carry the session to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}, nil
}

// call is one operation of Apple's service.
type call struct {
	op     string
	method string
	path   string // relative to the base URL, without leading slash
	query  url.Values
	in     any  // sent as JSON, unless nil
	write  bool // changes something, so must not be repeated blindly
	sent   int  // how often it was sent before
	began  time.Time
	// out reads the body of a success, which is valid during the call only. nil ignores the body.
	out func(body []byte) error
}

func (c *Client) do(ctx context.Context, k call) error {
	var in []byte
	if k.in != nil {
		var err error
		if in, err = json.Marshal(k.in); err != nil {
			return fmt.Errorf("abm: %s: encode: %w", k.op, err)
		}
	}
	k.began = c.s.now()
	for {
		err := c.retry(ctx, k, func() error {
			err := c.guarded(ctx, k, in)
			if !errors.Is(err, ErrHeldBack) {
				k.sent++
			}
			return err
		})
		if err == nil || !refused(err) || c.successor == nil {
			return err
		}
		// Apple has not carried out what it refused, so it is safe to ask again, in time.
		next := c.successor(ctx)
		if next == nil || k.write && c.timeLeft(k) < 0 {
			return err
		}
		c = next
	}
}

// guardKey is where withGuard keeps the guard.
type guardKey struct{}

// withGuard returns a context for calls that change something only while guard returns no error. It is asked before each
// sending, by the clock: after a machine was suspended, timers and so contexts end too late.
func withGuard(ctx context.Context, guard func() error) context.Context {
	return context.WithValue(ctx, guardKey{}, guard)
}

// once makes one HTTP exchange.
func (c *Client) once(parent context.Context, k call, in []byte) (err error) {
	if guard, ok := parent.Value(guardKey{}).(func() error); ok && k.write {
		if err := guard(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(parent, c.s.timeout)
	defer cancel()
	ctx, x := c.s.tel.exchange(ctx, k.op, k.method, k.sent)
	defer func() { x.end(ctx, err) }()
	req, err := c.request(ctx, k, in)
	if err != nil {
		return fmt.Errorf("abm: %s: %w", k.op, err)
	}
	resp, err := c.http.Do(req) //nolint:bodyclose // Drain closes it
	if err != nil {
		return c.transportError(parent, k.op, err)
	}
	defer webapi.Drain(resp.Body)
	x.status = resp.StatusCode

	limit := int64(maxBody)
	if resp.StatusCode != http.StatusOK {
		limit = maxErrorBody
	}
	buf := c.buffers.Get().(*bytes.Buffer)
	defer c.buffers.Put(buf)
	buf.Reset()
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return c.transportError(parent, k.op, fmt.Errorf("read body: %w", err))
	}
	body := buf.Bytes()
	switch {
	case resp.StatusCode != http.StatusOK && (resp.StatusCode != http.StatusNoContent || k.out != nil):
		return newAPIError(k.op, resp.StatusCode, body, retry.After(resp.Header, c.s.now()))
	case n > limit:
		return badResponse(k.op, resp.StatusCode, body, errors.New("body too large"))
	case k.out == nil:
		return nil
	}
	if err := k.out(body); err != nil {
		return badResponse(k.op, resp.StatusCode, body, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, k call, in []byte) (*http.Request, error) {
	u := c.base.JoinPath(k.path)
	u.RawQuery = k.query.Encode()
	var body io.Reader
	if in != nil {
		body = bytes.NewReader(in) // gives the request a GetBody, so that it can be sent again
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set(headerUserAgent, c.s.userAgent)
	req.Header.Set(client.ServerProtocolVersion, strconv.Itoa(c.s.protocol))
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set(headerContentType, mediaType)
	}
	return req, nil
}

// transportError sorts out why no answer came: the caller's context, Apple's answer to signing in, or the network.
func (c *Client) transportError(parent context.Context, op string, err error) error {
	if parent.Err() != nil {
		return fmt.Errorf("abm: %s: %w", op, context.Cause(parent))
	}
	if apiErr, ok := errors.AsType[*APIError](err); ok {
		return fmt.Errorf("abm: %s: %w", op, apiErr)
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // its text repeats the URL with its query
	}
	return &TransportError{Op: op, Err: err}
}

// jsonInto returns a reader of a body that is one JSON value, into v.
func jsonInto(v any) func([]byte) error {
	return func(body []byte) error { return json.Unmarshal(body, v) }
}
