package enrolltest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"

	"github.com/stretchr/testify/assert"
)

// The sign-in pages of the test server: a redirect, a form with a hidden token, a page that only submits itself.

func (s *server) web(w http.ResponseWriter, r *http.Request) {
	raw, err := base64.StdEncoding.DecodeString(r.Header.Get("x-apple-aspen-deviceinfo"))
	assert.NoError(s.t, err)
	info, ok := s.accept(raw)
	if !ok {
		http.Error(w, "no machine info", http.StatusBadRequest)
		return
	}
	if s.minOS != "" && info.OSVersion != s.minOS {
		s.demandUpdate(w)
		return
	}
	s.mu.Lock()
	s.sessions[info.Serial] = true
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "session", Value: info.Serial, Path: "/", HttpOnly: true})
	http.Redirect(w, r, "/login?next=%2Ffinish", http.StatusFound)
}

func (s *server) session(r *http.Request) bool {
	c, err := r.Cookie("session")
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[c.Value]
}

func (s *server) login(w http.ResponseWriter, r *http.Request) {
	assert.Empty(s.t, r.Header.Get("x-apple-aspen-deviceinfo"), "the header belongs to the initial load only")
	if !s.session(r) {
		http.Error(w, "no session", http.StatusForbidden)
		return
	}
	wrong := ""
	if r.Method == http.MethodPost {
		assert.Equal(s.t, "a&b", r.PostFormValue("csrf"))
		assert.Equal(s.t, "go", r.PostFormValue("action"))
		assert.False(s.t, r.PostForm.Has("remember"), "an unchecked box is not sent")
		if r.PostFormValue("Email") == user && r.PostFormValue("pw") == password {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, `<body onload="document.forms[0].submit()"><form method=post action=/finish>
				<input type=hidden name=code value='the "code"'></form>`)
			return
		}
		wrong = "<b>Wrong password.</b>"
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, `<!doctype html><html><!-- <form action="/trap"> --><head><title>Sign in</title>
		<script>if (1 < 2) document.write("<form action='/trap'><input name=password type=password>")</script></head><body>`+
		wrong+`<form action="/search"><input name="q" type="text"></form>
		<FORM METHOD="POST" ACTION="">
		<input type="hidden" name="csrf" value="a&amp;b"/>
		<input name="Email"><input type="password" name="pw"><input type=checkbox name=remember>
		<button type="submit" name="action" value="go">Sign in</button><button name="action" value="cancel">Cancel</button>
		</FORM></body></html>`)
}

func (s *server) finish(w http.ResponseWriter, r *http.Request) {
	if !s.session(r) || r.Method != http.MethodPost || r.PostFormValue("code") != `the "code"` {
		http.Error(w, "not signed in", http.StatusForbidden)
		return
	}
	s.writeProfile(w)
}

const pkgContent = "this is a package of some length"

// manifest describes the package at /pkg, hashed in chunks of ten bytes.
func (s *server) manifest() map[string]any {
	var sums []string
	for b := []byte(pkgContent); len(b) > 0; b = b[min(10, len(b)):] {
		h := sha256.Sum256(b[:min(10, len(b))])
		sums = append(sums, hex.EncodeToString(h[:]))
	}
	return manifestOf(map[string]any{
		"kind": "software-package", "url": s.srv.URL + "/pkg", "sha256-size": 10, "sha256s": sums, "md5": "ignored",
	})
}

func manifestOf(asset map[string]any) map[string]any {
	return map[string]any{"items": []map[string]any{{
		"assets": []map[string]any{asset},
		"metadata": map[string]any{
			"bundle-identifier": "org.example.agent", "bundle-version": "1.2.3", "kind": "software", "title": "Agent",
		},
	}}}
}
