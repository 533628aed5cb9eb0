package enroll

import (
	"context"
	"encoding/json"
	"net/http"
)

// User is a person who signed in. It is kept in the session and in the enrollment as JSON, from where the account of a
// Mac can be prefilled.
type User struct {
	// Subject identifies the person at the provider for good; the other fields may change.
	Subject  string `json:"subject"`
	Issuer   string `json:"issuer,omitempty"`
	Username string `json:"username"`
	// Name is the full name.
	Name   string   `json:"name,omitempty"`
	Email  string   `json:"email,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// ParseUser reads the User of a session or enrollment; nil if nobody signed in.
func ParseUser(doc []byte) (*User, error) {
	if len(doc) == 0 {
		return nil, nil //nolint:nilnil // no user is no error: most devices enroll without
	}
	u := new(User)
	if err := json.Unmarshal(doc, u); err != nil {
		return nil, err
	}
	return u, nil
}

// SignIn lets the user of a device prove who they are at an identity provider, in the web view of Setup Assistant.
// [OIDC] is one; SAML can be another. Implementations are safe for concurrent use.
type SignIn interface {
	// Name is how activities call the provider.
	Name() string
	// Begin starts a sign-in.
	Begin(ctx context.Context, r SignInRequest) (SignInStart, error)
	// State returns the state in the answer of the provider; empty if there is none.
	State(r *http.Request) string
	// Finish reads the answer of the provider. flow is what Begin returned. An answer that is no success is a
	// *[SignInError].
	Finish(ctx context.Context, r *http.Request, callbackURL string, flow []byte) (User, error)
}

// SignInRequest is what a sign-in begins with.
type SignInRequest struct {
	// State has to come back with the answer of the provider.
	State string
	// CallbackURL is where that answer goes.
	CallbackURL string
	// Candidate is the device; a provider or a policy may depend on it.
	Candidate Candidate
	// LoginHint is who is expected to sign in, as the provider calls them; empty if that is not known.
	LoginHint string
}

// SignInStart is a sign-in that has begun.
type SignInStart struct {
	// URL is where the web view goes.
	URL string
	// Flow is what Finish needs: nonces and verifiers. It is kept sealed.
	Flow []byte
	// CrossSitePost says that the provider answers by a form that its own page posts, as SAML's POST binding does.
	// The browser sends no SameSite=Lax cookie with it.
	CrossSitePost bool
}
