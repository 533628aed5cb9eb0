package setupexp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// ErrAgentToken means that a token was not made by any of the keys.
var ErrAgentToken = errors.New("setupexp: invalid agent token")

const (
	minAgentKey   = 32 // bytes
	maxAgentToken = 1024
)

// AgentKeys makes and checks the credentials of agents. It is immutable and safe for concurrent use. A planner that
// gives agents their tokens has it, and so does the tracker, see [WithAgentKeys].
type AgentKeys struct{ keys []agentKey }

type agentKey struct {
	id     string
	secret []byte
}

// NewAgentKeys returns AgentKeys that make tokens with the primary key and accept those of the retired ones. A key has
// at least 32 random bytes. To change keys, retire the old one, and leave it out once no device that got a token of it
// is in its setup any more: a day or two, or at once when the key has leaked.
func NewAgentKeys(primary []byte, retired ...[]byte) (*AgentKeys, error) {
	k := &AgentKeys{}
	for _, secret := range append([][]byte{primary}, retired...) {
		if len(secret) < minAgentKey {
			return nil, errors.New("setupexp: new agent keys: a key needs at least 32 bytes")
		}
		key := agentKey{secret: bytes.Clone(secret)}
		key.id = hex.EncodeToString(key.mac("id")[:4])
		k.keys = append(k.keys, key)
	}
	return k, nil
}

// String hides the keys.
func (k *AgentKeys) String() string { return "REDACTED" }

// Token returns the credential of the agent on one device in one generation, always the same one for a key. Give it to
// the agent in a managed configuration profile or as an argument of its package; whoever has it can read the run's
// status and report results for this device, until it enrolls anew or the key is gone.
func (k *AgentKeys) Token(enrollmentID string, generation int64) string {
	key, gen := k.keys[0], strconv.FormatInt(generation, 10)
	enc := base64.RawURLEncoding
	return strings.Join([]string{key.id, enc.EncodeToString([]byte(enrollmentID)), gen, enc.EncodeToString(key.agent(enrollmentID, gen))}, ".")
}

// Verify returns whom a token was made for, or ErrAgentToken.
func (k *AgentKeys) Verify(token string) (enrollmentID string, generation int64, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 4 || len(token) > maxAgentToken || strings.ContainsAny(token, "\r\n") { // base64, though strict, skips them
		return "", 0, ErrAgentToken
	}
	id, idErr := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	mac, macErr := base64.RawURLEncoding.Strict().DecodeString(parts[3])
	generation, genErr := strconv.ParseInt(parts[2], 10, 64)
	if errors.Join(idErr, macErr, genErr) != nil || generation < 1 {
		return "", 0, ErrAgentToken
	}
	for _, key := range k.keys {
		if key.id == parts[0] && hmac.Equal(mac, key.agent(string(id), parts[2])) {
			return string(id), generation, nil
		}
	}
	return "", 0, ErrAgentToken
}

func (k agentKey) agent(enrollmentID, gen string) []byte {
	return k.mac("token\x00" + enrollmentID + "\x00" + gen)
}

func (k agentKey) mac(what string) []byte {
	m := hmac.New(sha256.New, k.secret)
	_, _ = m.Write([]byte("enrollkit setupexp agent 2\x00" + what)) // a hash.Hash never fails
	return m.Sum(nil)
}
