package setupexp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// errNoAgents means that the tracker has no key for agent tokens.
var errNoAgents = errors.New("setupexp: agent token: no key, see WithAgentKey")

// AgentToken returns the credential of the agent on one device in one generation. Give it to the agent in a managed
// configuration profile or as an argument of its package; whoever has it can read the run's status and report results
// for this device, until it enrolls anew.
func (t *Tracker) AgentToken(enrollmentID string, generation int64) (string, error) {
	if len(t.settings.tokenKey) == 0 {
		return "", errNoAgents
	}
	gen := strconv.FormatInt(generation, 10)
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(enrollmentID)) + "." + gen + "." + enc.EncodeToString(t.tokenMAC(enrollmentID, gen)), nil
}

func (t *Tracker) tokenMAC(enrollmentID, gen string) []byte {
	m := hmac.New(sha256.New, t.settings.tokenKey)
	m.Write([]byte("enrollkit setupexp agent 1\x00" + enrollmentID + "\x00" + gen))
	return m.Sum(nil)
}

// agentOf returns whom a token was made for.
func (t *Tracker) agentOf(token string) (enrollmentID string, generation int64, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > 1024 || len(t.settings.tokenKey) == 0 {
		return "", 0, false
	}
	id, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return "", 0, false
	}
	mac, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(mac, t.tokenMAC(string(id), parts[1])) {
		return "", 0, false
	}
	generation, err = strconv.ParseInt(parts[1], 10, 64)
	return string(id), generation, err == nil && generation > 0
}
