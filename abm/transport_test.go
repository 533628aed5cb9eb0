package abm

import (
	"net/http"
	"testing"
)

// hookTransport calls do before it carries out a request for one path.
type hookTransport struct {
	next http.RoundTripper
	path string
	do   func()
}

func (h *hookTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == h.path {
		h.do()
	}
	return h.next.RoundTrip(r)
}

// noTransport fails the test when anything is sent.
type noTransport struct{ t testing.TB }

func (n noTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("%s %s was sent", r.Method, r.URL)
	return nil, http.ErrNotSupported
}
