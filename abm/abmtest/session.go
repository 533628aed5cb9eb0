package abmtest

import (
	"net/http"
	"time"
)

const (
	sessionHeader = "X-ADM-Auth-Session"

	// maxSessions is how many session tokens are remembered before the dead ones are forgotten.
	maxSessions = 10_000
)

// session is one session token. A dead one is remembered so that its use is told apart from a made-up token.
type session struct {
	server   *MDMServer
	lastUsed time.Time
	answers  int
	dead     bool
}

// session serves GET /session.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/authenticating-for-automated-device-enrollment
func (s *Service) session(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	server, err := s.verifyOAuth(c.r, c.now)
	if err != nil {
		return nil, err
	}
	if !s.termsSigned {
		return nil, refuse(http.StatusForbidden, "T_C_NOT_SIGNED")
	}
	if s.cfg.singleSession {
		s.endSessions(server)
	}
	s.stats.Logins++
	return struct {
		Token string `json:"auth_session_token"`
	}{s.openSession(server, c.now)}, nil
}

// useSession finds the MDM server entry behind a session token. Missing and expired tokens are 401, unknown
// ones 403, as Apple's list of error codes says. renewed is the token to use from now on, if it changes.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/interpreting-automated-device-enrollment-error-codes
func (s *Service) useSession(token string, now time.Time) (m *MDMServer, renewed string, err error) {
	if token == "" {
		return nil, "", unauthorized("the header " + sessionHeader + " is missing")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ses, ok := s.sessions[token]
	switch {
	case !ok:
		return nil, "", &reply{status: http.StatusForbidden, body: "FORBIDDEN", reason: "unknown session token"}
	case ses.dead:
		return nil, "", unauthorized("the session has ended or its token was replaced")
	case now.Sub(ses.lastUsed) > s.cfg.sessionLifetime:
		ses.dead = true
		return nil, "", unauthorized("the session has expired")
	}
	ses.lastUsed = now
	ses.answers++
	if s.cfg.rotateEvery > 0 && ses.answers >= s.cfg.rotateEvery {
		ses.dead = true
		renewed = s.openSession(ses.server, now)
	}
	return ses.server, renewed, nil
}

// openSession returns the token of a new session. The caller holds the lock.
func (s *Service) openSession(m *MDMServer, now time.Time) string {
	if len(s.sessions) >= maxSessions {
		for token, ses := range s.sessions {
			if ses.dead || now.Sub(ses.lastUsed) > s.cfg.sessionLifetime {
				delete(s.sessions, token)
			}
		}
	}
	token := s.hexID(24)
	s.sessions[token] = &session{server: m, lastUsed: now}
	return token
}

// endSessions ends the sessions of one entry, or of all if m is nil. The caller holds the lock.
func (s *Service) endSessions(m *MDMServer) {
	for _, ses := range s.sessions {
		if m == nil || ses.server == m {
			ses.dead = true
		}
	}
}
