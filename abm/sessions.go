package abm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/micromdm/nanodep/client"

	"github.com/enrollkit/enrollkit/internal/webapi"
)

// maxRefusals is how often a request goes on with a session that someone else has got, before it signs in itself. More
// than one refusal means that Apple replaces the session all the time, and that others are faster to use the next one.
// From the second on, the requests of a process therefore take turns.
const maxRefusals = 6

// patience is how long requests wait for what the answer to another one may bring: the session that follows a refused
// one, or the proof that a new one works.
const patience = 2 * time.Second

// maxSession limits a session token, in bytes. Real ones are much shorter.
const maxSession = 4 << 10

// sessions is an http.RoundTripper that signs in to Apple's service and keeps the session. It has one session for one
// server token, as Apple may not tolerate several, and signs in once however many requests wait for it. With a store it
// shares that session with the other replicas.
//
// The request that signs in is the first to use the session, and only then are others given it. Its refusal is therefore
// Apple's last word: no one else can have used the session and so made Apple replace it.
//
// nanodep's own transport signs in once per waiting request, leaks the connection of an expired session, and keeps the
// session of a token that was replaced.
type sessions struct {
	next   http.RoundTripper
	url    *url.URL // of the session endpoint
	token  Token
	now    func() time.Time
	tel    *telemetry
	shared *sharedSession // nil: the session stays in this process
	turn   chan struct{}  // holds a value while a request that was refused twice is on its way

	mu      sync.Mutex
	current session
	login   *login         // under way, or nil
	flying  map[string]int // requests without answer, by session
}

// session is a session at Apple.
type session struct {
	token   string
	version int64 // of its record in the store, 0 if there is none
}

// validSession reports whether a token is usable as the value of a header, whoever it comes from.
func validSession(token string) bool {
	return len(token) > 0 && len(token) <= maxSession && strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// login is one sign-in that any number of requests wait for.
type login struct {
	replaces session
	heard    chan session // what followed the replaced session after all; none once all answers to it are there
	done     chan struct{}
	release  func() // gives back the right to sign in
	session  session
	shown    bool // to others, before it was used
	doubtful bool // Apple has refused the session
	err      error
}

// grant is a session to send a request with.
type grant struct {
	session
	login *login // the sign-in it comes from, which the request has to end; nil if that is not for it to do
	final bool   // do not sign in again if Apple refuses it
}

// RoundTrip implements http.RoundTripper. A request whose session Apple does not accept is sent again with another.
// That is safe for every request, as Apple has refused to carry it out.
func (s *sessions) RoundTrip(req *http.Request) (*http.Response, error) {
	refused := ""
	for n := 1; ; n++ {
		if n == 3 {
			select {
			case s.turn <- struct{}{}:
				defer func() { <-s.turn }()
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		}
		g, err := s.grant(req, refused, n > maxRefusals)
		if err != nil {
			if n == 1 {
				closeBody(req)
			}
			return nil, err
		}
		body := req.Body
		if n > 1 && req.GetBody != nil {
			if body, err = req.GetBody(); err != nil {
				_ = s.settle(req.Context(), g, "", false)
				s.land(g)
				return nil, fmt.Errorf("repeat body: %w", err)
			}
		}
		resp, next, refusal, err := s.send(req, body, g.token)
		first := s.settle(req.Context(), g, next, refusal)
		s.land(g)
		if err != nil || !refusal || g.final || first && n > 1 || n > 2*maxRefusals {
			return resp, err
		}
		webapi.Drain(resp.Body)
		refused = g.token
	}
}

// send sends a copy of req, as a RoundTripper must not change its request. It returns the session that follows, if the
// answer brings one, and whether the session was refused. What a refusal brings is no session.
func (s *sessions) send(req *http.Request, body io.ReadCloser, token string) (resp *http.Response, next string, refused bool, err error) {
	r := req.Clone(req.Context())
	r.Body = body
	r.Header.Set(client.ADMAuthSession, token)
	if resp, err = s.next.RoundTrip(r); err != nil {
		return nil, "", false, err
	}
	if refused, err = sessionRefused(resp); err != nil {
		return nil, "", false, err
	}
	if h := resp.Header.Get(client.ADMAuthSession); !refused && validSession(h) && h != token {
		next = h
	}
	return resp, next, refused, nil
}

// settle takes what was learnt of a session by using it, and reports whether no one else can have used it.
func (s *sessions) settle(ctx context.Context, g grant, next string, refused bool) (first bool) {
	if l := g.login; l != nil {
		got := g.session
		if next != "" {
			got.token = next
		}
		if s.shared != nil && !refused {
			got = s.shared.publish(ctx, got, g.token)
		}
		l.release()
		return s.end(l, got, refused, nil)
	}
	if next == "" {
		return false
	}
	known, ok := s.follow(g.token, next)
	if !ok || s.shared == nil {
		return false
	}
	got := s.shared.publish(ctx, session{next, known.version}, g.token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.token == next {
		s.current = got
	}
	return false
}

// follow puts next in the place of the session that it follows, and returns what that was. A late answer to an old session
// says nothing about the one that has taken its place.
func (s *sessions) follow(token, next string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.current; known.token == token {
		s.current.token = next
		return known, true
	}
	if l := s.login; l != nil && l.replaces.token == token {
		select {
		case l.heard <- session{next, l.replaces.version}:
			return l.replaces, true
		default:
		}
	}
	return session{}, false
}

// land says that a request has been answered.
func (s *sessions) land(g grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying[g.token]--; s.flying[g.token] > 0 {
		return
	}
	delete(s.flying, g.token)
	if l := s.login; l != nil && l.replaces.token == g.token {
		select {
		case l.heard <- session{}:
		default:
		}
	}
}

// fly says that a request is sent with g. The caller holds the lock.
func (s *sessions) fly(g grant) grant {
	if s.flying == nil {
		s.flying = make(map[string]int)
	}
	s.flying[g.token]++
	return g
}

// grant returns the session to use. refused names one that Apple has refused: unless someone else has replaced it
// already, a new one is got, and with force even so.
func (s *sessions) grant(req *http.Request, refused string, force bool) (grant, error) {
	for {
		s.mu.Lock()
		if s.current.token != "" && s.current.token != refused && !force {
			defer s.mu.Unlock()
			return s.fly(grant{session: s.current}), nil
		}
		l := s.login
		if l == nil {
			l = &login{replaces: s.current, heard: make(chan session, 1), done: make(chan struct{})}
			s.login, s.current = l, session{}
			s.mu.Unlock()
			return s.lead(req, l, refused, force)
		}
		s.mu.Unlock()
		if err := s.await(req.Context(), l); err != nil {
			return grant{}, err
		}
		switch {
		case l.err == nil && l.doubtful:
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.fly(grant{session: l.session, final: true}), nil
		case l.err != nil && !errors.Is(l.err, context.Canceled) && !errors.Is(l.err, context.DeadlineExceeded):
			return grant{}, l.err
		}
		// There is a session now, or the one that signed in was cancelled, which is no answer to the others.
	}
}

// await waits until l is over, or has a session and takes too long to use it.
func (s *sessions) await(ctx context.Context, l *login) error {
	t := time.NewTicker(patience)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.done:
			return nil
		case <-t.C:
		}
		s.mu.Lock()
		if s.login == l && l.session.token != "" {
			s.login, s.current, l.shown = nil, l.session, true
			close(l.done)
		}
		s.mu.Unlock()
	}
}

// lead gets a session for all who wait for l: the one that follows the refused one, if the answer that brings it was
// overtaken by the refusal; the one in the store, which works; or a new one.
func (s *sessions) lead(req *http.Request, l *login, refused string, force bool) (grant, error) {
	l.release = func() {}
	var known session
	if refused != "" && !force {
		known = s.overtaken(req.Context(), l)
	}
	var release func()
	var err error
	if s.shared != nil && known.token == "" {
		if known, release, err = s.shared.take(req.Context(), refused, force); release != nil {
			l.release = release
		}
	}
	if err == nil && (s.shared == nil && known.token == "" || release != nil) {
		known.token, err = s.signIn(req)
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			l.session = known
			return s.fly(grant{session: known, login: l}), nil
		}
		l.release()
	}
	if ctxErr := req.Context().Err(); err != nil && ctxErr != nil {
		err = ctxErr // why this caller has left, such as a lost lease, is no answer to those who wait
	}
	s.end(l, known, false, err)
	if err != nil {
		return grant{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fly(grant{session: known}), nil
}

// overtaken returns the session that the answers that are still to come bring, if any.
func (s *sessions) overtaken(ctx context.Context, l *login) session {
	s.mu.Lock()
	n := s.flying[l.replaces.token]
	s.mu.Unlock()
	if n == 0 {
		return session{}
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case next := <-l.heard:
		return next
	case <-t.C:
	case <-ctx.Done():
	}
	return session{}
}

// end tells those who wait for l, and reports whether they had to wait until now.
func (s *sessions) end(l *login, got session, doubtful bool, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.shown {
		if s.current.token == l.session.token {
			s.current = got
		}
		return false
	}
	l.session, l.doubtful, l.err = got, doubtful, err
	s.login = nil
	if err == nil {
		s.current = got
	}
	close(l.done)
	return true
}
