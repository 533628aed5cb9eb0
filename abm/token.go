package abm

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Token is a server token: the OAuth 1.0a credentials Apple's portal issues for one MDM server, for one year.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/examining-server-tokens
type Token struct {
	// ConsumerKey identifies the MDM server entry; it stays the same when a token is renewed (observed).
	ConsumerKey    string
	ConsumerSecret Secret
	AccessToken    Secret
	AccessSecret   Secret
	// ExpiresAt is when Apple stops accepting the token.
	ExpiresAt time.Time
}

// tokenJSON is Apple's form of a token, and the form it is sealed in.
type tokenJSON struct {
	ConsumerKey       string `json:"consumer_key"`
	ConsumerSecret    string `json:"consumer_secret"`
	AccessToken       string `json:"access_token"`
	AccessSecret      string `json:"access_secret"`
	AccessTokenExpiry string `json:"access_token_expiry"`
}

// ParseToken reads a token in Apple's JSON form, all five members of which are required. The error is a
// [*TokenFileError] and quotes nothing of the document.
func ParseToken(data []byte) (Token, error) {
	var j tokenJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return Token{}, &TokenFileError{Reason: "the decrypted text is not Apple's JSON document"}
	}
	t := Token{
		ConsumerKey: j.ConsumerKey, ConsumerSecret: Secret(j.ConsumerSecret),
		AccessToken: Secret(j.AccessToken), AccessSecret: Secret(j.AccessSecret),
	}
	var ok bool
	if t.ExpiresAt, ok = parseTime(j.AccessTokenExpiry); !ok {
		return Token{}, &TokenFileError{Reason: "access_token_expiry is missing or not a time"}
	}
	if err := t.check(); err != nil {
		return Token{}, &TokenFileError{Reason: err.Error()}
	}
	return t, nil
}

// check reports a member that is missing.
func (t Token) check() error {
	for _, m := range []struct {
		name string
		ok   bool
	}{
		{"consumer_key", t.ConsumerKey != ""},
		{"consumer_secret", t.ConsumerSecret != ""},
		{"access_token", t.AccessToken != ""},
		{"access_secret", t.AccessSecret != ""},
	} {
		if !m.ok {
			return fmt.Errorf("abm: token: %s is missing", m.name)
		}
	}
	return nil
}

// encode returns the form that [ParseToken] reads. It is secret.
func (t Token) encode() ([]byte, error) {
	b, err := json.Marshal(tokenJSON{
		ConsumerKey: t.ConsumerKey, ConsumerSecret: t.ConsumerSecret.Reveal(),
		AccessToken: t.AccessToken.Reveal(), AccessSecret: t.AccessSecret.Reveal(),
		AccessTokenExpiry: t.ExpiresAt.UTC().Format(time.RFC3339),
	})
	if err != nil {
		return nil, errors.New("abm: token: cannot be encoded")
	}
	return b, nil
}
