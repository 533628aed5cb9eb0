package enrolltest

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha512"
	"crypto/subtle"
	"slices"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// AccountConfiguration is the command of that name: the local accounts a Mac creates in Setup Assistant.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/account-configuration-command
type AccountConfiguration struct {
	SkipPrimarySetupAccountCreation     bool
	SetPrimarySetupAccountAsRegularUser bool
	// AutoSetupAdminAccounts may be long; a Mac uses the first element only.
	AutoSetupAdminAccounts             []AdminAccount
	PrimaryAccountFullName             string
	PrimaryAccountUserName             string
	DontAutoPopulatePrimaryAccountInfo bool
	LockPrimaryAccountInfo             bool
	ManagedLocalUserShortName          string
}

// AdminAccount is an administrator the Mac creates by itself.
type AdminAccount struct {
	ShortName string `plist:"shortName"`
	// FullName is empty if it is to be as ShortName.
	FullName string `plist:"fullName"`
	// PasswordHash is the property list with the salted hash.
	PasswordHash []byte `plist:"passwordHash"`
	Hidden       bool   `plist:"hidden"`
}

// passwordHash is the property list inside AdminAccount.PasswordHash.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/passwordhash
type passwordHash struct {
	Entry struct {
		Entropy    []byte `plist:"entropy"`
		Salt       []byte `plist:"salt"`
		Iterations int    `plist:"iterations"`
	} `plist:"SALTED-SHA512-PBKDF2"`
}

func (a AdminAccount) hash() (h passwordHash, ok bool) {
	err := plist.Unmarshal(a.PasswordHash, &h)
	return h, err == nil && len(h.Entry.Entropy) > 0 && len(h.Entry.Salt) > 0 && h.Entry.Iterations > 0
}

// Accepts reports whether the account's hash is one of password: what the login window would say.
func (a AdminAccount) Accepts(password string) bool {
	h, ok := a.hash()
	if !ok {
		return false
	}
	key, err := pbkdf2.Key(sha512.New, password, h.Entry.Salt, h.Entry.Iterations, len(h.Entry.Entropy))
	return err == nil && subtle.ConstantTimeCompare(key, h.Entry.Entropy) == 1
}

func (c AccountConfiguration) clone() AccountConfiguration {
	c.AutoSetupAdminAccounts = slices.Clone(c.AutoSetupAdminAccounts)
	return c
}

// accountConfiguration takes the configuration while the Mac waits in Setup Assistant, and refuses it at any other time.
func (d *Device) accountConfiguration(_ context.Context, c Command) *report {
	p, err := parameters[AccountConfiguration](c)
	if err != nil {
		return formatError()
	}
	if len(p.AutoSetupAdminAccounts) == 0 && (p.SkipPrimarySetupAccountCreation || p.SetPrimarySetupAccountAsRegularUser) {
		return failure(12000, "MCMDMErrorDomain", "AutoSetupAdminAccounts is required.")
	}
	for _, a := range p.AutoSetupAdminAccounts[:min(1, len(p.AutoSetupAdminAccounts))] {
		if _, ok := a.hash(); a.ShortName == "" || !ok {
			return failure(12000, "MCMDMErrorDomain", "AutoSetupAdminAccounts: shortName and passwordHash are required.")
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.st.awaiting || d.st.restarted {
		return notAwaiting()
	}
	d.st.account = &p
	return acknowledged(nil)
}

// adminAccounts answers the DeviceInformation query AutoSetupAdminAccounts; d.mu is held.
func (d *Device) adminAccounts() []map[string]any {
	out := []map[string]any{}
	if d.st.account == nil || d.st.awaiting {
		return out // accounts are made when Setup Assistant goes on
	}
	for _, a := range d.st.account.AutoSetupAdminAccounts[:min(1, len(d.st.account.AutoSetupAdminAccounts))] {
		out = append(out, map[string]any{"shortName": a.ShortName})
	}
	return out
}
