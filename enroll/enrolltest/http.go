package enrolltest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
)

const (
	maxDocument = 16 << 20  // bytes of a page, profile or command
	maxPackage  = 512 << 20 // bytes of a package

	mimeProfile     = "application/x-apple-aspen-config"
	mimeMachineInfo = "application/pkcs7-signature"
)

// answer is an HTTP answer, read to its end.
type answer struct {
	url    *url.URL // of the request that was answered last
	status int
	header http.Header
	body   []byte
}

func (a *answer) mime() string {
	m, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return m
}

// checkURL accepts what a device would talk to: https, and http on this machine, so that tests need no certificates.
func checkURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	switch {
	case u.Host == "":
		return nil, fmt.Errorf("%q is not an absolute URL", raw)
	case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("%q is not https", raw)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// withoutQuery is u as it may appear in an error or event.
func withoutQuery(u *url.URL) string {
	if u == nil {
		return ""
	}
	cp := *u
	cp.RawQuery, cp.Fragment, cp.User = "", "", nil
	return cp.String()
}

// do sends a request and reads the answer, up to limit bytes.
func do(c *http.Client, req *http.Request, limit int64) (*answer, error) {
	resp, err := c.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // its text repeats the URL with the query
		}
		return nil, fmt.Errorf("%s %s: %w", req.Method, withoutQuery(req.URL), err)
	}
	defer func() { _ = resp.Body.Close() }() // nothing depends on how a read body closes
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read body: %w", req.Method, withoutQuery(req.URL), err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%s %s: body over %d bytes", req.Method, withoutQuery(req.URL), limit)
	}
	a := &answer{url: req.URL, status: resp.StatusCode, header: resp.Header, body: body}
	if resp.Request != nil && resp.Request.URL != nil {
		a.url = resp.Request.URL
	}
	return a, nil
}

// get fetches a document or package with the device's present trust.
func (d *Device) get(ctx context.Context, raw string, limit int64) (*answer, error) {
	u, err := checkURL(raw)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	a, err := do(d.client(), req, limit)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d", withoutQuery(u), a.status)
	}
	return a, nil
}

func (d *Device) client() *http.Client {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.st.http == nil {
		return d.set.client
	}
	return d.st.http
}

// trust makes the device believe servers below anchors, which replace the built-in roots, and below extra, the
// certificates of installed profiles, which add to them. Neither: the host's transport decides.
func (d *Device) trust(anchors, extra []*x509.Certificate) {
	c := *d.set.client
	c.Jar, c.CheckRedirect = nil, nil
	base := c.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	var own *http.Transport
	t, ok := base.(*http.Transport)
	if ok && len(anchors)+len(extra) > 0 {
		t = t.Clone()
		cfg := t.TLSClientConfig
		if cfg == nil {
			cfg = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		pool := x509.NewCertPool()
		if len(anchors) == 0 {
			pool = builtInRoots(cfg)
		}
		for _, a := range append(append([]*x509.Certificate{}, anchors...), extra...) {
			pool.AddCert(a)
		}
		cfg.RootCAs, t.TLSClientConfig = pool, cfg
		c.Transport, own = t, t
	}
	d.closeIdle()
	d.mu.Lock()
	d.st.http, d.st.ownTransport = &c, own
	d.mu.Unlock()
}

// closeIdle drops the idle connections of a transport that is the device's alone; a shared one is the host's.
func (d *Device) closeIdle() {
	d.mu.Lock()
	own := d.st.ownTransport
	d.mu.Unlock()
	if own != nil {
		own.CloseIdleConnections()
	}
}

func builtInRoots(cfg *tls.Config) *x509.CertPool {
	if cfg.RootCAs != nil {
		return cfg.RootCAs.Clone()
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return x509.NewCertPool() // a machine without roots trusts none of its own
	}
	return pool
}
