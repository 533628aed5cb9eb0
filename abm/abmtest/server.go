package abmtest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Server is a [Service] that listens on a loopback port for the time of a test.
type Server struct {
	*Service
	// URL is the base URL of the API, without a trailing slash.
	URL string
	// AdminURL is where [Service.AdminHandler] answers, without a trailing slash.
	AdminURL string
}

// New starts a server and stops it when the test ends. It ends the test when an option is refused.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, err := NewService(opts...)
	if err != nil {
		t.Fatal(err)
	}
	admin := http.StripPrefix("/admin", s.AdminHandler())
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/admin/") {
			admin.ServeHTTP(w, r)
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		_ = s.Close() // never fails; without it the listener would wait for requests that a fault holds
		listener.Close()
	})
	return &Server{Service: s, URL: listener.URL + s.cfg.basePath, AdminURL: listener.URL + "/admin"}
}
