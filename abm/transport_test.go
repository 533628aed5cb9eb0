package abm

import "net/http"

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
