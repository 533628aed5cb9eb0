package enroll

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// SessionParam is the query parameter of ServerURL and CheckInURL that carries the signed session id. MDM servers
// hand the parameters on: NanoMDM as Params of a request, its webhook as url_params.
const SessionParam = "enrollment_session"

// minKey is the smallest length of a session key, in bytes.
const minKey = 32

// maxToken bounds a token, in bytes.
const maxToken = 512

// What a token is for is signed with it, so that one cannot stand in for another.
const (
	forCheckIn = "check-in" // in ServerURL
	forState   = "state"    // the state parameter of a sign-in
	forBrowser = "browser"  // the cookie
)

// SessionKeys signs the session ids that travel through devices and browsers, and derives the ids.
// It is immutable and safe for concurrent use.
//
// The id of a device's session is derived from its serial and UDID with the key, so it is the same each time the
// device asks, and nobody without the key can guess it. That keeps ServerURL the same when a profile is delivered
// again, which an installed profile demands of its replacement.
type SessionKeys struct{ keys [][]byte }

// NewSessionKeys returns SessionKeys that sign with the primary key and accept what the retired ones signed.
// A key has at least 32 random bytes. Keep a retired key for as long as devices enrolled with it are to get their
// profile replaced in place.
func NewSessionKeys(primary []byte, retired ...[]byte) (*SessionKeys, error) {
	k := &SessionKeys{}
	for _, key := range append([][]byte{primary}, retired...) {
		if len(key) < minKey {
			return nil, errors.New("enroll: new session keys: a key needs at least 32 bytes")
		}
		k.keys = append(k.keys, bytes.Clone(key))
	}
	return k, nil
}

// String hides the keys.
func (k *SessionKeys) String() string { return "REDACTED" }

// CheckInToken returns the signed form of a session id that goes into ServerURL, as the value of [SessionParam].
func (k *SessionKeys) CheckInToken(sessionID string) string {
	return sign(k.keys[0], forCheckIn, sessionID)
}

// OpenCheckInToken returns the session id of a token, or ErrToken.
func (k *SessionKeys) OpenCheckInToken(token string) (string, error) {
	return k.open(forCheckIn, token)
}

// device returns the session id of a device and its check-in token. current is the session the device is enrolled
// with, empty if none: if a retired key made it, it stays.
func (k *SessionKeys) device(serial, udid, current string) (id, token string) {
	for _, key := range k.keys {
		if id := deviceID(key, serial, udid); id == current {
			return id, sign(key, forCheckIn, id)
		}
	}
	id = deviceID(k.keys[0], serial, udid)
	return id, sign(k.keys[0], forCheckIn, id)
}

func deviceID(key []byte, serial, udid string) string {
	m := mac(key, "session id", serial+"\x00"+udid)
	return hex.EncodeToString(m[:16])
}

func (k *SessionKeys) sign(purpose, payload string) string { return sign(k.keys[0], purpose, payload) }

// sign returns 1.<payload>.<mac>: the leading number is the version of the form.
func sign(key []byte, purpose, payload string) string {
	return "1." + encode([]byte(payload)) + "." + encode(mac(key, purpose, payload))
}

// open returns the payload of a token made by sign for the purpose.
func (k *SessionKeys) open(purpose, token string) (string, error) {
	if len(token) > maxToken {
		return "", ErrToken
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[0] != "1" {
		return "", ErrToken
	}
	payload, err := decode(parts[1])
	if err != nil || len(payload) == 0 {
		return "", ErrToken
	}
	sum, err := decode(parts[2])
	if err != nil {
		return "", ErrToken
	}
	good := false
	for _, key := range k.keys {
		good = hmac.Equal(sum, mac(key, purpose, string(payload))) || good
	}
	if !good {
		return "", ErrToken
	}
	return string(payload), nil
}

func mac(key []byte, purpose, payload string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte("enrollkit 1\x00" + purpose + "\x00" + payload)) // a hash.Hash never fails
	return h.Sum(nil)
}

// Strict refuses trailing bits that are not zero, so that one token has one form.
func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // the decoder skips them
		return nil, ErrToken
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
